"""The list of long jobs: what runs, what waits, how long it takes, and Cancel."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton

from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.workbench import child_process
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench() -> Iterator[Workbench]:
    bench = Workbench()
    yield bench
    bench.close()


@pytest.fixture
def jobs(workbench: Workbench, qtbot: Any) -> JobList:
    shown = JobList(workbench, without=("match",))
    qtbot.addWidget(shown)
    shown.show()
    return shown


def texts(jobs: JobList) -> list[str]:
    return [label.text() for label in jobs.findChildren(QLabel) if label.isVisible()]


def test_each_job_has_a_row_while_it_lasts(workbench: Workbench, jobs: JobList) -> None:
    tell = workbench.session.job_changed.emit
    assert texts(jobs) == []
    tell(JobStatus("detect fmost", JobState.RUNNING, 3, 12, "looking", "Detection", 130.0))
    tell(JobStatus("index", JobState.WAITING, message="waits for Detection", title="Index"))
    tell(JobStatus("match", JobState.RUNNING, 1, 2, "matching"))
    assert texts(jobs) == ["Detection: looking, about 2 min left", "Index: waits for Detection"]
    bar = jobs.findChild(QProgressBar, "progress_detect_fmost")
    assert (bar.value(), bar.maximum(), bar.isVisible()) == (3, 12, True)
    assert not jobs.findChild(QProgressBar, "progress_index").isVisible()
    assert jobs.findChild(QPushButton, "cancel_index").isVisible()
    tell(JobStatus("detect fmost", JobState.FINISHED))
    tell(JobStatus("index", JobState.RUNNING, message="starting", title="Index"))
    assert texts(jobs) == ["Index: starting"]
    tell(JobStatus("index", JobState.CANCELLED))
    assert texts(jobs) == []


def test_a_list_may_be_about_some_jobs_only(workbench: Workbench, qtbot: Any) -> None:
    shown = JobList(workbench, only=("match",))
    qtbot.addWidget(shown)
    shown.show()
    for name in ("index", "match"):
        workbench.session.job_changed.emit(JobStatus(name, JobState.RUNNING))
    assert texts(shown) == ["match: "]


def test_each_job_is_cancelled_by_itself_and_a_later_list_shows_the_others(
    workbench: Workbench, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import time; time.sleep(600)"
    monkeypatch.setattr(child_process, "_COMMAND", (sys.executable, "-c", code))
    runner = workbench.session.jobs
    for name in ("detect fmost", "index", "train"):
        runner.start(name, [], lambda _: None, in_turn=True)
    later = JobList(workbench)  # as a dock that is opened meanwhile
    qtbot.addWidget(later)
    later.show()
    assert len(texts(later)) == 3
    cancel = later.findChild(QPushButton, "cancel_index")
    QTest.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert runner.running() == ("detect fmost",)
    assert runner.waiting() == ("train",)
    assert len(texts(later)) == 2
