"""Where a long job stands, and how long it will still take."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Before, the pace of a job's first steps says little.
_LEAST_TO_TELL_S = 2.0
_FEW_S, _MINUTE_S, _HOUR_S = 10.0, 60.0, 3600.0


class JobState(StrEnum):
    """Where a long job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more is heard of the job."""
        return self not in (JobState.WAITING, JobState.RUNNING)


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
    title : str
        What the job is called on the screen; its name unless given.
    left_s : float or None
        Seconds that it will take, from its pace so far; ``None`` while that is unknown.
    """

    name: str
    state: JobState
    done: int = 0
    total: int = 0
    message: str = ""
    title: str = ""
    left_s: float | None = None

    def in_words(self) -> str:
        """Return what a job list says, as "Index: embedding fmost, about 2 min left"."""
        told = [self.message, "" if self.left_s is None else left_in_words(self.left_s)]
        return f"{self.title or self.name}: {', '.join(filter(None, told))}"


class Pace:
    """Tells how long a job will take from how fast its count has gone so far.

    A job that counts anew, as for its next dataset, is measured anew.
    """

    def __init__(self) -> None:
        self._begun: tuple[float, int] | None = None
        self._last = (0, 0)

    def left_s(self, now_s: float, done: int, total: int) -> float | None:
        """Note a count at a time, and return the seconds left; None while that is unknown."""
        if self._begun is None or total != self._last[1] or done < self._last[0]:
            self._begun = (now_s, done)
        self._last = (done, total)
        gone_s, steps = now_s - self._begun[0], done - self._begun[1]
        if total <= 0 or steps <= 0 or gone_s < _LEAST_TO_TELL_S:
            return None
        return gone_s * (total - done) / steps


def left_in_words(seconds: float) -> str:
    """Return a duration as "about 2 min left"; no more exact than it can be known."""
    if seconds < _FEW_S:
        return "a few seconds left"
    if seconds < 0.9 * _MINUTE_S:
        return f"about {10 * round(seconds / 10):.0f} s left"
    if seconds < 0.9 * _HOUR_S:
        return f"about {max(1, round(seconds / _MINUTE_S))} min left"
    return f"about {seconds / _HOUR_S:.1f} h left"


@dataclass(eq=False)
class Job:
    """A job that is told about, from its request until its end.

    Attributes
    ----------
    launch : callable
        Begins it.
    stopped : callable
        Called where it ends before it began.
    in_turn : bool
        Whether it runs after all such jobs that were asked for before.
    quiet_s : float
        How long nothing is told about it.
    stop : callable or None
        Ends it; ``None`` while it waits.
    """

    name: str
    title: str
    launch: Callable[[], None]
    stopped: Callable[[], None]
    in_turn: bool
    quiet_s: float = 0.0
    stop: Callable[[], None] | None = None
    begun_s: float = 0.0
    told: tuple[float, str] | None = None
    pace: Pace = field(default_factory=Pace)
    status: JobStatus | None = None
