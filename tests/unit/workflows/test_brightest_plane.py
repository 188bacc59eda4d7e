"""A click in a slab finds the depth at which a soma is brightest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_neurobridge.project.folder import Project
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.brightest_plane import Slab, at_brightest_plane
from napari_neurobridge.workflows.setup import DatasetSource, create_project

VOXEL = (2.0, 1.5, 1.0)
SOMA_UM = np.array([40.0, 45.0, 50.0])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A volume with one ball of 7 µm radius, and a brighter one next to it."""
    grid = np.stack(np.meshgrid(*(np.arange(60) * s for s in VOXEL), indexing="ij"), axis=-1)
    image = 1000.0 * np.exp(-((grid - SOMA_UM) ** 2).sum(-1) / (2 * 4.0**2))
    image += 5000.0 * np.exp(-((grid - SOMA_UM - [30, 0, 0]) ** 2).sum(-1) / (2 * 4.0**2))
    image += np.random.default_rng(0).normal(100, 20, image.shape)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image.clip(0).astype(np.uint16))
    sources = [
        DatasetSource(name, role, image=path, voxel_size_um=VOXEL, axes="zyx")
        for name, role in (("two_photon", Role.IN_VIVO), ("fmost", Role.EX_VIVO))
    ]
    create_project(tmp_path / "p.neurobridge", sources)
    return Project.open(tmp_path / "p.neurobridge")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("away_um", [-8.0, 0.0, 9.0])
def test_it_moves_along_the_depth_axis_to_the_soma(
    project: Project, axis: int, away_um: float
) -> None:
    clicked = SOMA_UM.copy()
    clicked[axis] += away_um
    z, y, x = clicked.tolist()

    found = np.array(at_brightest_plane(project, "fmost", (z, y, x), Slab(axis, 10.0)))

    assert abs(found[axis] - SOMA_UM[axis]) <= VOXEL[axis]
    np.testing.assert_array_equal(np.delete(found, axis), np.delete(clicked, axis))


def test_a_brighter_soma_outside_of_the_slab_draws_nothing_to_it(project: Project) -> None:
    z, y, x = SOMA_UM.tolist()
    assert abs(at_brightest_plane(project, "fmost", (z + 5, y, x), Slab(0, 12.0))[0] - z) <= 2.0


@pytest.mark.parametrize("place", [(500.0, 45.0, 50.0), (-40.0, 45.0, 50.0), (40.0, 45.0, 900.0)])
def test_a_place_outside_of_the_image_stays(
    project: Project, place: tuple[float, float, float]
) -> None:
    assert at_brightest_plane(project, "fmost", place, Slab(0, 10.0)) == place


def test_a_dataset_of_points_has_no_brightness(points_project_folder: Path) -> None:
    project = Project.open(points_project_folder)
    assert at_brightest_plane(project, "fmost", (1.0, 2.0, 3.0), Slab(0, 10.0)) == (1.0, 2.0, 3.0)
