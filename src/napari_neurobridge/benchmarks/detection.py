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

from napari_neurobridge.detection.dog import detect_somata
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation.scene_files import simulate_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.types import Report, Vec3


SAME_SOMA_UM = 5.0
TEST_SEEDS = tuple(range(110, 115))
"""Scenes on which no parameter of the detector was chosen."""

SCENE_SIZE_UM = (150.0, 300.0, 300.0)


class DetectionScore(BaseModel, frozen=True):
    """How well one side's somata were found, over all scenes."""

    side: str = Field(description="two_photon or fmost.")
    n_true: int = Field(description="Somata that are visible on this side.")
    n_found: int
    precision: float
    recall: float
    f1: float


class DetectionBenchmark(BaseModel, frozen=True):
    """The detector's defaults, on scenes that it was not tuned on."""

    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    results: tuple[DetectionScore, ...]


def count_hits(
    truth_um: npt.NDArray[np.float64],
    found_um: npt.NDArray[np.float64],
    *,
    within_um: float = SAME_SOMA_UM,
) -> int:
    """Return how many true somata were found, each by a detection of its own.

    Parameters
    ----------
    truth_um, found_um : ndarray, shape (N, 3) and (M, 3)
        µm, (z, y, x).
    within_um : float
        Farthest that a detection may lie from its soma.
    """
    if not len(truth_um) or not len(found_um):
        return 0
    distance = cdist(truth_um, found_um)
    # Too far costs more than all hits together, so the assignment makes hits first.
    far = within_um * (min(distance.shape) + 1)
    pairs = linear_sum_assignment(np.where(distance <= within_um, distance, far))
    return int((distance[pairs] <= within_um).sum())


def benchmark_detection(
    *,
    seeds: Sequence[int] = TEST_SEEDS,
    level: str = "paper",
    size_um: Vec3 = SCENE_SIZE_UM,
    report: Report | None = None,
) -> DetectionBenchmark:
    """Detect the somata of held-out scenes on both sides with default parameters.

    Parameters
    ----------
    seeds : sequence of int
        One scene each.
    level : str
        Difficulty.
    size_um : Vec3
        Size of each scene.
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    tell = report or (lambda done, total, message: None)
    counts = {side: np.zeros(3, dtype=int) for side in ("two_photon", "fmost")}
    for done, seed in enumerate(seeds):
        tell(done, len(seeds), "detecting in simulated scenes")
        with TemporaryDirectory() as folder:
            scene = simulate_scene(Path(folder), seed=seed, size_um=size_um, level=level)
            table = pd.read_csv(scene.truth)
            for side, path in (("two_photon", scene.two_photon), ("fmost", scene.fmost)):
                seen = table[table[f"in_{side}"].astype(bool)]
                truth = seen[[f"{side}_{axis}_um" for axis in "zyx"]].to_numpy(dtype=np.float64)
                found = detect_somata(open_volume(path, name=side)).centers_um
                counts[side] += (len(truth), len(found), count_hits(truth, found))
    return DetectionBenchmark(
        level=level,
        seeds=tuple(seeds),
        results=tuple(_score(side, *numbers.tolist()) for side, numbers in counts.items()),
    )


def _score(side: str, n_true: int, n_found: int, n_hits: int) -> DetectionScore:
    return DetectionScore(
        side=side,
        n_true=n_true,
        n_found=n_found,
        precision=n_hits / max(n_found, 1),
        recall=n_hits / max(n_true, 1),
        f1=2 * n_hits / max(n_true + n_found, 1),
    )
