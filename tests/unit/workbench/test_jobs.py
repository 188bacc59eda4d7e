"""Jobs: order of answers, stale requests, child processes and cancelling them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.workbench.jobs import JobRunner, JobState, JobStatus


class MainThread:
    """A main thread that runs callbacks when the test says so."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], None]] = queue.Queue()

    def __call__(self, callback: Callable[[], None]) -> None:
        self._waiting.put(callback)

    def run_until(self, reached: Callable[[], bool], timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not reached():
            assert time.monotonic() < deadline, "waited in vain"
            try:
                self._waiting.get(timeout=0.05)()
            except queue.Empty:
                continue


def never(error: object) -> None:
    raise AssertionError(f"unexpected: {error}")


@pytest.fixture
def main_thread() -> MainThread:
    return MainThread()


@pytest.fixture
def statuses() -> list[JobStatus]:
    return []


@pytest.fixture
def jobs(main_thread: MainThread, statuses: list[JobStatus]) -> Iterator[JobRunner]:
    runner = JobRunner(main_thread, statuses.append)
    yield runner
    runner.close()


def test_answers_arrive_through_the_dispatcher(jobs: JobRunner, main_thread: MainThread) -> None:
    threads: list[threading.Thread] = []
    answers: list[int] = []

    def work() -> int:
        threads.append(threading.current_thread())
        return 42

    jobs.submit("sum", work, answers.append, never)
    main_thread.run_until(lambda: bool(answers))
    assert answers == [42]
    assert threads[0] is not threading.current_thread()


def test_only_the_newest_request_of_a_key_is_answered(
    jobs: JobRunner, main_thread: MainThread
) -> None:
    release = threading.Event()
    answers: list[str] = []

    def slow() -> str:
        release.wait(10)
        return "stale"

    jobs.submit("rank", slow, answers.append, never)
    jobs.submit("rank", lambda: "fresh", answers.append, never)
    jobs.submit("other", lambda: "other", answers.append, never)
    release.set()
    main_thread.run_until(lambda: len(answers) == 2)
    assert answers == ["fresh", "other"]


def test_a_forgotten_request_is_not_answered(jobs: JobRunner, main_thread: MainThread) -> None:
    answers: list[str] = []
    jobs.submit("rank", lambda: "late", answers.append, never)
    jobs.forget("rank")
    jobs.submit("other", lambda: "done", answers.append, never)
    main_thread.run_until(lambda: bool(answers))
    assert answers == ["done"]


def test_user_errors_are_delivered_and_bugs_are_raised(
    jobs: JobRunner, main_thread: MainThread
) -> None:
    errors: list[NeuroBridgeError] = []

    def refuse() -> None:
        raise InputError("no such file")

    jobs.submit("read", refuse, never, errors.append)
    main_thread.run_until(lambda: bool(errors))
    assert str(errors[0]) == "no such file"

    jobs.submit("bug", lambda: 1 // 0, never, never)
    with pytest.raises(ZeroDivisionError):
        main_thread.run_until(lambda: False, timeout=10)


def test_nothing_is_called_back_after_close(jobs: JobRunner, main_thread: MainThread) -> None:
    answers: list[str] = []
    jobs.submit("a", lambda: "late", answers.append, never)
    jobs.close()
    jobs.submit("b", lambda: "refused", answers.append, never)
    with pytest.raises(AssertionError, match="in vain"):
        main_thread.run_until(lambda: bool(answers), timeout=0.5)


def test_a_child_process_returns_its_json(
    jobs: JobRunner, main_thread: MainThread, statuses: list[JobStatus]
) -> None:
    results: list[dict[str, object]] = []
    jobs.start("models", ["models"], results.append)
    with pytest.raises(NeuroBridgeError, match="already running"):
        jobs.start("models", ["models"], results.append)
    main_thread.run_until(lambda: bool(results))
    assert "models" in results[0]
    assert statuses[0].state is JobState.RUNNING
    assert statuses[-1].state is JobState.FINISHED
    assert jobs.running() == ()


def test_a_failing_child_process_tells_its_sentence(
    jobs: JobRunner, main_thread: MainThread, statuses: list[JobStatus]
) -> None:
    jobs.start("index", ["index", "no-such.neurobridge"], never)
    main_thread.run_until(lambda: bool(statuses) and statuses[-1].state is JobState.FAILED)
    assert "no-such.neurobridge" in statuses[-1].message
    assert "Traceback" not in statuses[-1].message


def test_cancelling_a_child_process_reports_progress_first(
    jobs: JobRunner, main_thread: MainThread, statuses: list[JobStatus], tmp_path: object
) -> None:
    arguments = ["simulate-pairs", f"{tmp_path}/pairs.npz", "--n", "100000", "--seed", "1"]
    jobs.start("simulate", arguments, never)
    main_thread.run_until(lambda: any(status.total > 0 for status in statuses))
    jobs.cancel("simulate")
    main_thread.run_until(lambda: statuses[-1].state is JobState.CANCELLED)
    assert jobs.running() == ()
