"""How long a job will take, in words."""

from __future__ import annotations

import pytest

from napari_neurobridge.workbench.job_status import JobState, JobStatus, Pace, left_in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "a few seconds left"),
        (12.0, "about 10 s left"),
        (48.0, "about 50 s left"),
        (55.0, "about 1 min left"),
        (130.0, "about 2 min left"),
        (3000.0, "about 50 min left"),
        (3500.0, "about 1.0 h left"),
        (5400.0, "about 1.5 h left"),
    ],
)
def test_no_more_is_said_than_is_known(seconds: float, words: str) -> None:
    assert left_in_words(seconds) == words


def test_the_pace_so_far_tells_what_is_left() -> None:
    pace = Pace()
    assert pace.left_s(10.0, 0, 100) is None
    assert pace.left_s(11.0, 10, 100) is None, "too early to tell"
    assert pace.left_s(14.0, 20, 100) == pytest.approx(16.0)  # 5 a second
    assert pace.left_s(20.0, 100, 100) == 0.0


def test_what_was_done_before_does_not_count_for_the_pace() -> None:
    pace = Pace()
    pace.left_s(0.0, 50, 100)
    assert pace.left_s(10.0, 60, 100) == pytest.approx(40.0)


@pytest.mark.parametrize(("done", "total"), [(5, 100), (90, 200), (3, 0)])
def test_another_count_is_measured_anew(done: int, total: int) -> None:
    pace = Pace()
    pace.left_s(0.0, 0, 100)
    pace.left_s(10.0, 80, 100)
    assert pace.left_s(11.0, done, total) is None


def test_a_status_in_words() -> None:
    status = JobStatus("index", JobState.RUNNING, 3, 9, "embedding fmost", "Index", 130.0)
    assert status.in_words() == "Index: embedding fmost, about 2 min left"
    assert JobStatus("index", JobState.RUNNING, message="starting").in_words() == "index: starting"
    assert [state.over for state in JobState] == [False, False, True, True, True]
