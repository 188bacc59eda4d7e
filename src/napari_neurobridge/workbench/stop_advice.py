"""When further answers hardly change anything, said in a sentence."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.session import Session

ANSWERS = 8
"""So many answers in a row that change nothing make a flat curve."""


class StopAdvice:
    """Counts how many other cells each further accepted pair gives another partner.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        All cells matched, anew after each answer.

    Attributes
    ----------
    text : str
        The advice; empty while answers still change something.
    """

    changed = Signal()

    def __init__(self, session: Session, matches: Matches) -> None:
        self.text = ""
        self._session, self._matches = session, matches
        self._pairs: frozenset[tuple[str, str]] = frozenset()
        self._changes: deque[int] = deque(maxlen=ANSWERS)
        session.project_changed.connect(self._on_project_changed)
        matches.match_changed.connect(self._on_match_changed)

    def _on_project_changed(self, _: object) -> None:
        self._changes.clear()
        self._pairs = self._accepted()
        self._tell()

    def _on_match_changed(self) -> None:
        matches = self._matches
        if matches.updating or not matches.has_match:
            return
        pairs = self._accepted()
        new = pairs - self._pairs
        if self._pairs - pairs:  # something was taken back: what was counted says less
            self._changes.clear()
        elif new:
            named = {uid for pair in new for uid in pair}
            self._changes.append(len(matches.changed - named))
        self._pairs = pairs
        self._tell()

    def _tell(self) -> None:
        flat = len(self._changes) == ANSWERS and not any(self._changes)
        text = (
            f"The last {ANSWERS} accepted pairs gave no other cell another partner: more of them "
            "will hardly help. Look at the doubtful pairs, or let a random check certify the rest."
            if flat
            else ""
        )
        if text != self.text:
            self.text = text
            self.changed.emit()

    def _accepted(self) -> frozenset[tuple[str, str]]:
        project = self._session.project
        return frozenset() if project is None else frozenset(project.state().agreed)
