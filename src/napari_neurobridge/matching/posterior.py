"""The probability of each candidate to be the queried cell, and of none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.stats import chi2

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.assignment import exclusive_marginals
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Callable

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_NEIGHBOURS = 40
_FEWEST = 2
_LARGEST_RATIO = 1e12


class CandidateField:
    """A gallery's somata as points, with their local density.

    Parameters
    ----------
    points_um : array_like, shape (M, 3)
        µm (z, y, x).
    neighbours : int
        The density at a soma is that of the ball that reaches to so many neighbours.

    Attributes
    ----------
    points_um : ndarray, shape (M, 3)
    density : ndarray, shape (M,)
        Somata in each µm³.
    tree : scipy.spatial.cKDTree
    """

    def __init__(self, points_um: npt.ArrayLike, *, neighbours: int = _NEIGHBOURS) -> None:
        self.points_um = as_points(points_um)
        if len(self.points_um) < _FEWEST:
            raise InputError("A gallery needs at least two somata.")
        self.tree = cKDTree(self.points_um)
        count = min(neighbours, len(self.points_um) - 1)
        reach = np.asarray(self.tree.query(self.points_um, k=[count + 1])[0])[:, 0]
        # Several somata in one place have no finite density.
        volume = 4 / 3 * np.pi * np.maximum(reach, 1e-3) ** 3
        self.density = np.asarray(count / volume)
        self._reach = np.maximum(reach, 1e-3)
        self.dimensions = 2 if np.linalg.svd(self.points_um - self.points_um.mean(axis=0), compute_uv=False)[-1] < 1e-3 * np.sqrt(len(self.points_um)) else 3
        self._crowding = chance_crowding(self, reach)

    def __len__(self) -> int:
        return len(self.points_um)

    def nearest(self, places_um: Float64Array, count: int) -> tuple[Float64Array, RowArray]:
        """Return distances and rows of the nearest somata of places (N, 3), (N, count)."""
        distance, rows = self.tree.query(places_um, k=np.arange(1, min(count, len(self)) + 1))
        return np.asarray(distance), np.asarray(rows)

    def chance_density(self, rows: RowArray, variance_um2: Float64Array) -> Float64Array:
        scale = 0.5 * np.log(variance_um2)
        scale = scale.reshape(scale.shape + (1,) * (rows.ndim - scale.ndim))
        relative = scale - np.log(self._reach[rows])
        return np.asarray(
            self.density[rows] * np.exp(np.interp(relative, *self._crowding))
        )

    def typical_chance_density(self, variance_um2):
        relative = 0.5 * np.log(variance_um2) - np.log(np.median(self._reach))
        return self.typical_density * np.exp(np.interp(relative, *self._crowding))

    @property
    def typical_density(self) -> float:
        """Median density at the somata, in each µm³."""
        return float(np.median(self.density))


_PLACES, _NEAR = 6000, (4, 14)
_SCALES = np.geomspace(0.012, 0.35, 12)


def chance_crowding(field, reach):
    points, tree = field.points_um, field.tree
    count = len(points)
    u = np.log(_SCALES)
    rng = np.random.default_rng(0)
    k = min(_NEAR[1], count - 1)
    if k < 3:
        return u, np.zeros(len(u))
    c = rng.integers(count, size=_PLACES)
    near = np.asarray(tree.query(points[c], k=np.arange(2, k + 2))[1])
    low = min(_NEAR[0], k - 2)
    m = near[np.arange(len(c)), rng.integers(low, k, size=len(c))]
    # both ends from the same list, different
    shift = rng.integers(1, k - low, size=len(c)) if k - low > 1 else 1
    n = near[np.arange(len(c)), low + (np.argmax(near[:, low:] == m[:, None], axis=1) + shift) % (k - low)]
    places = points[c] + points[m] - points[n]
    q = min(_NEIGHBOURS, count - 1)
    distance = np.asarray(tree.query(places, k=np.arange(1, q + 1))[0])
    radius = np.maximum(distance[:, -1:], 1e-3)
    ball = q / (4 / 3 * np.pi * radius**3)
    out = []
    for scale in _SCALES:
        s = scale * radius
        kde = np.exp(-0.5 * (distance / s) ** 2).sum(axis=1, keepdims=True) / (2 * np.pi * s**2) ** 1.5
        out.append((kde/ball).mean())
    ratio = np.array(out)
    return u, np.log(np.maximum(ratio, 1e-3))


@dataclass(frozen=True, eq=False)
class Candidates:
    """The nearest somata of N predicted places, and what their places say.

    Attributes
    ----------
    rows : ndarray of int, shape (N, K)
        Rows of the gallery, nearest first.
    ratio : ndarray, shape (N, K)
        N(x; μ, Σ) · LR / λ(x); 0 where there is no such candidate.
    beyond : ndarray, shape (N,)
        What all somata beyond the K nearest are expected to add to the sum of the ratios.
    """

    rows: RowArray
    ratio: Float64Array
    beyond: Float64Array

    @property
    def total(self) -> Float64Array:
        """Sum of the ratios of each place: 1 on average where the partner is absent, (N,)."""
        return np.asarray(self.ratio.sum(axis=1) + self.beyond)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Probabilities of N queries' candidates.

    Attributes
    ----------
    rows : ndarray of int, shape (N, K)
        Rows of the gallery, the most probable first.
    probability : ndarray, shape (N, K)
    none : ndarray, shape (N,)
        That the gallery does not hold the cell.
    beyond : ndarray, shape (N,)
        That it is a soma that is not listed. With the others it adds up to 1.
    """

    rows: RowArray
    probability: Float64Array
    none: Float64Array
    beyond: Float64Array

    @property
    def best(self) -> RowArray:
        """Row of the most probable candidate of each query, (N,)."""
        return np.asarray(self.rows[:, 0])

    @property
    def confidence(self) -> Float64Array:
        """Its probability, (N,)."""
        return np.asarray(self.probability[:, 0])


def find_candidates(
    field: CandidateField,
    mean_um: Float64Array,
    covariance_um2: Float64Array,
    *,
    count: int = 64,
    log_ratio: Callable[[RowArray, RowArray], Float64Array] | None = None,
    queries: RowArray | None = None,
    nearest: tuple[Float64Array, RowArray] | None = None,
) -> Candidates:
    """Return the candidates of predicted places.

    Parameters
    ----------
    field : CandidateField
    mean_um : ndarray, shape (N, 3)
        Where each partner is expected, in the gallery's space.
    covariance_um2 : ndarray, shape (N,) or (N, 3, 3)
        How exactly, with the noise of a soma's place; (N,) if alike along all axes.
    count : int
        Candidates for each query.
    log_ratio : callable, optional
        Log likelihood ratio of appearance, from rows (N,) of the queries and (N, K) of
        the gallery; 0 unless given.
    queries : ndarray of int, shape (N,), optional
        Rows of the queries that `log_ratio` is asked about; 0 to N - 1 unless given.
    nearest : tuple of ndarray, optional
        What ``field.nearest(mean_um, count)`` returns, if that is known already.
    """
    distance, rows = nearest or field.nearest(mean_um, count)
    if covariance_um2.ndim == 1:
        spread_um2 = covariance_um2
        square = distance**2 / covariance_um2[:, None]
        half_log_determinant = 1.5 * np.log(covariance_um2)
    else:
        offset = field.points_um[rows] - mean_um[:, None]
        factor = np.linalg.cholesky(covariance_um2)
        white = np.linalg.solve(factor, offset.swapaxes(1, 2))
        square = np.einsum("nij,nij->nj", white, white)
        diagonal = np.diagonal(factor, axis1=1, axis2=2)
        half_log_determinant = np.log(diagonal).sum(axis=1)
        spread_um2 = np.exp(half_log_determinant * 2 / 3)
    log = -0.5 * square - half_log_determinant[:, None] - 1.5 * np.log(2 * np.pi)
    log -= np.log(field.chance_density(rows, spread_um2))
    if log_ratio is not None:
        log += log_ratio(np.arange(len(rows)) if queries is None else queries, rows)
    ratio = np.minimum(np.exp(np.minimum(log, 700.0)), _LARGEST_RATIO)
    beyond = np.zeros(len(rows))
    if rows.shape[1] < len(field):
        beyond = chi2.sf(square.max(axis=1), 3)
    return Candidates(rows, ratio, beyond)


def posterior(
    candidates: Candidates,
    p_detected: npt.ArrayLike,
    n_gallery: int,
    *,
    free: Float64Array | None = None,
    exclusive: bool = True,
) -> Posterior:
    """Return the probability of each candidate, and of none.

    Parameters
    ----------
    candidates : Candidates
        Of N queries.
    p_detected : array_like, shape (N,) or scalar
        Chance that the gallery holds the partner.
    n_gallery : int
        Somata in the gallery.
    free : ndarray, shape (M,), optional
        Probability of each soma of the gallery not to be taken by a landmark.
    exclusive : bool
        Whether two queries cannot be the same soma.
    """
    order, weighed, none, beyond = weigh(
        candidates, p_detected, n_gallery, free=free, exclusive=exclusive
    )
    return Posterior(
        np.take_along_axis(candidates.rows, order, axis=1),
        np.take_along_axis(weighed, order, axis=1),
        none,
        beyond,
    )


def weigh(
    candidates: Candidates,
    p_detected: npt.ArrayLike,
    n_gallery: int,
    *,
    free: Float64Array | None = None,
    exclusive: bool = True,
) -> tuple[RowArray, Float64Array, Float64Array, Float64Array]:
    """As `posterior`: the order by falling probability, and probabilities out of that order."""
    chance = np.broadcast_to(np.asarray(p_detected, dtype=np.float64), len(candidates.rows))
    weight = candidates.ratio * chance[:, None]
    if free is not None:
        weight = weight * free[candidates.rows]
    beyond = candidates.beyond * chance
    rest = 1.0 - chance + beyond
    if exclusive:
        weighed, left = exclusive_marginals(weight, rest, candidates.rows, n_gallery)
    else:
        total = weight.sum(axis=1) + rest
        weighed, left = weight / total[:, None], rest / total
    share = beyond / np.maximum(rest, 1e-300)
    order = np.argsort(-weighed, axis=1, kind="stable")
    return order, weighed, left * (1 - share), left * share
