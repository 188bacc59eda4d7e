"""One run of the command line as a child process, which can be stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_neurobridge.errors import ErrorKind
from napari_neurobridge.workbench.remedies import explain_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import Report

CANCELLED_EXIT_CODE = 130
_COMMAND = (sys.executable, "-m", "napari_neurobridge.cli")
# How long a child may take to answer one way of stopping it before the next, rougher one.
_PATIENCE_S = 3.0


class ChildProcess:
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
        for stream in (stdout, self._process.stderr):
            stream.close()
        last = tail[0].removeprefix("Error: ") if tail else ""
        return code, "".join(chunks), failure or last


def _parse_progress(line: str) -> tuple[int, int, str] | None:
    """Read a line of ``--progress json``; ``None`` for whatever else a library prints."""
    match parse_object(line):
        case {"done": int(done), "total": int(total), "message": str(message)}:
            return done, total, message
    return None


def _parse_error(line: str) -> str:
    """Read the line that says why a command failed, with what to do in a dock."""
    match parse_object(line):
        case {"error": str(message), "kind": kind}:
            return explain_kind(message, ErrorKind(kind) if kind in set(ErrorKind) else None)
    return ""


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a line is; None for any other text."""
    try:
        value = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
