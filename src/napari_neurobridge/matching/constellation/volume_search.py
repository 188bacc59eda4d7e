"""Where a plane or stack of somata lies in a volume that is many times as large."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.constellation.any_turn import (
    TurnParams,
    TurnSearch,
    decide_among,
)
from napari_neurobridge.matching.constellation.flat_space import DEPTH_UNIT, FlatSpace
from napari_neurobridge.matching.constellation.grown_maps import grow_maps
from napari_neurobridge.matching.constellation.local_poses import (
    PoseParams,
    distinct_maps,
    find_local_maps,
)
from napari_neurobridge.matching.constellation.looks import CLEAR_MARGIN, weigh_by_looks
from napari_neurobridge.matching.constellation.ratio_map import RatioMap

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.grown_maps import GrownMap
    from napari_neurobridge.registration.pair_looks import Looks
    from napari_neurobridge.types import FloatArray, Report

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Maps of a round that are judged by looks: in a volume, chance gives many that fit as well.
_LOOKED_AT = 150
# A coarser table than a plane's: ten times as many poses are asked of it, and it should stay in
# the processor's cache.
_STEP = 0.15
# Of a neighbourhood; somata at the border of the field have no complete one.
_NEIGHBOURS = 24
_INNER_SHARE = 0.7
# The optical axis is known to some 7°: over a neighbourhood, that is as much as the depth of a soma
# is uncertain. So it is tried upright first, and then leaning to each side.
_SLOPE = 0.1
_SLOPES = ((0.0, 0.0), (_SLOPE, 0.0), (-_SLOPE, 0.0), (0.0, _SLOPE), (0.0, -_SLOPE))


@dataclass(frozen=True)
class VolumeSearchParams:
    """How much is tried, and when it is known.

    Attributes
    ----------
    neighbourhoods : int
        Of the queries, that are looked for between two looks at whether it is known.
    rounds : int
        So many looks at most; every fifth upright, the others leaning.
    poses : PoseParams
        Of each round. The orientation is known, so that scales are narrower than those of a field
        of which nothing is.
    turns : TurnParams
        When it is known. A volume holds so many wrong maps that the best of them says exactly
        what chance gives: a lower ratio will do than between two planes.
    seed : int
    """

    neighbourhoods: int = 24
    rounds: int = 8
    poses: PoseParams = field(
        default_factory=lambda: PoseParams(kept=4000, grown=600, scale=(0.78, 1.28))
    )
    turns: TurnParams = field(
        default_factory=lambda: TurnParams(min_evidence_ratio=1.25, evidence_margin=8.0)
    )
    seed: int = 0


def search_volume(
    queries_um: Float64Array,
    gallery_um: Float64Array,
    *,
    orientation: FloatArray,
    params: VolumeSearchParams | None = None,
    looks: Looks | None = None,
    report: Report | None = None,
) -> TurnSearch:
    """Find a field of somata in a large volume, at any angle about the optical axis.

    Neighbourhoods of the queries are looked for in the whole volume, a few at a time; those
    affine maps that explain them best are continued over the field. The search ends as soon as one
    has far more evidence than the best that contradicts it.

    Parameters
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        Somata of either side, µm (z, y, x): a plane or stack, and the volume.
    orientation : ndarray, shape (3, 3)
        Linear part of the map from queries to gallery: the optical axis right to some 10°,
        handedness exact, scale to a quarter; the angle about the optical axis does not count.
    params : VolumeSearchParams, optional
    looks : callable, optional
        What pairs of somata look like, which is added to what the pattern says.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Returns
    -------
    TurnSearch
        ``elsewhere`` is never set.

    Raises
    ------
    InputError
        If most somata of a side coincide.
    """
    params = params or VolumeSearchParams()
    turns = params.turns
    if looks is not None:
        turns = replace(turns, evidence_margin=max(turns.evidence_margin, CLEAR_MARGIN))
    space = FlatSpace.of(queries_um, gallery_um, orientation)
    ratios = RatioMap.of(space.gallery, step=_STEP)
    order = _inner(space.queries, params.seed)
    count = params.neighbourhoods
    maps: list[GrownMap] = []
    found = decide_among(space, maps, None, turns)
    for number in range(params.rounds):

        def tell(done: int, total: int, number: int = number) -> None:
            if report is not None:
                report(number * total + done, params.rounds * total, "looking for the field")

        anchors = np.take(order, np.arange(number * count, (number + 1) * count), mode="wrap")
        lean = _leaning(space.dimensions, _SLOPES[number % len(_SLOPES)])
        local = find_local_maps(
            space.queries @ lean.T,
            space.gallery,
            params.poses,
            anchors=np.unique(anchors),
            ratios=ratios,
            report=tell,
        )
        upright = [
            replace(
                one,
                linear=one.linear @ lean,
                centre=np.asarray(np.linalg.solve(lean, one.centre), dtype=np.float64),
            )
            for one in distinct_maps(local, params.poses.grown)
        ]
        grown = grow_maps(space.queries, space.gallery, upright)
        maps += grown if looks is None else weigh_by_looks(grown, looks, count=_LOOKED_AT)
        maps.sort(key=lambda one: -one.evidence)
        found = decide_among(space, maps, maps[0] if maps else None, turns)
        if found.known:
            break
    return found


def _leaning(dimensions: int, slopes: tuple[float, float]) -> Float64Array:
    """Return the map (D, D) that makes planes lean, in the units of `FlatSpace`."""
    lean = np.eye(dimensions)
    if dimensions > 2:
        lean[2, :2] = np.divide(slopes, DEPTH_UNIT)
    return lean


def _inner(queries: Float64Array, seed: int) -> RowArray:
    """Return the rows of queries with the closest neighbourhoods, in random order."""
    count = min(_NEIGHBOURS, len(queries) - 1)
    reach = np.asarray(cKDTree(queries).query(queries, k=[count + 1])[0])[:, 0]
    inner = np.argsort(reach, kind="stable")[: max(1, int(_INNER_SHARE * len(queries)))]
    return np.asarray(np.random.default_rng(seed).permutation(inner), dtype=np.intp)
