"""Matching of two fields of somata from coordinates alone, against known partners."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.spatial import cKDTree

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points, read_table
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.calibration import claimable, reliability
from napari_neurobridge.matching.propagation.propagate import (
    Propagation,
    PropagationProblem,
    run_propagation,
)

if TYPE_CHECKING:
    from napari_neurobridge.types import Report

RowArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

LAYOUTS, ERRORS = ("random", "ball", "plane"), ("near", "any")
_BALL_UM, _PLANE_UM = 75.0, 5.0
_NEIGHBOURS = 6


@dataclass(frozen=True, eq=False)
class PointPairs:
    """Two fields of somata and which is which.

    Attributes
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        µm (z, y, x), each side in its own space.
    partner : ndarray of int, shape (N,)
        Row of the gallery, or -1 where the gallery does not hold the cell.
    """

    queries_um: npt.NDArray[np.float64]
    gallery_um: npt.NDArray[np.float64]
    partner: RowArray

    def without(self, queries: RowArray) -> PointPairs:
        """Return the fields with the partners of some queries deleted from the gallery."""
        gone = self.partner[queries]
        keep = np.ones(len(self.gallery_um), dtype=np.bool_)
        keep[gone[gone >= 0]] = False
        rows = np.where(keep, np.cumsum(keep) - 1, -1)
        partner = np.where(self.partner >= 0, rows[self.partner], -1)
        return replace(self, gallery_um=self.gallery_um[keep], partner=partner)


def read_point_pairs(queries: Path, gallery: Path, pairs: Path) -> PointPairs:
    """Read three tables: ``uid,z_um,y_um,x_um`` twice, and two columns of uids.

    Raises
    ------
    InputError
        If a file cannot be read, or a pair names an unknown uid.
    """
    (here, here_um), (there, there_um) = (_named_points(path) for path in (queries, gallery))
    both = read_table(pairs, what="table of pairs")
    if len(both.columns) < 2:
        raise InputError(f"{pairs} needs two columns, the uids of either side.")
    partner = np.full(len(here_um), -1, dtype=np.intp)
    for number, (first, second, *_) in enumerate(both.rows):
        if first not in here or second not in there:
            raise both.refusal(number, "names a uid that is in neither table")
        partner[here[first]] = there[second]
    return PointPairs(here_um, there_um, partner)


def _named_points(path: Path) -> tuple[dict[str, int], npt.NDArray[np.float64]]:
    """Return the row of each uid, and the points (N, 3), µm."""
    uids, points_um = read_points(path)
    if uids is None:
        raise InputError(f"{path} lacks the column uid, by which pairs are named.")
    return {uid: row for row, uid in enumerate(uids)}, points_um


class PointsParameters(BenchmarkParameters):
    """Landmarks to match from, and how often."""

    landmarks: int = Field(
        10, description="Pairs that are given.", json_schema_extra={"metavar": "N"}
    )
    draws: int = Field(20, description="How many sets of landmarks.")
    missing: float = Field(0.0, description="Share of the other cells whose partners are deleted.")
    wrong: str | None = Field(
        None,
        description="Make one landmark wrong: a neighbour of the right cell, or any cell.",
        json_schema_extra={"metavar": "near|any"},
    )
    layout: str = Field(
        "random",
        description="Landmarks from anywhere, from a ball 150 µm across or from a slab of 10 µm.",
        json_schema_extra={"metavar": "random|ball|plane"},
    )
    fdr: float = Field(0.05, description="Accepted share of false claims.")
    seed: int = Field(0, description="Draws landmarks and errors.")


class PointTables(BenchmarkParameters):
    """Three tables: two fields of somata, and which is which."""

    queries: Path = Field(
        description="Cells to ask, uid,z_um,y_um,x_um.", json_schema_extra={"metavar": "CSV"}
    )
    gallery: Path = Field(
        description="Cells to choose from, the same columns.", json_schema_extra={"metavar": "CSV"}
    )
    pairs: Path = Field(
        description="The truth: uids of either, in two columns.",
        json_schema_extra={"metavar": "CSV"},
    )

    def read(self) -> PointPairs:
        """Read them; see `read_point_pairs`."""
        return read_point_pairs(self.queries, self.gallery, self.pairs)


class TablesToMatch(PointsParameters, PointTables):
    """What the command line asks for."""


class PointsTrial(BaseModel, frozen=True):
    """One draw of landmarks."""

    top1: float = Field(description="Matchable cells whose first candidate is the right one.")
    claimed: float = Field(description="Share of all asked cells claimed at the FDR.")
    claims_right: float = Field(description="Of the claims; 1 if there are none.")
    coverage: float = Field(description="Matchable cells that are claimed, and rightly.")
    calibration_error: float = Field(description="Expected calibration error of the first.")
    log_score: float = Field(
        description="Mean log probability of what is so: that the first is right, or not."
    )
    base_log_score: float = Field(description="The same, had only the share of right been said.")
    p_detected: float
    reached: float
    wrong_rank: int | None = Field(description="Of the wrong landmark in the review list, from 1.")
    seconds: float


class PointsBenchmark(BenchmarkResult):
    """Matching from coordinates alone."""

    n_landmarks: int
    missing: float
    wrong: str | None
    layout: str
    fdr: float
    n_queries: int
    n_gallery: int
    top1_mean: float
    top1_worst: float
    claims_right: float = Field(description="Of all claims of all draws.")
    claimed: float
    coverage: float
    calibration_error: float
    log_score: float
    base_log_score: float
    wrong_in_first_two: float | None
    seconds: float = Field(description="Of one propagation.")
    trials: tuple[PointsTrial, ...]

    def summary(self) -> str:
        """Return a table of the means."""
        hidden = {"n_landmarks", "trials", "missing", "wrong", "layout", "fdr"}
        rows = [(name, value) for name, value in self if name not in hidden]
        how = [f"{len(self.trials)} draws of {self.n_landmarks} landmarks ({self.layout})"]
        if self.wrong is not None:
            how.append(f"one of them wrong ({self.wrong})")
        if self.missing:
            how.append(f"{self.missing:.0%} of the other partners deleted")
        means = text_table(("mean", "value"), rows)
        return f"{means}\n{', '.join(how)}; claims at FDR {self.fdr:g}"


def benchmark_points(
    pairs: PointPairs,
    parameters: PointsParameters | None = None,
    *,
    report: Report | None = None,
) -> PointsBenchmark:
    """Match all cells from some landmarks, many times.

    Parameters
    ----------
    pairs : PointPairs
    parameters : PointsParameters, optional
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If an option makes no sense, or there are not so many landmarks laid out so.
    """
    asked = parameters or PointsParameters()
    _check(asked)
    trials = []
    for draw in range(asked.draws):
        if report is not None:
            report(draw, asked.draws, "matching from coordinates")
        trials.append(_trial(pairs, asked, np.random.default_rng([asked.seed, draw])))
    claims = sum(trial.claimed for trial in trials)
    found = None
    if asked.wrong is not None:
        found = float(np.mean([(trial.wrong_rank or 0) <= 2 for trial in trials]))
    return PointsBenchmark(
        n_landmarks=asked.landmarks,
        missing=asked.missing,
        wrong=asked.wrong,
        layout=asked.layout,
        fdr=asked.fdr,
        n_queries=len(pairs.queries_um),
        n_gallery=len(pairs.gallery_um),
        top1_mean=_mean(trials, "top1"),
        top1_worst=min(trial.top1 for trial in trials),
        claims_right=sum(t.claims_right * t.claimed for t in trials) / claims if claims else 1.0,
        claimed=_mean(trials, "claimed"),
        coverage=_mean(trials, "coverage"),
        calibration_error=_mean(trials, "calibration_error"),
        log_score=_mean(trials, "log_score"),
        base_log_score=_mean(trials, "base_log_score"),
        wrong_in_first_two=found,
        seconds=_mean(trials, "seconds"),
        trials=tuple(trials),
    )


def run(parameters: TablesToMatch, *, report: Report | None = None) -> PointsBenchmark:
    """Answer the command line."""
    return benchmark_points(parameters.read(), parameters, report=report)


def _check(asked: PointsParameters) -> None:
    if asked.landmarks < 1 or asked.draws < 1:
        raise InputError("A benchmark needs at least one landmark and one draw.")
    if not (0 <= asked.missing <= 1 and 0 <= asked.fdr <= 1):
        raise InputError("The share of missing partners and the FDR lie between 0 and 1.")
    if asked.wrong not in (None, *ERRORS):
        raise InputError(f"A landmark is wrong in one of the ways {', '.join(ERRORS)}.")
    if asked.layout not in LAYOUTS:
        raise InputError(f"There is no layout '{asked.layout}'; choose {', '.join(LAYOUTS)}.")


def _mean(trials: list[PointsTrial], name: str) -> float:
    return float(np.mean([getattr(trial, name) for trial in trials]))


def _trial(pairs: PointPairs, asked: PointsParameters, rng: np.random.Generator) -> PointsTrial:
    chosen = draw_landmarks(pairs, asked.landmarks, asked.layout, rng)
    others = np.setdiff1d(np.flatnonzero(pairs.partner >= 0), chosen)
    gone = rng.permutation(others)[: round(asked.missing * len(others))]
    left = pairs.without(gone)
    partner = left.partner[chosen].copy()
    if asked.wrong is not None:
        partner[0] = _wrong_partner(left, partner[0], asked.wrong, rng)
    problem = PropagationProblem(
        left.queries_um, left.gallery_um, np.column_stack([chosen, partner])
    )
    started = time.perf_counter()
    found = run_propagation(problem)
    seconds = time.perf_counter() - started
    place = None
    if asked.wrong is not None:
        order = problem.pairs[found.review(), 0]
        place = int(np.flatnonzero(order == chosen[0])[0]) + 1
    others = np.setdiff1d(np.arange(len(left.queries_um)), chosen)
    return score(found, left.partner, others, asked.fdr).model_copy(
        update={"wrong_rank": place, "seconds": seconds}
    )


def score(found: Propagation, partner: RowArray, asked: RowArray, fdr: float) -> PointsTrial:
    """Compare a propagation with the truth for some queries (rows)."""
    confidence = found.posterior.confidence[asked]
    right = found.posterior.best[asked] == partner[asked]
    matchable = partner[asked] >= 0
    claims = claimable(confidence, fdr)
    measured = reliability(confidence, right)
    return PointsTrial(
        top1=float(right[matchable].mean()) if matchable.any() else 1.0,
        claimed=float(claims.mean()),
        claims_right=float(right[claims].mean()) if claims.any() else 1.0,
        coverage=float(right[claims].sum() / max(matchable.sum(), 1)),
        calibration_error=measured.error,
        log_score=measured.log_score,
        base_log_score=measured.base_log_score,
        p_detected=found.mean_p_partner,
        reached=float(found.active[asked].mean()),
        wrong_rank=None,
        seconds=0.0,
    )


def draw_landmarks(
    pairs: PointPairs, count: int, layout: str, rng: np.random.Generator
) -> RowArray:
    """Draw queries with a partner.

    Raises
    ------
    InputError
        If there are not so many in any ball or slab.
    """
    matchable = np.flatnonzero(pairs.partner >= 0)
    points = pairs.queries_um[matchable]
    for _ in range(1000):
        inside = np.ones(len(matchable), dtype=np.bool_)
        centre = points[rng.integers(len(points))]
        if layout == "ball":
            inside = np.linalg.norm(points - centre, axis=1) <= _BALL_UM
        elif layout == "plane":
            axis = rng.integers(3)
            inside = np.abs(points[:, axis] - centre[axis]) <= _PLANE_UM
        if inside.sum() >= count:
            return np.asarray(rng.choice(matchable[inside], count, replace=False))
    raise InputError(f"There are no {count} landmarks in any {layout}.")


def _wrong_partner(pairs: PointPairs, right: int, kind: str, rng: np.random.Generator) -> int:
    if kind == "any":
        return int((right + rng.integers(1, len(pairs.gallery_um))) % len(pairs.gallery_um))
    tree = cKDTree(pairs.gallery_um)
    near = np.asarray(tree.query(pairs.gallery_um[right], k=_NEIGHBOURS + 1)[1])
    return int(rng.choice(near[near != right]))
