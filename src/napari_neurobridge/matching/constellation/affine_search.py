"""From a network's uncertain matches of two windows to the affine map that most agree on.

Random sample consensus (RANSAC: Fischler and Bolles, Communications of the ACM, 1981); a sample is
scored by the likelihood of what it explains, as in MLESAC (Torr and Zisserman, CVIU 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Lengths are in units of the typical spacing.
_CANDIDATES = 4
_SAMPLE, _POOL = 4, 14
_REGION = 60
# Standard deviation of a match about a local affine map: at the centre, and more with the distance.
_NOISE, _NOISE_PER_DISTANCE = 0.14, 0.05
# Standard deviation of each entry of the linear part about the rough orientation.
_LINEAR_SD = 0.3
_STRETCH = (0.5, 1.7)
_P_PARTNER = 0.5
_MIN_AGREEMENT = 0.7
_REFINED, _REFINING_ROUNDS = 12, 6


@dataclass(frozen=True, eq=False)
class ScaledGallery:
    """The gallery's somata in units of the typical spacing, in D = 2 or 3 dimensions.

    Attributes
    ----------
    points : ndarray, shape (M, D)
    tree : cKDTree
    density : float or ndarray, shape (M,)
        Points in a cube, or square, of one unit: everywhere, or about each point.
    edge : float
        What is farther than this from all points lies outside the field, which says nothing.
    """

    points: Float64Array
    tree: cKDTree
    density: float | Float64Array
    edge: float = np.inf


@dataclass(frozen=True, eq=False)
class LocalAffine:
    """An affine map on which many somata of one region agree.

    Attributes
    ----------
    linear, centre, image : ndarray, shape (3, 3), (3,) and (3,)
        Maps x to ``linear @ (x - centre) + image``.
    evidence : float
        Log probability of the gallery's somata about the region's mapped queries, over chance.
    """

    linear: Float64Array
    centre: Float64Array
    image: Float64Array
    evidence: float

    def move(self, points: Float64Array) -> Float64Array:
        """Map points (N, 3)."""
        return np.asarray((points - self.centre) @ self.linear.T + self.image)

    def after(self, rotation: Float64Array) -> LocalAffine:
        """Return this map after a rotation: x to ``move(rotation @ x)``."""
        return LocalAffine(
            self.linear @ rotation, self.centre @ rotation, self.image, self.evidence
        )

    def matches(self, queries: Float64Array, gallery: ScaledGallery) -> RowArray:
        """Return rows (L, 2) of the region's queries and somata that this map brings together."""
        region = _region(queries, self.centre[None], _REGION)[0]
        _, found, nearest = evaluate_maps(
            queries[region][None], gallery, self.linear[None], self.centre[None], self.image[None]
        )
        order = np.argsort(-found[0], kind="stable")
        chosen = order[found[0][order] > _MIN_AGREEMENT]
        return np.column_stack([region[chosen], nearest[0][chosen]])


def top_candidates(
    probability: npt.NDArray[np.float32],
) -> tuple[RowArray, Float64Array]:
    """Return the few top_candidates columns of each row, (N, K), and their probabilities."""
    count = min(_CANDIDATES, probability.shape[1])
    columns = np.argpartition(-probability, count - 1, axis=1)[:, :count]
    return columns, np.take_along_axis(probability, columns, axis=1).astype(np.float64)


def find_local_affine(
    queries: Float64Array,
    gallery: ScaledGallery,
    candidates: tuple[RowArray, Float64Array],
    rng: np.random.Generator,
    *,
    samples: int,
) -> LocalAffine | None:
    """Return the affine map with the most evidence among many random samples of matches.

    Parameters
    ----------
    queries : ndarray, shape (N, 3)
        A window, the rough orientation applied.
    gallery : ScaledGallery
    candidates : tuple
        Rows of the gallery (N, K) and their probabilities, from `top_candidates`.
    rng : Generator
    samples : int
        How many samples of four neighbours and a candidate of each are drawn.

    Returns
    -------
    LocalAffine or None
        None if no sample makes a plausible map.
    """
    rows, columns = _samples(queries, candidates, rng, samples)
    if not len(rows):
        return None
    source, target = queries[rows], gallery.points[columns]
    centre, image = source.mean(axis=1), target.mean(axis=1)
    linear = linear_parts(source - centre[:, None], target - image[:, None], np.ones(rows.shape))
    sizes = np.linalg.svd(linear, compute_uv=False)
    plausible = (sizes[:, 0] <= _STRETCH[1]) & (sizes[:, 2] >= _STRETCH[0])
    plausible &= np.linalg.det(linear) > 0
    linear, centre, image = linear[plausible], centre[plausible], image[plausible]
    if not len(linear):
        return None
    region = _region(queries, centre, _REGION)
    evidence, _, _ = evaluate_maps(queries[region], gallery, linear, centre, image)
    best = np.argsort(-evidence, kind="stable")[:_REFINED]
    return _refine(queries, gallery, linear[best], centre[best], image[best])


def _samples(
    queries: Float64Array,
    candidates: tuple[RowArray, Float64Array],
    rng: np.random.Generator,
    samples: int,
) -> tuple[RowArray, RowArray]:
    """Draw queries near one another and one candidate of each, both (S, 4), by probability."""
    listed, probability = candidates
    n_queries = len(queries)
    strength = probability.max(axis=1)
    if n_queries < _SAMPLE or strength.sum() <= 0:
        return np.empty((0, _SAMPLE), dtype=np.intp), np.empty((0, _SAMPLE), dtype=np.intp)
    first = rng.choice(n_queries, samples, p=strength / strength.sum())
    pool = min(_POOL, n_queries - 1)
    away = np.linalg.norm(queries[:, None] - queries[None], axis=2)
    near = np.argsort(away, axis=1)[:, 1 : pool + 1]
    # The largest of these keys is a draw without replacement by weight (Gumbel's trick).
    keys = np.log(strength[near[first]] + 1e-9) + rng.gumbel(size=(samples, pool))
    others = np.take_along_axis(near[first], np.argsort(-keys, axis=1)[:, : _SAMPLE - 1], axis=1)
    rows = np.column_stack([first, others])
    which = np.log(probability[rows] + 1e-9) + rng.gumbel(size=(*rows.shape, listed.shape[1]))
    columns = np.take_along_axis(listed[rows], which.argmax(axis=2)[..., None], axis=2)[..., 0]
    distinct = np.sort(columns, axis=1)
    plausible = (np.diff(distinct, axis=1) > 0).all(axis=1)
    return rows[plausible], columns[plausible]


def linear_parts(
    source: Float64Array,
    target: Float64Array,
    weight: Float64Array,
    *,
    ridge: float = (_NOISE / _LINEAR_SD) ** 2,
) -> Float64Array:
    """Return linear parts (S, D, D), drawn to the identity, from offsets (S, N, D)."""
    identity = np.eye(source.shape[-1])
    weighed = weight[..., None] * source
    square = np.einsum("sni,snj->sij", weighed, source) + ridge * identity
    cross = np.einsum("sni,snj->sij", target - source, weighed)
    return np.asarray(identity + cross @ np.linalg.inv(square))


def _region(queries: Float64Array, centre: Float64Array, count: int) -> RowArray:
    """Return the queries nearest to each centre, (S, count)."""
    count = min(count, len(queries))
    away = ((queries[None] - centre[:, None]) ** 2).sum(axis=2)
    return np.argpartition(away, count - 1, axis=1)[:, :count]


def evaluate_maps(
    points: Float64Array,
    gallery: ScaledGallery,
    linear: Float64Array,
    centre: Float64Array,
    image: Float64Array,
    *,
    noise: tuple[float, float] = (_NOISE, _NOISE_PER_DISTANCE),
) -> tuple[Float64Array, Float64Array, RowArray]:
    """Evaluate S maps, x to ``linear @ (x - centre) + image``, at points (S, N, D).

    Parameters
    ----------
    points, linear, centre, image : ndarray
        Shapes (S, N, D), (S, D, D), (S, D) and (S, D).
    gallery : ScaledGallery
    noise : tuple of float
        Standard deviation of a match at the centre, and for each unit of distance from it.

    Returns
    -------
    evidence : ndarray, shape (S,)
    matched : ndarray, shape (S, N)
        Probability of each point's nearest soma to be its partner.
    nearest : ndarray of int, shape (S, N)
    """
    offset = points - centre[:, None]
    moved = np.einsum("sij,snj->sni", linear, offset) + image[:, None]
    away, nearest = gallery.tree.query(moved)
    sigma = noise[0] + noise[1] * np.linalg.norm(offset, axis=2)
    nearest = np.asarray(nearest)
    density = np.broadcast_to(gallery.density, len(gallery.points))[nearest]
    dimensions = points.shape[-1]
    ratio = np.exp(-0.5 * (away / sigma) ** 2) / (2 * np.pi * sigma**2) ** (dimensions / 2)
    ratio = ratio / density
    # A soma is one query's at most, or a map that shrinks everything would explain the most.
    ratio = np.where(best_per_row(nearest, ratio), ratio, 0.0)
    whole = 1 - _P_PARTNER + _P_PARTNER * ratio
    evidence = np.where(away <= gallery.edge, np.log(whole), 0.0)
    return evidence.sum(axis=1), _P_PARTNER * ratio / whole, nearest


def best_per_row(rows: RowArray, value: Float64Array) -> npt.NDArray[np.bool_]:
    """Return which entries have the highest value of all that name the same row of the gallery.

    Parameters
    ----------
    rows, value : ndarray, shape (S, N)
        S independent lists of N entries.

    Returns
    -------
    ndarray of bool, shape (S, N)
    """
    lists = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape).ravel()
    order = np.lexsort((-value.ravel(), rows.ravel(), lists))
    sorted_rows, sorted_lists = rows.ravel()[order], lists[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = np.diff(sorted_rows).astype(bool) | np.diff(sorted_lists).astype(bool)
    chosen = np.empty(len(order), dtype=np.bool_)
    chosen[order] = first
    return chosen.reshape(rows.shape)


def _refine(
    queries: Float64Array,
    gallery: ScaledGallery,
    linear: Float64Array,
    centre: Float64Array,
    image: Float64Array,
) -> LocalAffine:
    """Refit a few maps to all that agree with them; return the best."""
    evidence = np.zeros(len(linear))
    for _ in range(_REFINING_ROUNDS):
        points = queries[_region(queries, centre, _REGION)]
        evidence, found, nearest = evaluate_maps(points, gallery, linear, centre, image)
        weight = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9)
        target = gallery.points[nearest]
        centre = np.einsum("sn,sni->si", weight, points)
        image = np.einsum("sn,sni->si", weight, target)
        linear = linear_parts(points - centre[:, None], target - image[:, None], found)
    points = queries[_region(queries, centre, _REGION)]
    evidence, _, _ = evaluate_maps(points, gallery, linear, centre, image)
    best = int(np.argmax(evidence))
    return LocalAffine(linear[best], centre[best], image[best], float(evidence[best]))
