"""Plain ways to match two fields from landmarks, beside which the program's is measured.

Each takes queries, gallery and landmarks, and says where in the gallery each query comes to lie;
the nearest soma is its partner. They choose their own parameters from the landmarks where they can
(leave one out, marginal likelihood); what is fixed was chosen on seeds below 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]
Mapping = Callable[[Float64Array], Float64Array]
"""From points (N, 3) of the queries' space to the gallery's, both µm."""

AFFINE, THIN_PLATE, DRIFT, GROWTH = "affine", "thin plate", "point drift", "plain growth"
BASELINES = (AFFINE, THIN_PLATE, DRIFT, GROWTH)

# Landmarks off by so many times the median residual are left out, if so many remain.
_OUTLIER, _FEWEST = 5.0, 6
# Strengths of shrinkage of the affine towards a similarity, relative to the landmarks' extent.
_RIDGES = (0.0, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 10.0, 1e6)
_SMOOTHINGS = (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0)
# An axis along which landmarks extend by less than this share of the longest is none.
_FLAT = 0.05


@dataclass(frozen=True, eq=False)
class BaselineProblem:
    """What a baseline is given.

    Attributes
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        µm (z, y, x), each in its own space.
    source_um, target_um : ndarray, shape (L, 3)
        Landmarks in the two spaces.
    """

    queries_um: Float64Array
    gallery_um: Float64Array
    source_um: Float64Array
    target_um: Float64Array


def has_point_drift() -> bool:
    """Return whether the package of coherent point drift is installed."""
    return find_spec("pycpd") is not None


def place_queries(name: str, problem: BaselineProblem) -> Float64Array:
    """Return where a baseline puts the queries, shape (N, 3), µm in the gallery's space.

    Parameters
    ----------
    name : str
        One of `BASELINES`.
    problem : BaselineProblem
        Landmarks that contradict the others grossly are left out first.
    """
    kept = _trimmed(problem)
    if name == AFFINE:
        return fit_affine(kept.source_um, kept.target_um)(kept.queries_um)
    if name == THIN_PLATE:
        return fit_thin_plate(kept.source_um, kept.target_um)(kept.queries_um)
    return drift(kept) if name == DRIFT else grow(kept)


def nearest(placed_um: Float64Array, gallery_um: Float64Array) -> tuple[RowArray, Float64Array]:
    """Return the row of the soma nearest to each query's place, and its distance in µm."""
    distance, row = cKDTree(gallery_um).query(placed_um)
    return np.asarray(row, dtype=np.intp), np.asarray(distance)


def _trimmed(problem: BaselineProblem) -> BaselineProblem:
    """Leave out landmarks that an affine of the others misses grossly, the worst first."""
    source, target = problem.source_um, problem.target_um
    while len(source) > _FEWEST:
        off = _left_out(lambda a, b: fit_affine(a, b), source, target)
        worst = int(off.argmax())
        if off[worst] <= _OUTLIER * np.median(off):
            break
        source, target = np.delete(source, worst, axis=0), np.delete(target, worst, axis=0)
    return BaselineProblem(problem.queries_um, problem.gallery_um, source, target)


def _left_out(
    fit: Callable[[Float64Array, Float64Array], Mapping], source: Float64Array, target: Float64Array
) -> Float64Array:
    """Return by how much each landmark is missed by a fit to the others, µm."""
    off = []
    for row in range(len(source)):
        mapping = fit(np.delete(source, row, axis=0), np.delete(target, row, axis=0))
        off.append(np.linalg.norm(mapping(source[row : row + 1])[0] - target[row]))
    return np.array(off)


def fit_affine(source_um: Float64Array, target_um: Float64Array) -> Mapping:
    """Fit an affine map, drawn towards a similarity as much as leaving one out asks for.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (L, 3)
        At least three landmarks that are not on a line.
    """
    if len(source_um) < 5:
        return _ridge_affine(source_um, target_um, _RIDGES[4])
    errors = [
        _left_out(lambda a, b, r=ridge: _ridge_affine(a, b, r), source_um, target_um)  # type: ignore[misc]
        for ridge in _RIDGES
    ]
    best = int(np.argmin([np.mean(np.square(error)) for error in errors]))
    return _ridge_affine(source_um, target_um, _RIDGES[best])


def _ridge_affine(source: Float64Array, target: Float64Array, ridge: float) -> Mapping:
    middle, centre = source.mean(axis=0), target.mean(axis=0)
    here, there = source - middle, target - centre
    # Umeyama, IEEE TPAMI 1991: no reflection.
    u, values, vt = np.linalg.svd(there.T @ here)
    hand = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    linear = (u * hand) @ vt * ((values * hand).sum() / (here**2).sum())
    weight = max(ridge, 1e-9) * np.trace(here.T @ here) / 3
    rest = there - here @ linear.T
    linear = linear + np.linalg.solve(here.T @ here + weight * np.eye(3), here.T @ rest).T
    return lambda points: np.asarray((points - middle) @ linear.T + centre)


def fit_thin_plate(source_um: Float64Array, target_um: Float64Array) -> Mapping:
    """Fit a thin plate spline to what the affine leaves, as smooth as leaving one out asks for.

    Landmarks in a plane give a spline in that plane. With too few for one, the affine stands.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (L, 3)
    """
    affine = fit_affine(source_um, target_um)
    middle = source_um.mean(axis=0)
    _, extents, axes = np.linalg.svd(source_um - middle, full_matrices=False)
    axes = axes[extents > _FLAT * extents[0]] / (extents[0] / np.sqrt(len(source_um)))
    if len(source_um) < len(axes) + 3:
        return affine

    def spline(smoothing: float) -> Callable[[Float64Array, Float64Array], Mapping]:
        def fit(source: Float64Array, rest: Float64Array) -> Mapping:
            found = RBFInterpolator((source - middle) @ axes.T, rest, smoothing=smoothing)
            return lambda points: np.asarray(found((points - middle) @ axes.T))

        return fit

    rest = target_um - affine(source_um)
    splines = [spline(smoothing) for smoothing in _SMOOTHINGS]
    errors = [np.mean(_left_out(fit, source_um, rest) ** 2) for fit in splines]
    # The affine was fitted to all of them: it is compared as what leaving one out says of it.
    if min(errors) > np.mean(_left_out(fit_affine, source_um, target_um) ** 2):
        return affine
    best = splines[int(np.argmin(errors))](source_um, rest)
    return lambda points: affine(points) + best(points)


# Coherent point drift: chosen on seeds 0 and 1 of nine kinds, among widths of 60 to 200 µm and
# stiffnesses of 0.3 to 8.
_DRIFT_CROP_UM, _DRIFT_WIDTH_UM, _DRIFT_STIFFNESS = 150.0, 120.0, 2.0
_DRIFT_START_UM = (15.0, 60.0)


def drift(
    problem: BaselineProblem,
    width_um: float = _DRIFT_WIDTH_UM,
    stiffness: float = _DRIFT_STIFFNESS,
) -> Float64Array:
    """Return where deformable coherent point drift puts the queries, from the affine.

    The gallery is cropped to 150 µm around the queries' first places, since the method holds all
    distances at once. One unit of length is the mean spacing of the gallery, so that the uniform
    component is as dense as the somata; its share is that of the somata that are no partners.

    Parameters
    ----------
    problem : BaselineProblem
    width_um : float
        β, of the kernel of displacements.
    stiffness : float
        α, of the smoothness against the likelihood.

    References
    ----------
    Myronenko and Song, IEEE TPAMI 2010, equations 18 to 23; package pycpd.
    """
    from pycpd import DeformableRegistration

    affine = fit_affine(problem.source_um, problem.target_um)
    placed = affine(problem.queries_um)
    near = cKDTree(placed).query(problem.gallery_um)[0] <= _DRIFT_CROP_UM
    gallery = problem.gallery_um[near]
    if not len(gallery):
        return placed
    # In a Poisson process, the median distance to the nearest is 0.55 of the mean spacing.
    to_next = np.asarray(cKDTree(gallery).query(gallery, k=2)[0])[:, 1]
    spacing = float(np.median(to_next)) / 0.55
    off = np.median(np.linalg.norm(affine(problem.source_um) - problem.target_um, axis=1))
    start = np.clip(1.5 * off, *_DRIFT_START_UM) / spacing
    found = DeformableRegistration(
        X=gallery / spacing,
        Y=placed / spacing,
        alpha=stiffness,
        beta=width_um / spacing,
        sigma2=float(start**2),
        w=max(1.0 - 0.9 * len(placed) / len(gallery), 0.1),
        max_iterations=100,
        tolerance=1e-4,
    )
    found.expectation = partial(_expect, found)
    return np.asarray(found.register()[0] * spacing)


def _expect(state: Any) -> None:
    """Do the expectation step of pycpd in place, several times as fast as its own."""
    p = cdist(state.TY, state.X, "sqeuclidean")
    p *= -0.5 / state.sigma2
    np.exp(p, out=p)
    total = p.sum(axis=0)
    total[total == 0] = np.finfo(np.float64).eps
    total += (
        (2 * np.pi * state.sigma2) ** (state.D / 2) * state.w / (1 - state.w) * (state.M / state.N)
    )
    p /= total
    state.P, state.Pt1, state.P1 = p, p.sum(axis=0), p.sum(axis=1)
    state.Np = state.P1.sum()


# Of the plain growth: what is tried, and how far the second nearest must be beyond the nearest.
_AMPLITUDES_UM, _LENGTHS_UM, _NOISES_UM = (5.0, 15.0, 40.0), (80.0, 150.0, 300.0), (2.0, 5.0)
_CLEARLY, _ROUNDS = 0.7, 40


def grow(problem: BaselineProblem) -> Float64Array:
    """Return where a Gaussian process puts the queries that takes in matches until none is new.

    Each round fits a process with an affine trend to the landmarks and to all matches so far, its
    sizes by marginal likelihood, and takes for matches those somata that are each other's nearest,
    lie within two standard deviations, and are clearly nearer than the second nearest.

    Parameters
    ----------
    problem : BaselineProblem
    """
    tree, gallery = cKDTree(problem.gallery_um), problem.gallery_um
    affine = fit_affine(problem.source_um, problem.target_um)
    source, target, before = problem.source_um, problem.target_um, np.empty((0, 2), dtype=np.intp)
    placed = affine(problem.queries_um)
    for _ in range(_ROUNDS):
        mean, sd = _process(source, target - affine(source), problem.queries_um)
        placed = affine(problem.queries_um) + mean
        distance, row = (np.asarray(found) for found in tree.query(placed, k=2))
        back = nearest(gallery[row[:, 0]], placed)[0]
        sure = (back == np.arange(len(placed))) & (distance[:, 0] < _CLEARLY * distance[:, 1])
        # Three components of two standard deviations.
        sure &= distance[:, 0] < 2 * np.sqrt(3) * sd
        sure &= 2 * np.sqrt(3) * sd < distance[:, 1]
        now = np.column_stack([np.flatnonzero(sure), row[sure, 0]])
        if np.array_equal(now, before):
            break
        before = now
        source = np.vstack([problem.source_um, problem.queries_um[now[:, 0]]])
        target = np.vstack([problem.target_um, gallery[now[:, 1]]])
    return placed


def _process(
    source: Float64Array, rest: Float64Array, asked: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return mean (N, 3) and standard deviation (N,) with noise, of the likeliest process."""
    apart, across = cdist(source, source), cdist(asked, source)
    middle, extent = source.mean(axis=0), source.std() + 1e-9

    def trend(points: Float64Array) -> Float64Array:
        return np.column_stack([np.ones(len(points)), (points - middle) / extent])

    here, there = trend(source), trend(asked)
    best, found = -np.inf, (np.zeros_like(asked), np.zeros(len(asked)))
    for amplitude, length, noise in product(_AMPLITUDES_UM, _LENGTHS_UM, _NOISES_UM):
        kernel = (amplitude**2) * np.exp(-0.5 * (apart / length) ** 2)
        kernel += amplitude**2 * (here @ here.T) + noise**2 * np.eye(len(source))
        factor = cho_factor(kernel, lower=True)
        solved = cho_solve(factor, rest)
        evidence = -0.5 * (rest * solved).sum() - 3 * np.log(np.diag(factor[0])).sum()
        if evidence > best:
            cross = amplitude**2 * (np.exp(-0.5 * (across / length) ** 2) + there @ here.T)
            own = amplitude**2 * (1 + (there**2).sum(axis=1)) + noise**2
            left = own - (cross * cho_solve(factor, cross.T).T).sum(axis=1)
            best, found = evidence, (cross @ solved, np.sqrt(np.maximum(left, noise**2)))
    return found
