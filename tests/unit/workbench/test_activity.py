"""The queried cell over time, and crops by another projection of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fixtures.loops import Loop
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Projection, Role, SomaSource
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.setup import DatasetSource, create_project

CELLS = [(0.0, 60.0, 60.0), (0.0, 60.0, 140.0)]


@pytest.fixture
def workbench(loop: Loop, tmp_path: Path) -> Iterator[Workbench]:
    """A recording of two cells, of which the second flashes once, beside a table of points."""
    rng = np.random.default_rng(0)
    frames = rng.integers(90, 110, (60, 60, 100)).astype(np.uint16)
    y, x = np.mgrid[:60, :100]
    for number, (_, row, column) in enumerate(CELLS):
        cell = np.hypot(2.0 * y - row, 2.0 * x - column) <= 7.0
        frames[:, cell] += 50
        if number:
            frames[30, cell] += 900
    tifffile.imwrite(tmp_path / "site.tif", frames, metadata={"axes": "TYX"}, imagej=True)
    np.savetxt(
        tmp_path / "fmost.csv",
        [(z, y + 1, x - 1) for z, y, x in CELLS],
        delimiter=",",
        header="z_um,y_um,x_um",
        comments="",
    )
    project = create_project(
        tmp_path / "p.neurobridge",
        [
            DatasetSource(
                "two_photon",
                Role.IN_VIVO,
                image=tmp_path / "site.tif",
                axes="tyx",
                voxel_size_um=(1.0, 2.0, 2.0),
            ),
            DatasetSource("fmost", Role.EX_VIVO, points=tmp_path / "fmost.csv"),
        ],
    )
    annotate.add_somata(project, "two_photon", CELLS, source=SomaSource.MANUAL, annotator="me")
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(project)
    yield bench
    bench.close()
    project.close()


def _ask(workbench: Workbench, loop: Loop, number: int, *, audit: bool = False) -> None:
    uid = list(workbench.project.state().somata["two_photon"])[number]
    workbench.questions.select("two_photon", uid, audit=audit)
    activity = workbench.activity
    loop.run_until(lambda: workbench.questions.answer is not None and activity.trace is not None)


@pytest.mark.parametrize("audit", [False, True])
def test_each_cell_has_its_own_trace(workbench, loop, audit) -> None:
    activity = workbench.activity
    _ask(workbench, loop, 0, audit=audit)
    still = activity.trace
    assert still.relative
    assert still.values.max() < 1.0
    _ask(workbench, loop, 1, audit=audit)
    assert activity.trace is not still
    assert activity.trace.values.argmax() == 30
    assert activity.trace.values.max() > 3.0
    assert activity.projection is Projection.MEAN


def test_the_trace_of_the_cell_before_does_not_come_back(workbench, loop) -> None:
    first, second = workbench.project.state().somata["two_photon"]
    seen: list[float] = []
    activity = workbench.activity
    activity.changed.connect(
        lambda: seen.append(float(activity.trace.values.max())) if activity.trace else None
    )
    workbench.questions.select("two_photon", first)
    workbench.questions.select("two_photon", second)
    loop.run_until(lambda: activity.trace is not None)
    loop.finish(workbench.session.jobs)
    assert all(value > 3.0 for value in seen)


def test_crops_show_the_recording_by_the_chosen_projection(workbench, loop) -> None:
    questions, activity = workbench.questions, workbench.activity
    _ask(workbench, loop, 0)
    mean = questions.answer.query_crop
    activity.show_projection(Projection.MAX)
    loop.run_until(lambda: questions.projection is Projection.MAX)
    brightest = questions.answer.query_crop
    assert not np.array_equal(mean, brightest)
    _ask(workbench, loop, 1)
    assert activity.projection is questions.projection is Projection.MAX, "it stays chosen"
    chosen = questions.answer.query_crop
    activity.show_projection(Projection.MEAN)
    loop.run_until(lambda: questions.projection is Projection.MEAN)
    assert not np.array_equal(questions.answer.query_crop, chosen)


def test_points_have_neither_trace_nor_projection(workbench, loop) -> None:
    uid = next(iter(workbench.project.state().somata["fmost"]))
    _ask(workbench, loop, 0)
    workbench.questions.select("fmost", uid)
    loop.run_until(lambda: workbench.questions.answer is not None)
    loop.finish(workbench.session.jobs)
    assert workbench.activity.trace is None
    assert workbench.activity.projection is None
