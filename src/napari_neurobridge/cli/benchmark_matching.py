"""The part of ``benchmark`` that asks whether matches are as sure as they say."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_neurobridge.cli._options import ModelOption, SeedsOption
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report

if TYPE_CHECKING:
    from napari_neurobridge.benchmarks.matching import MatchingBenchmark
    from napari_neurobridge.benchmarks.matching_scenes import SceneField

Part = Literal["simulated", "points", "images", "detected", "fit"]
_SOURCES = {
    "simulated": "simulated",
    "points": "tables",
    "images": "paper, placed",
    "detected": "paper, detected",
}


class MatchingFigures(CommandResult):
    """Calibration and error control; see `benchmarks.matching.MatchingBenchmark`."""

    part: str
    results: list[dict[str, object]]
    fit: dict[str, float] | None
    figure: str | None
    markdown: str

    def summary(self) -> str:
        """Return the table, or what was fitted."""
        return "\n".join(line for line in (self.markdown, self.figure) if line)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "matching")(matching)


def matching(
    *,
    part: Annotated[
        Part,
        typer.Option(
            "--part",
            help="simulated: calibration on simulated points; points: the same on tables; "
            "images: scenes of the level paper with 30 % missing on either side, by coordinates "
            "and with images; detected: the same where the detector finds the somata; fit: "
            "what is shipped, on other scenes.",
        ),
    ] = "simulated",
    tables: Annotated[
        tuple[Path, Path, Path] | None,
        typer.Option(
            "--tables",
            metavar="QUERIES GALLERY PAIRS",
            help="For points: uid,z_um,y_um,x_um twice, and two columns of uids.",
        ),
    ] = None,
    model: ModelOption = None,
    scenes: Annotated[
        int | None, typer.Option("--scenes", min=1, help="Only so many scenes.")
    ] = None,
    seeds: SeedsOption = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Of landmarks, per field.")] = 2,
    fdr: Annotated[float, typer.Option("--fdr", help="Expected share of false claims.")] = 0.05,
    decoys: Annotated[
        bool, typer.Option("--decoys", help="Also claim in shifted galleries.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep simulated scenes for the next run."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Draw reliability diagrams.")
    ] = None,
    report: Report,
) -> MatchingFigures:
    """Measure calibration, false claims at an FDR, recall and candidate sets."""
    from napari_neurobridge.benchmarks.matching import benchmark_matching, fit_shipped

    if (part == "points") != (tables is not None):
        raise InputError("Give --tables with --part points, and only then.")
    fields = _fields(part, tables, model, seeds, scenes, cache, report)
    if part == "fit":
        fit = fit_shipped(fields)
        lines = "\n".join(f"{name}: {value:.3f}" for name, value in fit)
        return MatchingFigures(
            part=part, results=[], fit=fit.model_dump(), figure=None, markdown=lines
        )
    seen = part in ("images", "detected")
    result = benchmark_matching(
        fields,
        source=_SOURCES[part],
        n_landmarks=(4, 6) if seen else (4, 6, 10),
        missing=(0.0,) if seen else (0.0, 0.3),
        images=(False, True) if seen else (False,),
        draws=draws,
        fdr=fdr,
        decoys=decoys,
        report=report,
    )
    return _figures(part, result, figure)


def _fields(
    part: Part,
    tables: tuple[Path, Path, Path] | None,
    model: str | None,
    seeds: list[int] | None,
    scenes: int | None,
    cache: Path | None,
    report: Report,
) -> "list[SceneField]":
    """Return what a part is measured on."""
    from napari_neurobridge.benchmarks import matching_scenes as scenes_of
    from napari_neurobridge.benchmarks.matching import FIT_SEEDS, TEST_SEEDS
    from napari_neurobridge.benchmarks.points import read_point_pairs
    from napari_neurobridge.workflows.index import load_encoder

    if tables is not None:
        return [scenes_of.SceneField(read_point_pairs(*tables))]
    chosen = (seeds or (FIT_SEEDS if part == "fit" else TEST_SEEDS))[:scenes]
    if part == "simulated":
        return [scenes_of.point_field(seed) for seed in chosen]
    places: Literal["known", "detected"] = "detected" if part == "detected" else "known"
    encoder = load_encoder(None, model)
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        return scenes_of.image_fields(
            encoder, chosen, cache or Path(folder), places=places, report=report
        )


def _figures(part: str, found: "MatchingBenchmark", figure: Path | None) -> MatchingFigures:
    from napari_neurobridge.insight.figures.reliability import reliability_figure
    from napari_neurobridge.insight.figures.style import save_figure

    if figure is not None:
        named = {
            f"{row.n_landmarks} landmarks{', images' if row.images else ''}\n"
            f"{row.missing:.0%} without partner": row.reliability
            for row in found.results
        }
        save_figure(reliability_figure(named, title=f"Reliability, {part}"), figure)
    return MatchingFigures(
        part=part,
        results=[row.model_dump() for row in found.results],
        fit=None,
        figure=None if figure is None else str(figure),
        markdown=found.table(),
    )
