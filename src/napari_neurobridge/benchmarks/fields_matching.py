"""Matching of generated fields from a few landmarks, beside plain baselines.

Fields are those of `fields`; seeds from 100 on are for reporting, and are the default here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.stats import chi2

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.fields import (
    CONTROLS,
    FIRST_REPORTED_SEED,
    GeneratedField,
    make_field,
)
from napari_neurobridge.benchmarks.fields_baselines import (
    BASELINES,
    DRIFT,
    BaselineProblem,
    has_point_drift,
    nearest,
    place_queries,
)
from napari_neurobridge.benchmarks.fields_kinds import KINDS
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.calibration import COORDINATES, claimable, reliability
from napari_neurobridge.matching.propagation.propagate import (
    Propagation,
    PropagationProblem,
    run_propagation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.types import Report

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

ELLIPSOID = 0.9
"""Probability of the predicted ellipsoids that are tested."""

FEWEST_CLAIMS = 40
"""A draw with fewer claims is not asked how many of them are right."""


class FieldsParameters(BenchmarkParameters):
    """Which fields, from how many landmarks, and beside which baselines."""

    kinds: tuple[str, ...] | None = Field(
        None,
        description="Kinds of fields, separated by commas; all unless given.",
        json_schema_extra={"metavar": "KINDS"},
    )
    draws: int = Field(10, ge=1, description="Fields of each kind.")
    seed: int = Field(
        FIRST_REPORTED_SEED,
        ge=0,
        description="Of the first field; below 100 for choosing, from 100 for reporting.",
    )
    landmarks: int | None = Field(
        None, ge=3, description="Pairs that are given; those of the kind unless given."
    )
    fdr: float = Field(0.05, ge=0, le=1, description="Accepted share of false claims.")
    control: str | None = Field(
        None,
        description="Put a gallery in which nothing but the landmarks can be right.",
        json_schema_extra={"metavar": "shifted|unrelated"},
    )
    baselines: bool = Field(True, description="Run the baselines as well.")
    matcher: bool = Field(True, description="Run the program's own matching.")


class FieldTrial(BaseModel, frozen=True):
    """The program's matching of one field.

    A soma that is detected twice is asked once, by its surer detection.
    """

    seed: int
    n_asked: int
    n_matchable: int
    top1: float = Field(description="Matchable somata whose first candidate is the right one.")
    n_claims: int = Field(description="Detections claimed at the FDR.")
    n_claims_right: int
    coverage: float = Field(description="Matchable somata that are claimed, and rightly.")
    calibration_error: float = Field(description="Expected calibration error of the first.")
    log_score: float
    base_log_score: float
    in_ellipsoid: float | None = Field(description="True places inside the predicted ellipsoids.")
    seconds: float


class FieldKindResult(BaseModel, frozen=True):
    """All fields of one kind; the program's figures are ``None`` where it was not run."""

    kind: str
    n_landmarks: int
    top1_mean: float | None
    top1_worst: float | None
    claimed: float | None = Field(description="Detections claimed, of all asked in all draws.")
    claims_right: float | None = Field(description="Of all claims of all draws.")
    claims_right_worst: float | None = Field(description="Of one draw with 40 claims or more.")
    coverage: float | None
    calibration_error: float | None
    log_score: float | None
    base_log_score: float | None
    in_ellipsoid: float | None = Field(description="True places inside 90 % ellipsoids.")
    seconds: float | None
    baselines: dict[str, float] = Field(description="Mean top-1 of each.")
    baselines_worst: dict[str, float]
    trials: tuple[FieldTrial, ...]


class FieldsBenchmark(BenchmarkResult):
    """Matching of generated fields."""

    seed: int
    draws: int
    fdr: float
    control: str | None
    skipped: tuple[str, ...] = Field(description="Baselines whose package is not installed.")
    results: tuple[FieldKindResult, ...]

    def summary(self) -> str:
        """Return a table with a row for each kind."""
        hidden = {"kind", "n_landmarks", "baselines", "baselines_worst", "trials"}
        names = [name for name in FieldKindResult.model_fields if name not in hidden]
        plain = [name for name in BASELINES if any(name in row.baselines for row in self.results)]
        rows = [
            [row.kind, row.n_landmarks, *(getattr(row, name) for name in names)]
            + [row.baselines.get(name) for name in plain]
            for row in self.results
        ]
        table = text_table(("kind", "landmarks", *names, *plain), rows)
        said = f"{self.draws} draws from seed {self.seed} on; claims at FDR {self.fdr:g}"
        if self.control is not None:
            said += f"; control: {self.control}, so that every claim is false"
        left_out = [
            f"The baseline '{name}' was left out: it needs pycpd; install it with "
            "`pip install napari-neurobridge[benchmark]`."
            for name in self.skipped
        ]
        return "\n".join([table, said, *left_out])


def benchmark_fields(
    parameters: FieldsParameters | None = None, *, report: Report | None = None
) -> FieldsBenchmark:
    """Match generated fields of each kind.

    Parameters
    ----------
    parameters : FieldsParameters, optional
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there is no such kind or control.
    """
    asked = parameters or FieldsParameters()
    kinds = asked.kinds or tuple(KINDS)
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"There is no kind of field '{kind}'; choose {', '.join(KINDS)}.")
    if asked.control not in (None, *CONTROLS):
        raise InputError(f"There is no control '{asked.control}'; choose {', '.join(CONTROLS)}.")
    # Nothing can be right in a control, so that baselines, which always answer, say nothing there.
    wanted = BASELINES if asked.baselines and asked.control is None else ()
    plain = tuple(name for name in wanted if name != DRIFT or has_point_drift())
    results = []
    for number, kind in enumerate(kinds):

        def said(draw: int, kind: str = kind, number: int = number) -> None:
            if report is not None:
                report(number * asked.draws + draw, len(kinds) * asked.draws, kind)

        results.append(_kind_result(kind, asked, plain, said))
    return FieldsBenchmark(
        seed=asked.seed,
        draws=asked.draws,
        fdr=asked.fdr,
        control=asked.control,
        skipped=tuple(name for name in wanted if name not in plain),
        results=tuple(results),
    )


def run(parameters: FieldsParameters, *, report: Report | None = None) -> FieldsBenchmark:
    """Answer the command line."""
    return benchmark_fields(parameters, report=report)


def _kind_result(
    kind: str, asked: FieldsParameters, plain: tuple[str, ...], said: Callable[[int], None]
) -> FieldKindResult:
    trials: list[FieldTrial] = []
    top1: dict[str, list[float]] = {name: [] for name in plain}
    for draw in range(asked.draws):
        said(draw)
        field = make_field(kind, asked.seed + draw)
        landmarks = field.draw_landmarks(np.random.default_rng(field.seed), asked.landmarks)
        if asked.control is not None:
            field, landmarks = field.control(landmarks, asked.control)
        if asked.matcher:
            trials.append(_match(field, landmarks, asked.fdr))
        for name in plain:
            top1[name].append(_top1_of_baseline(name, field, landmarks))

    def mean(figure: str) -> float | None:
        values = [getattr(trial, figure) for trial in trials]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    claims, right = (sum(getattr(t, n) for t in trials) for n in ("n_claims", "n_claims_right"))
    many = [t.n_claims_right / t.n_claims for t in trials if t.n_claims >= FEWEST_CLAIMS]
    return FieldKindResult(
        kind=kind,
        n_landmarks=asked.landmarks or KINDS[kind].landmarks,
        top1_mean=mean("top1"),
        top1_worst=min((trial.top1 for trial in trials), default=None),
        claimed=claims / sum(trial.n_asked for trial in trials) if trials else None,
        claims_right=right / claims if claims else None,
        claims_right_worst=min(many, default=None),
        coverage=mean("coverage"),
        calibration_error=mean("calibration_error"),
        log_score=mean("log_score"),
        base_log_score=mean("base_log_score"),
        in_ellipsoid=mean("in_ellipsoid"),
        seconds=mean("seconds"),
        baselines={name: float(np.mean(values)) for name, values in top1.items()},
        baselines_worst={name: min(values) for name, values in top1.items()},
        trials=tuple(trials),
    )


def _match(field: GeneratedField, landmarks: RowArray, fdr: float) -> FieldTrial:
    pairs = field.pairs
    started = time.perf_counter()
    found = run_propagation(PropagationProblem(pairs.queries_um, pairs.gallery_um, landmarks))
    seconds = time.perf_counter() - started
    # As a match without a project says it.
    posterior = COORDINATES.recalibrated(found.posterior)
    confidence, right = posterior.confidence, field.right(posterior.best)
    asked = _held_out(field, landmarks)
    claims = np.zeros(len(confidence), dtype=np.bool_)
    claims[asked] = claimable(confidence[asked], fdr)
    once = _once_for_each_soma(field, asked, confidence)
    matchable = once[pairs.partner[once] >= 0]
    measured = reliability(confidence[once], right[once])
    claimed = np.unique(field.query_soma[claims & right])
    return FieldTrial(
        seed=field.seed,
        n_asked=len(asked),
        n_matchable=len(matchable),
        top1=float(right[matchable].mean()) if len(matchable) else 1.0,
        n_claims=int(claims.sum()),
        n_claims_right=int(right[claims].sum()),
        coverage=len(claimed) / max(len(matchable), 1),
        calibration_error=measured.error,
        log_score=measured.log_score,
        base_log_score=measured.base_log_score,
        in_ellipsoid=share_in_ellipsoids(found, field, asked),
        seconds=seconds,
    )


def share_in_ellipsoids(found: Propagation, field: GeneratedField, asked: RowArray) -> float | None:
    """Return how many true places lie in the ellipsoids in which 90 % are expected.

    Parameters
    ----------
    found : Propagation
    field : GeneratedField
    asked : ndarray of int
        Rows of the queries; those without a partner count for nothing.
    """
    known = asked[field.pairs.partner[asked] >= 0]
    if not len(known):
        return None
    off = field.pairs.gallery_um[field.pairs.partner[known]] - found.predicted_um[known]
    # Mahalanobis distances.
    white = np.linalg.solve(np.linalg.cholesky(found.covariance_um2[known]), off[:, :, None])
    square = (white**2).sum(axis=(1, 2))
    return float((square <= chi2.ppf(ELLIPSOID, 3)).mean())


def _top1_of_baseline(name: str, field: GeneratedField, landmarks: RowArray) -> float:
    pairs = field.pairs
    problem = BaselineProblem(
        pairs.queries_um,
        pairs.gallery_um,
        pairs.queries_um[landmarks[:, 0]],
        pairs.gallery_um[landmarks[:, 1]],
    )
    named, distance = nearest(place_queries(name, problem), pairs.gallery_um)
    once = _once_for_each_soma(field, _held_out(field, landmarks), -distance)
    return float(field.right(named)[once[pairs.partner[once] >= 0]].mean())


def _held_out(field: GeneratedField, landmarks: RowArray) -> RowArray:
    """Return rows of the queries whose soma is no landmark's."""
    given = np.isin(field.query_soma, field.query_soma[landmarks[:, 0]])
    return np.flatnonzero(~given)


def _once_for_each_soma(field: GeneratedField, asked: RowArray, sure: Float64Array) -> RowArray:
    """Keep the surest detection of each soma among some queries."""
    order = asked[np.argsort(-sure[asked], kind="stable")]
    return order[np.unique(field.query_soma[order], return_index=True)[1]]
