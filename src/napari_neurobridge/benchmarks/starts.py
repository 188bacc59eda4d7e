"""Starting without any landmark at any angle: planes, a plane in a volume, stacks."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.points import PointPairs, read_point_pairs
from napari_neurobridge.benchmarks.start_fields import (
    FIELD_KINDS,
    FieldKind,
    StartField,
    StartFieldParams,
    draw_pose,
    draw_start_field,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.constellation.matcher import match_constellation

if TYPE_CHECKING:
    from napari_neurobridge.types import Report

TABLES = "tables"
"""The kind of fields that were read from tables."""

RIGHT_FROM = 0.6
"""A field starts right if this share of its claims whose partner is known is right."""


class StartsParameters(BenchmarkParameters):
    """Fields to start from."""

    fields: int = Field(10, ge=1, description="How many of each kind, or poses of the tables.")
    seed: int = Field(5000, ge=0, description="Of the first field.")
    kind: FieldKind | None = Field(None, description="All kinds unless given.")
    missing: float = Field(0.3, ge=0, le=0.9, description="Share of cells a side lacks.")
    noise: float = Field(1.5, ge=0, description="Standard deviation of a soma's place, µm.")
    bend: float = Field(8.0, ge=0, description="Root mean square of the waves, µm.")
    smallest_scale: float = Field(0.7, gt=0, description="Of the queries in the gallery.")
    largest_scale: float = Field(1.5, gt=0, description="Of the queries in the gallery.")
    per_axis: bool = Field(False, description="Draw the scales of the plane's axes apart.")
    queries: Path | None = Field(None, description="CSV of points, instead of simulated fields.")
    gallery: Path | None = Field(None, description="CSV of points of the other side.")
    pairs: Path | None = Field(None, description="CSV of known partners.")


class StartTrial(BaseModel, frozen=True):
    """One field in one pose, and what must not be known."""

    kind: str
    seed: int
    n_queries: int
    n_gallery: int
    n_matchable: int
    angle_deg: float
    known: bool
    claims_right: float | None = Field(description="Of the pairs whose partner is known.")
    right: float = Field(description="Matchable cells matched rightly; 0 if it does not know.")
    evidence: float
    other_evidence: float
    unrelated_known: bool = Field(description="Claims to know in a gallery of other tissue.")
    mirrored_known: bool = Field(description="Claims to know a mirrored side, the hand stated.")
    cpu_seconds: float


class StartSummary(BaseModel, frozen=True):
    """The trials of one kind."""

    kind: str
    fields: int
    started_right: float
    unknown: float
    wrong_known: float
    unrelated_known: float
    mirrored_known: float
    claims_right: float | None
    cpu_seconds: float


class StartsBenchmark(BenchmarkResult):
    """How often a field is found without any landmark, at any angle."""

    results: tuple[StartSummary, ...]
    trials: tuple[StartTrial, ...]

    def summary(self) -> str:
        """Return a table of the kinds."""
        header = tuple(StartSummary.model_fields)
        return text_table(header, [[getattr(row, name) for name in header] for row in self.results])


def run(parameters: StartsParameters, *, report: Report | None = None) -> StartsBenchmark:
    """Start every field, and what must not be known.

    Parameters
    ----------
    parameters : StartsParameters
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If only some of the three tables are named, or one cannot be read.
    """
    tables = _tables(parameters)
    kinds = (TABLES,) if tables else (parameters.kind,) if parameters.kind else FIELD_KINDS
    trials: list[StartTrial] = []
    for kind in kinds:
        for number in range(parameters.fields):
            if report is not None:
                report(len(trials), len(kinds) * parameters.fields, f"starting, {kind}")
            trials.append(_trial(kind, tables, parameters, parameters.seed + number))
    return StartsBenchmark(
        results=tuple(
            _summary(kind, [trial for trial in trials if trial.kind == kind]) for kind in kinds
        ),
        trials=tuple(trials),
    )


def _tables(asked: StartsParameters) -> PointPairs | None:
    if asked.queries is None and asked.gallery is None and asked.pairs is None:
        return None
    if asked.queries is None or asked.gallery is None or asked.pairs is None:
        raise InputError("Queries, gallery and pairs must be given together.")
    return read_point_pairs(asked.queries, asked.gallery, asked.pairs)


def _params(asked: StartsParameters) -> StartFieldParams:
    return StartFieldParams(
        missing=asked.missing,
        noise_um=asked.noise,
        bend_um=asked.bend,
        scale=(asked.smallest_scale, asked.largest_scale),
        per_axis=asked.per_axis,
    )


def _field(
    kind: str, tables: PointPairs | None, asked: StartsParameters, seed: int
) -> tuple[StartField, npt.NDArray[np.float64]]:
    """Return a field, and a gallery that does not hold it."""
    rng = np.random.default_rng([seed, 99])
    if tables is None:
        drawn = next(one for one in FIELD_KINDS if one == kind)
        field = draw_start_field(drawn, _params(asked), seed)
        return field, draw_start_field(drawn, _params(asked), seed + 10_000).gallery_um
    linear = draw_pose(_params(asked), rng)
    queries = tables.queries_um @ np.linalg.inv(linear).T
    low, high = tables.gallery_um.min(axis=0), tables.gallery_um.max(axis=0)
    elsewhere = rng.uniform(low, high, tables.gallery_um.shape)
    return StartField(queries, tables.gallery_um, tables.partner, linear), elsewhere


def _trial(kind: str, tables: PointPairs | None, asked: StartsParameters, seed: int) -> StartTrial:
    field, elsewhere = _field(kind, tables, asked, seed)
    began = time.process_time()
    found = match_constellation(field.queries_um, field.gallery_um, orientation=None)
    seconds = time.process_time() - began
    unrelated = match_constellation(field.queries_um, elsewhere, orientation=None)
    mirror = replace(field, queries_um=field.queries_um * (1, 1, -1))
    mirrored = match_constellation(mirror.queries_um, mirror.gallery_um, orientation=field.linear)
    partner = field.partner[found.pairs[:, 0]]
    judged = partner >= 0
    right = partner[judged] == found.pairs[judged, 1]
    matchable = int((field.partner >= 0).sum())
    linear = field.linear
    return StartTrial(
        kind=kind,
        seed=seed,
        n_queries=len(field.queries_um),
        n_gallery=len(field.gallery_um),
        n_matchable=matchable,
        angle_deg=float(np.degrees(np.arctan2(linear[2, 1], linear[1, 1]))),
        known=found.known,
        claims_right=float(right.mean()) if len(right) else None,
        right=float(right.sum()) / max(matchable, 1),
        evidence=found.evidence,
        other_evidence=found.decoy_evidence,
        unrelated_known=unrelated.known,
        mirrored_known=mirrored.known,
        cpu_seconds=seconds,
    )


def _summary(kind: str, trials: list[StartTrial]) -> StartSummary:
    good = [trial.known and (trial.claims_right or 0.0) >= RIGHT_FROM for trial in trials]
    known = np.array([trial.known for trial in trials])
    claims = [trial.claims_right for trial in trials if trial.claims_right is not None]

    def share(name: str) -> float:
        return float(np.mean([getattr(trial, name) for trial in trials]))

    return StartSummary(
        kind=kind,
        fields=len(trials),
        started_right=float(np.mean(good)),
        unknown=float((~known).mean()),
        wrong_known=float((known & ~np.array(good)).mean()),
        unrelated_known=share("unrelated_known"),
        mirrored_known=share("mirrored_known"),
        claims_right=float(np.mean(claims)) if claims else None,
        cpu_seconds=share("cpu_seconds"),
    )
