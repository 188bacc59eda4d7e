"""How fast the simulator makes pairs of crops, and what a scene costs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult, Level
from napari_neurobridge.benchmarks.scene_cost import measure_scene
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.pairs import simulate_pairs
from napari_neurobridge.types import Vec3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neurobridge.types import Report

SCENE_UM: Vec3 = (200.0, 500.0, 500.0)
_SEED = 7
_WARM_UP_PAIRS = 8


class SimulationParameters(BenchmarkParameters):
    """What to simulate, and on what."""

    level: Level = "paper"
    pairs: int = Field(256, description="Pairs of crops to make.")
    scene_um: Vec3 = Field(
        SCENE_UM, description="Size of the scene, µm.", json_schema_extra={"metavar": "Z Y X"}
    )
    threads: int | None = Field(None, description="Threads to compute with; all unless given.")
    device: str = Field("cpu", description="Where to make the pairs: cpu, cuda or mps.")


class SimulationBenchmark(BenchmarkResult):
    """Speed of the simulator in one run on one machine."""

    level: str = Field(description="Difficulty of the simulation.")
    level_digest: str = Field(description="Hash of its parameters.")
    device: str = Field(description="Where the pairs were made; the scene is made on the CPU.")
    threads: int
    pairs: int = Field(description="Pairs of crops in the batch.")
    pairs_seconds: float
    pairs_per_second: float
    scene_um: Vec3 = Field(description="Size of the scene's two-photon volume, z y x.")
    scene_seconds: float = Field(description="For both volumes and the truth, on disk.")
    scene_peak_memory_gb: float | None = Field(description="1e9 bytes; None on Windows.")

    def summary(self) -> str:
        """Return a table."""
        size = " × ".join(f"{length:g}" for length in self.scene_um)
        rows = (
            (f"{self.pairs} pairs on {self.device}", self.pairs_seconds, None),
            ("one pair", 1 / self.pairs_per_second, None),
            (f"scene of {size} µm", self.scene_seconds, self.scene_peak_memory_gb),
        )
        figures = text_table(("what", "seconds", "peak memory, GB"), rows)
        speed = f"{self.pairs_per_second:.1f} pairs a second, {self.threads} threads"
        return f"{figures}\n{speed}, level {self.level} ({self.level_digest})"


def benchmark_simulation(
    parameters: SimulationParameters | None = None,
    *,
    report: Report | None = None,
) -> SimulationBenchmark:
    """Measure how fast pairs are made, and the time and memory that a scene takes.

    Parameters
    ----------
    parameters : SimulationParameters, optional
        A few more pairs than it says are made before, which are not timed. The scene is made
        in a process of its own.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If a number is not positive, the level is unknown, or there is no such device.
    """
    parameters = parameters or SimulationParameters()
    level, pairs, device = parameters.level, parameters.pairs, parameters.device
    threads = torch.get_num_threads() if parameters.threads is None else parameters.threads
    if pairs < 1 or threads < 1:
        raise InputError("The numbers of pairs and of threads must be at least 1.")
    digest = named_level(level).digest()
    _check_device(device)
    if report is not None:
        report(0, 0, "simulating a scene")
    scene = measure_scene(parameters.scene_um, seed=_SEED, level=level, threads=threads)
    with _threads(threads):
        simulate_pairs(_WARM_UP_PAIRS, seed=_SEED, level=level, device=device)
        began = time.monotonic()
        simulate_pairs(pairs, seed=_SEED + 1, level=level, device=device, report=report)
        seconds = time.monotonic() - began
    return SimulationBenchmark(
        level=level,
        level_digest=digest,
        device=device,
        threads=threads,
        pairs=pairs,
        pairs_seconds=seconds,
        pairs_per_second=pairs / seconds,
        scene_um=parameters.scene_um,
        scene_seconds=scene.seconds,
        scene_peak_memory_gb=scene.peak_memory_gb,
    )


def run(parameters: SimulationParameters, *, report: Report | None = None) -> SimulationBenchmark:
    """Answer the command line."""
    return benchmark_simulation(parameters, report=report)


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"There is no device '{name}' on this machine.") from error


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
