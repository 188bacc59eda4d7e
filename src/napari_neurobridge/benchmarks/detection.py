"""Soma detection on held-out simulated scenes, against the known truth, in volumes and planes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import (
    BenchmarkParameters,
    BenchmarkResult,
    Level,
    Seeds,
)
from napari_neurobridge.benchmarks.detection_planes import (
    Found,
    found_by_features,
    planes_of,
    real_planes,
)
from napari_neurobridge.detection.dog import detect_somata
from napari_neurobridge.detection.hits import find_hits
from napari_neurobridge.detection.segment import segment_somata
from napari_neurobridge.detection.unet import load_segmenter
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.io.volumes import Volume, open_volume
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import SEGMENTER
from napari_neurobridge.registration.feature_points import FeatureExtractor
from napari_neurobridge.simulation.scene_files import simulate_scene

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.detection.dog import Detection
    from napari_neurobridge.types import Report, Vec3

TEST_SEEDS = tuple(range(110, 115))
"""Scenes on which no parameter of the detector was chosen."""

SCENE_SIZE_UM = (150.0, 300.0, 300.0)
_BINS = 4

Finder: TypeAlias = Callable[[Volume], Found]


class ConfidenceBin(BaseModel, frozen=True):
    """Detections of about one confidence."""

    low: float
    high: float
    n: int
    right: float = Field(description="Share that is a soma.")


class DetectionScore(BaseModel, frozen=True):
    """How well one side's somata were found, over all scenes."""

    side: str = Field(
        description="two_photon, fmost, two_photon-plane for single planes, or folder and image."
    )
    method: str = Field(description="dog, segmenter, or features: the feature network, of planes.")
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
    folder: Path | None = Field(
        None,
        description="Folder of two real planes of the same cells, or of such folders; instead of "
        "simulated scenes.",
    )


class DetectionBenchmark(BenchmarkResult):
    """What the detectors find by default, in scenes that none of them was tuned on."""

    level: str = Field(description="Difficulty of the simulation; real of real planes.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    results: tuple[DetectionScore, ...]

    def summary(self) -> str:
        """Return a table."""
        header = ("side", "method", "n_true", "n_found", "precision", "recall", "f1")
        return text_table(header, [[getattr(row, name) for name in header] for row in self.results])


def benchmark_detection(
    parameters: DetectionParameters | None = None,
    *,
    size_um: Vec3 = SCENE_SIZE_UM,
    report: Report | None = None,
) -> DetectionBenchmark:
    """Detect the somata of held-out scenes, on both sides and in planes, or of real planes.

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
    net = load_segmenter(bundled_model(SEGMENTER))
    extractor = FeatureExtractor.bundled()
    in_volumes: dict[str, Finder] = {
        "dog": lambda volume: _found(detect_somata(volume)),
        "segmenter": lambda volume: _found(segment_somata(volume, net)),
    }
    in_planes = in_volumes | {"features": lambda plane: found_by_features(plane, extractor)}
    counts: dict[tuple[str, str], _Counts] = defaultdict(_Counts)
    if parameters.folder is not None:
        for real in real_planes(parameters.folder):
            tell(0, 1, f"detecting in {real.name}")
            for method, find in in_planes.items():
                found = find(real.volume)
                hit = find_hits(real.cells_um, found.centers_um)
                counts[real.name, method].add(len(real.cells_um), found, hit)
        return _benchmark("real", (), counts)
    for done, seed in enumerate(seeds):
        tell(done, len(seeds), "detecting in simulated scenes")
        with TemporaryDirectory() as folder:
            scene = simulate_scene(Path(folder), seed=seed, size_um=size_um, level=level)
            table = pd.read_csv(scene.truth)
            for side, path in (("two_photon", scene.two_photon), ("fmost", scene.fmost)):
                seen = table[table[f"in_{side}"].astype(bool)]
                truth = seen[[f"{side}_{axis}_um" for axis in "zyx"]].to_numpy(dtype=np.float64)
                volume = open_volume(path, name=side)
                for method, find in in_volumes.items():
                    found = find(volume)
                    hit = find_hits(truth, found.centers_um)
                    counts[side, method].add(len(truth), found, hit)
                planes = planes_of(volume, truth) if side == "two_photon" else []
                for plane, (method, find) in itertools.product(planes, in_planes.items()):
                    found, hit = plane.judged(find(plane.volume))
                    counts["two_photon-plane", method].add(len(plane.truth_um), found, hit)
    return _benchmark(level, seeds, counts)


def _benchmark(
    level: str, seeds: tuple[int, ...], counts: dict[tuple[str, str], _Counts]
) -> DetectionBenchmark:
    return DetectionBenchmark(
        level=level,
        seeds=seeds,
        results=tuple(row.score(side, method) for (side, method), row in counts.items()),
    )


def run(parameters: DetectionParameters, *, report: Report | None = None) -> DetectionBenchmark:
    """Answer the command line."""
    return benchmark_detection(parameters, report=report)


@dataclass
class _Counts:
    """Of one side and method, over all scenes."""

    n_true: int = 0
    # Confidence of each detection, and whether it is a soma.
    found: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def add(self, n_true: int, found: Found, hit: npt.NDArray[np.bool_]) -> None:
        self.n_true += n_true
        self.found.append(np.column_stack([found.confidence, hit]))

    def score(self, side: str, method: str) -> DetectionScore:
        found = np.vstack(self.found)
        n_found, n_hits = len(found), int(found[:, 1].sum())
        parts = np.array_split(found[np.argsort(found[:, 0])], _BINS)
        return DetectionScore(
            side=side,
            method=method,
            n_true=self.n_true,
            n_found=n_found,
            precision=n_hits / max(n_found, 1),
            recall=n_hits / max(self.n_true, 1),
            f1=2 * n_hits / max(self.n_true + n_found, 1),
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


def _found(detection: Detection) -> Found:
    return Found(detection.centers_um, detection.confidence)
