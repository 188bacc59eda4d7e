"""Two planes registered from their images alone: which pose, which map, and on what evidence."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.consensus import TOLERANCE_UM, verified_consensus
from napari_neurobridge.registration.image_matches import PatternMatcher, lifted
from napari_neurobridge.registration.measuring import measure
from napari_neurobridge.registration.plane_fit import PlaneFit, fit_plane
from napari_neurobridge.registration.plane_grid import PlaneGrid, grids_onto, lies_on
from napari_neurobridge.registration.quality import AcceptanceCriteria, decide
from napari_neurobridge.spaces.transform_numbers import to_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.registration.image_matches import ImageMatches, PlaneMatcher
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.registration.quality import Evidence, RegistrationDecision
    from napari_neurobridge.spaces.choose_fit import FittedMap
    from napari_neurobridge.types import Report

BoolArray = npt.NDArray[np.bool_]

STEP_DEG = 60.0
"""Distance of the angles that are tried; a matcher copes with somewhat more than half of it."""
ALL_ANGLES = tuple(np.arange(0.0, 360.0, STEP_DEG).tolist())
WITHIN_DEG = 30.0
"""So well an angle is known unless somebody says otherwise."""
WORKING_PIXEL_UM = 1.0
"""Planes of finer pixels are resampled to these: somata are some 15 µm wide."""
LARGEST_PIXEL_RATIO = 30.0
"""Beyond this factor between two pixel sizes, one of them is not in µm."""

# How far from where the map puts it a soma is looked for, once the pattern is found.
_REACHES_UM = (6.0, 4.0)
# The map may grow so many times from its own matches.
_GROWTHS = 2
_FEWEST_TO_MIRROR = 8
# A pose is another one when it turns the source by so much more.
_OTHER_POSE_DEG = 45.0
# What lies so far beyond the source's place may still belong to it, where the map is off.
_MARGIN_UM = 60.0


@dataclass(frozen=True, eq=False)
class Pose:
    """How the source was turned before it was matched, and what was found.

    Attributes
    ----------
    angle_deg : float
        Positive turns y towards x.
    mirrored : bool
        Whether its x axis was reversed before.
    matches : ImageMatches
        In the source's own coordinates.
    fitting : ndarray of bool, shape (K,)
        Which are verified and fit the similarity that explains most of them.
    """

    angle_deg: float
    mirrored: bool
    matches: ImageMatches
    fitting: BoolArray

    @property
    def n_fitting(self) -> int:
        """How many verified matches fit one similarity."""
        return int(self.fitting.sum())


@dataclass(frozen=True, eq=False)
class PlaneRegistration:
    """How two planes lie, on what evidence, and whether that is enough.

    Attributes
    ----------
    matches : ImageMatches
        Of the best pose, in µm (y, x) of the two planes.
    fitted : PlaneFit or None
        The map of the best pose, accepted or not; None where none could be fitted.
    evidence : Evidence
    decision : RegistrationDecision
    poses : tuple of Pose
        All that were tried.
    """

    matches: ImageMatches
    fitted: PlaneFit | None
    evidence: Evidence
    decision: RegistrationDecision
    poses: tuple[Pose, ...]

    @property
    def transform(self) -> FittedMap | None:
        """The map from source to target, at depth 0 of both; None unless it is accepted."""
        return self.fitted.transform if self.fitted and self.decision.accepted else None

    @property
    def agreeing(self) -> BoolArray:
        """Which of the matches are verified and agree with the map, (K,)."""
        if self.fitted is None:
            return np.zeros(len(self.matches), dtype=np.bool_)
        return self.fitted.agreeing

    def to_json(self) -> str:
        """Return all but the single matches as a JSON object."""
        fitted = self.fitted
        record: dict[str, Any] = {
            "decision": self.decision.model_dump(),
            "evidence": self.evidence.model_dump(),
            "transform": None
            if self.transform is None
            else to_numbers(self.transform).model_dump(),
            "notes": list(fitted.choice.notes) if fitted else [],
            "poses": [
                {
                    "angle_deg": pose.angle_deg,
                    "mirrored": pose.mirrored,
                    "n_initial": len(pose.matches),
                    "n_verified": int(pose.matches.verified.sum()),
                    "n_fitting": pose.n_fitting,
                }
                for pose in self.poses
            ],
        }
        return json.dumps(record, ensure_ascii=False)


def angles_around(angle_deg: float, within_deg: float = WITHIN_DEG) -> tuple[float, ...]:
    """Return the angles to try where one is known to so many degrees.

    Raises
    ------
    InputError
        If one of the two is no number, or the range is below 0 or above 180.
    """
    if not np.isfinite(angle_deg) or not 0 <= within_deg <= 180:
        raise InputError(
            "An angle is given in degrees with a range from 0 to 180, "
            f"not {angle_deg:g} ± {within_deg:g}."
        )
    # One try covers half a step to both sides.
    steps = int(np.ceil(max(within_deg / STEP_DEG - 0.5, 0)))
    around = angle_deg + STEP_DEG * np.arange(-steps, steps + 1)
    return tuple(dict.fromkeys((around % 360).tolist()))


def register_planes(
    source: PlanarImage,
    target: PlanarImage,
    matcher: PlaneMatcher | PatternMatcher,
    *,
    angles: Sequence[float] = ALL_ANGLES,
    criteria: AcceptanceCriteria | None = None,
    names: tuple[str, str] = ("source", "target"),
    report: Report | None = None,
) -> PlaneRegistration:
    """Register two planes, and accept the result or refuse it.

    A `PatternMatcher` looks at all angles by itself; with any other,
    the source is matched at each angle, and mirrored at each angle as a control. The angle at
    which most verified matches fit one similarity is taken, and matched again with the source
    laid on the target by the map found, if that brings more matches that agree. The other poses
    show how many matches chance finds.

    Parameters
    ----------
    source, target : PlanarImage
    matcher : PlaneMatcher or PatternMatcher
    angles : sequence of float
        By which the source is turned, degrees; see `angles_around`.
    criteria : AcceptanceCriteria, optional
    names : tuple of str
        Of the two spaces.
    report : Report, optional
        May raise to cancel.

    Returns
    -------
    PlaneRegistration

    Raises
    ------
    InputError
        If both images are the same, their pixel sizes differ more than 30-fold, or there is no
        angle.
    """
    _check(source, target, angles)
    planes = tuple(
        plane.resampled(max(plane.pixel_um, WORKING_PIXEL_UM)) for plane in (source, target)
    )
    wanted = criteria or AcceptanceCriteria()
    if isinstance(matcher, PatternMatcher):
        return _register_pattern(planes[0], planes[1], matcher, wanted, angles, names, report)
    search = _PoseSearch(planes[0], planes[1], matcher, 2 * len(angles) + 2, report)
    poses = [search.pose(angle, mirrored) for mirrored, angle in product((False, True), angles)]
    best = max(
        (pose for pose in poses if not pose.mirrored),
        key=lambda pose: (pose.n_fitting, pose.matches.verified.sum()),
    )
    fitted = fit_plane(best.matches, best.fitting, names)
    if all(_apart(angle, best.angle_deg) < 90 for angle in angles):
        poses.append(search.pose(best.angle_deg + 180, False))
    rival = _best_other(poses, best, fitted)
    matches = best.matches
    if fitted is not None:
        matches, fitted = search.again(matches, fitted, names)
    evidence = measure(
        matches, fitted, planes[0], planes[1], cell_um=wanted.coverage_cell_um
    ).model_copy(update=rival)
    if report is not None:
        report(search.total, search.total, "registered")
    return PlaneRegistration(matches, fitted, evidence, decide(evidence, wanted), tuple(poses))


def _register_pattern(
    source: PlanarImage,
    target: PlanarImage,
    matcher: PatternMatcher,
    criteria: AcceptanceCriteria,
    angles: Sequence[float],
    names: tuple[str, str],
    report: Report | None,
) -> PlaneRegistration:
    """Register by a matcher that finds the pose by itself."""
    matches = matcher.match(source, target, report=report)
    fitted = fit_plane(matches, matches.verified, names)
    found: dict[str, Any] = {"margin": matches.margin, "turned_over": mirrors(matches)}
    if fitted is not None and min(_apart(fitted.angle_deg, one) for one in angles) > STEP_DEG:
        found |= {
            "margin": 0.0,
            "n_wrong_pose": fitted.n_agreeing,
            "wrong_pose_deg": fitted.angle_deg % 360,
        }
    evidence = measure(
        matches, fitted, source, target, cell_um=criteria.coverage_cell_um
    ).model_copy(update=found)
    decision = decide(evidence, criteria)
    pose = Pose(0.0 if fitted is None else fitted.angle_deg, False, matches, matches.verified)
    if not decision.accepted or fitted is None:
        return PlaneRegistration(matches, fitted, evidence, decision, (pose,))
    # What is found where a map puts it agrees with that map, right or wrong: it makes the map more
    # exact, and is no evidence for it.
    matches, fitted = _refined(source, target, matcher, matches, fitted, names)
    refined = measure(matches, fitted, source, target, cell_um=criteria.coverage_cell_um)
    kept = ("n_initial", "n_verified", "n_agreeing", "inlier_ratio", "margin")
    evidence = refined.model_copy(update={name: getattr(evidence, name) for name in kept})
    return PlaneRegistration(matches, fitted, evidence, decision, (pose,))


def _refined(
    source: PlanarImage,
    target: PlanarImage,
    matcher: PatternMatcher,
    matches: ImageMatches,
    fitted: PlaneFit,
    names: tuple[str, str],
) -> tuple[ImageMatches, PlaneFit]:
    """Match outward from what agrees; where that brings nothing, near where the map puts it."""
    grown = False
    for _ in range(_GROWTHS):
        outward = matcher.match_outward(source, target, matches.take(fitted.agreeing))
        better = None if outward is None else fit_plane(outward, outward.verified, names)
        if outward is None or better is None or (grown and better.n_agreeing <= fitted.n_agreeing):
            break
        matches, fitted, grown = outward, better, True
    for reach in () if grown else _REACHES_UM:
        near = matcher.match_near(source, target, fitted.transform, reach)
        better = fit_plane(near, near.verified, names)
        if better is None or better.n_agreeing < fitted.n_agreeing:
            break
        matches, fitted = near, better
    return matches, fitted


def mirrors(matches: ImageMatches) -> bool:
    """Return whether the affine map that matches say, verified or not, mirrors the source."""
    if len(matches) < _FEWEST_TO_MIRROR:
        return False
    source = matches.source_um - matches.source_um.mean(axis=0)
    linear = np.linalg.lstsq(source, matches.target_um - matches.target_um.mean(axis=0))[0]
    return bool(np.linalg.det(linear) < 0)


def _check(source: PlanarImage, target: PlanarImage, angles: Sequence[float]) -> None:
    if not len(angles) or not np.isfinite(angles).all():
        raise InputError("At least one angle has to be tried, and each must be a number.")
    sizes = source.pixel_um, target.pixel_um
    if max(sizes) > LARGEST_PIXEL_RATIO * min(sizes):
        raise InputError(
            f"Pixels of {sizes[0]:g} and {sizes[1]:g} µm differ {max(sizes) / min(sizes):.0f}-fold:"
            " one of the two sizes is probably not in µm."
        )
    if sizes[0] == sizes[1] and np.array_equal(source.values, target.values):
        raise InputError("Source and target are the same image, so there is nothing to register.")


@dataclass
class _PoseSearch:
    """The planes, what matches them, and how far the search is."""

    source: PlanarImage
    target: PlanarImage
    matcher: PlaneMatcher
    total: int
    report: Report | None
    done: int = 0

    def pose(self, angle_deg: float, mirrored: bool) -> Pose:
        """Match the source as it looks when it is turned, and perhaps mirrored."""
        angle = angle_deg % 360
        grid = PlaneGrid.turned(self.source, angle, mirrored=mirrored)
        seen = f"matching at {angle:.0f}°{', mirrored' if mirrored else ''}"
        found = self._match(grid.image_of(self.source), self.target, seen)
        places = grid.to_plane(found.source_um)
        inside = lies_on(self.source, places)
        found, places = found.take(inside), places[inside]
        fitting = verified_consensus(found)
        return Pose(angle, mirrored, replace(found, source_um=places), fitting)

    def again(
        self, matches: ImageMatches, fitted: PlaneFit, names: tuple[str, str]
    ) -> tuple[ImageMatches, PlaneFit]:
        """Match with the source laid on the target, and return what more matches agree with."""
        grids = grids_onto(fitted.affine, self.source, self.target, _MARGIN_UM)
        if grids is None:
            return matches, fitted
        on_source, on_target = grids
        # No finer than what it is matched with, or thin structures would alias.
        coarse = self.source.resampled(max(self.source.pixel_um, self.target.pixel_um))
        found = self._match(
            on_source.image_of(coarse), on_target.image_of(self.target), "matching again"
        )
        fitting = verified_consensus(found)
        places = on_source.to_plane(found.source_um)
        inside = lies_on(self.source, places)
        found = replace(
            found, source_um=places, target_um=on_target.to_plane(found.target_um)
        ).take(inside)
        better = fit_plane(found, fitting[inside], names)
        if better is None or better.n_agreeing <= fitted.n_agreeing:
            return matches, fitted
        return found, better

    def _match(self, source: PlanarImage, target: PlanarImage, words: str) -> ImageMatches:
        def report(done: int, total: int, message: str) -> None:
            if self.report is not None:
                self.report(self.done, self.total, words)

        report(0, 1, words)
        found = self.matcher.match(source, target, report=report)
        self.done += 1
        return found


def _best_other(poses: list[Pose], best: Pose, fitted: PlaneFit | None) -> dict[str, Any]:
    """Return how many matches another pose than the best has, as fields of the evidence.

    Matches that agree with the best map, as those of a neighbouring angle do, do not count.
    """
    angle = best.angle_deg if fitted is None else fitted.angle_deg
    counts = {
        row: _contradicting(pose, fitted)
        for row, pose in enumerate(poses)
        if pose.mirrored or _apart(pose.angle_deg, angle) > _OTHER_POSE_DEG
    }
    row = max(counts, key=lambda row: counts[row])
    return {
        "n_wrong_pose": counts[row],
        "wrong_pose_deg": poses[row].angle_deg,
        "wrong_pose_mirrored": poses[row].mirrored,
        "margin": best.n_fitting / max(counts[row], 1),
    }


def _contradicting(pose: Pose, fitted: PlaneFit | None) -> int:
    if fitted is None:
        return pose.n_fitting
    found = pose.matches.take(pose.fitting)
    mapped = fitted.transform.map_points(lifted(found.source_um))[:, 1:]
    return int((np.linalg.norm(mapped - found.target_um, axis=1) > TOLERANCE_UM).sum())


def _apart(first_deg: float, second_deg: float) -> float:
    """Return the angle between two directions, from 0 to 180 degrees."""
    return abs((first_deg - second_deg + 180) % 360 - 180)
