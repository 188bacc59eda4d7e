"""Jobs: order of answers, stale requests, child processes and cancelling them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.workbench import jobs as module
from napari_neurobridge.workbench.jobs import JobRunner, JobState, JobStatus

STUBBORN = """
import json, os, signal, sys, time
for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.stderr.write(json.dumps({"done": 0, "total": 1, "message": str(os.getpid())}) + chr(10))
sys.stderr.flush()
time.sleep(600)
"""


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
    assert statuses[-1].message.startswith("There is no project folder")
    assert "no-such.neurobridge" in statuses[-1].message
    # What to do is said in the docks' words, although a command failed.
    assert statuses[-1].message.endswith("open or create a project in the Data dock.")


def test_cancelling_a_child_process_reports_progress_first(
    jobs: JobRunner, main_thread: MainThread, statuses: list[JobStatus], tmp_path: object
) -> None:
    arguments = ["simulate-pairs", f"{tmp_path}/pairs.npz", "--n", "100000", "--seed", "1"]
    jobs.start("simulate", arguments, never)
    main_thread.run_until(lambda: any(status.total > 0 for status in statuses))
    jobs.cancel("simulate")
    main_thread.run_until(lambda: statuses[-1].state is JobState.CANCELLED)
    assert jobs.running() == ()


def use_script(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run a script instead of the command line, and lose patience soon."""
    monkeypatch.setattr(module, "_COMMAND", (sys.executable, "-c", script))
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)


@pytest.mark.parametrize(
    "line",
    [
        "b'{not json'",
        "b'{}'",
        "b'{\"done\": 1}'",
        'b\'{"done": "1", "total": 2, "message": "x"}\'',
        "b'\\xff\\xfe'",
    ],
)
def test_strange_lines_on_stderr_are_text(
    jobs: JobRunner,
    main_thread: MainThread,
    statuses: list[JobStatus],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    script = f"""
import json, sys
sys.stderr.buffer.write({line} + b"\\n")
sys.stderr.write(json.dumps(dict(done=1, total=2, message="half")) + chr(10))
print('{{"answer": 42}}')
"""
    use_script(monkeypatch, script)
    results: list[dict[str, object]] = []
    jobs.start("index", [], results.append)
    main_thread.run_until(lambda: bool(results))
    assert results == [{"answer": 42}]
    assert [(s.done, s.total, s.message) for s in statuses[1:-1]] == [(1, 2, "half")]
    assert jobs.running() == ()


def test_a_job_that_answers_nothing_readable_has_failed(
    jobs: JobRunner,
    main_thread: MainThread,
    statuses: list[JobStatus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_script(monkeypatch, "print('done')")
    jobs.start("index", [], never)
    main_thread.run_until(lambda: bool(statuses) and statuses[-1].state is JobState.FAILED)
    assert "stopped unexpectedly" in statuses[-1].message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_whose_follower_breaks_does_not_stay_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[JobStatus] = []

    def listen(status: JobStatus) -> None:
        seen.append(status)
        if status.total:
            raise RuntimeError("a dock is gone")

    use_script(monkeypatch, STUBBORN)
    runner = JobRunner(on_status=listen)
    runner.start("index", [], never)
    wait_until(lambda: runner.running() == ())
    wait_until(lambda: seen[-1].state is JobState.FAILED)
    wait_until(lambda: not is_alive(int(seen[1].message)))


def test_a_child_that_does_not_listen_is_killed(
    jobs: JobRunner,
    main_thread: MainThread,
    statuses: list[JobStatus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_script(monkeypatch, STUBBORN)
    jobs.start("index", [], never)
    main_thread.run_until(lambda: bool(statuses) and statuses[-1].total > 0)
    jobs.cancel("index")
    jobs.cancel("index")
    main_thread.run_until(lambda: statuses[-1].state is JobState.CANCELLED)
    assert not is_alive(int(statuses[1].message))


def test_where_signals_cannot_be_sent_the_child_is_terminated(
    jobs: JobRunner,
    main_thread: MainThread,
    statuses: list[JobStatus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_script(monkeypatch, STUBBORN.replace('"SIGTERM"', '"SIGINT"'))
    monkeypatch.setattr(module, "_PATIENCE_S", 60.0)
    jobs.start("index", [], never)
    main_thread.run_until(lambda: bool(statuses) and statuses[-1].total > 0)
    real = subprocess.Popen.send_signal

    def refuse(self: subprocess.Popen[str], number: int) -> None:
        if number != signal.SIGTERM:
            raise OSError("no console")
        real(self, number)  # by which POSIX terminates

    monkeypatch.setattr(subprocess.Popen, "send_signal", refuse)
    jobs.cancel("index")
    main_thread.run_until(lambda: statuses[-1].state is JobState.CANCELLED)


def test_no_child_outlives_the_program() -> None:
    program = f"""
import threading
from napari_neurobridge.workbench import jobs as module
module._COMMAND = (module.sys.executable, "-c", {STUBBORN!r})
module._PATIENCE_S = 0.3
ready = threading.Event()
def listen(status):
    if status.total:
        print(status.message)
        ready.set()
runner = module.JobRunner(on_status=listen)
runner.start("index", [], print)
ready.wait(60)
runner.close()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert not is_alive(int(ended.stdout))


def wait_until(reached: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        tasks = subprocess.run(["tasklist", "/FI", f"PID eq {pid}"], capture_output=True, text=True)
        return str(pid) in tasks.stdout
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
