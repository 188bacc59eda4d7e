"""How fast the simulator makes pairs of crops, and what a scene costs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.scene_cost import measure_scene
from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.pairs import simulate_pairs
from napari_neurobridge.types import Vec3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_neurobridge.types import Report

SCENE_UM: Vec3 = (200.0, 500.0, 500.0)
_SEED = 7
_WARM_UP_PAIRS = 8


class SimulationBenchmark(BaseModel, frozen=True):
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


def benchmark_simulation(
    *,
    level: str = "paper",
    pairs: int = 256,
    scene_um: Vec3 = SCENE_UM,
    threads: int | None = None,
    device: str = "cpu",
    report: Report | None = None,
) -> SimulationBenchmark:
    """Measure how fast pairs are made, and the time and memory that a scene takes.

    Parameters
    ----------
    level : str
        Difficulty.
    pairs : int
        Pairs of crops to make; a few more are made before, which are not timed.
    scene_um : Vec3
        Size of the scene, which is made in a process of its own.
    threads : int, optional
        Threads to compute with; all by default.
    device : str
        Where to make the pairs.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If a number is not positive, the level is unknown, or there is no such device.
    """
    threads = torch.get_num_threads() if threads is None else threads
    if pairs < 1 or threads < 1:
        raise InputError("The numbers of pairs and of threads must be at least 1.")
    digest = named_level(level).digest()
    _check_device(device)
    if report is not None:
        report(0, 0, "simulating a scene")
    scene = measure_scene(scene_um, seed=_SEED, level=level, threads=threads)
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
        scene_um=scene_um,
        scene_seconds=scene.seconds,
        scene_peak_memory_gb=scene.peak_memory_gb,
    )


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
