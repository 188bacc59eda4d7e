"""The search for the angle in whole projects: detected somata, both volumes, no truth used."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import (
    BenchmarkResult,
    Level,
    ModelParameters,
    Seeds,
)
from napari_neurobridge.benchmarks.pose_scenes import field_angle, surroundings
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.models.current import bundled_model
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


class PoseProjectsParameters(ModelParameters):
    """Scenes, and by how much their angle is stated wrongly."""

    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS
    angles: tuple[float, ...] = Field(
        (30.0,),
        description="By how much the stated angle is wrong, degrees; repeat it for more.",
        json_schema_extra={"option": "--angle"},
    )


class PoseProjectsBenchmark(BenchmarkResult):
    """Suggested angles of whole projects."""

    model: str = Field(description="Name of the encoder.")
    level: str = Field(description="Difficulty of the simulation.")
    results: tuple[PoseProjectRow, ...]

    def summary(self) -> str:
        """Return a table."""
        header = tuple(PoseProjectRow.model_fields)
        return text_table(header, [[getattr(row, name) for name in header] for row in self.results])


def benchmark_pose_projects(
    parameters: PoseProjectsParameters | None = None,
    *,
    size_um: Vec3 = SIZE_UM,
    report: Report | None = None,
) -> PoseProjectsBenchmark:
    """Simulate, detect, state a wrong angle, and have the right one suggested.

    Parameters
    ----------
    parameters : PoseProjectsParameters, optional
        The errors of the stated angle are tried one after the other.
    size_um : Vec3
        Of the two-photon volume.
    report : callable, optional
        Called as ``report(done, total, text)``.
    """
    asked = parameters or PoseProjectsParameters()
    rows: list[PoseProjectRow] = []
    for done, seed in enumerate(asked.seeds):
        if report is not None:
            report(done, len(asked.seeds), f"project of scene {seed}")
        with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
            scene = simulate_scene(Path(folder), seed=seed, size_um=size_um, level=asked.level)
            rows += _suggested(scene, Path(folder), seed, asked.model, asked.angles)
    return PoseProjectsBenchmark(
        model=asked.model or bundled_model().name, level=asked.level, results=tuple(rows)
    )


def run(
    parameters: PoseProjectsParameters, *, report: Report | None = None
) -> PoseProjectsBenchmark:
    """Answer the command line."""
    return benchmark_pose_projects(parameters, report=report)


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
    """Return what a stated orientation leaves, by the true map around the cells."""
    table = pd.read_csv(scene.truth)
    both = table[table["in_two_photon"].astype(bool) & table["in_fmost"].astype(bool)]
    cells = both[[f"two_photon_{axis}_um" for axis in "zyx"]].to_numpy(dtype=np.float64)
    two_photon = surroundings(cells)
    fmost = scene.transform.map_points(two_photon.reshape(-1, 3)).reshape(two_photon.shape)
    return field_angle(two_photon, fmost @ np.linalg.inv(linear).T)
