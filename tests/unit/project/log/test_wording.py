from __future__ import annotations

import pytest

from napari_neurobridge.project import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.project.log.wording import describe
from napari_neurobridge.types import NoneReason, SomaSource, Verdict


def test_verdicts(project: Project) -> None:
    pair = ("tp-00001", "fm-00002")
    events = [
        *annotate.reject(project, *pair),
        *annotate.unsure(project, *pair),
        *annotate.accept(project, *pair),
        *annotate.none(project, "tp-00003", NoneReason.NOT_A_CELL),
        *annotate.none(project, "tp-00004"),
    ]
    assert [describe(event) for event in events] == [
        "rejected tp-00001 ↔ fm-00002",
        "unsure about tp-00001 ↔ fm-00002",
        "accepted tp-00001 ↔ fm-00002",
        "none for tp-00003 (not a cell)",
        "none for tp-00004",
    ]


def test_somata(project: Project) -> None:
    annotate.add_somata(project, "fmost", [(9, 9, 9)] * 2, source=SomaSource.MANUAL)
    annotate.move_soma(project, "fm-00001", (1, 2, 3))
    annotate.delete_somata(project, ["fm-00001", "fm-00002"])
    annotate.record_detection(project, "fmost", [(50, 50, 50)], method="dog")
    assert [describe(event) for event in project.log.events()] == [
        "imported 5 somata into two_photon",
        "imported 5 somata into fmost",
        "added 2 somata to fmost",
        "moved 1 soma in fmost",
        "deleted 2 somata from fmost",
        "detection in fmost (1 soma)",
    ]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_undo_and_redo_are_told_by_what_they_are_about(project: Project, times: int) -> None:
    annotate.delete_soma(project, "fm-00001", annotator="ben")
    for step in (annotate.undo, annotate.redo, annotate.undo)[:times]:
        events = step(project, "ben")
        assert annotate.describe_target(project, events) == "deleted 1 soma from fmost"
    assert describe(*events) == "undid the last action"


def test_notes(project: Project) -> None:
    pair = ("tp-00001", "fm-00002")
    written = annotate.note(project, *pair, "near a vessel", annotator="ben")
    assert describe(*written) == "noted “near a vessel” on tp-00001 ↔ fm-00002"
    assert describe(*annotate.note(project, *pair, "", annotator="ben")) == (
        "no note on tp-00001 ↔ fm-00002"
    )


def test_of_a_long_step_only_the_first_are_told(project: Project) -> None:
    together = [Judgement(Verdict.NONE, f"tp-0000{number}") for number in range(1, 6)]
    annotate.judge_together(project, together, annotator="ben")
    undone = annotate.undo(project, "ben")
    assert annotate.describe_target(project, undone) == (
        "none for tp-00001, none for tp-00002, none for tp-00003 and 2 more"
    )
