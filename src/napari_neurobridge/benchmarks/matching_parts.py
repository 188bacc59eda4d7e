"""The parts of ``benchmark matching``: on what fields the same questions are asked."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from napari_neurobridge.benchmarks.contract import BenchmarkResult, ModelParameters, SomeSeeds
from napari_neurobridge.benchmarks.matching import (
    FIT_SEEDS,
    TEST_SEEDS,
    MatchingFit,
    MatchingRow,
    benchmark_matching,
    fit_shipped,
)
from napari_neurobridge.benchmarks.matching_scenes import (
    SceneField,
    image_fields,
    plane_field,
    point_field,
)
from napari_neurobridge.benchmarks.points import read_point_pairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.reliability import reliability_figure
from napari_neurobridge.insight.figures.style import save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import Report

_SOURCES = {
    "simulated": "simulated",
    "points": "tables",
    "plane": "paper, one plane",
    "images": "paper, placed",
    "detected": "paper, detected",
}


class MatchingParameters(ModelParameters):
    """Which part, on which fields."""

    part: Literal["simulated", "plane", "points", "images", "detected", "fit"] = Field(
        "simulated",
        description="simulated: calibration on simulated points; plane: on single planes of the "
        "level paper with 30 % missing on either side; points: the same on tables; "
        "images: scenes of the level paper with 30 % missing on either side, by coordinates "
        "and with images; detected: the same where the detector finds the somata; fit: "
        "what is shipped, on other scenes.",
    )
    tables: tuple[Path, Path, Path] | None = Field(
        None,
        description="For points: uid,z_um,y_um,x_um twice, and two columns of uids.",
        json_schema_extra={"metavar": "QUERIES GALLERY PAIRS"},
    )
    scenes: int | None = Field(None, ge=1, description="Only so many scenes.")
    seeds: SomeSeeds = None
    draws: int = Field(2, ge=1, description="Of landmarks, per field.")
    fdr: float = Field(0.05, description="Expected share of false claims.")
    decoys: bool = Field(False, description="Also claim in decoys.")
    cache: Path | None = Field(
        None,
        description="Keep simulated scenes for the next run.",
        json_schema_extra={"metavar": "DIR"},
    )
    figure: Path | None = Field(
        None, description="Draw reliability diagrams.", json_schema_extra={"metavar": "FILE"}
    )


class MatchingFigures(BenchmarkResult):
    """Calibration and error control of one part."""

    part: str
    results: tuple[MatchingRow, ...] = ()
    fit: MatchingFit | None = None
    figure: str | None = None
    markdown: str

    def summary(self) -> str:
        """Return the table, or what was fitted."""
        return "\n".join(line for line in (self.markdown, self.figure) if line)


def run(parameters: MatchingParameters, *, report: Report | None = None) -> MatchingFigures:
    """Answer the command line.

    Raises
    ------
    InputError
        If there are tables for another part than that of points, or none for that.
    """
    part = parameters.part
    if (part == "points") != (parameters.tables is not None):
        raise InputError("The part 'points' needs three tables, and no other part takes any.")
    fields = _fields(parameters, report)
    if part == "fit":
        fit = fit_shipped(fields)
        lines = "\n".join(f"{name}: {value:.3f}" for name, value in fit)
        return MatchingFigures(part=part, fit=fit, markdown=lines)
    seen = part in ("images", "detected")
    found = benchmark_matching(
        fields,
        source=_SOURCES[part],
        n_landmarks=(4, 6) if seen else (4, 6, 10),
        missing=(0.0,) if seen or part == "plane" else (0.0, 0.3),
        images=(False, True) if seen else (False,),
        draws=parameters.draws,
        fdr=parameters.fdr,
        decoys=parameters.decoys,
        report=report,
    )
    figure = parameters.figure
    if figure is not None:
        _draw(part, found.results, figure)
    return MatchingFigures(
        part=part,
        results=found.results,
        figure=None if figure is None else str(figure),
        markdown=found.table(),
    )


def _fields(parameters: MatchingParameters, report: Report | None) -> list[SceneField]:
    """Return what a part is measured on."""
    part = parameters.part
    if parameters.tables is not None:
        return [SceneField(read_point_pairs(*parameters.tables))]
    usual = FIT_SEEDS if part == "fit" else TEST_SEEDS
    seeds = (parameters.seeds or usual)[: parameters.scenes]
    if part in ("simulated", "plane"):
        make = point_field if part == "simulated" else plane_field
        return [make(seed) for seed in seeds]
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        return image_fields(
            parameters.encoder(),
            seeds,
            parameters.cache or Path(folder),
            places="detected" if part == "detected" else "known",
            report=report,
        )


def _draw(part: str, rows: Sequence[MatchingRow], path: Path) -> None:
    named = {
        f"{row.n_landmarks} landmarks{', images' if row.images else ''}\n"
        f"{row.missing:.0%} without partner": row.reliability
        for row in rows
    }
    save_figure(reliability_figure(named, title=f"Reliability, {part}"), path)
