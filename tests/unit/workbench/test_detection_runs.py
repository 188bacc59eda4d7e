"""Detecting again says what it costs, remembers its settings, and is one step to take back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.projects import true_partner
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.detect import detection_cost

Started = list[tuple[str, list[str], Callable[[dict[str, Any]], None]]]


def run(project: Project, dataset: str, centers: np.ndarray, diameter: float, who: str) -> None:
    annotate.record_detection(
        project,
        dataset,
        centers,
        method="dog",
        params={"soma_diameter_um": diameter},
        annotator=who,
    )


@pytest.fixture
def detected(project: Project) -> Project:
    """Five cells of the fMOST side were found by a detector, two of which are in pairs."""
    centers = np.random.default_rng(0).uniform(200, 400, (5, 3))
    run(project, "fmost", centers, 9.0, "me")
    found = [uid for uid, s in project.state().somata["fmost"].items() if s.source == "detected"]
    two_photon = sorted(project.state().somata["two_photon"])
    annotate.accept(project, two_photon[0], found[0], annotator="me")
    annotate.accept(project, two_photon[1], found[3], annotator="me")
    annotate.accept(project, two_photon[2], true_partner(two_photon[2]), annotator="me")
    return project


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    calls: Started = []
    monkeypatch.setattr(
        "napari_neurobridge.workbench.jobs.JobRunner.start",
        lambda self, name, arguments, finished, **_: calls.append((name, arguments, finished)),
    )
    return calls


@pytest.fixture
def bench(loop: Loop, detected: Project, started: Started) -> Iterator[Workbench]:
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(detected)
    yield bench
    bench.close()


@pytest.fixture
def notices(bench: Workbench) -> list[Notice]:
    heard: list[Notice] = []
    bench.session.notified.connect(heard.append)
    return heard


def test_the_cost_counts_what_a_detector_found_and_not_what_was_imported(detected) -> None:
    cost = detection_cost(detected, "fmost")
    assert (cost.n_replaced, cost.n_paired) == (5, 2)
    cost = detection_cost(detected, "two_photon")
    assert (cost.n_replaced, cost.n_paired) == (0, 0)


def test_detecting_again_asks_first_and_says_what_it_costs(bench, started, notices) -> None:
    bench.detection.detect("fmost")
    assert started == []
    assert notices[-1].text.startswith(
        "Detecting again replaces 5 cells in fmost, 2 of them in pairs."
    )
    assert not notices[-1].is_error
    assert notices[-1].remedy.label == "Detect again"
    notices[-1].remedy.apply()
    ((name, arguments, _),) = started
    assert name == "detect fmost"
    assert arguments[:4] == ["detect", str(bench.project.path), "--dataset", "fmost"]
    assert arguments[-2:] == ["--annotator", "me"], "or else nobody here could undo it"


def test_where_nothing_is_replaced_nobody_is_asked(bench, started, notices) -> None:
    bench.detection.detect("two_photon")
    assert [name for name, *_ in started] == ["detect two_photon"]
    assert notices == []


def test_both_are_one_question_and_each_has_its_own_diameter(bench, started, notices) -> None:
    bench.detection.set_diameter("two_photon", 11.0)
    bench.detection.detect(*bench.detection.datasets)
    assert started == []
    assert "5 cells in fmost" in notices[-1].text
    assert "two_photon" not in notices[-1].text
    notices[-1].remedy.apply()
    assert [(name, args[args.index("--soma-diameter") + 1]) for name, args, _ in started] == [
        ("detect two_photon", "11.0"),
        ("detect fmost", "9.0"),
    ]


def test_a_question_about_another_project_starts_nothing(bench, started, notices) -> None:
    bench.detection.detect("fmost")
    bench.session.set_project(None)
    notices[-1].remedy.apply()
    assert started == []


def test_the_settings_are_those_of_the_last_run_that_stands(bench, detected) -> None:
    detection = bench.detection
    assert detection.diameter_um("fmost") == 9.0
    assert detection.diameter_um("two_photon") == USUAL_SOMA_DIAMETER_UM
    detection.set_diameter("fmost", 20.0)
    assert detection.diameter_um("fmost") == 20.0
    bench.session.set_project(Project.open(detected.path))
    assert detection.diameter_um("fmost") == 9.0, "what was never run is forgotten"
    run(bench.project, "fmost", np.ones((1, 3)), 16.0, "me")
    assert detection.diameter_um("fmost") == 16.0
    detection.undo()
    assert detection.diameter_um("fmost") == 9.0


def test_a_run_is_undone_and_redone_as_one_step(bench, detected, notices) -> None:
    before = detected.state().somata["fmost"]
    pairs = dict(detected.state().pairs)
    run(detected, "fmost", np.random.default_rng(1).uniform(500, 800, (7, 3)), 14.0, "me")
    after = detected.state().somata["fmost"]
    assert len(after) == len(before) + 2
    # What a person decides in between stays.
    uid = sorted(detected.state().somata["two_photon"])[5]
    annotate.none(detected, uid, annotator="me")
    told: list[str] = []
    bench.session.somata_changed.connect(told.append)

    assert bench.detection.undoable == "detection in fmost (7 somata)"
    bench.detection.undo()
    assert detected.state().somata["fmost"] == before
    assert detected.state().pairs == pairs
    assert uid in detected.state().none
    assert told == ["fmost"]
    assert notices[-1].text == "undone: detection in fmost (7 somata)"

    assert bench.detection.redoable == "detection in fmost (7 somata)"
    bench.detection.redo()
    assert detected.state().somata["fmost"] == after
    assert told == ["fmost", "fmost"]
    assert bench.detection.redoable == ""


def test_the_keys_still_leave_detection_alone(bench, detected) -> None:
    run(detected, "fmost", np.ones((1, 3)), 14.0, "me")
    n_pairs = len(detected.state().pairs)
    bench.verdicts.undo()
    assert bench.detection.diameter_um("fmost") == 14.0
    assert len(detected.state().pairs) == n_pairs - 1


def test_another_annotators_run_is_not_taken_back(bench, detected, notices) -> None:
    bench.detection.undo()  # my own
    run(detected, "fmost", np.ones((1, 3)), 14.0, "ben")
    assert bench.detection.undoable == ""
    bench.detection.undo()
    assert notices[-1].is_error
    assert bench.detection.diameter_um("fmost") == 14.0


def test_a_finished_run_is_told_with_a_way_back(bench, detected, started, notices) -> None:
    bench.detection.detect("two_photon")
    ((_, _, finished),) = started
    before = detected.state().somata["two_photon"]
    run(detected, "two_photon", np.random.default_rng(2).uniform(500, 800, (3, 3)), 14.0, "me")
    finished({"n_somata": 1017, "datasets": {"two_photon": 1017}})
    assert notices[-1].text == "1,017 somata in two_photon now"
    assert notices[-1].remedy.label == "Undo detection"
    notices[-1].remedy.apply()
    assert detected.state().somata["two_photon"] == before


def test_the_command_line_undoes_a_run_too(detected) -> None:
    before = detected.state().somata["fmost"]
    run(detected, "fmost", np.ones((1, 3)), 14.0, "me")
    annotate.undo(detected, "me")  # as `annotate --undo` does
    assert detected.state().somata["fmost"] == before
    annotate.redo(detected, "me")
    assert detected.state().detected_with["fmost"]["soma_diameter_um"] == 14.0
