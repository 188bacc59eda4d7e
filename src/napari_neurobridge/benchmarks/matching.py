"""Whether matches are as sure as they say, from coordinates and with images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.points import draw_landmarks
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.likelihood import Margins, appearance_of, pooled_fit
from napari_neurobridge.matching.calibration import (
    COORDINATES,
    Calibration,
    Reliability,
    calibration_of,
    claimable,
    measure_calibration,
    reliability,
)
from napari_neurobridge.matching.conformal import fit_conformal
from napari_neurobridge.matching.decoys import decoy_claims
from napari_neurobridge.matching.posterior import Posterior
from napari_neurobridge.matching.propagation.propagate import PropagationProblem, run_propagation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.matching_scenes import SceneField
    from napari_neurobridge.types import Report

RowArray = npt.NDArray[np.intp]

FIT_SEEDS = tuple(range(9000, 9006))
"""Scenes that a model's likelihood and calibration are measured on."""

TEST_SEEDS = tuple(range(9100, 9110))
"""Scenes that nothing was fitted to."""

_SPLITS = 60


@dataclass(frozen=True, eq=False)
class _Answers:
    """What was said of the asked queries of one or more fields, and what is true."""

    posterior: Posterior
    partner: RowArray
    claimed: npt.NDArray[np.bool_]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.posterior.best == self.partner)

    @classmethod
    def joined(cls, parts: Sequence[_Answers]) -> _Answers:
        width = max(part.posterior.rows.shape[1] for part in parts)
        columns = zip(*(_columns(part.posterior, width) for part in parts), strict=True)
        rows, probability, none, beyond = (np.concatenate(column) for column in columns)
        return cls(
            Posterior(rows.astype(np.intp), probability, none, beyond),
            np.concatenate([part.partner for part in parts]),
            np.concatenate([part.claimed for part in parts]),
        )


class CoverageFigures(BaseModel, frozen=True):
    """Conformal sets over random halves: one makes the rule, the other is asked."""

    coverage: float = Field(description="Share of sets that hold the truth, mean of the splits.")
    size: float = Field(description="Mean members of a set, none included.")
    at_least_one: float = Field(description="Coverage when no set may be empty.")
    splits: int


class MatchingRow(BaseModel, frozen=True):
    """One condition, over all its fields and draws."""

    source: str
    n_landmarks: int
    missing: float = Field(description="Share of the asked cells that have no partner.")
    images: bool
    n_runs: int
    top1: float = Field(description="Matchable cells whose first candidate is the right one.")
    claimed: float = Field(description="Share of all asked cells claimed at the FDR.")
    false: float = Field(description="Share of the claims that is wrong; 0 without claims.")
    recall: float = Field(description="Matchable cells that are claimed, and rightly.")
    reliability: Reliability
    conformal: CoverageFigures
    decoy: float | None = Field(
        description="Share claimed in the worst decoy under the same alignment, mean of the runs."
    )


class MatchingFit(BaseModel, frozen=True):
    """What the bundled model's folder states, measured anew."""

    appearance_weight: float
    appearance_offset: float
    slope: float = Field(description="Of the log odds of first candidates, with images.")
    offset: float
    points_slope: float = Field(description="The same from coordinates alone.")
    points_offset: float


class MatchingBenchmark(BaseModel, frozen=True):
    """How far probabilities of matches can be believed."""

    fdr: float
    results: tuple[MatchingRow, ...]

    def table(self) -> str:
        """Return the results as a Markdown table."""
        lines = [
            "| field | landmarks | no partner | images | top-1 | false at FDR | recall | ECE "
            "| log score (base) | sets cover | size | decoy |",
            "|" + "---|" * 12,
        ]
        for row in self.results:
            sure = row.reliability
            cells = (
                row.source,
                row.n_landmarks,
                f"{row.missing:.2f}",
                "yes" if row.images else "no",
                f"{row.top1:.3f}",
                f"{row.false:.3f}",
                f"{row.recall:.3f}",
                f"{sure.error:.3f}",
                f"{sure.log_score:.3f} ({sure.base_log_score:.3f})",
                f"{row.conformal.coverage:.3f}",
                f"{row.conformal.size:.2f}",
                "" if row.decoy is None else f"{row.decoy:.3f}",
            )
            lines.append(f"| {' | '.join(map(str, cells))} |")
        return "\n".join(lines)


def benchmark_matching(
    fields: Sequence[SceneField],
    *,
    source: str,
    n_landmarks: Sequence[int] = (4, 6, 10),
    missing: Sequence[float] = (0.0,),
    images: Sequence[bool] = (False,),
    draws: int = 1,
    fdr: float = 0.05,
    calibration: Calibration | None = None,
    decoys: bool = False,
    seed: int = 0,
    report: Report | None = None,
) -> MatchingBenchmark:
    """Match all cells of some fields, and compare how sure the answers are with the truth.

    Parameters
    ----------
    fields : sequence of SceneField
    source : str
        What to call them.
    n_landmarks : sequence of int
    missing : sequence of float
        Share of the cells with a partner whose partners are deleted from the gallery.
    images : sequence of bool
        Whether appearance is used; its likelihood ratio starts from the model's and sees the
        landmarks only.
    draws : int
        Of landmarks, for each field.
    fdr : float
        Expected share of false claims.
    calibration : Calibration, optional
        Applied to all answers; the known ones unless given.
    decoys : bool
        Also count what would be claimed in decoys, under the same alignment.
    seed : int
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there is no field, or images are wanted of one that has none.
    """
    if not fields:
        raise InputError("The benchmark needs at least one field.")
    conditions = [(n, m, i) for n in n_landmarks for m in missing for i in images]
    rows = []
    for done, (count, share, seen) in enumerate(conditions):
        runs: list[_Answers] = []
        decoy: list[float | None] = []
        for number, field in enumerate(fields):
            known = calibration or (calibration_of(field.calibration) if seen else COORDINATES)
            if report is not None:
                step = done * len(fields) + number
                report(step, len(conditions) * len(fields), f"matching {source}")
            for draw in range(draws):
                # The same landmarks with and without images.
                rng = np.random.default_rng([seed, number, draw, count, round(100 * share)])
                answers, claims = _run(field, count, share, seen, fdr, known, decoys, rng)
                runs.append(answers)
                decoy.append(claims)
        shares = [claims for claims in decoy if claims is not None]
        mean = float(np.mean(shares)) if shares else None
        rows.append(_row(source, count, seen, runs, mean, seed))
    return MatchingBenchmark(fdr=fdr, results=tuple(rows))


def fit_shipped(
    fields: Sequence[SceneField], *, n_landmarks: int = 6, seed: int = 0
) -> MatchingFit:
    """Measure what a model folder states: the likelihood ratio, and the calibration.

    Parameters
    ----------
    fields : sequence of SceneField
        With embeddings; none that figures are reported on.
    n_landmarks : int
    seed : int
    """
    pairs = []
    for field in fields:
        known = np.flatnonzero(field.points.partner >= 0)
        pairs.append((margins_of(field), np.column_stack([known, field.points.partner[known]])))
    weight, offset = pooled_fit(pairs)
    lines = []
    for seen in (True, False):
        runs = [
            _run(
                field,
                n_landmarks,
                0.0,
                seen,
                0.05,
                Calibration(),
                False,
                np.random.default_rng([seed, number]),
            )[0]
            for number, field in enumerate(fields)
        ]
        answers = _Answers.joined(runs)
        lines.append(measure_calibration(answers.posterior.confidence, answers.right))
    return MatchingFit(
        appearance_weight=weight,
        appearance_offset=offset,
        slope=lines[0].slope,
        offset=lines[0].offset,
        points_slope=lines[1].slope,
        points_offset=lines[1].offset,
    )


def _run(
    field: SceneField,
    count: int,
    missing: float,
    seen: bool,
    fdr: float,
    calibration: Calibration,
    decoys: bool,
    rng: np.random.Generator,
) -> tuple[_Answers, float | None]:
    """Match one field from one draw of landmarks; also the share claimed in decoys."""
    chosen = draw_landmarks(field.points, count, "random", rng)
    others = np.setdiff1d(np.flatnonzero(field.points.partner >= 0), chosen)
    left = field.without(rng.permutation(others)[: round(missing * len(others))])
    points = left.points
    pairs = np.column_stack([chosen, points.partner[chosen]])
    looks = appearance_of(margins_of(left), pairs, left.calibration) if seen else None
    log_ratio = None if looks is None else looks.log_ratio
    problem = PropagationProblem(points.queries_um, points.gallery_um, pairs, log_ratio=log_ratio)
    found = run_propagation(problem, orientation=field.orientation)
    posterior = calibration.recalibrated(found.posterior)
    asked = np.setdiff1d(np.arange(len(points.partner)), chosen)
    own = _part(posterior, asked)
    claims = None
    if decoys:
        claims = decoy_claims(
            problem,
            fdr,
            found=found,
            calibration=calibration,
            orientation=field.orientation,
            judgings=("grown",),
        ).share
    return _Answers(own, points.partner[asked], claimable(own.confidence, fdr)), claims


def _row(
    source: str,
    count: int,
    seen: bool,
    runs: Sequence[_Answers],
    decoy: float | None,
    seed: int,
) -> MatchingRow:
    answers = _Answers.joined(runs)
    right, claimed, matchable = answers.right, answers.claimed, answers.partner >= 0
    return MatchingRow(
        source=source,
        n_landmarks=count,
        missing=float(1 - matchable.mean()),
        images=seen,
        n_runs=len(runs),
        top1=float(right[matchable].mean()),
        claimed=float(claimed.mean()),
        false=float(1 - right[claimed].mean()) if claimed.any() else 0.0,
        recall=float(right[claimed].sum() / matchable.sum()),
        reliability=reliability(answers.posterior.confidence, right),
        conformal=_coverage(answers, seed),
        decoy=decoy,
    )


def _coverage(answers: _Answers, seed: int) -> CoverageFigures:
    rng = np.random.default_rng(seed)
    figures = []
    for split in range(_SPLITS):
        order = rng.permutation(len(answers.partner))
        half = len(order) // 2
        known, asked = (_part(answers.posterior, rows) for rows in (order[:half], order[half:]))
        rule = fit_conformal(known, answers.partner[order[:half]], seed=split)
        truth = answers.partner[order[half:]]
        exact = rule.sets(asked, seed=split)
        filled = rule.sets(asked, at_least_one=True, seed=split)
        figures.append(
            (
                exact.covers(asked.rows, truth).mean(),
                exact.size.mean(),
                filled.covers(asked.rows, truth).mean(),
            )
        )
    coverage, size, at_least_one = np.mean(figures, axis=0).tolist()
    return CoverageFigures(coverage=coverage, size=size, at_least_one=at_least_one, splits=_SPLITS)


def _part(posterior: Posterior, rows: RowArray) -> Posterior:
    return Posterior(
        posterior.rows[rows],
        posterior.probability[rows],
        posterior.none[rows],
        posterior.beyond[rows],
    )


def margins_of(field: SceneField) -> Margins:
    """Return what the cells of a field look like; raises `InputError` without images."""
    if field.embeddings is None:
        raise InputError("These fields have no images; match them by coordinates.")
    return Margins(*field.embeddings, field.points.queries_um, field.points.gallery_um)


def _columns(posterior: Posterior, width: int) -> tuple[npt.NDArray[np.float64], ...]:
    """Return all of a posterior, with so many candidates, as numbers."""
    more = ((0, 0), (0, width - posterior.rows.shape[1]))
    return (
        np.pad(posterior.rows, more, constant_values=-2).astype(np.float64),
        np.pad(posterior.probability, more),
        posterior.none,
        posterior.beyond,
    )
