"""What accepting would change is shown before it is done, and leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from fixtures.projects import accept_true_pairs
from napari_neurobridge.matching import match_datasets as module
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

UID, OTHERS = "tp-00003", "fm-00005"


@pytest.fixture
def workbench(loop: Loop, points_project_folder: Path) -> Iterator[Workbench]:
    """All cells matched from five pairs; a candidate is picked that belongs to another cell."""
    bench = Workbench(loop, annotator="me")
    project = Project.open(points_project_folder)
    accept_true_pairs(project, (0, 9, 18, 27, 36))
    bench.session.set_project(project)
    loop.run_until(lambda: bench.matches.has_match and not bench.matches.updating)
    bench.questions.select("two_photon", UID)
    loop.run_until(lambda: bench.questions.answer is not None)
    bench.questions.choose_soma(OTHERS)
    loop.run_until(lambda: getattr(bench.questions.choice, "uid", None) == OTHERS)
    yield bench
    bench.close()


def _begin(workbench: Workbench, loop: Loop) -> frozenset[str]:
    workbench.preview.begin()
    loop.run_until(lambda: workbench.questions.snapshot.would_change is not None)
    return workbench.questions.snapshot.would_change


def test_the_preview_says_what_accepting_then_does(workbench, loop) -> None:
    shown = _begin(workbench, loop)
    told = workbench.preview.text
    matches = workbench.matches
    before = matches.match
    notices: list[Notice] = []
    workbench.session.notified.connect(notices.append)
    workbench.verdicts.accept()
    notices[-1].remedy.apply()  # it is improbable, so that the user is asked first
    assert workbench.project.state().pairs[UID] == OTHERS
    loop.run_until(lambda: matches.match is not before and not matches.updating)
    others = matches.changed - {UID}
    assert shown & matches.match.side("two_photon").rows.keys() == others
    assert shown == matches.changed_on_both_sides() - {UID, OTHERS}
    assert f" {len(others)} other cell" in told
    assert workbench.preview.text == "", "it was taken away by the verdict"


def test_nothing_is_left_behind(workbench, loop) -> None:
    project, matches = workbench.project, workbench.matches
    events = project.log.position()
    match, state, before = matches.match, project.state(), workbench.questions.snapshot
    alignment = project.alignment("two_photon", "fmost").id
    files = {path: path.stat().st_mtime_ns for path in project.transforms_dir.iterdir()}
    _begin(workbench, loop)
    workbench.preview.end()
    assert matches.match is match
    assert (project.log.position(), project.state()) == (events, state)
    assert project.alignment("two_photon", "fmost").id == alignment
    assert {p: p.stat().st_mtime_ns for p in project.transforms_dir.iterdir()} == files
    assert workbench.questions.snapshot == before
    assert workbench.preview.text == ""


def test_what_is_known_is_not_worked_out_again(workbench, loop, monkeypatch) -> None:
    first = _begin(workbench, loop)
    workbench.preview.end()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it is known")

    monkeypatch.setattr(module, "match_datasets", refuse)
    workbench.preview.begin()
    assert workbench.questions.snapshot.would_change == first


def test_whoever_leaves_early_stops_the_work(workbench, loop, monkeypatch) -> None:
    working, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    real = module.match_datasets

    def slow(*args: object, **options: object) -> object:
        working.set()
        go_on.wait()
        try:
            return real(*args, **options)
        finally:
            ended.set()

    monkeypatch.setattr(module, "match_datasets", slow)
    workbench.preview.begin()
    assert "Working out" in workbench.preview.text
    working.wait()
    workbench.preview.end()
    go_on.set()
    ended.wait()
    loop.finish(workbench.session.jobs)
    assert workbench.questions.snapshot.would_change is None
    assert workbench.preview.text == ""


def test_another_pick_is_previewed_in_its_turn(workbench, loop) -> None:
    _begin(workbench, loop)
    workbench.questions.choose(1)
    assert workbench.questions.snapshot.would_change is None, "that was about another candidate"
    loop.run_until(lambda: workbench.questions.snapshot.would_change is not None)
    workbench.questions.choose(0)
    loop.run_until(lambda: workbench.questions.snapshot.would_change is not None)
    assert "Accepting changes" in workbench.preview.text


def test_a_new_match_comes_before_the_preview(workbench, loop) -> None:
    matches = workbench.matches
    accept_true_pairs(workbench.project, (45,))
    workbench.session.verdicts_changed.emit()
    assert matches.updating
    workbench.preview.begin()
    assert "Working out" in workbench.preview.text
    old = matches.match
    loop.run_until(lambda: workbench.questions.snapshot.would_change is not None)
    assert matches.match is not old, "it is about the new one"


def test_an_audit_shows_no_consequence(workbench, loop) -> None:
    workbench.questions.select("two_photon", UID, audit=True)
    loop.run_until(lambda: workbench.questions.answer is not None)
    workbench.questions.choose(1)
    workbench.preview.begin()
    loop.finish(workbench.session.jobs)
    assert workbench.questions.snapshot.would_change is None
    assert workbench.preview.text == "Hidden in a random check."


def test_without_a_match_there_is_nothing_to_change(loop, points_project_folder) -> None:
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(Project.open(points_project_folder))
    bench.preview.toggle()
    assert "Pick a candidate" in bench.preview.text
    bench.questions.select("two_photon", UID)
    loop.run_until(lambda: bench.questions.choice is not None)
    assert bench.preview.text == "Nothing is matched yet that this could change."
    bench.preview.toggle()
    assert bench.preview.text == ""
    bench.close()


def test_a_pair_that_replaces_another_is_supposed_to_do_so(workbench, loop) -> None:
    annotate.accept(workbench.project, "tp-00005", OTHERS, annotator="other")
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: not workbench.matches.updating)
    loop.finish(workbench.session.jobs)
    shown = _begin(workbench, loop)
    assert "tp-00005" in shown, "it would lose its partner"
    assert workbench.project.state().pairs["tp-00005"] == OTHERS
