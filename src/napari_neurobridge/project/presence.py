"""Who has a project open: a small file each, which blocks nobody.

A file counts while it is touched every few seconds, so that one that a crash left behind does not
claim for long that somebody is there.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_neurobridge.errors import NeuroBridgeError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.project.lock import is_alive

if TYPE_CHECKING:
    from pathlib import Path

FRESH_SECONDS = 30.0
"""A file that was touched within this time counts; a viewer may be busy for a while."""

_FORGOTTEN_SECONDS = 86_400.0  # after which a file of another computer is deleted
_FOLDER = "open"


class Visitor(BaseModel):
    """A window in which a project is open.

    Attributes
    ----------
    annotator : str
        Who works in it.
    host : str
        Computer.
    pid : int
        Process.
    since : str
        UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True)

    annotator: str
    host: str
    pid: int
    since: str

    @property
    def is_here(self) -> bool:
        """Whether the window is on this computer."""
        return self.host == socket.gethostname()


class WindowPresence:
    """Says that a project is open in one window, and who else has it open.

    Parameters
    ----------
    project : Path
        The project's folder. Where nothing can be written to it, nobody learns of this window.
    annotator : str
        Who works here.
    """

    def __init__(self, project: Path, annotator: str) -> None:
        self._folder = project / _FOLDER
        self._file = self._folder / f"{uuid4().hex}.json"
        self._left = False
        self._lock = Lock()
        self._me = Visitor(
            annotator=annotator,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def refresh(self) -> tuple[Visitor, ...]:
        """Say that this window is still there, and return the others, the oldest first."""
        # A look that is under way while the window closes must not bring the file back.
        with suppress(OSError, NeuroBridgeError), self._lock:
            if not self._left:
                self._touch()
        try:
            # Of the drive that holds the files: another computer's clock may be wrong.
            now = self._file.stat().st_mtime
        except OSError:
            now = time.time()
        try:
            files = [file for file in self._folder.glob("*.json") if file != self._file]
        except OSError:
            return ()
        others = [visitor for file in files if (visitor := _read(file, now)) is not None]
        return tuple(sorted(others, key=lambda visitor: visitor.since))

    def leave(self) -> None:
        """Say that this window no longer has the project open, now and for good."""
        with suppress(OSError), self._lock:
            self._left = True
            self._file.unlink(missing_ok=True)

    def _touch(self) -> None:
        try:
            os.utime(self._file)
        except FileNotFoundError:
            if self._folder.parent.is_dir():  # a project that was deleted stays so
                with atomic_write(self._file) as temporary:
                    temporary.write_text(self._me.model_dump_json(), encoding="utf-8")


def _read(file: Path, now: float) -> Visitor | None:
    """Return whose file it is, if that window is still there; delete what is long forgotten."""
    try:
        age = now - file.stat().st_mtime
        visitor = Visitor.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
    gone = visitor.is_here and not is_alive(visitor.pid)
    if gone or age > _FORGOTTEN_SECONDS:
        with suppress(OSError):
            file.unlink(missing_ok=True)
    return None if gone or age > FRESH_SECONDS else visitor
