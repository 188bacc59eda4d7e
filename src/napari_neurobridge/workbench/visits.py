"""Which cells were asked about, to go back to them and forth again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

MOST_VISITS = 200


@dataclass(frozen=True, slots=True)
class _Visit:
    """A cell that was asked about; ``audit`` if that was done blindly."""

    dataset: str
    uid: str
    audit: bool


class Visits:
    """Remembers the asked cells as a web browser does its pages.

    Parameters
    ----------
    session : Session
        Where the project lives.
    questions : Questions
        What is being asked.
    """

    changed = Signal()

    def __init__(self, session: Session, questions: Questions) -> None:
        self._session = session
        self._questions = questions
        self._visits: list[_Visit] = []
        self._at = -1
        self._going = False
        session.project_changed.connect(self._forget)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    @property
    def can_go_back(self) -> bool:
        """Whether a cell was asked about before this one."""
        return self._at > 0

    @property
    def can_go_forward(self) -> bool:
        """Whether one went back from another cell."""
        return self._at < len(self._visits) - 1

    def back(self) -> None:
        """Ask about the cell before."""
        self._go(-1)

    def forward(self) -> None:
        """Ask about the cell that one went back from."""
        self._go(1)

    def _go(self, way: int) -> None:
        project = self._session.project
        if project is None:
            return
        state, at = project.state(), self._at + way
        # Cells that were removed since are passed over.
        while 0 <= at < len(self._visits):
            visit = self._visits[at]
            if visit.uid in state.somata.get(visit.dataset, {}):
                break
            at += way
        else:
            where = "before" if way < 0 else "after"
            self._session.notify(f"No cell was asked about {where} this one.")
            return
        self._at, self._going = at, True
        # What was asked blindly stays so until somebody has decided.
        blind = visit.audit and visit.uid not in state.asked
        self._questions.select(visit.dataset, visit.uid, audit=blind)
        self._going = False
        self.changed.emit()

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        query = shown.query
        if self._going or query is None or query.uid is None:
            return
        here = self._visits[self._at] if self._at >= 0 else None
        if here is not None and here.uid == query.uid:
            return
        del self._visits[self._at + 1 :]
        self._visits.append(_Visit(query.dataset, query.uid, query.audit))
        del self._visits[:-MOST_VISITS]
        self._at = len(self._visits) - 1
        self.changed.emit()

    def _forget(self, _: object = None) -> None:
        self._visits, self._at = [], -1
        self.changed.emit()
