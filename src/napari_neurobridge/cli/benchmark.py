"""``benchmark``: the figures of docs/benchmarks.md."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli import (
    benchmark_constellation,
    benchmark_matching,
    benchmark_models,
    benchmark_points,
    benchmark_pose,
    benchmark_tilt,
)
from napari_neurobridge.cli._options import LevelOption, ModelOption, SeedsOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.types import Report, Vec3


class DetectionRow(BaseModel):
    """How well the somata of one side were found."""

    model_config = ConfigDict(frozen=True)

    side: str
    n_true: int
    n_found: int
    precision: float
    recall: float
    f1: float
    by_confidence: list[dict[str, float]]


class DetectionFigures(CommandResult):
    """The detector on simulated scenes; see `benchmarks.detection.DetectionBenchmark`."""

    level: str
    seeds: list[int]
    results: list[DetectionRow]

    def summary(self) -> str:
        """Return a table."""
        header = ("side", "n_true", "n_found", "precision", "recall", "f1")
        return table(header, [[getattr(row, name) for name in header] for row in self.results])


class SilverPairsFigures(CommandResult):
    """The job on real volumes; see `benchmarks.silver_pairs.SilverPairsBenchmark`."""

    model: str
    n_queries: int
    n_gallery: int
    n_detected: int
    topk: dict[str, float]
    chance: dict[str, float]


class DomainsFigures(CommandResult):
    """How far apart imaging domains are; see `benchmarks.domains.DomainsBenchmark`."""

    model: str
    domains: list[str]
    pairs: int
    mmd2: list[list[float]]
    within: list[float]
    smallest_ratio: float

    def summary(self) -> str:
        """Return MMD² between domains, and the scatter within each."""
        rows = [
            (name, *row, scatter)
            for name, row, scatter in zip(self.domains, self.mmd2, self.within, strict=True)
        ]
        ratio = f"smallest distance of two domains over their scatter: {self.smallest_ratio:.1f}"
        return f"{table(('MMD²', *self.domains, 'within'), rows)}\n{ratio}"


class SimulationFigures(CommandResult):
    """The simulator's speed; see `benchmarks.simulation.SimulationBenchmark`."""

    level: str
    level_digest: str
    device: str
    threads: int
    pairs: int
    pairs_seconds: float
    pairs_per_second: float
    scene_um: Vec3
    scene_seconds: float
    scene_peak_memory_gb: float | None

    def summary(self) -> str:
        """Return a table."""
        size = " × ".join(f"{length:g}" for length in self.scene_um)
        rows = (
            (f"{self.pairs} pairs on {self.device}", self.pairs_seconds, None),
            ("one pair", 1 / self.pairs_per_second, None),
            (f"scene of {size} µm", self.scene_seconds, self.scene_peak_memory_gb),
        )
        figures = table(("what", "seconds", "peak memory, GB"), rows)
        speed = f"{self.pairs_per_second:.1f} pairs a second, {self.threads} threads"
        return f"{figures}\n{speed}, level {self.level} ({self.level_digest})"


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    benchmarks = typer.Typer(
        help="Measure the figures of docs/benchmarks.md.", rich_markup_mode=None
    )
    benchmark_models.register(benchmarks)
    benchmark_matching.register(benchmarks)
    benchmark_constellation.register(benchmarks)
    benchmark_points.register(benchmarks)
    benchmark_tilt.register(benchmarks)
    benchmark_pose.register(benchmarks)
    command(benchmarks, "detection")(detection)
    command(benchmarks, "silver-pairs")(silver_pairs)
    command(benchmarks, "domains")(domains)
    command(benchmarks, "simulation")(simulation)
    app.add_typer(benchmarks, name="benchmark")


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
    model: ModelOption = None,
    n: Annotated[int, typer.Option("-n", help="How many positions to ask.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Draws the positions.")] = 0,
    report: Report,
) -> SilverPairsFigures:
    """Do the whole job on two real volumes, and rank at known positions."""
    from napari_neurobridge.benchmarks.silver_pairs import benchmark_silver_pairs
    from napari_neurobridge.workflows.index import load_encoder

    encoder = load_encoder(None, model)
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


def domains(
    *,
    model: ModelOption = None,
    pairs: Annotated[int, typer.Option("--pairs", help="Pairs of each domain.")] = 256,
    seed: Annotated[int, typer.Option("--seed", help="Draws scenes and halves.")] = 0,
    report: Report,
) -> DomainsFigures:
    """Compare the simulated imaging domains with the scatter within each."""
    from napari_neurobridge.benchmarks.domains import benchmark_domains
    from napari_neurobridge.workflows.index import load_encoder

    encoder = load_encoder(None, model)
    result = benchmark_domains(encoder, pairs=pairs, seed=seed, report=report)
    return DomainsFigures.model_validate(result.model_dump())


def simulation(
    *,
    level: LevelOption = "paper",
    pairs: Annotated[int, typer.Option("--pairs", help="Pairs of crops to make.")] = 256,
    scene_um: Annotated[
        Vec3, typer.Option("--scene-um", metavar="Z Y X", help="Size of the scene, µm.")
    ] = (200.0, 500.0, 500.0),
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads to compute with; all unless given.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where to make the pairs: cpu, cuda or mps.")
    ] = "cpu",
    report: Report,
) -> SimulationFigures:
    """Measure how fast pairs are simulated, and the time and memory of a scene."""
    from napari_neurobridge.benchmarks.simulation import benchmark_simulation

    result = benchmark_simulation(
        level=level,
        pairs=pairs,
        scene_um=scene_um,
        threads=threads,
        device=device,
        report=report,
    )
    return SimulationFigures.model_validate(result.model_dump())
