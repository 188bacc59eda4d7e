"""Work off the main thread: short work in threads, long work in child processes.

Nothing here knows Qt. Whoever owns an event loop injects a ``dispatch`` function, and
every callback then arrives through it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from napari_neurobridge.errors import ErrorKind, NeuroBridgeError
from napari_neurobridge.workbench.remedies import explain_kind

if TYPE_CHECKING:
    from napari_neurobridge.types import Report

T = TypeVar("T")
Dispatch = Callable[[Callable[[], None]], None]

_CANCELLED_EXIT_CODE = 130
_COMMAND = (sys.executable, "-m", "napari_neurobridge.cli")
# How long a child may take to answer one way of stopping it before the next, rougher one.
_PATIENCE_S = 3.0


class JobState(StrEnum):
    """Where a long job stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a progress bar shows about one long job.

    Attributes
    ----------
    name : str
        Kind of job, such as ``"index"``; one of a kind runs at a time.
    done, total : int
        Steps; ``total`` is 0 while it is unknown.
    message : str
        What is happening, or how it ended.
    """

    name: str
    state: JobState
    done: int = 0
    total: int = 0
    message: str = ""


def call_directly(callback: Callable[[], None]) -> None:
    """Run a callback at once, on the calling thread; the dispatcher of scripts and tests."""
    callback()


class _ChildProcess:
    """One run of the command line, its progress and its result."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.cancelled = False
        self._stopping = threading.Lock()
        # A group of its own, so that a signal reaches the child and not this process.
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._process = subprocess.Popen(
            [*_COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",  # native libraries print what they like
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
            creationflags=flags,
        )

    def cancel(self) -> None:
        """Stop the child because somebody wants it."""
        self.cancelled = True
        self.stop()

    def stop(self) -> None:
        """Ask the child to stop, and make it stop if it does not; returns at once."""
        if self._process.poll() is None:
            # No daemon: Python waits for it before it exits, so that no child is left.
            threading.Thread(target=self._stop, name="neurobridge-stop").start()

    def _stop(self) -> None:
        with self._stopping:
            for step in (self._interrupt, self._process.terminate, self._process.kill):
                if self._process.poll() is not None:
                    return
                step()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_PATIENCE_S)

    def _interrupt(self) -> None:
        try:
            self._process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
        except OSError:  # Windows, when there is no console to share
            self._process.terminate()

    def run(self, report: Report) -> tuple[int, str, str]:
        """Follow until the end; return exit code, stdout and the sentence that says what failed."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        chunks: list[str] = []
        stdout = self._process.stdout
        reader = threading.Thread(target=lambda: chunks.append(stdout.read()), daemon=True)
        reader.start()
        tail: deque[str] = deque(maxlen=1)
        failure = ""
        for line in self._process.stderr:
            stripped = line.strip()
            if (progress := _parse_progress(stripped)) is not None:
                report(*progress)
            elif error := _parse_error(stripped):
                failure = error
            elif stripped:
                tail.append(stripped)
        code = self._process.wait()
        reader.join()
        last = tail[0].removeprefix("Error: ") if tail else ""
        return code, "".join(chunks), failure or last


def _parse_progress(line: str) -> tuple[int, int, str] | None:
    """Read a line of ``--progress json``; ``None`` for whatever else a library prints."""
    match _parse_object(line):
        case {"done": int(done), "total": int(total), "message": str(message)}:
            return done, total, message
    return None


def _parse_error(line: str) -> str:
    """Read the line that says why a command failed, with what to do in a dock."""
    match _parse_object(line):
        case {"error": str(message), "kind": kind}:
            return explain_kind(message, ErrorKind(kind) if kind in set(ErrorKind) else None)
    return ""


def _parse_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class JobRunner:
    """Runs work elsewhere and brings the answers back in order.

    Parameters
    ----------
    dispatch : callable, optional
        Runs a callback on the main thread. By default callbacks run on the thread that
        finished the work.
    on_status : callable, optional
        Hears each change of a long job.
    answering : callable, optional
        Gets the key of short work, and returns the context in which its answer is taken.
    """

    def __init__(
        self,
        dispatch: Dispatch = call_directly,
        on_status: Callable[[JobStatus], None] | None = None,
        answering: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._dispatch = dispatch
        self._answering = answering
        self._on_status = on_status or (lambda status: None)
        # One worker: a laptop's cores belong to the network that runs inside the job.
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="neurobridge")
        # Another for what may take longer than a person waits for a click's answer.
        self._beside = ThreadPoolExecutor(max_workers=3, thread_name_prefix="neurobridge-beside")
        self._generations: Counter[str] = Counter()
        self._pending: dict[str, Future[Any]] = {}
        self._children: dict[str, _ChildProcess] = {}
        self._closed = False

    def submit(
        self,
        key: str,
        work: Callable[[], T],
        on_done: Callable[[T], None],
        on_error: Callable[[NeuroBridgeError], None],
        *,
        beside: bool = False,
    ) -> None:
        """Run short work in a thread; only the newest request of a key is answered.

        Parameters
        ----------
        key : str
            What is asked for, such as ``"rank"``. A newer request with the same key
            makes this one stale: its answer is dropped.
        work : callable
            Runs in the thread and returns the answer.
        on_done, on_error : callable
            Take the answer, or the error that the user should read. Any other exception
            is a bug and is raised on the dispatching thread.
        beside : bool
            Run beside the other short work, so that a click does not wait for it.
        """
        if self._closed:
            return
        self._generations[key] += 1
        generation = self._generations[key]
        if (stale := self._pending.get(key)) is not None:
            stale.cancel()

        def deliver(future: Future[T]) -> None:
            if future.cancelled():
                return

            def answer() -> None:
                if self._closed or generation != self._generations[key]:
                    return
                error = future.exception()
                with self._answering(key):
                    if isinstance(error, NeuroBridgeError):
                        on_error(error)
                    else:
                        on_done(future.result())

            self._dispatch(answer)

        future = (self._beside if beside else self._threads).submit(work)
        self._pending[key] = future
        future.add_done_callback(deliver)

    def forget(self, key: str) -> None:
        """Drop whatever answer is still on its way for this key."""
        self._generations[key] += 1

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        on_finished: Callable[[dict[str, Any]], None],
    ) -> None:
        """Run a long job as a child process of the command line.

        Parameters
        ----------
        name : str
            Kind of job; a second one of the same name is refused while the first runs.
        arguments : sequence of str
            Command and options; ``--json`` and ``--progress json`` are added.
        on_finished : callable
            Takes the JSON object that the command printed, when it succeeded.

        Raises
        ------
        NeuroBridgeError
            If a job of that name is already running.
        """
        if name in self._children:
            raise NeuroBridgeError(f"'{name}' is already running; wait for it or cancel it.")
        child = _ChildProcess([*arguments, "--json", "--progress", "json"])
        self._children[name] = child
        self._tell(JobStatus(name, JobState.RUNNING, message="starting"))
        threading.Thread(
            target=self._follow, args=(name, child, on_finished), name=name, daemon=True
        ).start()

    def _follow(
        self, name: str, child: _ChildProcess, on_finished: Callable[[dict[str, Any]], None]
    ) -> None:
        code, output, error = -1, "", ""

        def report(done: int, total: int, message: str) -> None:
            self._tell(JobStatus(name, JobState.RUNNING, done, total, message))

        def end() -> None:
            self._children.pop(name, None)
            if self._closed:
                return
            result = _parse_object(output)
            if code == 0 and result is not None:
                self._on_status(JobStatus(name, JobState.FINISHED, 1, 1, "done"))
                on_finished(result)
            elif child.cancelled or code == _CANCELLED_EXIT_CODE:
                self._on_status(JobStatus(name, JobState.CANCELLED, message="cancelled"))
            else:
                message = error or f"'{name}' stopped unexpectedly (exit code {code})."
                self._on_status(JobStatus(name, JobState.FAILED, message=message))

        try:
            code, output, error = child.run(report)
        finally:
            child.stop()  # nobody reads its output any more, should it still run
            self._dispatch(end)

    def _tell(self, status: JobStatus) -> None:
        self._dispatch(lambda: None if self._closed else self._on_status(status))

    def running(self) -> tuple[str, ...]:
        """Names of the long jobs that are running."""
        return tuple(self._children)

    def cancel(self, name: str) -> None:
        """Stop a long job, by force if it does not answer; it keeps what it has finished."""
        if (child := self._children.get(name)) is not None:
            child.cancel()

    def close(self) -> None:
        """Stop everything; nothing is called back afterwards."""
        self._closed = True
        for child in tuple(self._children.values()):
            child.cancel()
        for threads in (self._threads, self._beside):
            threads.shutdown(wait=False, cancel_futures=True)
