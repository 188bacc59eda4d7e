"""From a map of one neighbourhood to maps of the whole field, neighbourhood by neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from napari_neurobridge.matching.constellation.affine_search import evaluate_maps, linear_parts
from napari_neurobridge.spaces.gaussian_process import farthest_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.matching.constellation.affine_search import ScaledGallery
    from napari_neurobridge.matching.constellation.local_poses import LocalMap

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Neighbourhoods: one for so many queries, each fitted to so many.
_OWN, _MOST_CENTRES, _REGION = 10, 40, 40
_ROUNDS = 4
# Standard deviations in units of the spacing: of a match about its neighbourhood's map, at the
# centre and with the distance; of all matches in the end.
_NOISE, _FINAL_NOISE = (0.12, 0.03), (0.12, 0.0)
# Of the linear part about that of the neighbourhood before; and matches that the extrapolation of
# the latter counts for.
_LINEAR_SD, _EXTRAPOLATED = 0.05, 4.0
_MIN_AGREEMENT = 0.7
# Two maps are one where they put this share of the neighbourhoods as near to each other as this.
_SHARED, _SAME = 0.25, 1.0


@dataclass(frozen=True, eq=False)
class GrownMap:
    """A map of the whole field, piece by piece.

    Attributes
    ----------
    linear : ndarray, shape (D, D)
        Of the neighbourhood with the most evidence.
    images : ndarray, shape (C, D)
        Of the centres of all neighbourhoods, which all maps of a field have in common.
    evidence : float
        Log probability of the gallery's somata about the queries, over chance.
    pairs : ndarray of int, shape (K, 2)
        Rows of queries and gallery that it brings together, the surest first.
    """

    linear: Float64Array
    images: Float64Array
    evidence: float
    pairs: RowArray

    def agrees_with(self, other: GrownMap) -> bool:
        """Return whether two maps of the same queries put a part of them in the same place."""
        apart = np.linalg.norm(self.images - other.images, axis=1)
        return bool(np.quantile(apart, _SHARED) < _SAME)


def grow_maps(
    queries: Float64Array, gallery: ScaledGallery, maps: Sequence[LocalMap]
) -> list[GrownMap]:
    """Continue each of several maps over the whole field; the most evidence first.

    Neighbourhood by neighbourhood, outward: each starts from the map of the nearest that is done
    and is refitted to its own somata, so that the field may bend. A wrong map finds nothing
    to go on with.

    Parameters
    ----------
    queries : ndarray, shape (N, D)
    gallery : ScaledGallery
    maps : sequence of LocalMap
    """
    if not maps:
        return []
    count = int(np.clip(len(queries) // _OWN, 1, _MOST_CENTRES))
    centres = queries[farthest_points(queries, count, 1)]
    linear, images = _continued(queries, gallery, maps, centres)
    owner = np.asarray(cKDTree(centres).query(queries)[1])
    offset = queries - centres[owner]
    moved = np.einsum("snij,nj->sni", linear[:, owner], offset) + images[:, owner]
    same = np.broadcast_to(np.eye(queries.shape[1]), (len(maps), *linear.shape[2:]))
    zero = np.zeros((len(maps), queries.shape[1]))
    evidence, found, nearest = evaluate_maps(moved, gallery, same, zero, zero, noise=_FINAL_NOISE)
    grown = []
    for one in np.argsort(-evidence, kind="stable").tolist():
        order = np.argsort(-found[one], kind="stable")
        agreeing = order[found[one][order] > _MIN_AGREEMENT]
        strength = np.bincount(owner, weights=found[one], minlength=len(centres))
        grown.append(
            GrownMap(
                linear[one, int(np.argmax(strength))],
                images[one],
                float(evidence[one]),
                np.column_stack([agreeing, nearest[one][agreeing]]),
            )
        )
    return grown


def _continued(
    queries: Float64Array,
    gallery: ScaledGallery,
    maps: Sequence[LocalMap],
    centres: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Return the maps' linear parts (S, C, D, D) at the centres, and where these go, (S, C, D)."""
    n_maps, (n_centres, dimensions) = len(maps), centres.shape
    near = np.asarray(cKDTree(queries).query(centres, k=min(_REGION, len(queries)))[1])
    between = cdist(centres, centres)
    begin = np.array([one.centre for one in maps])
    order = np.argsort(cdist(begin, centres), axis=1)
    linear = np.empty((n_maps, n_centres, dimensions, dimensions))
    images = np.empty((n_maps, n_centres, dimensions))
    every = np.arange(n_maps)
    for step in range(n_centres):
        now = order[:, step]
        if step:
            done = order[:, :step]
            before = done[every, np.argmin(between[now[:, None], done], axis=1)]
            known, start, from_um = linear[every, before], images[every, before], centres[before]
        else:
            known = np.array([one.linear for one in maps])
            start = np.array([one.image for one in maps])
            from_um = begin
        start = start + np.einsum("sij,sj->si", known, centres[now] - from_um)
        offset = queries[near[now]] - centres[now][:, None]
        local = np.einsum("sij,snj->sni", known, offset)
        change, shift = _refitted(local, gallery, start)
        linear[every, now], images[every, now] = change @ known, start + shift
    return linear, images


def _refitted(
    local: Float64Array, gallery: ScaledGallery, start: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return how maps of points (S, N, D) about ``start`` change, (S, D, D), and shift, (S, D)."""
    n_maps, _, dimensions = local.shape
    linear = np.broadcast_to(np.eye(dimensions), (n_maps, dimensions, dimensions))
    shift, zero = np.zeros((n_maps, dimensions)), np.zeros((n_maps, dimensions))
    ridge = (_NOISE[0] / _LINEAR_SD) ** 2
    for _ in range(_ROUNDS):
        _, found, nearest = evaluate_maps(local, gallery, linear, zero, start + shift, noise=_NOISE)
        target = gallery.points[nearest] - start[:, None]
        weight = found / (found.sum(axis=1, keepdims=True) + _EXTRAPOLATED)
        here = np.einsum("sn,sni->si", weight, local)
        there = np.einsum("sn,sni->si", weight, target)
        linear = linear_parts(local - here[:, None], target - there[:, None], found, ridge=ridge)
        shift = there - np.einsum("sij,sj->si", linear, here)
    return linear, shift
