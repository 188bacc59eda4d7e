"""One writer for long jobs; verdicts need no lock."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_neurobridge.errors import ErrorKind, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WRITING_SECONDS = 10.0  # within which a lock that was just created gets its content


class LockHolder(BaseModel):
    """Who holds a lock.

    Attributes
    ----------
    pid : int
        Process.
    host : str
        Computer that the process runs on.
    since : str
        UTC, ISO 8601.
    token : str
        Random; tells one holder from the next.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    host: str
    since: str
    token: str


@contextmanager
def writer_lock(path: Path) -> Iterator[LockHolder]:
    """Hold a lock file while a long job runs.

    Parameters
    ----------
    path : Path
        The lock; it exists while it is held. One whose process died is taken over.

    Raises
    ------
    InputError
        If another job holds it.
    """
    holder = LockHolder(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=uuid4().hex,
    )
    while not _create(path, holder):
        _remove_if_stale(path)
    try:
        yield holder
    finally:
        current = _read(path)
        if current is not None and current.token == holder.token:
            path.unlink(missing_ok=True)


def _create(path: Path, holder: LockHolder) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(holder.model_dump_json())
    return True


def _read(path: Path) -> LockHolder | None:
    try:
        return LockHolder.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, ValidationError):
        return None


def _remove_if_stale(path: Path) -> None:
    """Remove the lock of a dead process; raise when its holder may be alive."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    holder = _read(path)
    if holder is None:
        if age < _WRITING_SECONDS:
            raise InputError(
                f"A long job is just starting in this project (lock file {path}).",
                kind=ErrorKind.LOCKED,
            )
    elif holder.host != socket.gethostname() or is_alive(holder.pid):
        raise InputError(
            f"A long job already runs in this project (process {holder.pid} on {holder.host} since "
            f"{holder.since}, lock file {path}).",
            kind=ErrorKind.LOCKED,
        )
    # Moved aside first: of two processes that find it stale, one takes it over. If what was
    # moved is a fresh lock after all, it goes back.
    aside = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        os.replace(path, aside)
    except FileNotFoundError:
        return
    if _read(aside) == holder:
        aside.unlink()
    else:
        os.replace(aside, path)


def is_alive(pid: int) -> bool:
    """Return whether a process of this computer still runs."""
    if sys.platform == "win32":
        import ctypes

        query_limited_information, still_active = 0x1000, 259
        kernel = ctypes.windll.kernel32
        process = kernel.OpenProcess(query_limited_information, False, pid)
        if not process:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(process, ctypes.byref(code))
        kernel.CloseHandle(process)
        return code.value == still_active
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
