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

from napari_neurobridge.errors import Cancelled, InputError, NeuroBridgeError
from napari_neurobridge.workbench import child_process as module
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.jobs import JobRunner

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
from napari_neurobridge.workbench import child_process as module
from napari_neurobridge.workbench.jobs import JobRunner
module._COMMAND = (module.sys.executable, "-c", {STUBBORN!r})
module._PATIENCE_S = 0.3
ready = threading.Event()
def listen(status):
    if status.total:
        print(status.message)
        ready.set()
runner = JobRunner(on_status=listen)
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


# --- jobs in turn, and threads that tell how far they are --------------------------------


class Step:
    """Work in a thread that goes on when it may."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, report: Callable[[int, int, str], None]) -> str:
        self.begun.set()
        report(1, 4, "first quarter")
        assert self.go.wait(60)
        report(2, 4, "half")
        return "answer"


def told(statuses: list[JobStatus], name: str) -> list[str]:
    return [str(status.state) for status in statuses if status.name == name]


def test_jobs_in_turn_wait_for_each_other_and_others_do_not(
    jobs: JobRunner,
    main_thread: MainThread,
    statuses: list[JobStatus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_script(monkeypatch, "import sys; sys.stdin.read(); print('{}')")
    first, order = Step(), []
    jobs.follow("cells", first, lambda _: order.append("cells"), never, in_turn=True, title="Cells")
    jobs.start("detect", [], lambda _: order.append("detect"), title="Detection", in_turn=True)
    jobs.start("index", [], lambda _: order.append("index"), in_turn=True)
    assert jobs.running() == ("cells",)
    assert jobs.waiting() == ("detect", "index")
    waiting = [status.in_words() for status in statuses if status.state is JobState.WAITING]
    assert waiting == ["Detection: waits for Cells", "index: waits for Detection"]
    jobs.start("orient", [], lambda _: order.append("orient"))
    main_thread.run_until(lambda: order == ["orient"])
    with pytest.raises(NeuroBridgeError, match="'index' is already waiting"):
        jobs.start("index", [], never, in_turn=True)
    first.go.set()
    main_thread.run_until(lambda: order == ["orient", "cells", "detect", "index"])
    assert jobs.running() == jobs.waiting() == ()
    assert told(statuses, "index") == ["waiting", "running", "finished"]


def test_a_waiting_job_is_cancelled_before_it_begins(
    jobs: JobRunner, main_thread: MainThread, statuses: list[JobStatus]
) -> None:
    first, stopped, order = Step(), [], []
    jobs.follow("cells", first, order.append, never, in_turn=True)
    jobs.start(
        "detect", ["no-such-command"], never, on_stopped=lambda: stopped.append(1), in_turn=True
    )
    jobs.follow("more", lambda report: "more", order.append, never, in_turn=True)
    jobs.cancel("detect")
    assert stopped == [1]
    assert told(statuses, "detect") == ["waiting", "cancelled"]
    first.go.set()
    main_thread.run_until(lambda: order == ["answer", "more"])


def test_the_next_job_runs_after_one_that_failed_or_broke(
    jobs: JobRunner, main_thread: MainThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_script(monkeypatch, "import sys; sys.exit('Error: the disk is full')")
    first, errors, order = Step(), [], []
    jobs.follow("cells", first, order.append, never, in_turn=True)
    jobs.start("detect", [], never, in_turn=True)

    def refuse(report: object) -> None:
        raise InputError("no")

    jobs.follow("refused", refuse, never, errors.append, in_turn=True)
    jobs.follow("broken", lambda report: 1 // 0, never, never, in_turn=True)
    jobs.follow("last", lambda report: "last", order.append, never, in_turn=True)
    first.go.set()
    with pytest.raises(ZeroDivisionError):
        main_thread.run_until(lambda: False)
    main_thread.run_until(lambda: order == ["answer", "last"])
    assert [str(error) for error in errors] == ["no"]


def test_a_thread_hears_that_it_is_to_end(
    jobs: JobRunner, main_thread: MainThread, statuses: list[JobStatus]
) -> None:
    step, errors = Step(), []
    jobs.follow("match", step, never, errors.append)
    main_thread.run_until(lambda: statuses[-1].total == 4)
    jobs.cancel("match")
    step.go.set()
    main_thread.run_until(lambda: bool(errors))
    assert isinstance(errors[0], Cancelled)
    assert told(statuses, "match")[-1] == "cancelled"
    assert jobs.running() == ()


def test_what_ended_before_it_heard_counts_as_cancelled(
    jobs: JobRunner, main_thread: MainThread
) -> None:
    go, errors = threading.Event(), []
    jobs.follow("open", lambda report: go.wait(60), never, errors.append)
    jobs.cancel("open")
    go.set()
    main_thread.run_until(lambda: bool(errors))
    assert isinstance(errors[0], Cancelled)


def test_a_newer_job_of_a_name_ends_the_older_one(jobs: JobRunner, main_thread: MainThread) -> None:
    older, answers, ended = Step(), [], threading.Event()

    def work(report: Callable[[int, int, str], None]) -> str:
        try:
            return older(report)
        except Cancelled:
            ended.set()
            raise

    jobs.follow("match", work, never, never)
    assert older.begun.wait(60)
    jobs.follow("match", lambda report: "newer", answers.append, never)
    older.go.set()
    main_thread.run_until(lambda: answers == ["newer"] and ended.is_set())


def test_what_is_soon_over_is_not_told(main_thread: MainThread, statuses: list[JobStatus]) -> None:
    now = [0.0]
    runner = JobRunner(main_thread, statuses.append, clock=lambda: now[0])
    first, answers = Step(), []
    runner.follow("match", first, answers.append, never, quiet_s=1.0)
    first.go.set()
    main_thread.run_until(lambda: len(answers) == 1)
    assert statuses == []
    slow = Step()
    runner.follow("match", slow, answers.append, never, quiet_s=1.0)
    assert slow.begun.wait(60)
    now[0] = 2.0
    slow.go.set()
    main_thread.run_until(lambda: len(answers) == 2)
    assert [(s.done, s.message) for s in statuses] == [(2, "half"), (1, "")]
    runner.close()
