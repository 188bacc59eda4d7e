"""The queue of questions as the docks see it: sorted once for each state and match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.active.queue import undecided_somata
from napari_neurobridge.workflows.match import as_asked, undecided_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.active.queue import QueueItem, QueueStrategy
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.queue_choice import QueueChoice
    from napari_neurobridge.workbench.session import Session


class QuestionQueue:
    """The two-photon cells that nobody has judged.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        Says where the answer is least known.
    choice : QueueChoice
        How a person wants to be asked.
    """

    def __init__(self, session: Session, matches: Matches, choice: QueueChoice) -> None:
        self._session = session
        self._matches = matches
        self._choice = choice
        self._opened: frozenset[str] = frozenset()
        self._skipped: frozenset[str] = frozenset()
        self._sorted_for: (
            tuple[State, Match | None, frozenset[str], QueueStrategy | None, frozenset[str]] | None
        ) = None
        self._sorted: Sequence[QueueItem] = ()
        self._reasons: dict[str, str] = {}

    def items(self) -> Sequence[QueueItem]:
        """Return the cells, the next one first.

        A cell that was opened and left undecided comes last, and so does one that this person
        skipped on an earlier day.
        """
        project = self._session.project
        if project is None:
            return ()
        choice = self._choice
        key = (
            project.state(),
            self._matches.match,
            self._opened,
            choice.strategy,
            choice.beside,
        )
        # Sorting thousands of cells is for when something changed, not for each redraw.
        if self._sorted_for is None or any(
            old is not new and old != new for old, new in zip(self._sorted_for, key, strict=True)
        ):
            self._sorted_for = key
            undecided = undecided_of(project, self._matches.match, choice.strategy)
            self._reasons = {item.uid: item.reason for item in undecided}
            self._sorted = as_asked(
                project,
                undecided,
                postponed=self._opened | self._skipped,
                is_mine=choice.is_mine,
            )
        return self._sorted

    def reason(self, uid: str | None) -> str:
        """Return why a cell is asked; empty for one that is decided."""
        return self._reasons.get(uid or "", "") if self.items() else ""

    def progress(self) -> tuple[int, int]:
        """Return how many cells were asked, and how many there are."""
        project = self._session.project
        if project is None:
            return 0, 0
        state, dataset = project.state(), project.in_vivo()
        total = len(state.somata.get(dataset, {}))
        # Counted, not asked of the queue, which would be sorted for it.
        return total - len(undecided_somata(state, dataset)), total

    def postpone(self, uid: str) -> None:
        """Ask a cell that is being looked at only after all others."""
        self._opened |= {uid}

    def skip(self, uid: str) -> None:
        """Remember that somebody went on from a cell of the queue without an answer."""
        if uid not in self._skipped and any(item.uid == uid for item in self.items()):
            self._skipped |= {uid}
            self._choice.remember(self._skipped)

    def forget(self) -> None:
        """Take all cells as they come, in another project, but for those skipped there before."""
        self._opened, self._skipped = frozenset(), self._choice.skipped()
