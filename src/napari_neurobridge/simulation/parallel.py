"""Making numbered things on several threads, and taking them in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import torch

from napari_neurobridge.errors import Cancelled

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

_PATIENCE_S = 0.2
# Torch has one number of threads for all, so one assembly at a time may change it.
_AT_WORK = threading.Lock()

Check: TypeAlias = Callable[[], None]
"""Called often by long work; raises `errors.Cancelled` to stop it."""


def go_on() -> None:
    """Let work go on: a `Check` that never cancels."""


class Assembly(Generic[T]):
    """Makes things 0, 1, 2 … ahead of their being asked for; a context manager.

    Each is made by one torch thread, which is faster than sharing the threads, and makes the
    result independent of their number. Meanwhile all of torch has one thread.

    Parameters
    ----------
    make : callable
        ``make(number, check)``; calls ``check`` often.
    workers : int
        How many to make at once.
    tell : callable
        Called a few times a second while the caller waits; may raise to cancel.
    """

    def __init__(self, make: Callable[[int, Check], T], workers: int, tell: Check) -> None:
        self._make, self._tell, self._workers = make, tell, workers
        self._stopped = threading.Event()
        self._waiting: deque[Future[T]] = deque()
        self._count = 0

    def __enter__(self) -> Assembly[T]:
        _AT_WORK.acquire()
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            self._workers, initializer=torch.set_num_threads, initargs=(1,)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)
        _AT_WORK.release()

    def take(self, missing: int) -> T:
        """Return the next one; ``missing`` is how many are still needed, this one included."""
        while len(self._waiting) < min(self._workers, missing):
            self._waiting.append(self._pool.submit(self._make, self._count, self._check))
            self._count += 1
        self._tell()
        while not self._waiting[0].done():
            wait([self._waiting[0]], timeout=_PATIENCE_S)
            self._tell()
        return self._waiting.popleft().result()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled
