"""The search for the angle in whole projects: detected somata, both volumes, no truth used."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.pose_scenes import field_angle
from napari_neurobridge.simulation.scene_files import simulate_scene
from napari_neurobridge.types import DEFAULT_NAMES, Role
from napari_neurobridge.workflows.detect import detect_dataset
from napari_neurobridge.workflows.orient import suggest_angle
from napari_neurobridge.workflows.setup import DatasetSource, create_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.simulation.scene_files import SceneFiles
    from napari_neurobridge.types import Report, Vec3

TEST_SEEDS = (110, 111, 112)
SIZE_UM: Vec3 = (100.0, 300.0, 300.0)


class PoseProjectRow(BaseModel, frozen=True):
    """One project whose orientation was stated wrongly by an angle."""

    seed: int
    turned_deg: float = Field(description="By which the stated angle is wrong, beside the misfit.")
    error_deg: float | None = Field(description='Of the suggestion; null: "does not know".')
    deviations: float
    n_queries: int
    n_gallery: int


def benchmark_pose_projects(
    model: str | None,
    *,
    seeds: Sequence[int] = TEST_SEEDS,
    level: str = "paper",
    angles_deg: Sequence[float] = (30.0,),
    size_um: Vec3 = SIZE_UM,
    report: Report | None = None,
) -> tuple[PoseProjectRow, ...]:
    """Simulate, detect, state a wrong angle, and have the right one suggested.

    Parameters
    ----------
    model : str or None
        Name or path of the encoder.
    seeds : sequence of int
        One scene each.
    level : str, default: "paper"
        Difficulty of the simulation.
    angles_deg : sequence of float
        Errors of the stated angle, tried one after the other.
    size_um : Vec3
        Of the two-photon volume.
    report : callable, optional
        Called as ``report(done, total, text)``.
    """
    rows = []
    for done, seed in enumerate(seeds):
        if report is not None:
            report(done, len(seeds), f"project of scene {seed}")
        with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
            scene = simulate_scene(Path(folder), seed=seed, size_um=size_um, level=level)
            rows += _suggested(scene, Path(folder), seed, model, angles_deg)
    return tuple(rows)


def _suggested(
    scene: SceneFiles,
    folder: Path,
    seed: int,
    model: str | None,
    angles_deg: Sequence[float],
) -> list[PoseProjectRow]:
    images = (scene.two_photon, scene.fmost)
    sources = [
        DatasetSource(name=DEFAULT_NAMES[role], role=role, image=image)
        for role, image in zip(Role, images, strict=True)
    ]
    project = create_project(folder / "scene.neurobridge", sources)
    for name in project.datasets:
        detect_dataset(project, name)
    rows = []
    for turned in angles_deg:
        stated = scene.orientation.model_copy(
            update={"angle_deg": scene.orientation.angle_deg - turned}
        )
        project.set_orientation(project.ex_vivo(), stated)
        found = suggest_angle(project, model)
        error = None
        if found.search.proposal_deg is not None:
            missing = _missing_angle(scene, stated.linear())
            error = abs((found.search.proposal_deg - missing + 180) % 360 - 180)
        rows.append(
            PoseProjectRow(
                seed=seed,
                turned_deg=turned,
                error_deg=error,
                deviations=found.search.deviations,
                n_queries=found.search.n_queries,
                n_gallery=found.search.n_gallery,
            )
        )
    project.close()
    return rows


def _missing_angle(scene: SceneFiles, linear: np.ndarray) -> float:
    """Return what a stated orientation leaves, by the true places of the cells."""
    table = pd.read_csv(scene.truth)
    both = table[table["in_two_photon"].astype(bool) & table["in_fmost"].astype(bool)]
    two_photon, fmost = (
        both[[f"{side}_{axis}_um" for axis in "zyx"]].to_numpy(dtype=np.float64)
        for side in ("two_photon", "fmost")
    )
    return field_angle(two_photon, fmost @ np.linalg.inv(linear).T)
