"""How two fields lie on each other at any angle about the optical axis, or that it is not known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.constellation.flat_space import FlatSpace, is_sheet
from napari_neurobridge.matching.constellation.local_poses import (
    LocalMap,
    PoseParams,
    find_local_maps,
)
from napari_neurobridge.matching.constellation.ratio_map import RatioMap
from napari_neurobridge.matching.constellation.windows import one_to_one

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import FloatArray, Report

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Two neighbourhoods agree where their maps put the point between them as near as this, in
# spacings and for each unit of distance, and turn and stretch alike.
_NEAR, _NEAR_PER_DISTANCE = 1.0, 0.12
_LINEAR_APART = 0.5
# A neighbourhood adds to the others' evidence when so many of its somata are new.
_FRESH = 0.5
_LEAST_EVIDENCE = 3.0
_MOST_SEEDS = 40


@dataclass(frozen=True)
class TurnParams:
    """What is tried, and when it is known.

    Attributes
    ----------
    poses : PoseParams
    min_evidence_ratio, evidence_margin : float
        The evidence must be so many times that of the best other map, and exceed it by so much.
    angle_deg : float
        By how much a stated orientation may be wrong.
    """

    poses: PoseParams = field(default_factory=PoseParams)
    min_evidence_ratio: float = 2.0
    evidence_margin: float = 12.0
    angle_deg: float = 45.0


@dataclass(frozen=True, eq=False)
class MapGroup:
    """Neighbourhoods whose maps continue each other.

    Attributes
    ----------
    maps : tuple of LocalMap
        The one with the most evidence first.
    evidence : float
        Of all, each query counted once.
    """

    maps: tuple[LocalMap, ...]
    evidence: float

    def seeds(self, count: int = _MOST_SEEDS) -> RowArray:
        """Return the surest pairs (L, 2) of each neighbourhood in turn, one-to-one."""
        ranked = [one.pairs[np.argsort(-one.agreement, kind="stable")] for one in self.maps]
        turns = [(turn, row) for pairs in ranked for turn, row in enumerate(pairs)]
        turns.sort(key=lambda both: both[0])
        pairs = np.array([row for _, row in turns], dtype=np.intp).reshape(-1, 2)
        return one_to_one(pairs, -np.arange(len(pairs), dtype=np.float64))[0][:count]


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
    """

    seeds: RowArray
    linear: Float64Array
    known: bool
    reason: str
    evidence: float
    other_evidence: float


def search_turns(
    queries_um: Float64Array,
    gallery_um: Float64Array,
    *,
    orientation: FloatArray | None,
    params: TurnParams | None = None,
    report: Report | None = None,
) -> TurnSearch:
    """Find how two fields lie on each other, whatever the angle about the optical axis.

    Neighbourhoods of the queries are looked for at all angles, at scales of 0.7 to 2.5, as they
    are and mirrored; maps that continue each other are counted together. It is known where the
    best such group has far more evidence than the best that contradicts it: most of what is
    tried is wrong, so that the runner-up says what chance gives in these very fields.

    Parameters
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        Somata of either side, µm (z, y, x): planes, sheets or volumes.
    orientation : ndarray, shape (3, 3), or None
        Linear part of the map from queries to gallery, right to 45° about the optical axis,
        handedness exact. None where nobody knows: then all angles count and both sides of a
        plane, and the optical axis is z on both sides, or across a plane.
    params : TurnParams, optional
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    params = params or TurnParams()
    if is_sheet(gallery_um) and not is_sheet(queries_um):
        back = None if orientation is None else np.linalg.inv(orientation)
        found = search_turns(gallery_um, queries_um, orientation=back, params=params, report=report)
        linear = np.asarray(np.linalg.inv(found.linear), dtype=np.float64)
        return TurnSearch(
            found.seeds[:, ::-1],
            linear,
            found.known,
            found.reason,
            found.evidence,
            found.other_evidence,
        )
    space = FlatSpace.of(queries_um, gallery_um, np.eye(3) if orientation is None else orientation)
    groups = group_maps(_both_hands(space, params.poses, report))
    allowed = [
        group
        for group in groups
        if orientation is None or _within(group.maps[0].linear, params.angle_deg)
    ]
    best = allowed[0] if allowed else None
    others = [group.evidence for group in groups if group is not best]
    return _decided(space, best, groups, max([0.0, *others]), params)


def _both_hands(space: FlatSpace, poses: PoseParams, report: Report | None) -> list[LocalMap]:
    ratios = RatioMap.of(space.gallery)
    maps = []
    for number, hand in enumerate((1.0, -1.0)):
        mirror = np.array([1.0, hand, 1.0])[: space.dimensions]

        def tell(done: int, total: int, number: int = number) -> None:
            if report is not None:
                report(number * total + done, 2 * total, "looking for the field at all angles")

        for one in find_local_maps(
            space.queries * mirror, space.gallery, poses, ratios=ratios, report=tell
        ):
            maps.append(
                LocalMap(
                    one.linear * mirror,
                    one.centre * mirror,
                    one.image,
                    one.evidence,
                    one.pairs,
                    one.agreement,
                )
            )
    return maps


def group_maps(maps: Sequence[LocalMap]) -> list[MapGroup]:
    """Return maps that continue each other as groups, that of the most evidence first."""
    groups: list[list[LocalMap]] = []
    for one in sorted(maps, key=lambda one: -one.evidence):
        if one.evidence < _LEAST_EVIDENCE:
            break
        for group in groups:
            if _continues(one, group):
                group.append(one)
                break
        else:
            groups.append([one])
    found = [_counted(group) for group in groups]
    return sorted(found, key=lambda group: -group.evidence)


def _continues(one: LocalMap, group: Sequence[LocalMap]) -> bool:
    """Return whether a map agrees with that of the nearest neighbourhood of a group."""
    near = min(group, key=lambda other: float(np.linalg.norm(other.centre - one.centre)))
    relative = one.linear @ np.linalg.inv(near.linear) - np.eye(len(one.linear))
    if np.linalg.norm(relative[:2, :2], 2) > _LINEAR_APART:
        return False
    middle = (one.centre + near.centre)[None] / 2
    distance = float(np.linalg.norm(near.linear @ (one.centre - near.centre)))
    apart = float(np.linalg.norm(one.move(middle) - near.move(middle)))
    return apart < _NEAR + _NEAR_PER_DISTANCE * distance


def _counted(group: Sequence[LocalMap]) -> MapGroup:
    """Return the neighbourhoods that add evidence, and the sum of it."""
    seen: set[int] = set()
    kept, total = [], 0.0
    for one in group:
        rows = set(one.pairs[:, 0].tolist())
        fresh = len(rows - seen) / max(len(rows), 1)
        if fresh >= _FRESH:
            kept.append(one)
            total += fresh * one.evidence
            seen |= rows
    return MapGroup(tuple(kept), total)


def _within(linear: Float64Array, angle_deg: float) -> bool:
    """Return whether a map turns by no more than an angle in the plane, and does not mirror."""
    flat = linear[:2, :2]
    if np.linalg.det(flat) <= 0:
        return False
    return abs(_angle_deg(flat)) <= angle_deg


def _angle_deg(flat: Float64Array) -> float:
    """Return the turn of a map (2, 2) that does not mirror."""
    return float(np.degrees(np.arctan2(flat[1, 0] - flat[0, 1], flat[0, 0] + flat[1, 1])))


def _decided(
    space: FlatSpace,
    best: MapGroup | None,
    groups: Sequence[MapGroup],
    chance: float,
    params: TurnParams,
) -> TurnSearch:
    """Return whether the best group is beyond what chance gives, and say so."""
    nothing = np.empty((0, 2), dtype=np.intp)
    if best is not None and _beyond(best.evidence, chance, params):
        reason = (
            f"The somata agree on one map; its evidence is {best.evidence:.0f}, and "
            f"{chance:.0f} that of the best other one."
        )
        linear = space.linear(best.maps[0].linear)
        return TurnSearch(best.seeds(), linear, True, reason, best.evidence, chance)
    evidence = 0.0 if best is None else best.evidence
    reason = (
        "The somata do not say how the fields lie on each other: the evidence of the best map is "
        f"{evidence:.0f}, and {chance:.0f} that of the best other one. Match a few by hand."
    )
    rest = [group.evidence for group in groups[1:2]]
    if groups and groups[0] is not best and _beyond(groups[0].evidence, max([0.0, *rest]), params):
        reason = f"{_elsewhere(groups[0].maps[0].linear[:2, :2])} Correct the orientation."
    return TurnSearch(nothing, space.orientation, False, reason, evidence, chance)


def _beyond(evidence: float, chance: float, params: TurnParams) -> bool:
    limit = max(params.min_evidence_ratio * chance, chance + params.evidence_margin)
    return evidence > limit


def _elsewhere(flat: Float64Array) -> str:
    """Say how the fields lie on each other where the orientation contradicts."""
    if np.linalg.det(flat) < 0:
        return "The somata agree on a map that mirrors the plane, which the orientation excludes."
    return (
        f"The somata agree on a map that is turned by {_angle_deg(flat):.0f}° in the plane, "
        "against what the orientation says."
    )
