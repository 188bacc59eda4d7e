"""``benchmark tilt``: crops re-cut in the alignment's frame."""

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import LevelOption, ModelOption, SeedsOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.types import Report


class TiltRow(BaseModel):
    """One error of the orientation; see `benchmarks.tilt.TiltRow`."""

    model_config = ConfigDict(frozen=True)

    turn: str
    degrees: float
    landmarks: str
    n_queries: int
    oriented: dict[str, float]
    aligned: dict[str, float] | None
    shortlist_top1: float | None


class TiltFigures(CommandResult):
    """A wrong orientation, and six accepted pairs; see `benchmarks.tilt.TiltBenchmark`."""

    model: str
    level: str
    seeds: list[int]
    n_landmarks: int
    results: list[TiltRow]

    def summary(self) -> str:
        """Return a table."""
        rows = [
            (
                f"{row.turn} {row.degrees:g}°",
                row.landmarks,
                row.n_queries,
                row.oriented["1"],
                None if row.aligned is None else row.aligned["1"],
                row.shortlist_top1,
                row.oriented["5"],
                None if row.aligned is None else row.aligned["5"],
            )
            for row in self.results
        ]
        header = ("orientation off by", "pairs", "queries", "top-1", "re-cut", "best ten re-cut")
        return table((*header, "top-5", "top-5 re-cut"), rows)


def register(benchmarks: typer.Typer) -> None:
    """Add this command to the group ``benchmark``."""
    command(benchmarks, "tilt")(tilt)


def tilt(
    *,
    model: ModelOption = None,
    level: LevelOption = "paper",
    seed: SeedsOption = None,
    degrees: Annotated[
        list[float] | None,
        typer.Option("--degrees", help="Error of the orientation; repeat it for more."),
    ] = None,
    report: Report,
) -> TiltFigures:
    """Rank with a wrong orientation, then in crops re-cut in the frame of six accepted pairs."""
    from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
    from napari_neurobridge.benchmarks.tilt import DEGREES, benchmark_tilt
    from napari_neurobridge.workflows.index import load_encoder

    encoder = load_encoder(None, model)
    result = benchmark_tilt(
        encoder, seeds=seed or TEST_SEEDS, level=level, degrees=degrees or DEGREES, report=report
    )
    return TiltFigures.model_validate(result.model_dump())
