"""Where a neighbourhood of somata may lie in another field, at any angle about the optical axis.

Each pair of neighbours here and each there give a turn, a scale and a place, as in geometric
hashing (Wolfson and Rigoutsos, IEEE Computational Science and Engineering, 1997); each such pose is
judged by how many of the neighbours around find a soma, and the best are refined to affine maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.constellation.affine_search import evaluate_maps, linear_parts
from napari_neurobridge.matching.constellation.ratio_map import RatioMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.matching.constellation.affine_search import ScaledGallery

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Neighbours that give a pose with a soma, on either side.
_PARTNERS_HERE, _PARTNERS_THERE = 6, {2: 10, 3: 16}
# Neighbours that judge a pose, at first and then.
_FIRST_JUDGES, _JUDGES = 6, 24
_KEPT_SHARE, _FEWEST_KEPT = 0.02, 50
# Of two neighbours here and there, in units of the spacing.
_DEPTH_TOLERANCE = 0.3
# A neighbourhood in a volume is flat, as what a plane shows of it.
_FLAT = (1.0, 1.0, 4.0)
# Standard deviation of a match about a refined map, at its centre and with the distance from it.
_NOISE = (0.12, 0.03)
# Of each entry of the linear part about a turn and one scale.
_LINEAR_SD = 0.2
_REFINING_ROUNDS, _SMALLEST_REGION, _GROWTH, _REGION = 5, 20, 5, 30
_MIN_AGREEMENT = 0.7
# Two maps are one where they put a place as near to each other as this, and turn and stretch it
# alike but for this share.
_SAME_PLACE, _SAME_LINEAR = 1.0, 0.25


@dataclass(frozen=True)
class PoseParams:
    """How many poses are tried.

    Attributes
    ----------
    anchors : int
        Somata of the queries whose neighbourhoods are looked for.
    kept : int
        Poses that are refined.
    grown : int
        Of the refined maps, those that are continued over the field; three times as many in a
        volume, where more of them are as good by chance.
    scale : tuple of float
        Smallest and largest length in the gallery for each of the oriented queries.
    seed : int
    """

    anchors: int = 120
    kept: int = 800
    grown: int = 60
    scale: tuple[float, float] = (0.7, 2.5)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class LocalMap:
    """An affine map on which the somata of a neighbourhood agree.

    Attributes
    ----------
    linear : ndarray, shape (D, D)
    centre, image : ndarray, shape (D,)
        Maps x to ``linear @ (x - centre) + image``.
    evidence : float
        Log probability of the gallery's somata about the neighbourhood's, over chance.
    pairs : ndarray of int, shape (K, 2)
        Rows of queries and gallery that it brings together.
    agreement : ndarray, shape (K,)
        Probability of each.
    """

    linear: Float64Array
    centre: Float64Array
    image: Float64Array
    evidence: float
    pairs: RowArray
    agreement: Float64Array

    def move(self, points: Float64Array) -> Float64Array:
        """Map points (N, D)."""
        return np.asarray((points - self.centre) @ self.linear.T + self.image)


def find_local_maps(
    queries: Float64Array,
    gallery: ScaledGallery,
    params: PoseParams,
    *,
    anchors: RowArray | None = None,
    ratios: RatioMap | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[LocalMap]:
    """Return the affine maps that explain neighbourhoods of the queries best, the best first.

    Parameters
    ----------
    queries : ndarray, shape (N, D)
        The first two coordinates lie in the plane; one more where the gallery has depth.
    gallery : ScaledGallery
    params : PoseParams
    anchors : ndarray of int, shape (A,), optional
        Rows of the queries whose neighbourhoods are looked for; drawn unless given.
    ratios : RatioMap, optional
        Of the gallery.
    report : callable, optional
        Called as ``report(done, total)``, with neighbourhoods as steps.
    """
    near = _flat_neighbours(queries, _JUDGES)
    if anchors is None:
        drawn = np.random.default_rng(params.seed).permutation(len(queries))
        anchors = drawn[: params.anchors]
    ratios = ratios or RatioMap.of(gallery)
    poses = _Poses.propose(queries, near, anchors, gallery, ratios, params, report)
    return _refined(queries, gallery, poses, params)


@dataclass(frozen=True, eq=False)
class _Poses:
    """S turns with one scale: the query that lies on a soma, and the turn as a complex factor."""

    query: RowArray
    soma: RowArray
    factor: npt.NDArray[np.complex64]

    @classmethod
    def propose(
        cls,
        queries: Float64Array,
        near: RowArray,
        anchors: RowArray,
        gallery: ScaledGallery,
        ratios: RatioMap,
        params: PoseParams,
        report: Callable[[int, int], None] | None,
    ) -> _Poses:
        there = _flat_neighbours(gallery.points, _PARTNERS_THERE[queries.shape[1]])
        across = _complex(gallery.points)[there] - _complex(gallery.points)[:, None]
        deeper = _depth(gallery.points)[there] - _depth(gallery.points)[:, None]
        found: list[tuple[RowArray, RowArray, npt.NDArray[np.complex64]]] = []
        for number, anchor in enumerate(anchors.tolist()):
            if report is not None:
                report(number, len(anchors))
            offsets = queries[near[anchor]] - queries[anchor]
            for one in range(min(_PARTNERS_HERE, len(offsets))):
                soma, factor = _plausible(offsets[one], across, deeper, params.scale)
                judges = np.delete(offsets[: _FIRST_JUDGES + 1], one, axis=0)
                score = _judged(gallery.points[soma], factor, judges, ratios)
                best = _highest(score, max(_FEWEST_KEPT, int(_KEPT_SHARE * len(score))))
                found.append((np.full(len(best), anchor), soma[best], factor[best]))
        query, soma, factor = (np.concatenate(parts) for parts in zip(*found, strict=True))
        score = np.empty(len(query), dtype=np.float32)
        for anchor in anchors.tolist():
            rows = np.flatnonzero(query == anchor)
            offsets = queries[near[anchor]] - queries[anchor]
            score[rows] = _judged(gallery.points[soma[rows]], factor[rows], offsets, ratios)
        best = _highest(score, params.kept)
        return cls(query[best], soma[best], factor[best])


def _neighbours(points: Float64Array, count: int) -> RowArray:
    """Return the rows of each point's nearest others, (N, count or fewer)."""
    count = min(count, len(points) - 1)
    return np.asarray(cKDTree(points).query(points, k=np.arange(2, count + 2))[1], dtype=np.intp)


def _flat_neighbours(points: Float64Array, count: int) -> RowArray:
    return _neighbours(points * _FLAT[: points.shape[1]], count)


def _complex(points: Float64Array) -> npt.NDArray[np.complex64]:
    return np.asarray(points[..., 0] + 1j * points[..., 1], dtype=np.complex64)


def _depth(points: Float64Array) -> npt.NDArray[np.float32]:
    whole = points[..., 2] if points.shape[-1] > 2 else np.zeros(points.shape[:-1])
    return np.asarray(whole, dtype=np.float32)


def _plausible(
    offset: Float64Array,
    across: npt.NDArray[np.complex64],
    deeper: npt.NDArray[np.float32],
    scale: tuple[float, float],
) -> tuple[RowArray, npt.NDArray[np.complex64]]:
    """Return the somata, and the factors, by which an offset (D,) becomes one of theirs (M, K)."""
    here = _complex(offset)
    if abs(here) < 1e-6:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.complex64)
    factor = across / here
    size = np.abs(factor)
    possible = (size > scale[0]) & (size < scale[1])
    possible &= np.abs(deeper - size * _depth(offset)) < _DEPTH_TOLERANCE
    return np.nonzero(possible)[0], factor[possible]


def _judged(
    places: Float64Array,
    factor: npt.NDArray[np.complex64],
    offsets: Float64Array,
    ratios: RatioMap,
) -> npt.NDArray[np.float32]:
    """Return the summed log ratio of a query's neighbours (K, D) under poses (S,)."""
    start, size = _complex(places), np.abs(factor)
    moved = start + factor * _complex(offsets)[:, None]
    deeper = _depth(places) + size * _depth(offsets)[:, None]
    coordinates = [moved.real, moved.imag, deeper][: places.shape[1]]
    return np.asarray(ratios(*coordinates).sum(axis=0))


def _highest(score: npt.NDArray[np.float32], count: int) -> RowArray:
    """Return the rows of the highest scores, the highest first."""
    rows = np.arange(len(score))
    if count < len(score):
        rows = np.argpartition(-score, count)[:count]
    return np.asarray(rows[np.argsort(-score[rows], kind="stable")], dtype=np.intp)


def _refined(
    queries: Float64Array, gallery: ScaledGallery, poses: _Poses, params: PoseParams
) -> list[LocalMap]:
    """Refit the poses to all that agree with them, in regions that grow; the best first."""
    if not len(poses.query):
        return []
    order = np.column_stack([np.arange(len(queries)), _neighbours(queries, _REGION - 1)])
    turn = _similarities(poses.factor, queries.shape[1])
    away = queries[order[poses.query]] - queries[poses.query][:, None]
    local = np.einsum("sij,snj->sni", turn, away)
    count, dimensions = len(turn), queries.shape[1]
    linear = np.broadcast_to(np.eye(dimensions), turn.shape)
    centre, image = np.zeros((count, dimensions)), gallery.points[poses.soma]
    ridge = (_NOISE[0] / _LINEAR_SD) ** 2
    for number in range(_REFINING_ROUNDS):
        points = local[:, : _SMALLEST_REGION + number * _GROWTH]
        _, found, nearest = evaluate_maps(points, gallery, linear, centre, image, noise=_NOISE)
        weight = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9)
        target = gallery.points[nearest]
        centre = np.einsum("sn,sni->si", weight, points)
        image = np.einsum("sn,sni->si", weight, target)
        linear = linear_parts(points - centre[:, None], target - image[:, None], found, ridge=ridge)
    evidence, found, nearest = evaluate_maps(local, gallery, linear, centre, image, noise=_NOISE)
    whole = linear @ turn
    maps = []
    for one in np.argsort(-evidence, kind="stable").tolist():
        if not _has_scale(whole[one], params.scale):
            continue
        agreeing = np.flatnonzero(found[one] > _MIN_AGREEMENT)
        rows = order[poses.query[one]][agreeing]
        maps.append(
            LocalMap(
                whole[one],
                queries[poses.query[one]] + np.linalg.solve(turn[one], centre[one]),
                image[one],
                float(evidence[one]),
                np.column_stack([rows, nearest[one][agreeing]]),
                found[one][agreeing],
            )
        )
    return maps


def distinct_maps(maps: Sequence[LocalMap], count: int) -> list[LocalMap]:
    """Return the first maps, at most ``count``, that are not like one before them."""
    if not maps:
        return []
    linear = np.array([one.linear for one in maps])
    centre, image = (
        np.array([one.centre for one in maps]),
        np.array([one.image for one in maps]),
    )
    left = np.ones(len(maps), dtype=np.bool_)
    kept: list[LocalMap] = []
    while left.any() and len(kept) < count:
        first = int(np.argmax(left))
        kept.append(maps[first])
        moved = np.einsum("sij,sj->si", linear, centre[first] - centre) + image
        same = np.linalg.norm(moved - image[first], axis=1) < _SAME_PLACE
        apart = np.linalg.norm(linear - linear[first], axis=(1, 2))
        same &= apart < _SAME_LINEAR * np.linalg.norm(linear[first])
        left &= ~same
        left[first] = False
    return kept


def _similarities(factor: npt.NDArray[np.complex64], dimensions: int) -> Float64Array:
    """Return complex factors as linear maps (S, D, D); depth has the same scale."""
    linear = np.zeros((len(factor), dimensions, dimensions))
    linear[:, 0, 0] = linear[:, 1, 1] = factor.real
    linear[:, 1, 0], linear[:, 0, 1] = factor.imag, -factor.imag
    if dimensions > 2:
        linear[:, 2, 2] = np.abs(factor)
    return linear


def _has_scale(linear: Float64Array, scale: tuple[float, float]) -> bool:
    """Return whether a map stretches each direction of the plane by as much as may be."""
    sizes = np.linalg.svd(linear[:2, :2], compute_uv=False)
    return bool(sizes[0] <= scale[1] * 1.1 and sizes[1] >= scale[0] / 1.1)
