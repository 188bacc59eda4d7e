"""Progress on stderr: a line that rewrites itself for people, JSON lines for machines."""

import json
import sys
import threading
import time
from collections.abc import Sequence
from enum import StrEnum

from napari_neurobridge.errors import Cancelled
from napari_neurobridge.types import Report

stop_requested = threading.Event()
"""Set by the signal handlers; the next report raises `Cancelled`."""

_CLEAR_LINE = "\r\x1b[K"
_SECONDS_BETWEEN_REPORTS = 0.1


class ProgressStyle(StrEnum):
    """How ``--progress`` shows what is happening."""

    AUTO = "auto"
    BAR = "bar"
    JSON = "json"
    NONE = "none"


def make_report(style: ProgressStyle) -> Report:
    """Return the callback that long functions take as ``report``.

    It writes to stderr at most ten times a second, but always each new message and each
    last step, and raises `Cancelled` once a stop was requested.

    Parameters
    ----------
    style : ProgressStyle
        ``auto`` is a bar on a terminal, and nothing elsewhere.
    """
    if style is ProgressStyle.AUTO:
        style = ProgressStyle.BAR if sys.stderr.isatty() else ProgressStyle.NONE
    show = {
        ProgressStyle.BAR: _show_bar,
        ProgressStyle.JSON: _show_json,
        ProgressStyle.NONE: _show_nothing,
    }[style]
    last_message, last_time = "", 0.0

    def report(done: int, total: int, message: str) -> None:
        nonlocal last_message, last_time
        if stop_requested.is_set():
            raise Cancelled("Stopped.")
        now = time.monotonic()
        due = now - last_time >= _SECONDS_BETWEEN_REPORTS
        if due or done == total or message != last_message:
            last_message, last_time = message, now
            show(done, total, message)

    return report


def for_machines(arguments: Sequence[str]) -> bool:
    """Return whether ``--progress json`` is among a command's arguments."""
    chosen = f"--progress {ProgressStyle.JSON}"
    return chosen in " ".join(arguments).replace("--progress=", "--progress ")


def clear_bar() -> None:
    """Remove a half-drawn bar, so that what follows starts on a line of its own."""
    if sys.stderr.isatty():
        sys.stderr.write(_CLEAR_LINE)


def _show_bar(done: int, total: int, message: str) -> None:
    count = f" {done}/{total}" if total else ""
    sys.stderr.write(f"{_CLEAR_LINE}{message}{count}")
    sys.stderr.flush()


def _show_json(done: int, total: int, message: str) -> None:
    line = json.dumps({"done": done, "total": total, "message": message})
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _show_nothing(done: int, total: int, message: str) -> None:
    """Stay silent."""
