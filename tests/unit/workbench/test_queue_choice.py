"""How a person is asked: the strategy, what was skipped, and others at the same time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from psygnal import Signal

from fixtures.loops import Loop
from fixtures.projects import accept_true_pairs
from napari_neurobridge.active.queue import QueueStrategy
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench.session import Session
from napari_neurobridge.workbench.stop_advice import ANSWERS, StopAdvice
from napari_neurobridge.workbench.workbench import Workbench


def uids(bench: Workbench) -> list[str]:
    return [item.uid for item in bench.questions.queue()]


def test_the_strategy_that_is_chosen_decides_from_the_next_question_on(
    workbench: Workbench, loop: Loop
) -> None:
    accept_true_pairs(workbench.project, range(0, 40, 10))
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: workbench.matches.has_match and not workbench.matches.updating)
    by_default = uids(workbench)
    workbench.queue_choice.choose(QueueStrategy.ENTROPY)
    assert uids(workbench) == by_default  # four pairs
    asked = [item for item in workbench.questions.queue() if not item.audit]
    bits = [item.uncertainty for item in asked if item.uncertainty is not None]
    assert bits == sorted(bits, reverse=True)
    workbench.queue_choice.choose(QueueStrategy.MEDIAN)
    asked = [item for item in workbench.questions.queue() if not item.audit]
    first = next(item.uncertainty for item in asked if item.uncertainty is not None)
    nearer = sum(bit > first for bit in bits) / len(bits)
    assert 0.2 < nearer < 0.8
    workbench.queue_choice.choose(None)
    assert uids(workbench) == by_default


def test_what_was_skipped_is_asked_last_on_another_day_too(
    workbench: Workbench, loop: Loop, points_project_folder: Path
) -> None:
    workbench.questions.next_query()
    first = workbench.questions.query.uid
    workbench.questions.next_query()
    second = workbench.questions.query.uid
    assert second != first
    loop.run_until(lambda: bool(list(workbench.project.runs_dir.glob("skipped-*.json"))))
    mine, other = Workbench(loop, annotator="me"), Workbench(loop, annotator="you")
    for bench in (mine, other):
        bench.session.set_project(Project.open(points_project_folder))
    assert uids(mine)[-1] == first  # the second was looked at, but not gone on from
    assert second in uids(mine)[:5]
    assert first in uids(other)[:5]
    for bench in (mine, other):
        bench.close()


@pytest.mark.parametrize("content", ["", "{", "{}", '"x"', "[1, null]"])
def test_a_damaged_note_of_what_was_skipped_does_no_harm(
    workbench: Workbench, content: str
) -> None:
    choice = workbench.queue_choice
    choice._file(workbench.project).write_text(content)
    workbench.session.set_project(workbench.project)
    assert len(uids(workbench)) == 50


def test_people_at_the_same_time_are_asked_about_other_cells_first(workbench: Workbench) -> None:
    alone = uids(workbench)
    workbench.queue_choice.take_others(["you", "me"])
    mine = uids(workbench)
    workbench.session.annotator = "you"
    workbench.queue_choice.take_others(["me"])
    workbench.queue_choice.choose(QueueStrategy.CLEAREST)  # sorted anew
    yours = uids(workbench)
    assert sorted(mine) == sorted(yours) == sorted(alone)
    assert not set(mine[:15]) & set(yours[:15])


@dataclass
class Matched:
    """A match that gives some cells another partner."""

    match_changed = Signal()
    updating: bool = False
    has_match: bool = True
    changed: frozenset[str] = field(default_factory=frozenset)


def test_answers_that_change_nothing_are_told_and_one_that_does_takes_it_back(
    loop: Loop, points_project_folder: Path
) -> None:
    session, matches = Session(loop), Matched()
    advice = StopAdvice(session, matches)
    project = Project.open(points_project_folder)
    session.set_project(project)

    def answer(number: int, changed: frozenset[str]) -> None:
        accept_true_pairs(project, [number])
        matches.changed = changed
        matches.match_changed.emit()

    for number in range(ANSWERS):
        assert advice.text == ""
        answer(number, frozenset({f"tp-{number:05d}"}))  # the cell itself does not count
    assert f"last {ANSWERS} accepted pairs" in advice.text
    matches.match_changed.emit()  # nothing new
    assert advice.text
    answer(20, frozenset({"tp-00033"}))
    assert advice.text == ""
    for number in range(21, 21 + ANSWERS):
        answer(number, frozenset())
    assert advice.text
    annotate.undo(project, annotator="fixture")
    matches.match_changed.emit()
    assert advice.text == ""
