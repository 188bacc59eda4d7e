"""How two fields lie on each other at any angle about the optical axis, or that it is not known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.constellation.flat_space import FlatSpace, is_sheet
from napari_neurobridge.matching.constellation.grown_maps import GrownMap, grow_maps
from napari_neurobridge.matching.constellation.local_poses import (
    LocalMap,
    PoseParams,
    distinct_maps,
    find_local_maps,
)
from napari_neurobridge.matching.constellation.looks import weigh_by_looks
from napari_neurobridge.matching.constellation.ratio_map import RatioMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.registration.pair_looks import Looks
    from napari_neurobridge.types import FloatArray, Report

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_MOST_SEEDS = 40
# So many maps are handed on where none is known to be right.
_PROPOSED = 4
# One scale in the plane is found with the other up to 1.4 times as large; more is tried along the
# stored axes of either side (z, y, x).
_WIDER = [(1.0, side**0.5, side**-0.5) for side in (1.8, 1 / 1.8, 3.2, 1 / 3.2)]
_ALIKE = (1.0, 1.0, 1.0)
_STRETCHES = [
    (_ALIKE, _ALIKE),
    *[(one, _ALIKE) for one in _WIDER],
    *[(_ALIKE, one) for one in _WIDER],
]
_NO_PAIRS = np.empty((0, 2), dtype=np.intp)


@dataclass(frozen=True)
class TurnParams:
    """What is tried, and when it is known.

    Attributes
    ----------
    poses : PoseParams
    min_evidence_ratio, evidence_margin : float
        The evidence must be so many times that of the best other map, and so much more.
    unlike_axes : bool
        Try scales of the plane's two axes that differ by more than 40 %, if nothing is found.
    angle_deg : float
        By how much a stated orientation may be wrong.
    """

    poses: PoseParams = field(default_factory=PoseParams)
    min_evidence_ratio: float = 1.5
    evidence_margin: float = 6.0
    unlike_axes: bool = True
    angle_deg: float = 45.0


@dataclass(frozen=True, eq=False)
class TurnSearch:
    """The best of all turns, and what speaks against it.

    Attributes
    ----------
    seeds : ndarray of int, shape (L, 2)
        Rows of queries and gallery on which it rests; none unless ``known``.
    linear : ndarray, shape (3, 3)
        Linear part of the map from queries to gallery, µm by µm, where they lie.
    known : bool
    reason : str
        Why, in a sentence.
    evidence, other_evidence : float
        Log probability of the gallery's somata about the mapped queries, over chance: of the best
        map that the orientation allows, and of the best other one.
    elsewhere : bool
        Whether they lie on each other in a way that the orientation excludes.
    proposals : tuple of ndarray of int, shape (L, 2)
        Rows that the maps of most evidence by the pattern alone bring together, right or wrong.
    """

    seeds: RowArray
    linear: Float64Array
    known: bool
    reason: str
    evidence: float
    other_evidence: float
    elsewhere: bool = False
    proposals: tuple[RowArray, ...] = ()


def search_turns(
    queries_um: Float64Array,
    gallery_um: Float64Array,
    *,
    orientation: FloatArray | None,
    params: TurnParams | None = None,
    looks: Looks | None = None,
    report: Report | None = None,
) -> TurnSearch:
    """Find how two fields lie on each other, whatever the angle about the optical axis.

    Neighbourhoods of the queries are looked for at all angles, at scales of 0.7 to 2.5, as they
    are and mirrored, and the best maps are continued over the field. It is known where one has
    far more evidence than the best that contradicts it: most of what is tried is wrong, so that
    the runner-up says what chance gives in these very fields.

    Parameters
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        Somata of either side, µm (z, y, x): planes, sheets or volumes.
    orientation : ndarray, shape (3, 3), or None
        Linear part of the map from queries to gallery, right to 45° about the optical axis,
        handedness exact. None where nobody knows: then all angles count and both sides of a
        plane, and the optical axis is z on both sides, or across a plane.
    params : TurnParams, optional
    looks : callable, optional
        What pairs of somata look like, which is added to what the pattern says; see
        `napari_neurobridge.registration.pair_looks.Looks`.
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    params = params or TurnParams()
    if is_sheet(gallery_um) and not is_sheet(queries_um):
        back = None if orientation is None else np.linalg.inv(orientation)
        found = search_turns(
            gallery_um,
            queries_um,
            orientation=back,
            params=params,
            looks=None if looks is None else lambda pairs: looks(pairs[:, ::-1]),
            report=report,
        )
        linear = np.asarray(np.linalg.inv(found.linear), dtype=np.float64)
        swapped = tuple(pairs[:, ::-1] for pairs in found.proposals)
        return replace(found, seeds=found.seeds[:, ::-1], linear=linear, proposals=swapped)
    whole = np.eye(3) if orientation is None else np.asarray(orientation, dtype=np.float64)
    wide = params.unlike_axes and is_sheet(gallery_um)
    stretches = _STRETCHES if wide else _STRETCHES[:1]
    best: TurnSearch | None = None
    for number, (here, there) in enumerate(stretches):
        space = FlatSpace.of(queries_um, gallery_um * there, whole @ np.diag(here))

        def tell(done: int, total: int, number: int = number) -> None:
            if report is not None:
                message = "looking for the field at all angles"
                report(number * total + done, len(stretches) * total, message)

        limit = None if orientation is None else params.angle_deg
        poses = params.poses
        if number:
            poses = replace(poses, anchors=max(1, poses.anchors // 2))
        found = _search_once(space, replace(params, poses=poses), limit, looks, tell)
        found = replace(found, linear=found.linear / np.array(there)[:, None])
        if found.known or found.elsewhere:
            return found
        if best is None or found.evidence > best.evidence:
            best = found
    return found if best is None else best


def _search_once(
    space: FlatSpace,
    params: TurnParams,
    angle_deg: float | None,
    looks: Looks | None,
    report: Callable[[int, int], None],
) -> TurnSearch:
    """Search where both axes of the plane have about one scale."""
    maps = propose_maps(space, params.poses, report=report)
    proposals = tuple(one.pairs for one in maps[:_PROPOSED])
    if looks is not None:
        maps = weigh_by_looks(maps, looks)
    allowed = [one for one in maps if angle_deg is None or _within(one.linear, angle_deg)]
    decided = decide_among(space, maps, allowed[0] if allowed else None, params)
    return replace(decided, proposals=proposals)


def propose_maps(
    space: FlatSpace, poses: PoseParams, *, report: Callable[[int, int], None] | None = None
) -> list[GrownMap]:
    """Return maps of the field as it is and mirrored, the most evidence first; most are wrong.

    Parameters
    ----------
    space : FlatSpace
    poses : PoseParams
    report : callable, optional
        Called as ``report(done, total)``.
    """
    ratios = RatioMap.of(space.gallery)
    maps: list[LocalMap] = []
    for number, hand in enumerate((1.0, -1.0)):
        mirror = np.array([1.0, hand, 1.0])[: space.dimensions]

        def tell(done: int, total: int, number: int = number) -> None:
            if report is not None:
                report(number * total + done, 2 * total)

        found = find_local_maps(
            space.queries * mirror, space.gallery, poses, ratios=ratios, report=tell
        )
        maps += [
            replace(one, linear=one.linear * mirror, centre=one.centre * mirror)
            for one in distinct_maps(found, poses.grown * (1 if space.dimensions == 2 else 3))
        ]
    return grow_maps(space.queries, space.gallery, maps)


def _within(linear: Float64Array, angle_deg: float) -> bool:
    """Return whether a map turns by no more than an angle in the plane, and does not mirror."""
    flat = linear[:2, :2]
    if np.linalg.det(flat) <= 0:
        return False
    return abs(_angle_deg(flat)) <= angle_deg


def _angle_deg(flat: Float64Array) -> float:
    """Return the turn of a map (2, 2) that does not mirror."""
    return float(np.degrees(np.arctan2(flat[1, 0] - flat[0, 1], flat[0, 0] + flat[1, 1])))


def decide_among(
    space: FlatSpace, maps: Sequence[GrownMap], best: GrownMap | None, params: TurnParams
) -> TurnSearch:
    """Say whether the best allowed map is beyond what chance gives.

    Parameters
    ----------
    space : FlatSpace
    maps : sequence of GrownMap
        All that were grown, the most evidence first.
    best : GrownMap or None
        Of those that the orientation allows.
    params : TurnParams
    """
    evidence = 0.0 if best is None else best.evidence
    chance = _contradicting(maps, best)
    if best is not None and _beyond(evidence, chance, params):
        reason = (
            f"The somata agree on one map; its evidence is {evidence:.0f}, and "
            f"{chance:.0f} that of the best other one."
        )
        seeds, linear = best.pairs[:_MOST_SEEDS], space.linear(best.linear)
        return TurnSearch(seeds, linear, True, reason, evidence, chance)
    reason = (
        "The somata do not say how the fields lie on each other: the evidence of the best map is "
        f"{evidence:.0f}, and {chance:.0f} that of the best other one. Match a few by hand."
    )
    first = maps[0] if maps else None
    elsewhere = (
        first is not None
        and first is not best
        and _beyond(first.evidence, _contradicting(maps, first), params)
    )
    if first is not None and elsewhere:
        reason = f"{_elsewhere(first.linear[:2, :2])} Correct the orientation."
    return TurnSearch(_NO_PAIRS, space.orientation, False, reason, evidence, chance, elsewhere)


def _contradicting(maps: Sequence[GrownMap], best: GrownMap | None) -> float:
    """Return the evidence of the best map that contradicts another one."""
    others = [one.evidence for one in maps if best is None or not one.agrees_with(best)]
    return max([0.0, *others])


def _beyond(evidence: float, chance: float, params: TurnParams) -> bool:
    return evidence > params.min_evidence_ratio * chance + params.evidence_margin


def _elsewhere(flat: Float64Array) -> str:
    """Say how the fields lie on each other where the orientation contradicts."""
    if np.linalg.det(flat) < 0:
        return "The somata agree on a map that mirrors the plane, which the orientation excludes."
    return (
        f"The somata agree on a map that is turned by {_angle_deg(flat):.0f}° in the plane, "
        "against what the orientation says."
    )
