"""Soma detection on held-out simulated scenes, against the known truth."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from napari_neurobridge.benchmarks.contract import (
    BenchmarkParameters,
    BenchmarkResult,
    Level,
    Seeds,
)
from napari_neurobridge.detection.dog import detect_somata
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation.scene_files import simulate_scene

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.types import Report, Vec3


SAME_SOMA_UM = 5.0
TEST_SEEDS = tuple(range(110, 115))
"""Scenes on which no parameter of the detector was chosen."""

SCENE_SIZE_UM = (150.0, 300.0, 300.0)
_BINS = 4


class ConfidenceBin(BaseModel, frozen=True):
    """Detections of about one confidence."""

    low: float
    high: float
    n: int
    right: float = Field(description="Share that is a soma.")


class DetectionScore(BaseModel, frozen=True):
    """How well one side's somata were found, over all scenes."""

    side: str = Field(description="two_photon or fmost.")
    n_true: int = Field(description="Somata that are visible on this side.")
    n_found: int
    precision: float
    recall: float
    f1: float
    by_confidence: tuple[ConfidenceBin, ...] = Field(description="Quarters of the detections.")


class DetectionParameters(BenchmarkParameters):
    """Scenes to detect in."""

    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS


class DetectionBenchmark(BenchmarkResult):
    """The detector's defaults, on scenes that it was not tuned on."""

    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    results: tuple[DetectionScore, ...]

    def summary(self) -> str:
        """Return a table."""
        header = ("side", "n_true", "n_found", "precision", "recall", "f1")
        return text_table(header, [[getattr(row, name) for name in header] for row in self.results])


def count_hits(
    truth_um: npt.NDArray[np.float64],
    found_um: npt.NDArray[np.float64],
    *,
    within_um: float = SAME_SOMA_UM,
) -> int:
    """Return how many true somata were found, each by a detection of its own."""
    return int(find_hits(truth_um, found_um, within_um=within_um).sum())


def find_hits(
    truth_um: npt.NDArray[np.float64],
    found_um: npt.NDArray[np.float64],
    *,
    within_um: float = SAME_SOMA_UM,
) -> npt.NDArray[np.bool_]:
    """Return which detections (M,) are a true soma, each of its own.

    Parameters
    ----------
    truth_um, found_um : ndarray, shape (N, 3) and (M, 3)
        µm, (z, y, x).
    within_um : float
        Farthest that a detection may lie from its soma.
    """
    hit = np.zeros(len(found_um), dtype=np.bool_)
    if not len(truth_um) or not len(found_um):
        return hit
    distance = cdist(truth_um, found_um)
    # Too far costs more than all hits together, so the assignment makes hits first.
    far = within_um * (min(distance.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(distance <= within_um, distance, far))
    hit[columns] = distance[rows, columns] <= within_um
    return hit


def benchmark_detection(
    parameters: DetectionParameters | None = None,
    *,
    size_um: Vec3 = SCENE_SIZE_UM,
    report: Report | None = None,
) -> DetectionBenchmark:
    """Detect the somata of held-out scenes on both sides with default parameters.

    Parameters
    ----------
    parameters : DetectionParameters, optional
    size_um : Vec3
        Size of each scene.
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    parameters = parameters or DetectionParameters()
    seeds, level = parameters.seeds, parameters.level
    tell = report or (lambda done, total, message: None)
    n_true = dict.fromkeys(("two_photon", "fmost"), 0)
    # Confidence of each detection, and whether it is a soma.
    found: dict[str, list[npt.NDArray[np.float64]]] = {side: [] for side in n_true}
    for done, seed in enumerate(seeds):
        tell(done, len(seeds), "detecting in simulated scenes")
        with TemporaryDirectory() as folder:
            scene = simulate_scene(Path(folder), seed=seed, size_um=size_um, level=level)
            table = pd.read_csv(scene.truth)
            for side, path in (("two_photon", scene.two_photon), ("fmost", scene.fmost)):
                seen = table[table[f"in_{side}"].astype(bool)]
                truth = seen[[f"{side}_{axis}_um" for axis in "zyx"]].to_numpy(dtype=np.float64)
                detected = detect_somata(open_volume(path, name=side))
                hit = find_hits(truth, detected.centers_um)
                n_true[side] += len(truth)
                found[side].append(np.column_stack([detected.confidence, hit]))
    return DetectionBenchmark(
        level=level,
        seeds=seeds,
        results=tuple(_score(side, n_true[side], np.vstack(found[side])) for side in n_true),
    )


def run(parameters: DetectionParameters, *, report: Report | None = None) -> DetectionBenchmark:
    """Answer the command line."""
    return benchmark_detection(parameters, report=report)


def _score(side: str, n_true: int, found: npt.NDArray[np.float64]) -> DetectionScore:
    n_found, n_hits = len(found), int(found[:, 1].sum())
    parts = np.array_split(found[np.argsort(found[:, 0])], _BINS)
    return DetectionScore(
        side=side,
        n_true=n_true,
        n_found=n_found,
        precision=n_hits / max(n_found, 1),
        recall=n_hits / max(n_true, 1),
        f1=2 * n_hits / max(n_true + n_found, 1),
        by_confidence=tuple(
            ConfidenceBin(
                low=float(part[0, 0]),
                high=float(part[-1, 0]),
                n=len(part),
                right=float(part[:, 1].mean()),
            )
            for part in parts
            if len(part)
        ),
    )
