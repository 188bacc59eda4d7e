"""Work off the main thread: short work in threads, long work in child processes.

Nothing here knows Qt. Whoever owns an event loop injects a ``dispatch`` function, and
every callback then arrives through it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from napari_neurobridge.errors import Cancelled, NeuroBridgeError
from napari_neurobridge.workbench.child_process import (
    CANCELLED_EXIT_CODE,
    ChildProcess,
    parse_object,
)
from napari_neurobridge.workbench.job_status import Job, JobState, JobStatus

if TYPE_CHECKING:
    from napari_neurobridge.types import Report

T = TypeVar("T")
Dispatch = Callable[[Callable[[], None]], None]

# At most so often does a thread tell how far it is; child processes see to that themselves.
_SECONDS_BETWEEN_REPORTS = 0.1


def call_directly(callback: Callable[[], None]) -> None:
    """Run a callback at once, on the calling thread; the dispatcher of scripts and tests."""
    callback()


class JobRunner:
    """Runs work elsewhere and brings the answers back in order.

    Parameters
    ----------
    dispatch : callable, optional
        Runs a callback on the main thread. By default callbacks run on the thread that
        finished the work.
    on_status : callable, optional
        Hears each change of a long job.
    clock : callable, optional
        Returns seconds; for estimates of the time left.
    answering : callable, optional
        Gets the key of short work, and returns the context in which its answer is taken.
    """

    def __init__(
        self,
        dispatch: Dispatch = call_directly,
        on_status: Callable[[JobStatus], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        answering: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._dispatch = dispatch
        self._answering = answering
        self._on_status = on_status or (lambda status: None)
        self._clock = clock
        # One worker: a laptop's cores belong to the network that runs inside the job.
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="neurobridge")
        # Another for what may take longer than a person waits for a click's answer.
        self._beside = ThreadPoolExecutor(max_workers=3, thread_name_prefix="neurobridge-beside")
        self._generations: Counter[str] = Counter()
        self._pending: dict[str, Future[Any]] = {}
        self._jobs: dict[str, Job] = {}  # in the order in which they were asked for
        self._closed = False

    # --- short work --------------------------------------------------------------------

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
        if (job := self._jobs.get(key)) is not None:
            if job.stop is not None:
                job.stop()
            self._end(job, JobState.CANCELLED)

    def follow(
        self,
        name: str,
        work: Callable[[Report], T],
        on_done: Callable[[T], None],
        on_error: Callable[[NeuroBridgeError], None],
        *,
        title: str = "",
        beside: bool = False,
        in_turn: bool = False,
        quiet_s: float = 0.0,
    ) -> None:
        """Run work in a thread that tells how far it is, and that can be cancelled.

        A newer request of the same name makes an older one stale, as for `submit`.

        Parameters
        ----------
        name : str
            Kind of job.
        work : callable
            Takes a ``report(done, total, message)``, which raises `Cancelled` once it is to end.
        on_done, on_error : callable
            As for `submit`; a cancelled job is a `Cancelled` error.
        title : str
            What it is called on the screen.
        beside : bool
            As for `submit`.
        in_turn : bool
            Wait for the jobs in turn that were asked for before.
        quiet_s : float
            Tell nothing about it for so long; for what is mostly over at once.
        """
        if self._closed:
            return
        self.forget(name)
        stopping = threading.Event()

        def report(done: int, total: int, message: str) -> None:
            if stopping.is_set():
                raise Cancelled("Stopped.")
            self._tell_progress(job, done, total, message, least_s=_SECONDS_BETWEEN_REPORTS)

        def done(answer: T) -> None:
            if stopping.is_set():  # it was over before it heard
                failed(Cancelled("Stopped."))
                return
            self._end(job, JobState.FINISHED)
            on_done(answer)

        def failed(error: NeuroBridgeError) -> None:
            stopped = isinstance(error, Cancelled)
            self._end(job, JobState.CANCELLED if stopped else JobState.FAILED)
            on_error(error)

        def launch() -> None:
            job.stop = stopping.set
            self.submit(name, lambda: self._attempt(job, work, report), done, failed, beside=beside)

        stopped = Cancelled("Stopped.")
        job = Job(name, title, launch, lambda: on_error(stopped), in_turn, quiet_s)
        self._enter(job)

    def _attempt(self, job: Job, work: Callable[[Report], T], report: Report) -> T:
        try:
            return work(report)
        except NeuroBridgeError:
            raise
        except Exception:  # a bug, which must not keep the others waiting
            self._dispatch(lambda: self._end(job, JobState.FAILED))
            raise

    # --- long work ---------------------------------------------------------------------

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        on_finished: Callable[[dict[str, Any]], None],
        *,
        on_stopped: Callable[[], None] = lambda: None,
        title: str = "",
        in_turn: bool = False,
    ) -> None:
        """Run a long job as a child process of the command line.

        Parameters
        ----------
        name : str
            Kind of job; a second one of the same name is refused while the first runs or waits.
        arguments : sequence of str
            Command and options; ``--json`` and ``--progress json`` are added.
        on_finished : callable
            Takes the JSON object that the command printed, when it succeeded.
        on_stopped : callable, optional
            Called when it was cancelled.
        title : str
            What it is called on the screen.
        in_turn : bool
            Wait for the jobs in turn that were asked for before: those that write to the project.

        Raises
        ------
        NeuroBridgeError
            If a job of that name is already running, or waits.
        """
        if (known := self._jobs.get(name)) is not None:
            doing = "waiting" if known.stop is None else "running"
            raise NeuroBridgeError(
                f"'{title or name}' is already {doing}; wait for it or cancel it."
            )

        def launch() -> None:
            child = ChildProcess([*arguments, "--json", "--progress", "json"])
            job.stop = child.cancel
            threading.Thread(
                target=self._follow_child,
                args=(job, child, on_finished),
                name=name,
                daemon=True,
            ).start()

        job = Job(name, title, launch, on_stopped, in_turn)
        self._enter(job)

    def _follow_child(
        self, job: Job, child: ChildProcess, on_finished: Callable[[dict[str, Any]], None]
    ) -> None:
        code, output, error = -1, "", ""

        def report(done: int, total: int, message: str) -> None:
            self._tell_progress(job, done, total, message)

        def end() -> None:
            result = parse_object(output)
            if code == 0 and result is not None:
                self._end(job, JobState.FINISHED, "done")
                if not self._closed:
                    on_finished(result)
            elif child.cancelled or code == CANCELLED_EXIT_CODE:
                self._end(job, JobState.CANCELLED, "cancelled")
                if not self._closed:
                    job.stopped()
            else:
                message = error or f"'{job.name}' stopped unexpectedly (exit code {code})."
                self._end(job, JobState.FAILED, message)

        try:
            code, output, error = child.run(report)
        finally:
            child.stop()  # nobody reads its output any more, should it still run
            self._dispatch(end)

    # --- what runs and what waits --------------------------------------------------------

    def running(self) -> tuple[str, ...]:
        """Names of the jobs that run and are told about."""
        return tuple(job.name for job in self._jobs.values() if job.stop is not None)

    def waiting(self) -> tuple[str, ...]:
        """Names of the jobs that wait for their turn, the next one first."""
        return tuple(job.name for job in self._jobs.values() if job.stop is None)

    def statuses(self) -> tuple[JobStatus, ...]:
        """Return what was told last about each job that runs or waits."""
        return tuple(job.status for job in self._jobs.values() if job.status is not None)

    def cancel(self, name: str) -> None:
        """Stop a job, by force if it does not answer; it keeps what it has finished."""
        job = self._jobs.get(name)
        if job is None:
            return
        if job.stop is not None:
            job.stop()
            return
        self._end(job, JobState.CANCELLED, "cancelled")
        job.stopped()

    def close(self) -> None:
        """Stop everything; nothing is called back afterwards."""
        self._closed = True
        for job in tuple(self._jobs.values()):
            if job.stop is not None:
                job.stop()
        for threads in (self._threads, self._beside):
            threads.shutdown(wait=False, cancel_futures=True)

    def _enter(self, job: Job) -> None:
        """Begin a job, or let it wait for its turn."""
        before = [other for other in self._jobs.values() if other.in_turn and job.in_turn]
        self._jobs[job.name] = job
        if before:
            message = f"waits for {before[-1].title or before[-1].name}"
            self._tell(job, JobStatus(job.name, JobState.WAITING, 0, 0, message, job.title))
        else:
            self._launch(job)

    def _launch(self, job: Job) -> None:
        job.begun_s = self._clock()
        if not job.quiet_s:
            self._tell(job, JobStatus(job.name, JobState.RUNNING, 0, 0, "starting", job.title))
        job.launch()

    def _end(self, job: Job, state: JobState, message: str = "") -> None:
        """Tell how a job ended, and begin the next in turn."""
        if self._jobs.get(job.name) is not job:
            return
        del self._jobs[job.name]
        if self._closed:
            return
        if job.status is not None:
            full = int(state is JobState.FINISHED)
            self._on_status(JobStatus(job.name, state, full, full, message, job.title))
        if not job.in_turn:
            return
        line = [other for other in self._jobs.values() if other.in_turn]
        if line and line[0].stop is None:
            self._launch(line[0])

    def _tell_progress(
        self, job: Job, done: int, total: int, message: str, *, least_s: float = 0.0
    ) -> None:
        """Tell how far a job is, from the thread that follows it."""
        now = self._clock()
        known = job.told if least_s else None
        if now - job.begun_s < job.quiet_s or (
            known is not None and now - known[0] < least_s and message == known[1]
        ):
            return
        job.told = now, message
        left = job.pace.left_s(now, done, total)
        status = JobStatus(job.name, JobState.RUNNING, done, total, message, job.title, left)
        self._dispatch(lambda: self._tell(job, status))

    def _tell(self, job: Job, status: JobStatus) -> None:
        if not self._closed and self._jobs.get(job.name) is job:
            job.status = status
            self._on_status(status)
