"""What speaks for a registration of two planes, and whether that is enough to accept it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import annotated_types
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

_Count = Annotated[int, annotated_types.Ge(0)]
_Share = Annotated[float, annotated_types.Interval(ge=0, le=1)]
_Length = Annotated[float, annotated_types.Ge(0)]
_Factor = Annotated[float, annotated_types.Ge(1)]


class Evidence(BaseModel, frozen=True, extra="forbid"):
    """What is known of a registration; what could not be measured is None."""

    n_source: _Count = Field(description="Keypoints of the source.")
    n_target: _Count = Field(description="Keypoints of the target.")
    n_initial: _Count = Field(description="Matches before verification.")
    n_verified: _Count = Field(description="Matches above the threshold of the verification.")
    n_agreeing: _Count = Field(description="Verified matches that agree with the map.")
    inlier_ratio: _Share = Field(
        description="Share of the initial matches that are right, as the verification estimates."
    )
    coverage: _Share | None = Field(
        None, description="Share of the overlap's cells that hold an agreeing match."
    )
    coverage_cell_um: _Length | None = Field(None, description="Side of such a cell, about.")
    overlap: _Share | None = Field(
        None, description="Share of the source that the map puts into the target."
    )
    spread: _Share | None = Field(
        None, description="Second extent of the agreeing matches over the first; 0 on a line."
    )
    kind: str | None = Field(None, description="Similarity, affine or thin plate.")
    residual_median_um: _Length | None = Field(
        None, description="Of agreeing matches whose neighbourhood was left out of the fit."
    )
    residual_mean_um: _Length | None = Field(None, description="Mean of the same residuals.")
    residual_p90_um: _Length | None = Field(None, description="Their 90th percentile.")
    scale: float | None = Field(
        None, gt=0, description="µm of the target for each µm of the source."
    )
    angle_deg: float | None = Field(
        None, description="Rotation of the source; positive turns y towards x."
    )
    stretch: _Factor | None = Field(
        None, description="Largest over smallest stretch of the map's affine part."
    )
    area_change: _Factor | None = Field(
        None, description="Largest local change of area, either way, relative to the median."
    )
    folded: bool = Field(False, description="Whether the map folds among the matches.")
    turned_over: bool = Field(False, description="Whether the map mirrors the source.")
    n_wrong_pose: _Count = Field(
        0, description="Verified matches of the best other pose that fit one map and not this one."
    )
    wrong_pose_deg: float | None = Field(None, description="How that pose turns the source.")
    wrong_pose_mirrored: bool = Field(False, description="Whether it mirrors the source.")
    margin: _Length | None = Field(
        None, description="As many times more evidence, or matches that fit one map, than there."
    )

    @property
    def agreement(self) -> float:
        """Share of the verified matches that agree with the map; 0 if there are none."""
        return self.n_agreeing / self.n_verified if self.n_verified else 0.0


class AcceptanceCriteria(BaseModel, frozen=True, extra="forbid"):
    """What evidence has to be like for a registration to be accepted.

    The defaults are set by reasoning, not tuned: each says what it keeps out.
    """

    least_matches: Annotated[int, annotated_types.Ge(4)] = Field(
        20, description="Agreeing matches; an affine map takes three, and chance finds a dozen."
    )
    least_inlier_ratio: _Share = Field(
        0.1, description="Of the initial matches; below it, subsets of four are hardly ever right."
    )
    least_agreement: _Share = Field(
        0.5, description="Of the verified matches; fewer fit several maps alike."
    )
    least_coverage: _Share = Field(
        0.2, description="Of the overlap; matches in a corner say nothing of the rest."
    )
    coverage_cell_um: Annotated[float, annotated_types.Gt(0)] = Field(
        64.0, description="Side of a cell of the coverage: some five somata."
    )
    least_overlap: _Share = Field(0.1, description="Of the source within the target.")
    least_spread: _Share = Field(
        0.15, description="Matches on a line leave open how far off it the map holds."
    )
    least_margin: _Length = Field(
        1.6, description="Over the best other pose, which shows what chance or a lattice finds."
    )
    largest_residual_um: _Length = Field(8.0, description="Median held-out residual: half a soma.")
    largest_scale: _Factor = Field(2.0, description="Swelling or shrinking of tissue.")
    largest_stretch: _Factor = Field(1.6, description="Of the affine part.")
    largest_area_change: _Factor = Field(3.0, description="As `spaces.folding` takes for tissue.")


class RegistrationDecision(BaseModel, frozen=True, extra="forbid"):
    """Whether a registration is accepted, and why, or why not."""

    accepted: bool
    reason: str = Field(description="One sentence, with numbers.")
    failed: tuple[str, ...] = Field(
        (), description="Criteria that are not met, the one of the reason first."
    )


def decide(evidence: Evidence, criteria: AcceptanceCriteria | None = None) -> RegistrationDecision:
    """Accept a registration or refuse it.

    More of what speaks for it never turns an accepted one into a refused one.

    Parameters
    ----------
    evidence : Evidence
    criteria : AcceptanceCriteria, optional

    Returns
    -------
    RegistrationDecision
    """
    found = list(_objections(evidence, criteria or AcceptanceCriteria()))
    if found:
        return RegistrationDecision(
            accepted=False, reason=found[0][1], failed=tuple(dict.fromkeys(n for n, _ in found))
        )
    return RegistrationDecision(accepted=True, reason=_in_favour(evidence))


def _objections(found: Evidence, least: AcceptanceCriteria) -> Iterator[tuple[str, str]]:
    """Yield each criterion that is not met, and a sentence about it, the gravest first."""
    for side, count in (("source", found.n_source), ("target", found.n_target)):
        if not count:
            yield "least_matches", f"The {side} shows nothing that could be matched."
    if found.turned_over:
        yield "turned_over", "The matches fit a mirrored source only: one image seems mirrored."
    margin = found.margin
    if margin is not None and margin < 1 and found.n_wrong_pose >= least.least_matches:
        yield (
            "least_margin",
            f"The source seems {_other_pose(found)}: {found.n_wrong_pose} matches fit one map "
            f"then, and {margin:.2g} times as many as it is.",
        )
    if found.n_agreeing < least.least_matches:
        yield (
            "least_matches",
            f"Only {found.n_agreeing} of {found.n_initial} matches are verified and agree with "
            f"one map, and {least.least_matches} are the least.",
        )
    yield from _objections_to_pose(found, least)
    yield from _objections_to_matches(found, least)
    yield from _objections_to_map(found, least)


def _objections_to_pose(found: Evidence, least: AcceptanceCriteria) -> Iterator[tuple[str, str]]:
    if found.margin is None:
        yield "least_margin", "No other pose was tried, so that nothing tells what chance finds."
    elif found.margin < least.least_margin:
        yield (
            "least_margin",
            f"With the source {_other_pose(found)}, {found.n_wrong_pose} matches fit another map; "
            f"here there are {found.margin:.2g} times as many, and {least.least_margin:g} times "
            "are the least.",
        )


def _objections_to_matches(found: Evidence, least: AcceptanceCriteria) -> Iterator[tuple[str, str]]:
    if found.agreement < least.least_agreement:
        yield (
            "least_agreement",
            f"Only {found.agreement:.0%} of the {found.n_verified} verified matches agree with "
            f"one map, and {least.least_agreement:.0%} are the least.",
        )
    if found.inlier_ratio < least.least_inlier_ratio:
        yield (
            "least_inlier_ratio",
            f"Only {found.inlier_ratio:.0%} of the {found.n_initial} matches seem right, and "
            f"{least.least_inlier_ratio:.0%} are the least.",
        )
    if found.spread is None or found.spread < least.least_spread:
        yield (
            "least_spread",
            f"The matches lie about a line: they extend {found.spread or 0:.2f} times as far "
            f"across as along it, and {least.least_spread:.2g} is the least.",
        )
    if found.coverage is None or found.coverage < least.least_coverage:
        yield (
            "least_coverage",
            f"Only {found.coverage or 0:.0%} of the overlap holds a match, and "
            f"{least.least_coverage:.0%} is the least.",
        )
    if found.overlap is None or found.overlap < least.least_overlap:
        yield (
            "least_overlap",
            f"Only {found.overlap or 0:.0%} of the source would lie in the target, and "
            f"{least.least_overlap:.0%} is the least.",
        )


def _objections_to_map(found: Evidence, least: AcceptanceCriteria) -> Iterator[tuple[str, str]]:
    if found.folded:
        yield "folded", "The map folds the tissue among the matches."
    median = found.residual_median_um
    if median is None:
        yield "largest_residual_um", "There are too few matches to leave some out and test the map."
    elif median > least.largest_residual_um:
        yield (
            "largest_residual_um",
            f"Matches that were left out of the fit lie {median:.1f} µm off (median), and "
            f"{least.largest_residual_um:g} µm are the most.",
        )
    changes = (
        ("largest_scale", found.scale and max(found.scale, 1 / found.scale), "lengths"),
        ("largest_stretch", found.stretch, "lengths along one direction, relative to another,"),
        ("largest_area_change", found.area_change, "areas, relative to their median,"),
    )
    for name, factor, what in changes:
        most = getattr(least, name)
        if factor is None or factor > most:
            by = "unmeasurably" if factor is None else f"{factor:.2g}-fold"
            yield name, f"The map changes {what} {by}, and {most:g}-fold is the most."


def _other_pose(found: Evidence) -> str:
    turned = f"turned by {found.wrong_pose_deg or 0:.0f}°"
    return f"mirrored and {turned}" if found.wrong_pose_mirrored else turned


def _in_favour(found: Evidence) -> str:
    times = "" if found.margin is None else f"{found.margin:.2g} times those of the best other pose"
    return (
        f"{found.n_agreeing} of {found.n_initial} matches agree with one {found.kind} map, "
        f"{times}; they cover {found.coverage or 0:.0%} of the overlap, and those left out of the "
        f"fit lie {found.residual_median_um or 0:.1f} µm off (median)."
    )
