"""Layers taken into a draft or an open project, without a viewer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.loops import Loop
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.types import Role
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.layers_in import SAVE_JOB
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.layers import LayerImage, LayerPoints

PIXELS = np.random.default_rng(0).integers(0, 4000, (40, 30, 40)).astype(np.uint16)


@pytest.fixture
def workbench(loop: Loop, thumbnail_encoder: object) -> Iterator[Workbench]:
    bench = Workbench(loop, annotator="me")
    yield bench
    bench.close()


@pytest.fixture
def notices(workbench: Workbench) -> list[Notice]:
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    return heard


def image(**changes: Any) -> LayerImage:
    fields = {
        "name": "my stack",
        "data": PIXELS,
        "axes": "zyx",
        "voxel_size_um": (2.0, 1.0, 1.0),
        "suggested_um": None,
        "path": None,
        "to_world": np.eye(4)[:3],
    }
    return LayerImage(**{**fields, **changes})


def points(**changes: Any) -> LayerPoints:
    places = np.array([[1.0, 2, 3], [4, 5, 6]])
    fields = {
        "name": "my/cells",
        "indices": places,
        "world": places * (2, 1, 1),
        "um_per_unit": None,
        "scaled": True,
        "uids": None,
    }
    return LayerPoints(**{**fields, **changes})


def test_an_image_without_a_file_is_written_where_the_user_says(
    workbench: Workbench, loop: Loop, tmp_path: Path
) -> None:
    wanted: list[tuple[Role, LayerImage]] = []
    heard: list[JobStatus] = []
    workbench.layers_in.path_wanted.connect(lambda *what: wanted.append(what))
    workbench.session.job_changed.connect(heard.append)
    workbench.layers_in.use_image(Role.EX_VIVO, image())
    loop.run_until(lambda: bool(wanted))
    assert not workbench.setup.draft.images
    workbench.layers_in.save_image(*wanted[0], tmp_path / "brain")
    loop.run_until(lambda: Role.EX_VIVO in workbench.setup.draft.images)
    choice = workbench.setup.draft.images[Role.EX_VIVO]
    assert Path(choice.info.path) == tmp_path / "brain.ome.zarr"
    assert choice.voxel_size_um == (2.0, 1.0, 1.0)
    states = [status.state for status in heard if status.name == SAVE_JOB]
    assert states[0] is JobState.RUNNING
    assert states[-1] is JobState.FINISHED
    assert workbench.setup.draft.images.keys() == {Role.EX_VIVO}


def test_an_image_with_its_file_is_not_copied_and_its_layer_s_voxel_size_counts(
    workbench: Workbench, loop: Loop, tmp_path: Path
) -> None:
    path = write_ome_zarr(tmp_path / "a.ome.zarr", PIXELS, voxel_size_um=(2, 1, 1))
    workbench.layers_in.use_image(Role.IN_VIVO, image(path=path, voxel_size_um=(5.0, 2.0, 2.0)))
    loop.run_until(lambda: Role.IN_VIVO in workbench.setup.draft.images)
    choice = workbench.setup.draft.images[Role.IN_VIVO]
    assert Path(choice.info.path) == path
    assert choice.stated_voxel_size_um == (5.0, 2.0, 2.0)
    workbench.layers_in.use_image(Role.EX_VIVO, image(path=path))
    loop.run_until(lambda: Role.EX_VIVO in workbench.setup.draft.images)
    assert workbench.setup.draft.images[Role.EX_VIVO].stated_voxel_size_um is None
    assert [child.name for child in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_a_cancelled_copy_leaves_nothing(workbench: Workbench, loop: Loop, tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    class Slow:
        shape, dtype, ndim = PIXELS.shape, PIXELS.dtype, 3

        def __getitem__(self, key: Any) -> Any:
            started.set()
            assert go_on.wait(60)
            return PIXELS[key]

    heard: list[JobStatus] = []
    workbench.session.job_changed.connect(heard.append)
    workbench.layers_in.save_image(Role.IN_VIVO, image(data=Slow()), tmp_path / "brain")
    assert started.wait(60)
    for name in workbench.session.jobs.running():
        workbench.session.jobs.cancel(name)
    go_on.set()
    loop.run_until(lambda: heard[-1].state is JobState.CANCELLED)
    assert list(tmp_path.iterdir()) == []
    assert not workbench.setup.draft.images


def test_points_in_um_become_a_table_and_those_in_pixels_wait_for_a_voxel_size(
    workbench: Workbench, loop: Loop, notices: list[Notice], image_folder: Path
) -> None:
    layers_in, setup = workbench.layers_in, workbench.setup
    layers_in.use_points(Role.IN_VIVO, points(um_per_unit=(1.0, 1.0, 1.0), uids=["a", "b"]))
    loop.finish(workbench.session.jobs)
    assert setup.draft.points[Role.IN_VIVO].n_points == 2
    assert setup.draft.points[Role.IN_VIVO].path.name == "my_cells.csv"
    bare = points(scaled=False)
    layers_in.use_points(Role.EX_VIVO, bare)
    assert notices[-1].is_error
    assert "is in pixels" in notices[-1].text
    setup.choose_image(Role.EX_VIVO, image_folder / "fmost.tif")
    loop.finish(workbench.session.jobs)
    layers_in.use_points(Role.EX_VIVO, bare)
    loop.finish(workbench.session.jobs)
    table = setup.draft.points[Role.EX_VIVO].path.read_text()
    assert table.splitlines()[:2] == ["z_um,y_um,x_um", "2.0,4.0,12.0"], "2 × 2 × 4 µm voxels"


def test_points_of_an_open_project_are_somata_once_their_unit_is_said(
    workbench: Workbench, loop: Loop, notices: list[Notice], project: Any
) -> None:
    workbench.session.set_project(project)
    before = set(project.state().somata["two_photon"])
    workbench.layers_in.add_points("two_photon", points())
    assert "has a scale and no unit" in notices[-1].text
    assert set(project.state().somata["two_photon"]) == before
    notices[-1].remedy.apply()
    loop.run_until(lambda: len(project.state().somata["two_photon"]) == len(before) + 2)
    somata = project.state().somata["two_photon"]
    new = [somata[uid].center_um for uid in somata if uid not in before]
    assert sorted(new) == [(2.0, 2.0, 3.0), (8.0, 5.0, 6.0)]
