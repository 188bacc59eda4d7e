"""Time and memory of matching two fields of somata from coordinates alone."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.propagation.propagate import (
    Propagation,
    PropagationProblem,
    run_propagation,
)

if TYPE_CHECKING:
    from napari_neurobridge.types import Report

# Somata of cortex in each µm³, and a bent map that no Gaussian process drew.
_DENSITY = 5e-5
_WAVE_UM, _WAVE_LENGTH_UM, _NOISE_UM = 6.0, 300.0, 1.5
_GB = 1e9


class PointsSpeedParameters(BenchmarkParameters):
    """How large the fields are."""

    queries: int = Field(1100, description="Cells to ask.", json_schema_extra={"metavar": "N"})
    gallery: int = Field(
        21571, description="Cells to choose from.", json_schema_extra={"metavar": "N"}
    )
    landmarks: int = Field(10, description="Pairs given.", json_schema_extra={"metavar": "N"})
    seed: int = Field(0, description="Draws field and landmarks.")


class PointsSpeed(BenchmarkResult):
    """What a whole propagation and one more pair took."""

    n_queries: int
    n_gallery: int
    n_landmarks: int
    seconds: float = Field(description="Of the whole propagation.")
    refit_seconds: float = Field(description="Of the one after the next accepted pair.")
    cpu_seconds: float = Field(description="As `seconds`, of the processor: for busy machines.")
    refit_cpu_seconds: float
    peak_memory_gb: float = Field(description="Most memory that either held, 1e9 bytes.")
    top1: float
    refit_top1: float


def measure_points_speed(
    parameters: PointsSpeedParameters | None = None,
    *,
    report: Report | None = None,
) -> PointsSpeed:
    """Match two simulated fields, and then once more with one more landmark.

    Time and memory are taken in runs of their own, for watching memory takes time.

    Parameters
    ----------
    parameters : PointsSpeedParameters, optional
        Each query has its partner.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there are more queries than somata, or no more queries than landmarks.
    """
    asked = parameters or PointsSpeedParameters()
    n_queries, n_gallery, n_landmarks = asked.queries, asked.gallery, asked.landmarks
    if not 1 <= n_landmarks < n_queries <= n_gallery:
        raise InputError("There must be more queries than landmarks, and no more than somata.")
    rng = np.random.default_rng(asked.seed)
    pairs = waving_field(n_queries, n_gallery, rng)
    chosen = rng.choice(n_queries, n_landmarks + 1, replace=False)
    both = np.column_stack([chosen, pairs.partner[chosen]])
    before, after = (
        PropagationProblem(pairs.queries_um, pairs.gallery_um, both[:count])
        for count in (n_landmarks, n_landmarks + 1)
    )

    def run(step: int) -> tuple[npt.NDArray[np.float64], Propagation, Propagation]:
        if report is not None:
            report(step, 2, "matching from coordinates")
        clock = [(time.perf_counter(), time.process_time())]
        first = run_propagation(before)
        clock.append((time.perf_counter(), time.process_time()))
        second = run_propagation(after, start=first)
        clock.append((time.perf_counter(), time.process_time()))
        return np.diff(clock, axis=0), first, second

    took, first, second = run(0)
    tracemalloc.start()
    try:
        run(1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return PointsSpeed(
        n_queries=n_queries,
        n_gallery=n_gallery,
        n_landmarks=n_landmarks,
        seconds=took[0, 0],
        refit_seconds=took[1, 0],
        cpu_seconds=took[0, 1],
        refit_cpu_seconds=took[1, 1],
        peak_memory_gb=peak / _GB,
        top1=float((first.posterior.best == pairs.partner).mean()),
        refit_top1=float((second.posterior.best == pairs.partner).mean()),
    )


def run(parameters: PointsSpeedParameters, *, report: Report | None = None) -> PointsSpeed:
    """Answer the command line."""
    return measure_points_speed(parameters, report=report)


def waving_field(n_queries: int, n_gallery: int, rng: np.random.Generator) -> PointPairs:
    """Return a field and what an affine map and waves make of it.

    Parameters
    ----------
    n_queries, n_gallery : int
        The queries are some of the gallery's somata.
    rng : numpy.random.Generator
    """
    edge = (n_gallery / _DENSITY) ** (1 / 3)
    gallery = rng.uniform(0, edge, (n_gallery, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    bent = gallery + _WAVE_UM * np.sin(gallery[:, [1, 2, 0]] * (2 * np.pi / _WAVE_LENGTH_UM))
    seen = bent @ (rotation @ np.diag([0.9, 1.0, 1.1])).T
    partner = rng.choice(n_gallery, n_queries, replace=False)
    queries = seen[partner] + rng.normal(0, _NOISE_UM, (n_queries, 3))
    return PointPairs(np.asarray(queries), gallery, np.asarray(partner, dtype=np.intp))
