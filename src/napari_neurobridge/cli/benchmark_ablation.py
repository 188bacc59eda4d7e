"""The part of ``benchmark`` that asks what parts of the simulation earn."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import LevelOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report


class AblationFigures(BaseModel):
    """One figure of one condition; see `benchmarks.ablation_statistics.AblationFigure`."""

    model_config = ConfigDict(frozen=True)

    mean: float
    runs: list[float]
    interval: tuple[float, float]
    difference: float | None
    difference_interval: tuple[float, float] | None

    def text(self) -> str:
        """Return the difference with its interval, or of the full simulation the mean."""
        if self.difference is None:
            return f"{self.mean:.3f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"
        if self.difference_interval is None:
            return f"{self.difference:+.3f}"
        low, high = self.difference_interval
        return f"{self.difference:+.3f} ({low:+.3f} to {high:+.3f})"


class ConditionRow(BaseModel):
    """One condition; see `benchmarks.ablation_statistics.AblationRow`."""

    model_config = ConfigDict(frozen=True)

    condition: str
    figures: dict[str, AblationFigures]


class MotionFigures(BaseModel):
    """What a condition moves; see `benchmarks.ablation_geometry.CropMotion`."""

    model_config = ConfigDict(frozen=True)

    rms_um: float
    share: float


class AblationResult(CommandResult):
    """All conditions; see `benchmarks.simulation_ablation.AblationBenchmark`."""

    level: str
    level_digest: str
    scenes: int
    steps: int
    initialisations: list[int]
    n_simulated: int
    n_real: int | None
    n_gallery: int | None
    motion: dict[str, MotionFigures]
    results: list[ConditionRow]
    reference: ConditionRow | None

    def summary(self) -> str:
        """Return a table: the full simulation with intervals, differences to it below."""
        names = list(self.results[0].figures)
        rows = [*self.results, *([self.reference] if self.reference else [])]
        moved = {name: motion.rms_um for name, motion in self.motion.items()}
        figures = table(
            ("condition", "moves µm", *names),
            [
                (
                    row.condition,
                    moved.get(row.condition),
                    *(row.figures[name].text() for name in names),
                )
                for row in rows
            ],
        )
        return (
            f"{figures}\n{self.scenes} scenes and {self.steps} steps for each of "
            f"{len(self.initialisations)} initialisations, level {self.level} "
            f"({self.level_digest}); in brackets 95 % intervals; '+' and '-' are differences"
        )


def register(benchmarks: typer.Typer) -> None:
    """Add this command to the group ``benchmark``."""
    command(benchmarks, "ablation")(ablation)


def ablation(
    *,
    cache: Annotated[
        Path,
        typer.Option("--cache", metavar="DIR", help="Pairs and checkpoints; goes on from them."),
    ],
    real: Annotated[
        Path | None,
        typer.Option(
            "--real",
            metavar="FOLDER",
            help="Real images to test on: in_vivo and ex_vivo as .tif and .csv, silver.csv.",
        ),
    ] = None,
    pixel: Annotated[
        tuple[float, float] | None,
        typer.Option("--pixel-um", metavar="IN EX", help="Side of a pixel of these images, µm."),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--condition", help="Repeat for more; all unless given."),
    ] = None,
    level: LevelOption = "paper",
    scenes: Annotated[
        int, typer.Option("--scenes", min=1, help="Scenes of 64 pairs for each condition.")
    ] = 12,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Updates of an encoder.")] = 150,
    initialisations: Annotated[
        int, typer.Option("--initialisations", min=1, help="Encoders for each condition.")
    ] = 2,
    model: Annotated[
        str | None, typer.Option("--model", help="A finished model, tested beside them.")
    ] = None,
    report: Report,
) -> AblationResult:
    """Train small encoders without vessels, tears or window compression, and compare them."""
    from napari_neurobridge.benchmarks.real_pairs import read_real_pairs
    from napari_neurobridge.benchmarks.simulation_ablation import (
        ABLATIONS,
        AblationRequest,
        benchmark_ablation,
    )
    from napari_neurobridge.workflows.index import load_encoder

    if (real is None) != (pixel is None):
        raise InputError("--real and --pixel-um go together; give both, or neither.")
    request = AblationRequest(
        conditions=tuple(conditions or ABLATIONS),
        level=level,
        scenes=scenes,
        steps=steps,
        initialisations=tuple(range(initialisations)),
    )
    result = benchmark_ablation(
        request,
        cache=cache,
        real=real and pixel and read_real_pairs(real, pixel_um=pixel, report=report),
        reference=None if model is None else load_encoder(None, model),
        report=report,
    )
    return AblationResult.model_validate(result.model_dump())
