"""``benchmark``: the figures of docs/benchmarks.md."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import ModelOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.project.zoo import DEFAULT_MODEL
from napari_neurobridge.types import Report

LevelOption = Annotated[str, typer.Option("--level", help="Difficulty: easy, paper or hard.")]
SeedsOption = Annotated[
    list[int] | None,
    typer.Option("--seed", help="A held-out scene; repeat it for more. Several unless given."),
]


class MethodRow(BaseModel):
    """How often one method ranks the partner among the first 1, 5 and 10."""

    model_config = ConfigDict(frozen=True)

    method: str
    topk: dict[str, float]
    seconds: float


class RetrievalFigures(CommandResult):
    """A model against plain measures; see `benchmarks.retrieval.RetrievalBenchmark`."""

    model: str
    level: str
    seeds: list[int]
    candidates: int
    n_queries: int
    results: list[MethodRow]
    ratio: float | None

    def summary(self) -> str:
        """Return a table."""
        rows = [
            (row.method, *(row.topk[k] for k in ("1", "5", "10")), row.seconds)
            for row in self.results
        ]
        return table(("method", "top-1", "top-5", "top-10", "seconds"), rows)


class DetectionRow(BaseModel):
    """How well the somata of one side were found."""

    model_config = ConfigDict(frozen=True)

    side: str
    n_true: int
    n_found: int
    precision: float
    recall: float
    f1: float


class DetectionFigures(CommandResult):
    """The detector on simulated scenes; see `benchmarks.detection.DetectionBenchmark`."""

    level: str
    seeds: list[int]
    results: list[DetectionRow]

    def summary(self) -> str:
        """Return a table."""
        header = tuple(DetectionRow.model_fields)
        return table(header, [[getattr(row, name) for name in header] for row in self.results])


class SilverPairsFigures(CommandResult):
    """The job on real volumes; see `benchmarks.silver_pairs.SilverPairsBenchmark`."""

    model: str
    n_queries: int
    n_gallery: int
    n_detected: int
    topk: dict[str, float]
    chance: dict[str, float]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    benchmarks = typer.Typer(
        help="Measure the figures of docs/benchmarks.md.", rich_markup_mode=None
    )
    command(benchmarks, "retrieval")(retrieval)
    command(benchmarks, "detection")(detection)
    command(benchmarks, "silver-pairs")(silver_pairs)
    app.add_typer(benchmarks, name="benchmark")


def retrieval(
    *,
    model: ModelOption = DEFAULT_MODEL,
    level: LevelOption = "paper",
    seed: SeedsOption = None,
    report: Report,
) -> RetrievalFigures:
    """Rank held-out simulated cells, by a model and by plain measures."""
    from napari_neurobridge.benchmarks.retrieval import TEST_SEEDS, benchmark_retrieval
    from napari_neurobridge.workbench import actions

    encoder = actions.load_encoder(None, model)
    result = benchmark_retrieval(encoder, seeds=seed or TEST_SEEDS, level=level, report=report)
    return RetrievalFigures.model_validate(result.model_dump())


def detection(
    *, level: LevelOption = "paper", seed: SeedsOption = None, report: Report
) -> DetectionFigures:
    """Detect the somata of held-out simulated scenes, on both sides."""
    from napari_neurobridge.benchmarks.detection import TEST_SEEDS, benchmark_detection

    result = benchmark_detection(seeds=seed or TEST_SEEDS, level=level, report=report)
    return DetectionFigures.model_validate(result.model_dump())


def silver_pairs(
    two_photon: Annotated[Path, typer.Argument(metavar="FIRST", help="First volume.")],
    fmost: Annotated[Path, typer.Argument(metavar="SECOND", help="Second volume, the gallery.")],
    pairs: Annotated[
        Path,
        typer.Argument(metavar="PAIRS.csv", help="Matching positions, z_um,y_um,x_um of each."),
    ],
    *,
    model: ModelOption = DEFAULT_MODEL,
    n: Annotated[int, typer.Option("-n", help="How many positions to ask.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Draws the positions.")] = 0,
    report: Report,
) -> SilverPairsFigures:
    """Do the whole job on two real volumes, and rank at known positions."""
    from napari_neurobridge.benchmarks.silver_pairs import benchmark_silver_pairs
    from napari_neurobridge.workbench import actions

    encoder = actions.load_encoder(None, model)
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        result = benchmark_silver_pairs(
            encoder,
            two_photon,
            fmost,
            pairs,
            folder=Path(folder) / "real.neurobridge",
            n_queries=n,
            seed=seed,
            report=report,
        )
    return SilverPairsFigures.model_validate(result.model_dump())
