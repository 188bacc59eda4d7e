"""The tissue around the mouse, enlarged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fixtures.loops import Loop
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench.magnifier import FIELD_UM, cut_block
from napari_neurobridge.workbench.workbench import Workbench

SIDES = "two_photon", "fmost"


def lonely(project: Project, dataset: str) -> np.ndarray:
    """Return where the soma is that has the farthest neighbour, µm (z, y, x)."""
    centers = np.array([soma.center_um for soma in project.state().somata[dataset].values()])
    away = np.linalg.norm(centers[:, None] - centers, axis=2)
    np.fill_diagonal(away, np.inf)
    return centers[away.min(axis=1).argmax()]


def brightest(pixels: np.ndarray) -> np.ndarray:
    """Return where the brightest 1 % of a picture lie, from its middle, µm (row, column)."""
    rows, columns = np.nonzero(pixels >= np.percentile(pixels, 99))
    middle = (np.array(pixels.shape) - 1) / 2
    return (np.array([rows.mean(), columns.mean()]) - middle) * FIELD_UM / len(pixels)


@pytest.mark.parametrize("dataset", SIDES)
def test_a_block_shows_the_tissue_as_the_canvas_does(project: Project, dataset: str) -> None:
    center = lonely(project, dataset)
    block = cut_block(project, dataset, tuple(center))
    assert np.abs(brightest(block.around(tuple(center)))).max() < 1.5
    # A canvas draws rows along the second axis of the orientation, down where that is positive.
    signed = project.dataset(dataset).used_orientation.axes
    for number in (1, 2):
        sign, axis = signed[2 * number], "zyx".index(signed[2 * number + 1])
        place = center.copy()
        place[axis] += 8.0
        moved = brightest(block.around(tuple(place)))[number - 1]
        assert moved == pytest.approx(-8.0 if sign == "+" else 8.0, abs=1.5)


def test_a_block_serves_its_own_depth_and_its_own_place(project: Project) -> None:
    center = lonely(project, "fmost")
    block = cut_block(project, "fmost", tuple(center))
    depth, rows, _ = project.dataset("fmost").used_orientation.axis_order
    reach = ((depth, 1.0, True), (depth, 2.0, False), (rows, 39, True), (rows, 41, False))
    for axis, um, there in reach:
        for sign in (-1, 1):
            place = center.copy()
            place[axis] += sign * um
            assert (block.around(tuple(place)) is not None) is there


@pytest.fixture
def bench(project_folder, loop: Loop) -> Iterator[Workbench]:
    """A workbench with two images and an alignment."""
    made = Workbench(loop, annotator="me")
    made.session.set_project(Project.open(project_folder))
    uids = [list(made.project.state().somata[name]) for name in SIDES]
    for one, other in list(zip(*uids, strict=True))[:8]:
        annotate.accept(made.project, one, other, annotator="fixture")
    made.session.verdicts_changed.emit()
    loop.run_until(lambda: made.ghost.offered)
    yield made
    made.close()


def test_both_sides_are_enlarged_while_landmarks_are_placed(bench: Workbench, loop: Loop) -> None:
    magnifier, ghost = bench.magnifier, bench.ghost
    here = tuple(lonely(bench.project, "two_photon"))
    ghost.follow("two_photon", here)
    assert magnifier.picture("two_photon") is None
    bench.landmarks.toggle()
    loop.run_until(lambda: all(magnifier.picture(name) is not None for name in SIDES))
    own, other = (magnifier.picture(name) for name in SIDES)
    assert (own.what, other.what) == ("pointer", "expected")
    assert other.expected_place == ghost.place.where
    assert np.abs(brightest(own.pixels)).max() < 1.5

    # Another place within the block is there at once.
    depth_first = bench.project.dataset("two_photon").used_orientation.axis_order
    near = np.array(here)
    near[depth_first[1]] += 5.0
    ghost.follow("two_photon", tuple(near))
    assert magnifier.picture("two_photon") is not None

    # What was clicked stays in sight while the mouse looks for the same point.
    bench.landmarks.place("two_photon", here)
    ghost.follow("fmost", ghost.place.where.center_um)
    loop.run_until(lambda: all(magnifier.picture(name) is not None for name in SIDES))
    assert [magnifier.picture(name).what for name in SIDES] == ["clicked", "pointer"]
    assert np.abs(brightest(magnifier.picture("two_photon").pixels)).max() < 1.5

    magnifier.show(False)
    assert magnifier.picture("fmost") is None
    magnifier.show(True)
    assert magnifier.picture("fmost") is not None
    bench.landmarks.toggle()
    assert magnifier.picture("fmost") is None


def test_a_random_check_enlarges_the_side_of_the_mouse_only(bench: Workbench, loop: Loop) -> None:
    bench.landmarks.toggle()
    uid = next(iter(bench.project.state().somata["two_photon"]))
    bench.questions.select("two_photon", uid, audit=True)
    loop.run_until(lambda: bench.questions.snapshot.blind)
    bench.ghost.follow("two_photon", tuple(lonely(bench.project, "two_photon")))
    loop.run_until(lambda: bench.magnifier.picture("two_photon") is not None)
    assert bench.magnifier.picture("fmost") is None


def test_points_without_an_image_have_nothing_to_enlarge(workbench: Workbench, loop: Loop) -> None:
    workbench.landmarks.toggle()
    workbench.ghost.follow("two_photon", (50.0, 90.0, 100.0))
    loop.finish(workbench.session.jobs)
    assert workbench.magnifier.picture("two_photon") is None


def test_an_image_that_is_gone_is_told_once(bench: Workbench, loop: Loop, monkeypatch) -> None:
    from napari_neurobridge.errors import InputError

    heard: list[str] = []
    bench.session.notified.connect(lambda notice: heard.append(notice.text))

    def gone(*_: object) -> None:
        raise InputError("The image is gone.")

    monkeypatch.setattr("napari_neurobridge.workbench.magnifier.cut_block", gone)
    bench.landmarks.toggle()
    heard.clear()
    bench.ghost.follow("two_photon", (40.0, 90.0, 100.0))
    loop.run_until(lambda: not bench.magnifier.wanted)
    assert any("gone" in text for text in heard)
