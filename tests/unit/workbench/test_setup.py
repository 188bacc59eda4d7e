"""From dropped files to an indexed project, without a dock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fixtures.loops import Loop
from fixtures.projects import N_CELLS, N_POINTS
from napari_neurobridge.io.tables import write_points
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Projection, Role, SomaSource
from napari_neurobridge.workbench import child_process
from napari_neurobridge.workbench.checklist import Step
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench(loop: Loop, thumbnail_encoder: object) -> Iterator[Workbench]:
    """A workbench without a project."""
    bench = Workbench(loop, annotator="me")
    yield bench
    bench.close()


@pytest.fixture
def opened(workbench: Workbench, loop: Loop, project: Project) -> Workbench:
    """Opened on two images whose somata are known and indexed."""
    workbench.session.set_project(project)
    loop.finish(workbench.session.jobs)
    return workbench


@pytest.fixture
def notices(workbench: Workbench) -> list[Notice]:
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    return heard


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that lets every child process run some code in place of the command line."""

    def run(code: str) -> None:
        monkeypatch.setattr(child_process, "_COMMAND", (sys.executable, "-c", code))

    return run


def _done(workbench: Workbench) -> dict[Step, bool]:
    return {item.step: item.done for item in workbench.setup.checklist()}


def _state(heard: list[JobStatus]) -> JobState | None:
    return heard[-1].state if heard else None


def _finish(workbench: Workbench, loop: Loop) -> None:
    loop.finish(workbench.session.jobs)


# --- the draft ---------------------------------------------------------------------------


def test_dropped_files_become_a_draft_and_then_a_project(
    workbench, loop, image_folder, point_tables, tmp_path
) -> None:
    setup = workbench.setup
    setup.take_files([image_folder / "two_photon.tif", point_tables / "fmost.csv"])
    _finish(workbench, loop)
    assert setup.draft.images.keys() == {Role.IN_VIVO}
    assert setup.draft.points.keys() == {Role.EX_VIVO}
    assert setup.draft.complete
    assert _done(workbench)[Step.VOXEL_SIZES]
    setup.create_project(tmp_path / "mouse")
    _finish(workbench, loop)
    project = workbench.project
    assert project.path == tmp_path / "mouse.neurobridge", "the suffix is added"
    assert project.dataset("two_photon").uri is not None
    assert project.dataset("fmost").uri is None
    assert len(project.state().somata["fmost"]) == 2 * N_POINTS
    assert not setup.draft.complete, "the next draft starts empty"
    assert Project.open(tmp_path / "mouse.neurobridge").datasets.keys() == project.datasets.keys()


def test_a_project_among_dropped_files_is_opened(
    workbench, loop, image_folder, project_folder
) -> None:
    workbench.setup.take_files([image_folder / "two_photon.tif", project_folder])
    _finish(workbench, loop)
    assert workbench.project.path == project_folder
    assert not workbench.setup.draft.images


def test_a_file_that_cannot_be_read_leaves_the_draft_as_it_was(
    workbench, loop, notices, image_folder, tmp_path
) -> None:
    setup = workbench.setup
    setup.choose_image(Role.IN_VIVO, image_folder / "two_photon.tif")
    _finish(workbench, loop)
    before = setup.draft
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"not a picture")
    setup.choose_image(Role.IN_VIVO, broken)
    setup.choose_points(Role.EX_VIVO, tmp_path / "gone.csv")
    _finish(workbench, loop)
    assert setup.draft is before
    assert [notice.is_error for notice in notices] == [True, True]
    assert "broken.tif" in notices[0].text
    assert "gone.csv" in notices[1].text


def test_the_file_chosen_last_counts(workbench, loop, image_folder) -> None:
    setup = workbench.setup
    setup.choose_image(Role.IN_VIVO, image_folder / "fmost.tif")
    setup.choose_image(Role.IN_VIVO, image_folder / "two_photon.tif")
    _finish(workbench, loop)
    assert Path(setup.draft.images[Role.IN_VIVO].info.path).name == "two_photon.tif"


def test_too_many_files_are_refused_in_one_sentence(workbench, notices, image_folder) -> None:
    workbench.setup.take_files([image_folder / f"{number}.tif" for number in range(3)])
    (notice,) = notices
    assert notice.is_error
    assert "3 files" in notice.text
    assert not workbench.setup.draft.images


def test_a_missing_voxel_size_is_asked_for_before_anything_is_made(
    workbench, loop, notices, image_folder, tmp_path
) -> None:
    setup = workbench.setup
    bare = tmp_path / "bare.tif"
    stack = np.zeros((4, 8, 8), np.uint16)
    tifffile.imwrite(bare, stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    setup.choose_image(Role.IN_VIVO, bare)
    setup.choose_image(Role.EX_VIVO, image_folder / "fmost.tif")
    _finish(workbench, loop)
    assert not setup.draft.complete
    setup.create_project(tmp_path / "mouse.neurobridge")
    _finish(workbench, loop)
    assert workbench.project is None
    assert not (tmp_path / "mouse.neurobridge").exists()
    assert "voxel size of two_photon" in notices[-1].text
    setup.set_voxel_size(Role.IN_VIVO, (0.0, 1.0, 1.0))
    assert "two_photon is missing along z" in notices[-1].text
    assert not setup.draft.complete
    setup.set_voxel_size(Role.IN_VIVO, (4.0, 1.0, 1.0))
    setup.create_project(tmp_path / "mouse.neurobridge")
    _finish(workbench, loop)
    assert workbench.project is not None


@pytest.fixture
def silent_stack(tmp_path: Path) -> Path:
    """A stack whose file says nothing of itself."""
    path = tmp_path / "silent.tif"
    stack = np.zeros((4, 8, 8), np.uint16)
    tifffile.imwrite(path, stack, metadata=None, photometric="minisblack")
    return path


def test_axes_are_applied_whenever_they_are_typed(
    workbench, loop, notices, silent_stack, image_folder
) -> None:
    setup = workbench.setup
    setup.choose_image(Role.IN_VIVO, silent_stack)
    _finish(workbench, loop)
    assert "does not say what its 3 axes" in notices[-1].text
    setup.set_axes(Role.IN_VIVO, "zyx")
    _finish(workbench, loop)
    assert setup.draft.images[Role.IN_VIVO].info.axes == "zyx"
    assert notices[-1].text == "", "what was wrong is mended"
    setup.set_voxel_size(Role.IN_VIVO, (4.0, 1.0, 1.0))
    setup.set_axes(Role.IN_VIVO, "tyx")
    _finish(workbench, loop)
    image = setup.draft.images[Role.IN_VIVO]
    assert (image.info.axes, image.stated_axes) == ("tyx", "tyx")
    assert image.voxel_size_um == (4.0, 1.0, 1.0)
    setup.set_axes(Role.IN_VIVO, "yx")
    _finish(workbench, loop)
    assert "has 3 axes, but 'yx' names 2" in notices[-1].text
    assert setup.draft.images[Role.IN_VIVO] is image
    setup.set_axes(Role.EX_VIVO, "tyx")  # before there is a file
    setup.take_files([image_folder / "fmost.tif"])
    _finish(workbench, loop)
    assert setup.draft.images[Role.EX_VIVO].info.axes == "tyx"


def test_axes_are_about_the_file_chosen_last(workbench, loop, silent_stack, image_folder) -> None:
    setup = workbench.setup
    setup.choose_image(Role.IN_VIVO, image_folder / "two_photon.tif")
    setup.choose_image(Role.IN_VIVO, silent_stack)
    _finish(workbench, loop)
    setup.set_axes(Role.IN_VIVO, "tyx")
    _finish(workbench, loop)
    assert Path(setup.draft.images[Role.IN_VIVO].info.path) == silent_stack


def test_an_error_goes_when_its_action_succeeds_and_not_before(
    workbench, loop, notices, image_folder, tmp_path
) -> None:
    setup = workbench.setup
    setup.choose_image(Role.IN_VIVO, tmp_path / "gone.tif")
    _finish(workbench, loop)
    assert notices[-1].is_error
    setup.choose_image(Role.EX_VIVO, image_folder / "fmost.tif")
    _finish(workbench, loop)
    assert notices[-1].is_error, "that was another action"
    setup.choose_image(Role.IN_VIVO, image_folder / "two_photon.tif")
    _finish(workbench, loop)
    assert notices[-1] == Notice("")
    setup.open_project(tmp_path / "gone.neurobridge")
    _finish(workbench, loop)
    assert notices[-1].is_error
    setup.create_project(tmp_path / "new.neurobridge")
    _finish(workbench, loop)
    assert workbench.project is not None
    assert not notices[-1].is_error


def test_one_side_s_voxel_size_does_not_excuse_the_other_s(
    workbench, loop, notices, image_folder
) -> None:
    setup = workbench.setup
    setup.take_files([image_folder / "two_photon.tif", image_folder / "fmost.tif"])
    _finish(workbench, loop)
    setup.set_voxel_size(Role.IN_VIVO, (0.0, 1.0, 0.0))
    setup.set_voxel_size(Role.EX_VIVO, (2.0, 1.0, 1.0))
    assert notices[-1].is_error
    assert "two_photon is missing along z, x" in notices[-1].text


def test_a_reading_is_checked_and_kept(workbench, loop, notices, image_folder) -> None:
    setup = workbench.setup
    setup.set_reading(Role.IN_VIVO, channel=0, projection=Projection.MAX)
    assert "Choose the image" in notices[-1].text
    setup.choose_image(Role.IN_VIVO, image_folder / "two_photon.tif")
    _finish(workbench, loop)
    setup.set_reading(Role.IN_VIVO, channel=0, projection=Projection.MAX)
    assert setup.draft.images[Role.IN_VIVO].projection is Projection.MAX
    setup.set_reading(Role.IN_VIVO, channel=1, projection=Projection.MEAN)
    assert "1 channels" in notices[-1].text
    assert setup.draft.images[Role.IN_VIVO].projection is Projection.MAX


# --- opening and closing -----------------------------------------------------------------


def test_what_is_no_project_is_explained(workbench, loop, notices, tmp_path) -> None:
    workbench.setup.open_project(tmp_path / "gone.neurobridge")
    _finish(workbench, loop)
    assert workbench.project is None
    (notice,) = notices
    assert notice.is_error
    assert "gone.neurobridge" in notice.text


def test_a_file_dropped_on_a_project_closes_it_only_when_told_to(
    opened, loop, notices, image_folder
) -> None:
    project = opened.project
    opened.setup.take_files([image_folder / "fmost.tif"])
    _finish(opened, loop)
    assert opened.project is project
    assert not opened.setup.draft.images
    (notice,) = notices
    assert not notice.is_error
    assert project.path.name in notice.text
    notice.remedy.apply()
    _finish(opened, loop)
    assert opened.project is None
    # Both lines are free again, and a TIFF goes to the first one.
    assert opened.setup.draft.images.keys() == {Role.IN_VIVO}


# --- somata, orientation and index -------------------------------------------------------


def test_an_opened_project_counts_its_index(opened) -> None:
    state = opened.setup.index_state
    assert (state.n_embedded, state.n_somata) == (2 * N_CELLS, 2 * N_CELLS)
    assert _done(opened)[Step.INDEX]


def test_points_alone_need_no_index(workbench, loop, points_project_folder) -> None:
    workbench.setup.open_project(points_project_folder)
    _finish(workbench, loop)
    assert workbench.setup.index_state is None
    assert _done(workbench)[Step.INDEX]


def test_a_count_that_comes_after_its_project_was_closed_is_dropped(
    workbench, loop, project
) -> None:
    workbench.session.set_project(project)
    workbench.session.set_project(None)
    _finish(workbench, loop)
    assert workbench.setup.index_state is None


def test_an_orientation_is_kept_and_told(opened, notices) -> None:
    told: list[None] = []
    opened.session.orientation_changed.connect(lambda: told.append(None))
    turned = Orientation(axes="+x+z+y", angle_deg=12.0)
    opened.setup.set_orientation(turned)
    assert told == [None]
    assert Project.open(opened.project.path).dataset("fmost").orientation == turned
    opened.session.set_project(None)
    opened.setup.set_orientation(turned)
    assert told == [None]
    assert notices[-1].is_error


def test_imported_points_are_told_and_a_bad_table_is_explained(
    opened, loop, notices, tmp_path
) -> None:
    told: list[str] = []
    opened.session.somata_changed.connect(told.append)
    table = tmp_path / "more.csv"
    write_points(table, ["one", "two"], np.array([(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]))
    opened.setup.import_points("fmost", table)
    _finish(opened, loop)
    assert told == ["fmost"]
    assert opened.project.state().soma("two").center_um == (4.0, 5.0, 6.0)
    assert "2 somata" in notices[-1].text
    bad = tmp_path / "bad.csv"
    bad.write_text("uid,z_um,y_um,x_um\na,1,2,nowhere\n", encoding="utf-8")
    opened.setup.import_points("fmost", bad)
    _finish(opened, loop)
    assert told == ["fmost"]
    assert notices[-1].is_error
    assert "bad.csv" in notices[-1].text


# --- long jobs ---------------------------------------------------------------------------


def test_a_long_job_runs_on_the_open_project_and_shows_what_it_added(
    opened, loop, monkeypatch
) -> None:
    started: list[tuple[str, list[str], Callable[[dict[str, Any]], None]]] = []
    monkeypatch.setattr(opened.session.jobs, "start", lambda *call, **_: started.append(call))
    opened.setup.index()
    ((name, arguments, on_finished),) = started
    assert name == "index"
    assert arguments[:2] == ["index", str(opened.project.path)]

    told: list[None] = []
    opened.session.index_changed.connect(lambda: told.append(None))
    # As another process does.
    other = Project.open(opened.project.path)
    annotate.add_somata(other, "fmost", [(1.0, 2.0, 3.0)], source=SomaSource.MANUAL)
    other.close()
    on_finished({})
    assert told == [None]
    _finish(opened, loop)
    assert opened.setup.index_state.n_somata == 2 * N_CELLS + 1


def test_a_job_that_fails_says_why_and_may_be_tried_again(opened, loop, notices, child) -> None:
    states: list[JobStatus] = []
    opened.session.job_changed.connect(states.append)
    child("import sys; sys.exit('Error: the disk is full')")
    opened.setup.index()
    loop.run_until(lambda: _state(states) is JobState.FAILED)
    assert notices[-1].is_error
    assert "the disk is full" in notices[-1].text
    told: list[None] = []
    opened.session.index_changed.connect(lambda: told.append(None))
    child("print('{}')")
    opened.setup.index()
    loop.run_until(lambda: _state(states) is JobState.FINISHED)
    loop.run_until(lambda: bool(told))
    assert opened.session.jobs.running() == ()


def test_the_same_job_twice_is_refused_and_cancel_ends_it(opened, loop, notices, child) -> None:
    states: list[JobStatus] = []
    opened.session.job_changed.connect(states.append)
    child("import time; time.sleep(600)")
    opened.setup.index()
    opened.setup.index()
    assert "already running" in notices[-1].text
    opened.session.jobs.cancel("index")
    loop.run_until(lambda: _state(states) is JobState.CANCELLED)
    assert opened.session.jobs.running() == ()


def test_long_jobs_need_a_project(workbench, notices) -> None:
    workbench.setup.index()
    workbench.detection.detect("fmost")
    workbench.setup.import_points("fmost", Path("points.csv"))
    workbench.setup.refresh()
    assert {notice.text for notice in notices} == {
        "No project is open; open or create a project in the Data dock."
    }
    assert len(notices) == 3
