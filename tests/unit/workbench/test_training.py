"""Training from the docks, without a window and without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.loops import Loop
from napari_neurobridge.models.training_record import TrainingPoint
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.training import TRAIN_JOB, TrainingChoice
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.training_log import (
    LOG_FILE,
    TrainingLogWriter,
    read_training_log,
)

RESULT = {
    "model": "/somewhere/models/v1-full",
    "adopted": False,
    "reason": "Not clearly better.",
    "n_test": 8,
    "before": {"topk_scene": {"1": 0.5}},
    "after": {"topk_scene": {"1": 0.625}},
}


@pytest.fixture
def started(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the job runner was asked to start."""
    calls: list[Any] = []

    def start(name: str, arguments: list[str], done: Any, **options: Any) -> None:
        calls.append((name, arguments, done, options))

    monkeypatch.setattr(workbench.session.jobs, "start", start)
    return calls


def test_the_choice_becomes_the_command_and_its_answer_words(
    workbench: Workbench, loop: Loop, started: list[Any], notices: list[Notice]
) -> None:
    training = workbench.training
    training.choose(TrainingChoice("lora-4", epochs=2, free_labels=True))
    training.start()
    ((name, arguments, done, options),) = started
    assert name == TRAIN_JOB
    project = str(workbench.project.path)
    expected = ["train", project, "--strategy", "lora-4", "--epochs", "2", "--free-labels"]
    assert arguments == expected
    assert options["in_turn"], "it writes to the project, as others do"
    done(RESULT)
    outcome = training.outcome
    assert (outcome.model, outcome.adopted) == ("v1-full", False)
    assert (outcome.right_before, outcome.right_after, outcome.n_test) == (4, 5, 8)
    assert notices[-1].text == "v1-full was trained and kept, but not adopted."


def test_an_adopted_model_is_followed(
    workbench: Workbench, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[Any] = []
    monkeypatch.setattr(workbench.indexing, "start_missing", followed.append)
    told: list[str] = []
    workbench.session.index_changed.connect(lambda: told.append("index"))
    workbench.training.start()
    started[0][2]({**RESULT, "adopted": True})
    assert followed == [workbench.project]
    assert told == ["index"]


def test_an_answer_for_another_project_is_dropped(
    workbench: Workbench, started: list[Any], notices: list[Notice]
) -> None:
    workbench.training.start()
    workbench.session.set_project(None)
    started[0][2](RESULT)
    assert workbench.training.outcome is None


def test_without_images_the_outlook_says_why(workbench: Workbench, loop: Loop) -> None:
    training = workbench.training
    assert training.outlook is None, "nobody looks"
    training.look(True)
    loop.run_until(lambda: training.outlook is not None)
    assert "need an image" in str(training.outlook.problem)
    assert not training.can_start
    assert [version.is_current for version in training.history] == [True]
    assert not training.can_roll_back


def test_nothing_to_return_from_is_said(workbench: Workbench, notices: list[Notice]) -> None:
    workbench.training.roll_back()
    assert notices[-1].is_error
    assert "no model that it could return from" in notices[-1].text


def test_the_curves_are_read_while_the_training_runs(workbench: Workbench) -> None:
    path = workbench.project.runs_dir / LOG_FILE
    writer = TrainingLogWriter(path, "a" * 16, {"steps": 9, "strategy": "full"}, resumes=False)
    writer.add(TrainingPoint(step=1, loss=2.0))
    status = JobStatus(TRAIN_JOB, JobState.RUNNING, 1, 9, "fine-tuning")
    workbench.session.job_changed.emit(status)
    assert workbench.training.log.points == (TrainingPoint(step=1, loss=2.0),)
    assert workbench.training.stopped_at is not None  # nothing runs in this window
    writer.end()
    workbench.session.job_changed.emit(status)
    assert workbench.training.stopped_at is None


def test_a_log_goes_on_after_a_kill_and_counts_each_step_once(workbench: Workbench) -> None:
    path = workbench.project.runs_dir / LOG_FILE
    facts = {"steps": 9}
    first = TrainingLogWriter(path, "a" * 16, facts, resumes=False)
    for step in (1, 2, 3):
        first.add(TrainingPoint(step=step, loss=1.0 / step))
    with path.open("a") as handle:
        handle.write('{"step": 4, "lo')
    second = TrainingLogWriter(path, "a" * 16, facts, resumes=True)
    for step in (3, 4):
        second.add(TrainingPoint(step=step, loss=1.0 / step))
    second.add(TrainingPoint(step=4, score=0.5))
    log = read_training_log(path)
    assert log.facts == facts
    assert [(p.step, p.loss is None) for p in log.points] == [
        (1, False), (2, False), (3, False), (4, False), (4, True),
    ]  # fmt: skip
    assert log.last_step == 4
    assert not log.ended
    # Another training begins anew.
    TrainingLogWriter(path, "b" * 16, facts, resumes=True)
    assert read_training_log(path).points == ()


@pytest.mark.parametrize("content", ["", "x", "[]", "{}\n", json.dumps({"key": 3})])
def test_what_is_no_log_is_none(workbench: Workbench, content: str) -> None:
    path = workbench.project.runs_dir / LOG_FILE
    path.write_text(content)
    assert read_training_log(path) is None
