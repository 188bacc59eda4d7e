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
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from napari_neurobridge.errors import NeuroBridgeError

T = TypeVar("T")
Dispatch = Callable[[Callable[[], None]], None]

_CANCELLED_EXIT_CODE = 130


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
        # A group of its own, so that a signal reaches the child and not this process.
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "napari_neurobridge.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
            creationflags=flags,
        )

    def cancel(self) -> None:
        self.cancelled = True
        if self._process.poll() is None:
            interrupt = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
            self._process.send_signal(interrupt)

    def run(self, on_line: Callable[[str], None]) -> tuple[int, str, str]:
        """Feed stderr to ``on_line``; return exit code, stdout and the last error line."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        chunks: list[str] = []
        stdout = self._process.stdout
        reader = threading.Thread(target=lambda: chunks.append(stdout.read()), daemon=True)
        reader.start()
        tail: deque[str] = deque(maxlen=1)
        for line in self._process.stderr:
            stripped = line.strip()
            if stripped.startswith("{"):
                on_line(stripped)
            elif stripped:
                tail.append(stripped)
        code = self._process.wait()
        reader.join()
        return code, "".join(chunks), tail[0] if tail else ""


class JobRunner:
    """Runs work elsewhere and brings the answers back in order.

    Parameters
    ----------
    dispatch : callable, optional
        Runs a callback on the main thread. By default callbacks run on the thread that
        finished the work.
    on_status : callable, optional
        Hears each change of a long job.
    """

    def __init__(
        self,
        dispatch: Dispatch = call_directly,
        on_status: Callable[[JobStatus], None] | None = None,
    ) -> None:
        self._dispatch = dispatch
        self._on_status = on_status or (lambda status: None)
        # One worker: a laptop's cores belong to the network that runs inside the job.
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="neurobridge")
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
                if isinstance(error, NeuroBridgeError):
                    on_error(error)
                else:
                    on_done(future.result())

            self._dispatch(answer)

        future = self._threads.submit(work)
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
        def on_line(line: str) -> None:
            report = json.loads(line)
            self._tell(
                JobStatus(
                    name, JobState.RUNNING, report["done"], report["total"], report["message"]
                )
            )

        code, output, error = child.run(on_line)

        def end() -> None:
            self._children.pop(name, None)
            if self._closed:
                return
            if code == 0:
                self._on_status(JobStatus(name, JobState.FINISHED, 1, 1, "done"))
                on_finished(json.loads(output))
            elif child.cancelled or code == _CANCELLED_EXIT_CODE:
                self._on_status(JobStatus(name, JobState.CANCELLED, message="cancelled"))
            else:
                message = error or f"'{name}' stopped unexpectedly (exit code {code})."
                self._on_status(JobStatus(name, JobState.FAILED, message=message))

        self._dispatch(end)

    def _tell(self, status: JobStatus) -> None:
        self._dispatch(lambda: None if self._closed else self._on_status(status))

    def running(self) -> tuple[str, ...]:
        """Names of the long jobs that are running."""
        return tuple(self._children)

    def cancel(self, name: str) -> None:
        """Ask a long job to stop; it keeps what it has finished."""
        if (child := self._children.get(name)) is not None:
            child.cancel()

    def close(self) -> None:
        """Stop everything; nothing is called back afterwards."""
        self._closed = True
        for child in self._children.values():
            child.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
