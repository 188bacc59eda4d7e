"""Writing files and folders so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _temporary_beside(path: Path) -> Path:
    # The suffix stays, because writers such as numpy.save append a missing one.
    return path.with_name(f".{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it when the block succeeds.

    Parameters
    ----------
    path : str or Path
        The file to be. Its folder is made; an existing file is replaced only at the end.

    Yields
    ------
    Path
        Name in the same folder, with the same suffix, to write to.

    Examples
    --------
    >>> with atomic_write(folder / "notes.txt") as temporary:  # doctest: +SKIP
    ...     temporary.write_text("done")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(path)
    try:
        yield temporary
        # Opened for writing, since Windows refuses to flush a read-only descriptor.
        with temporary.open("r+b") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder under a temporary name and rename it when the block succeeds.

    Parameters
    ----------
    path : str or Path
        The folder to be. An existing one is moved aside just before the rename and
        deleted after it, since no system replaces a full folder in one step.

    Yields
    ------
    Path
        Empty folder beside ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _temporary_beside(path), _temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)
