"""Undo goes where it acts, and any of the latest decisions can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import SomaSource, Verdict
from napari_neurobridge.workbench.decisions import N_RECENT
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

FIRST, SECOND = ("tp-00003", "fm-00003"), ("tp-00007", "fm-00007")


@pytest.fixture
def workbench(loop: Loop, points_project_folder: Path) -> Iterator[Workbench]:
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(Project.open(points_project_folder))
    yield bench
    bench.close()


@pytest.fixture
def looked(workbench: Workbench) -> list[tuple[str, object]]:
    places: list[tuple[str, object]] = []
    workbench.questions.look_requested.connect(lambda *place: places.append(place))
    return places


def _accept(workbench: Workbench, pair: tuple[str, str], **evidence: bool) -> str:
    seen = annotate.VerdictEvidence(**evidence)
    (event,) = annotate.accept(workbench.project, *pair, annotator="me", evidence=seen, force=True)
    workbench.session.verdicts_changed.emit()
    return event.id


def _asked(workbench: Workbench, loop: Loop) -> tuple[str, str]:
    loop.run_until(lambda: workbench.questions.choice is not None)
    shown = workbench.questions.snapshot
    return shown.query.uid, shown.picked.uid


@pytest.mark.parametrize("step", ["undo", "redo"])
def test_undo_and_redo_go_to_the_pair_that_they_are_about(workbench, loop, looked, step) -> None:
    _accept(workbench, FIRST)
    if step == "redo":
        workbench.verdicts.undo()
    workbench.questions.select("two_photon", SECOND[0])
    loop.run_until(lambda: workbench.questions.choice is not None)
    looked.clear()
    getattr(workbench.verdicts, step)()
    assert _asked(workbench, loop) == FIRST
    assert [dataset for dataset, _ in looked] == ["two_photon", "fmost"]


def test_an_undone_audit_is_asked_blindly_again(workbench, loop) -> None:
    _accept(workbench, FIRST, audit=True)
    workbench.questions.select("two_photon", SECOND[0])
    workbench.verdicts.undo()
    assert workbench.questions.query.uid == FIRST[0]
    assert workbench.questions.snapshot.blind
    workbench.verdicts.redo()
    assert workbench.questions.snapshot.blind


def test_undo_of_none_goes_to_the_cell_with_none_picked(workbench, loop) -> None:
    workbench.questions.select("two_photon", FIRST[0])
    loop.run_until(lambda: workbench.questions.answer is not None)
    workbench.verdicts.none()
    workbench.questions.select("two_photon", SECOND[0])
    workbench.verdicts.undo()
    loop.run_until(lambda: workbench.questions.answer is not None)
    assert workbench.questions.query.uid == FIRST[0]
    assert workbench.questions.none_picked


def test_undo_of_a_moved_soma_looks_at_it_and_leaves_the_question(workbench, looked) -> None:
    before = workbench.project.state().soma("fm-00001").center_um
    workbench.questions.select("two_photon", SECOND[0])
    workbench.verdicts.move_somata("fmost", ["fm-00001"], [(1.0, 2.0, 3.0)])
    looked.clear()
    workbench.verdicts.undo()
    assert looked[-1] == ("fmost", before)
    assert workbench.questions.query.uid == SECOND[0]


def test_undo_of_a_note_goes_to_its_pair(workbench, loop) -> None:
    annotate.note(workbench.project, *FIRST, "dim", annotator="me")
    workbench.verdicts.undo()
    assert workbench.project.state().notes == {}
    assert _asked(workbench, loop) == FIRST


def test_a_removed_cell_is_not_asked_about(workbench) -> None:
    _accept(workbench, FIRST)
    annotate.delete_soma(workbench.project, FIRST[0], annotator="ben")
    workbench.session.somata_were_changed("two_photon")
    workbench.verdicts.undo()
    assert workbench.project.state().pairs == {}
    assert workbench.questions.query is None


def test_the_latest_decisions_are_told_last_first(workbench: Workbench) -> None:
    _accept(workbench, FIRST)
    workbench.verdicts.add_somata("fmost", [(1.0, 2.0, 3.0)])
    both = [Judgement(Verdict.NONE, uid) for uid in ("tp-00001", "tp-00002")]
    annotate.judge_together(workbench.project, both, annotator="me")
    annotate.accept(workbench.project, *SECOND, annotator="ben")
    assert [decision.text for decision in workbench.decisions.recent()] == [
        "none for tp-00001, none for tp-00002",
        "added 1 soma to fmost",
        "accepted tp-00003 ↔ fm-00003",
    ]
    for number in range(N_RECENT + 5):
        annotate.note(workbench.project, *FIRST, str(number), annotator="me")
    assert len(workbench.decisions.recent()) == N_RECENT


def test_a_given_decision_is_reverted_and_shown(workbench, loop) -> None:
    _accept(workbench, FIRST)
    _accept(workbench, SECOND)
    workbench.decisions.revert(workbench.decisions.recent()[1].event_id)
    assert workbench.project.state().pairs == dict([SECOND])
    assert _asked(workbench, loop) == FIRST
    workbench.verdicts.redo()
    assert workbench.project.state().pairs == dict([FIRST, SECOND])


def test_what_else_follows_is_said(workbench: Workbench) -> None:
    _accept(workbench, FIRST)
    _accept(workbench, ("tp-00003", "fm-00004"))
    added = annotate.add_somata(
        workbench.project, "fmost", [(1, 2, 3)], source=SomaSource.MANUAL, annotator="me"
    )
    annotate.unsure(workbench.project, "tp-00005", added[0].uid, annotator="ben")
    annotate.unsure(workbench.project, *SECOND, annotator="me")
    annotate.reject(workbench.project, *SECOND, annotator="me")
    assert [decision.consequence for decision in workbench.decisions.recent()] == [
        "",
        "a later decision stands in its place",
        "1 decision names what it added",
        "brings back the pair that it replaced",
        "a later decision stands in its place",
    ]


def test_it_is_known_whether_there_is_anything_to_undo_and_redo(workbench: Workbench) -> None:
    decisions = workbench.decisions
    assert (decisions.can_undo, decisions.can_redo) == (False, False)
    _accept(workbench, FIRST)
    assert (decisions.can_undo, decisions.can_redo) == (True, False)
    workbench.verdicts.undo()
    assert (decisions.can_undo, decisions.can_redo) == (False, True)


def test_what_was_undone_meanwhile_is_refused_in_a_sentence(workbench: Workbench) -> None:
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    event = _accept(workbench, FIRST)
    workbench.decisions.revert(event)
    workbench.decisions.revert(event)
    assert "undone already" in heard[-1].text
