"""Painting and learning from the Data dock, without a window and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.loops import Loop
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.painted import painted_regions
from napari_neurobridge.workbench import painting as module
from napari_neurobridge.workbench.painting import (
    COMPARE_JOB,
    LEARN_JOB,
    comparison_in_words,
    region_box,
    regions_about,
)
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

LEARNED = {"model": "/p/models/two_photon-painted-1", "n_cells": 3}
COMPARED = {
    "segmenter": "two_photon-painted-1@0123",
    "n_segmenter": 1412,
    "n_dog": 530,
    "n_both": 498,
    "n_painted": 7,
    "painted_found": {"dog": 2, "segmenter": 7},
    "in_background": {"dog": 1, "segmenter": 0},
}


@pytest.fixture
def bench(loop: Loop, project: Project) -> Iterator[Workbench]:
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(project)
    yield bench
    bench.close()


@pytest.fixture
def heard(bench: Workbench) -> list[Notice]:
    found: list[Notice] = []
    bench.session.notified.connect(found.append)
    return found


@pytest.fixture
def started(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(
        bench.session.jobs,
        "start",
        lambda name, arguments, done, **options: calls.append((name, arguments, done, options)),
    )
    return calls


def begin(bench: Workbench, loop: Loop, dataset: str = "two_photon", place=(20, 40, 40)) -> None:
    bench.painting.begin(dataset, place)
    loop.run_until(lambda: bench.painting.dataset == dataset)


def paint(bench: Workbench, loop: Loop, voxel: tuple[int, int, int], label: int) -> None:
    """Do what a view does after a stroke."""
    painting = bench.painting
    painting.regions[painting.current].labels[voxel] = label
    painting.stroke(painting.current)


def test_each_stroke_is_on_the_disk_and_counted(
    bench: Workbench, loop: Loop, project: Project
) -> None:
    begin(bench, loop)
    painting = bench.painting
    assert not painting.framed
    paint(bench, loop, (3, 4, 5), 2)
    loop.run_until(lambda: painting.painted("two_photon").n_cells == 1)
    assert not painting.painted("two_photon").enough
    paint(bench, loop, (9, 50, 50), 1)
    loop.run_until(lambda: painting.painted("two_photon").enough)
    (kept,) = painted_regions(Project.open(project.path), "two_photon")
    assert {tuple(at) for at in np.argwhere(kept.labels).tolist()} == {(3, 4, 5), (9, 50, 50)}


def test_many_quick_strokes_end_with_all_of_them(
    bench: Workbench, loop: Loop, project: Project
) -> None:
    begin(bench, loop)
    for column in range(40):
        paint(bench, loop, (1, 1, column), 2)
    bench.painting.flush()
    (kept,) = painted_regions(project, "two_photon")
    assert np.count_nonzero(kept.labels) == 40


@pytest.mark.parametrize("end", ["stop", "close", "another project"])
def test_the_last_stroke_is_kept_however_painting_ends(
    bench: Workbench, loop: Loop, project: Project, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    begin(bench, loop)
    # No thread gets round to it.
    monkeypatch.setattr(bench.session.jobs, "submit", lambda *_, **__: None)
    paint(bench, loop, (2, 2, 2), 2)
    assert painted_regions(project, "two_photon") == []
    match end:
        case "stop":
            bench.painting.stop()
        case "close":
            bench.close()
        case _:
            bench.session.set_project(None)
    (kept,) = painted_regions(project, "two_photon")
    assert kept.labels[2, 2, 2] == 2


def test_a_stroke_that_cannot_be_written_is_told_and_not_forgotten(
    bench: Workbench,
    loop: Loop,
    project: Project,
    heard: list[Notice],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin(bench, loop)

    def refuse(*_: Any) -> None:
        raise InputError("The disk is full.")

    with monkeypatch.context() as full:
        full.setattr(module, "save_region", refuse)
        paint(bench, loop, (2, 2, 2), 2)
        loop.run_until(lambda: any("disk is full" in notice.text for notice in heard))
    bench.painting.stop()
    assert painted_regions(project, "two_photon")[0].labels[2, 2, 2] == 2


def test_what_was_painted_comes_back_and_other_places_get_a_region_of_their_own(
    bench: Workbench, loop: Loop, project: Project
) -> None:
    about = lambda place: regions_about(project, "fmost", place, 1000)  # noqa: E731
    (first,), number = about((20, 20, 20))
    assert number == 0
    assert first.labels.size <= 1000
    first.labels[0, 0, 0] = 2
    module.save_region(project, "fmost", first)
    (again,), number = about((20, 20, 20))
    assert number == 0
    assert np.array_equal(again.labels, first.labels)
    both, number = about((70, 100, 100))
    assert (len(both), number) == (2, 1)
    assert not both[1].labels.any()


@given(
    st.tuples(*[st.integers(1, 5000)] * 3),
    st.tuples(*[st.sampled_from([0.3, 0.65, 1.0, 2.0, 5.0])] * 3),
    st.tuples(*[st.floats(0, 1)] * 3),
    st.integers(1, 10**6),
)
def test_a_region_lies_within_the_image_about_its_place(
    shape: tuple[int, int, int],
    voxel_um: tuple[float, float, float],
    shares: tuple[float, float, float],
    most: int,
) -> None:
    middle = np.array(shares) * (np.array(shape) - 1)
    start, size = region_box(shape, voxel_um, middle, most)
    assert all(a >= 0 and n >= 1 and a + n <= m for a, n, m in zip(start, size, shape, strict=True))
    held = np.rint(middle)
    assert ((held >= start) & (held < np.add(start, size))).all()
    assert np.prod(size) <= most
    if np.prod([float(n) for n in shape]) <= most:
        assert size == shape


def test_a_dataset_without_an_image_cannot_be_painted(workbench: Workbench, notices) -> None:
    assert not workbench.painting.can_paint("two_photon")
    workbench.painting.begin("two_photon", (0, 0, 0))
    assert notices[-1].text == "There is no image of 'two_photon' in either canvas."
    assert workbench.painting.dataset == ""


def test_learning_writes_the_last_stroke_first_and_its_model_is_chosen(
    bench: Workbench, loop: Loop, project: Project, started: list[Any], heard: list[Notice]
) -> None:
    begin(bench, loop)
    bench.painting._to_save.add(0)
    bench.painting.regions[0].labels[1, 1, 1] = 2
    bench.painting.steps = 5
    bench.painting.learn("two_photon")
    assert painted_regions(project, "two_photon")[0].labels[1, 1, 1] == 2
    ((name, arguments, done, options),) = started
    assert name == LEARN_JOB
    assert arguments == [
        *("train-segmenter", str(project.path), "--dataset", "two_photon", "--steps", "5")
    ]
    assert options["in_turn"], "it writes to the project, as others do"
    options["on_stopped"]()
    assert "cancelled" in heard[-1].text
    done(LEARNED)
    assert bench.detection.method("two_photon") == "two_photon-painted-1"
    assert bench.detection.method("fmost") == "dog"
    assert "two_photon-painted-1 has learned 3 cells" in bench.painting.outcome("two_photon")
    assert heard[-1].remedy.label == "Detect with it"
    heard[-1].remedy.apply()
    name, arguments, *_ = started[-1]
    assert name == "detect two_photon"
    assert arguments[4:8] == ["--method", "segmenter", "--model", "two_photon-painted-1"]


def test_an_answer_about_another_project_changes_nothing(
    bench: Workbench, project: Project, started: list[Any]
) -> None:
    bench.painting.learn("two_photon")
    bench.session.set_project(None)
    started[0][2](LEARNED)
    assert bench.painting.outcome("two_photon") == ""


def test_a_comparison_is_of_the_chosen_network_and_told_in_words(
    bench: Workbench, started: list[Any]
) -> None:
    bench.detection.set_diameter("two_photon", 12.0)
    bench.detection.set_method("two_photon", "two_photon-painted-1")
    bench.painting.compare("two_photon")
    ((name, arguments, done, _),) = started
    assert name == COMPARE_JOB
    assert arguments[:1] == ["compare-detection"]
    assert arguments[-4:] == ["--soma-diameter", "12.0", "--model", "two_photon-painted-1"]
    done(COMPARED)
    words = bench.painting.outcome("two_photon")
    for part in ("1,412", "7 of 7", "530", "2 of 7", "498 cells are found by both"):
        assert part in words
    assert "1 cell is found by both" in comparison_in_words({**COMPARED, "n_both": 1})


def test_methods_are_offered_in_words_and_the_last_one_is_remembered(
    bench: Workbench, project: Project, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    detection = bench.detection
    assert list(detection.methods("two_photon")) == ["dog", "segmenter"]
    detection.set_method("two_photon", "segmenter")
    assert detection.settings_in_words("two_photon") == "the trained network"
    detection.detect("two_photon")
    assert started[-1][1][4:6] == ["--method", "segmenter"]
    assert "--model" not in started[-1][1]
    bench.session.set_project(None)
    bench.session.set_project(project)
    assert detection.method("two_photon") == "dog"
