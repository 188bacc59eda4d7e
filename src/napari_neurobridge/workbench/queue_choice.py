"""How a person wants to be asked: by what strategy, beside whom, and what was skipped before."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.active.queue import QueueStrategy, is_share_of
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.session import Session


class QueueChoice:
    """What decides on the order of the questions besides the project.

    Parameters
    ----------
    session : Session
        Where the project lives, and who annotates.

    Attributes
    ----------
    strategy : QueueStrategy or None
        ``None``: as suits the number of accepted pairs.
    beside : frozenset of str
        Other people who have the project open.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self.strategy: QueueStrategy | None = None
        self.beside: frozenset[str] = frozenset()
        self._session = session

    def choose(self, strategy: QueueStrategy | None) -> None:
        """Ask by a strategy from the next question on."""
        self.strategy = strategy
        self.changed.emit()

    def take_others(self, annotators: Iterable[str]) -> None:
        """Share the cells with these people, so that each is asked other ones first."""
        self.beside = frozenset(annotators) - {self._session.annotator}

    def is_mine(self, uid: str) -> bool:
        """Return whether a cell is for this person, of all who have the project open."""
        return not self.beside or is_share_of(uid, self._session.annotator, self.beside)

    def skipped(self) -> frozenset[str]:
        """Return the cells that this person skipped in the project, also on an earlier day."""
        project = self._session.project
        if project is None:
            return frozenset()
        try:
            found = json.loads(self._file(project).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return frozenset()
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def remember(self, skipped: Iterable[str]) -> None:
        """Write down which cells were skipped, in the background."""
        project = self._session.project
        if project is None:
            return
        file, content = self._file(project), json.dumps(sorted(skipped))

        def write() -> None:
            with atomic_write(file) as temporary:
                temporary.write_text(content, encoding="utf-8")

        self._session.jobs.submit(
            "skipped", write, lambda _: None, self._session.show_error, beside=True
        )

    def _file(self, project: Project) -> Path:
        # A hash, since people have names that no file may have.
        who = hashlib.sha256(self._session.annotator.encode()).hexdigest()[:12]
        return project.runs_dir / f"skipped-{who}.json"
