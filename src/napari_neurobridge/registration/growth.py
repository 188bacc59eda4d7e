"""Matching two planes outward from a few neighbouring matches, as a smooth map predicts.

A search of the pattern may be right in one part of the planes and drift elsewhere, where tissue is
stretched more than it allows for. Each neighbourhood of its matches is therefore grown anew: a
Gaussian process on the matches so far says where the next somata lie, and how far off they may be.
What the whole planes then show decides which growth is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.pair_looks import bounded
from napari_neurobridge.registration.soma_pairs import fitted_linear
from napari_neurobridge.spaces.gaussian_process import (
    DeformationPrior,
    ExactRegression,
    farthest_points,
)
from napari_neurobridge.spaces.mutual_nearest import mutual_nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.registration.pair_looks import Looks

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# How tissue departs from the affine map of a neighbourhood.
_PRIOR = DeformationPrior(length_um=400.0, displacement_um=15.0, strain=0.15, shift_um=30.0)
# Standard deviation, each component, of a match about the tissue; and of one that is judged, in
# which a part of the departure is left.
_NOISE_UM, _JUDGED_UM = 1.6, 2.2
# Farther from where it is expected, a partner is found by chance.
_REACH_UM, _DEVIATIONS = 12.0, 2.5
_NEIGHBOURS, _FEWEST, _ROUNDS, _MOST_STARTS = 10, 6, 14, 60
# From so many matches on, the affine part is fitted to them and not to the neighbourhood.
_ENOUGH = 15
_STRETCH = (0.55, 1.6)
# Pairs are kept at odds of twelve to one: more are right then, and the map is hardly less exact.
_KEPT = 2.5
# So many growths are judged by looks.
_JUDGED = 6


@dataclass(frozen=True, eq=False)
class Growth:
    """Pairs of somata that one smooth map brings together.

    Attributes
    ----------
    pairs : ndarray of int, shape (K, 2)
        Rows of source and target.
    evidence : float
        Log likelihood of the pairs over chance, a half of them expected to be wrong.
    """

    pairs: RowArray
    evidence: float


class _SmoothMap:
    """The affine map of some pairs and a Gaussian process about it."""

    def __init__(
        self, source_um: Float64Array, target_um: Float64Array, linear: Float64Array
    ) -> None:
        self._middle, self._linear = source_um.mean(axis=0), linear
        self._end = target_um.mean(axis=0)
        departure = target_um - self._affine(source_um)
        noise = np.full(len(source_um), _NOISE_UM)
        offsets = lifted(source_um - self._middle)
        self._process = ExactRegression(_PRIOR, offsets, lifted(departure), noise)

    @classmethod
    def of(
        cls,
        source_um: Float64Array,
        target_um: Float64Array,
        pairs: RowArray,
        linear_of: RowArray | None = None,
    ) -> _SmoothMap | None:
        """Fit pairs, the linear part perhaps to others; None where that is no map of tissue."""
        fitted = pairs if linear_of is None else linear_of
        linear = fitted_linear(source_um[fitted[:, 0]], target_um[fitted[:, 1]])
        if linear is None or np.linalg.det(linear) <= 0:
            return None
        stretch = np.linalg.svd(linear, compute_uv=False)
        if stretch[-1] < _STRETCH[0] or stretch[0] > _STRETCH[1]:
            return None
        return cls(source_um[pairs[:, 0]], target_um[pairs[:, 1]], linear)

    def __call__(self, source_um: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return where places (N, 2) lie, (N, 2), and the variance of each component, (N,)."""
        mean, variance = self._process.predict(lifted(source_um - self._middle))
        return self._affine(source_um) + mean[:, 1:], variance

    def _affine(self, source_um: Float64Array) -> Float64Array:
        return np.asarray(self._end + (source_um - self._middle) @ self._linear.T)


def neighbourhoods(
    source_um: Float64Array, pairs: RowArray, *, most: int = _MOST_STARTS
) -> list[RowArray]:
    """Return pairs with those of their nearest neighbours in the source, themselves among them.

    Of more than ``most`` pairs some are begun with, spread over all.
    """
    if not len(pairs):
        return []
    places = source_um[pairs[:, 0]]
    begun = farthest_points(places, most, 1)
    near = cKDTree(places).query(places[begun], k=min(_NEIGHBOURS, len(places)))[1]
    return [pairs[rows] for rows in np.asarray(near).reshape(len(begun), -1)]


def growths(
    source_um: Float64Array,
    target_um: Float64Array,
    starts: Sequence[RowArray],
    density: float,
    looks: Looks | None = None,
    *,
    judged: int = _JUDGED,
) -> list[Growth]:
    """Grow each of several sets of pairs over both planes; the most evidence first.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (N, 2) and (M, 2)
        Somata.
    starts : sequence of ndarray of int, shape (K, 2)
        Rows of source and target; a set that fits no map is left out.
    density : float
        Of the target's somata, per µm².
    looks : callable, optional
    judged : int
        So many of the most evidence by place alone are judged, and returned.
    """
    found: dict[bytes, tuple[RowArray, Growth]] = {}
    for start in starts:
        pairs = grown_pairs(source_um, target_um, start)
        if pairs is not None and pairs.tobytes() not in found:
            placed = evidence_of(source_um, target_um, pairs, density)
            if placed is not None:
                found[pairs.tobytes()] = pairs, placed
    likeliest = sorted(found.values(), key=lambda one: -one[1].evidence)[:judged]
    grown = [
        placed if looks is None else evidence_of(source_um, target_um, pairs, density, looks)
        for pairs, placed in likeliest
    ]
    return sorted((one for one in grown if one is not None), key=lambda one: -one.evidence)


def evidence_of(
    source_um: Float64Array,
    target_um: Float64Array,
    pairs: RowArray,
    density: float,
    looks: Looks | None = None,
) -> Growth | None:
    """Return what the map of some pairs brings together; None where they fit no map.

    Of these, the pairs that are far likelier right than wrong are returned, and the evidence of
    all.
    """
    smooth = _SmoothMap.of(source_um, target_um, pairs)
    if smooth is None:
        return None
    mapped = smooth(source_um)[0]
    near = mutual_nearest(mapped, target_um, _REACH_UM)
    off = np.linalg.norm(mapped[near[:, 0]] - target_um[near[:, 1]], axis=1)
    level = -np.log(2 * np.pi * _JUDGED_UM**2 * density)
    ratios = level - 0.5 * (off / _JUDGED_UM) ** 2
    if looks is not None and len(near):
        ratios = ratios + bounded(looks(near))
    evidence = np.logaddexp(ratios, 0.0).sum() - len(ratios) * np.log(2.0)
    return Growth(near[ratios > _KEPT], float(evidence))


def grown_pairs(
    source_um: Float64Array, target_um: Float64Array, start: RowArray
) -> RowArray | None:
    """Return the pairs that a set of pairs grows to, by rows of the source; None where it dies.

    In each round, all pairs are chosen anew: somata that are each other's nearest once the map
    is applied, no farther apart than the map is sure.
    """
    pairs = start
    for _ in range(_ROUNDS):
        linear_of = pairs if len(pairs) > _ENOUGH else start
        smooth = _SmoothMap.of(source_um, target_um, pairs, linear_of)
        if smooth is None:
            return None
        mapped, variance = smooth(source_um)
        spread = np.sqrt(variance + _NOISE_UM**2)
        known = np.flatnonzero(_DEVIATIONS * spread < _REACH_UM + 2.0)
        near = mutual_nearest(mapped[known], target_um, _REACH_UM)
        near = np.column_stack([known[near[:, 0]], near[:, 1]])
        off = np.linalg.norm(mapped[near[:, 0]] - target_um[near[:, 1]], axis=1)
        near = near[off < _DEVIATIONS * spread[near[:, 0]]]
        if len(near) < _FEWEST:
            return None
        if np.array_equal(near, pairs):
            break
        pairs = near
    return pairs
