"""The part of ``benchmark`` that matches two fields of somata from coordinates alone."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import ModelOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report

if TYPE_CHECKING:
    from napari_neurobridge.benchmarks.points import PointPairs
    from napari_neurobridge.matching.appearance.likelihood import Margins
    from napari_neurobridge.models.model_folder import ModelCalibration

QueriesOption = Annotated[
    Path, typer.Option("--queries", metavar="CSV", help="Cells to ask, uid,z_um,y_um,x_um.")
]
GalleryOption = Annotated[
    Path, typer.Option("--gallery", metavar="CSV", help="Cells to choose from, the same columns.")
]
PairsOption = Annotated[
    Path, typer.Option("--pairs", metavar="CSV", help="The truth: uids of either, in two columns.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Draws landmarks and errors.")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class TrialRow(_Frozen):
    """One draw of landmarks; see `benchmarks.points.PointsTrial`."""

    top1: float
    claimed: float
    claims_right: float
    coverage: float
    calibration_error: float
    log_score: float
    base_log_score: float
    p_detected: float
    reached: float
    wrong_rank: int | None
    seconds: float


class PointsFigures(CommandResult):
    """Matching from some landmarks; see `benchmarks.points.PointsBenchmark`."""

    n_landmarks: int
    missing: float
    wrong: str | None
    layout: str
    fdr: float
    n_queries: int
    n_gallery: int
    top1_mean: float
    top1_worst: float
    claims_right: float
    claimed: float
    coverage: float
    calibration_error: float
    log_score: float
    base_log_score: float
    wrong_in_first_two: float | None
    seconds: float
    trials: list[TrialRow]

    def summary(self) -> str:
        """Return a table of the means."""
        hidden = {"n_landmarks", "trials", "missing", "wrong", "layout", "fdr"}
        rows = [(name, value) for name, value in self if name not in hidden]
        how = [f"{len(self.trials)} draws of {self.n_landmarks} landmarks ({self.layout})"]
        if self.wrong is not None:
            how.append(f"one of them wrong ({self.wrong})")
        if self.missing:
            how.append(f"{self.missing:.0%} of the other partners deleted")
        return f"{table(('mean', 'value'), rows)}\n{', '.join(how)}; claims at FDR {self.fdr:g}"


class EffortRow(_Frozen):
    """What one queue achieves; see `benchmarks.effort.EffortCurve`."""

    queue: str
    questions: list[int]
    right: list[float]
    worst: list[float]
    questions_to_95: int | None
    seconds_per_question: float


class EffortFigures(CommandResult):
    """Cells matched rightly against questions; see `benchmarks.effort.EffortBenchmark`."""

    n_queries: int
    n_gallery: int
    draws: int
    error_rate: float
    images: bool
    results: list[EffortRow]

    def summary(self) -> str:
        """Return a table, a column for every fifth question."""
        asked = self.results[0].questions if self.results else []
        shown = [place for place, count in enumerate(asked) if count % 5 == 0]
        header = ("queue", *(f"after {asked[place]}" for place in shown), "questions to 95 %")
        rows = [
            (row.queue, *(row.right[place] for place in shown), row.questions_to_95)
            for row in self.results
        ]
        return f"{table(header, rows)}\n{self.draws} draws, {self.error_rate:.0%} wrong answers"


class PointsSpeedFigures(CommandResult):
    """Time and memory; see `benchmarks.points_speed.PointsSpeed`."""

    n_queries: int
    n_gallery: int
    n_landmarks: int
    seconds: float
    refit_seconds: float
    cpu_seconds: float
    refit_cpu_seconds: float
    peak_memory_gb: float
    top1: float
    refit_top1: float


def register(benchmarks: typer.Typer) -> None:
    """Add these commands to the group ``benchmark``."""
    command(benchmarks, "points")(points)
    command(benchmarks, "points-speed")(points_speed)
    command(benchmarks, "effort")(effort)


def points(
    *,
    queries: QueriesOption,
    gallery: GalleryOption,
    pairs: PairsOption,
    landmarks: Annotated[
        int, typer.Option("--landmarks", metavar="N", help="Pairs that are given.")
    ] = 10,
    draws: Annotated[int, typer.Option("--draws", help="How many sets of landmarks.")] = 20,
    missing: Annotated[
        float,
        typer.Option("--missing", help="Share of the other cells whose partners are deleted."),
    ] = 0.0,
    wrong: Annotated[
        str | None,
        typer.Option(
            "--wrong",
            metavar="near|any",
            help="Make one landmark wrong: a neighbour of the right cell, or any cell.",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="random|ball|plane",
            help="Landmarks from anywhere, from a ball 150 µm across or from a slab of 10 µm.",
        ),
    ] = "random",
    fdr: Annotated[float, typer.Option("--fdr", help="Accepted share of false claims.")] = 0.05,
    seed: SeedOption = 0,
    report: Report,
) -> PointsFigures:
    """Match two fields from a few landmarks, many times, and compare with the truth."""
    from napari_neurobridge.benchmarks.points import benchmark_points, read_point_pairs

    result = benchmark_points(
        read_point_pairs(queries, gallery, pairs),
        n_landmarks=landmarks,
        draws=draws,
        missing=missing,
        wrong=wrong,
        layout=layout,
        fdr=fdr,
        seed=seed,
        report=report,
    )
    return PointsFigures.model_validate(result.model_dump())


def points_speed(
    *,
    queries: Annotated[int, typer.Option("--queries", metavar="N", help="Cells to ask.")] = 1100,
    gallery: Annotated[
        int, typer.Option("--gallery", metavar="N", help="Cells to choose from.")
    ] = 21571,
    landmarks: Annotated[int, typer.Option("--landmarks", metavar="N", help="Pairs given.")] = 10,
    seed: SeedOption = 0,
    report: Report,
) -> PointsSpeedFigures:
    """Measure time and memory of matching two simulated fields, and of one more pair."""
    from napari_neurobridge.benchmarks.points_speed import measure_points_speed

    result = measure_points_speed(
        n_queries=queries, n_gallery=gallery, n_landmarks=landmarks, seed=seed, report=report
    )
    return PointsSpeedFigures.model_validate(result.model_dump())


def effort(
    *,
    queries: Annotated[
        Path | None, typer.Option("--queries", metavar="CSV", help="Cells to ask.")
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option("--gallery", metavar="CSV", help="Cells to choose from.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", metavar="CSV", help="The truth, two columns of uids.")
    ] = None,
    scene: Annotated[
        int | None,
        typer.Option(
            "--scene",
            metavar="SEED",
            help="Instead of tables, the somata that are detected in a simulated scene.",
        ),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Look at the scene's crops, too.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Keep the scene for later runs.")
    ] = None,
    model: ModelOption = None,
    queues: Annotated[
        str,
        typer.Option("--queues", metavar="NAME,NAME", help="Ways to choose the next question."),
    ] = "entropy,random,nearest,spread",
    questions: Annotated[int, typer.Option("--questions", help="How many are asked.")] = 25,
    draws: Annotated[int, typer.Option("--draws", help="Annotators for each queue.")] = 5,
    errors: Annotated[float, typer.Option("--errors", help="Share of wrong answers.")] = 0.05,
    seed: SeedOption = 0,
    report: Report,
) -> EffortFigures:
    """Count the cells that are matched rightly as a simulated annotator, who errs, answers."""
    from napari_neurobridge.benchmarks.effort import benchmark_effort
    from napari_neurobridge.benchmarks.points import read_point_pairs

    margins, calibration = None, None
    if scene is not None:
        points, margins, calibration = _scene(scene, cache, model, images, report)
    elif queries is not None and gallery is not None and pairs is not None and not images:
        points = read_point_pairs(queries, gallery, pairs)
    else:
        raise InputError("Give --queries, --gallery and --pairs, or --scene; images need --scene.")
    result = benchmark_effort(
        points,
        questions=questions,
        draws=draws,
        error_rate=errors,
        queues=[name.strip() for name in queues.split(",")],
        margins=margins,
        calibration=calibration,
        seed=seed,
        report=report,
    )
    return EffortFigures.model_validate(result.model_dump())


def _scene(
    seed: int, cache: Path | None, model: str | None, images: bool, report: Report
) -> "tuple[PointPairs, Margins | None, ModelCalibration]":
    """Return a simulated scene's somata, with images what they look like, and what that means."""
    from napari_neurobridge.benchmarks.matching import margins_of
    from napari_neurobridge.benchmarks.matching_scenes import image_fields
    from napari_neurobridge.workflows.index import load_encoder

    encoder = load_encoder(None, model)
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        field = image_fields(
            encoder, [seed], cache or Path(folder), places="detected", report=report
        )[0]
    return field.points, margins_of(field) if images else None, field.calibration
