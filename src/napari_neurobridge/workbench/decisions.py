"""The latest decisions, taking back any of them, and going to where undo and redo act."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import Event, UndoScope, VerdictGiven
from napari_neurobridge.project.log.notes import NoteWritten
from napari_neurobridge.project.log.payload import step_of
from napari_neurobridge.project.log.soma_events import SomaAdded, SomaDeleted, SomaMoved
from napari_neurobridge.workbench.snapshot import NONE_OF_THESE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.verdicts import Verdicts

N_RECENT = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of undo.

    Attributes
    ----------
    event_id : str
        One of its events, by which it is taken back.
    text : str
        What was decided.
    time : str
        When, by the clock of this computer, as "14:03".
    consequence : str
        What else taking it back brings about; empty if nothing.
    """

    event_id: str
    text: str
    time: str
    consequence: str


class Decisions:
    """What the annotator did last by hand, to be taken back one by one.

    Parameters
    ----------
    session : Session
        Where the project lives.
    verdicts : Verdicts
        Takes back.
    """

    def __init__(self, session: Session, verdicts: Verdicts) -> None:
        self._session = session
        self._verdicts = verdicts

    @property
    def can_undo(self) -> bool:
        """Whether there is a decision to undo."""
        project, me = self._session.project, self._session.annotator
        return project is not None and bool(project.state().undoable(me, UndoScope.HAND))

    @property
    def can_redo(self) -> bool:
        """Whether there is a decision to redo."""
        project, me = self._session.project, self._session.annotator
        return project is not None and bool(project.state().redoable(me, UndoScope.HAND))

    def recent(self) -> tuple[Decision, ...]:
        """Return the latest decisions that count, the last one first."""
        project, me = self._session.project, self._session.annotator
        if project is None:
            return ()
        state = project.state()
        histories = state.histories
        done = histories[me].done if me in histories else ()
        steps: dict[str, list[Event]] = {}
        for event in reversed(done):
            if UndoScope.HAND.includes(event.content):
                steps.setdefault(step_of(event.content) or event.id, []).append(event)
            if len(steps) > N_RECENT:
                break
        return tuple(
            Decision(
                events[0].id,
                annotate.describe_target(project, events[::-1]),
                datetime.fromisoformat(events[0].time).astimezone().strftime("%H:%M"),
                consequence(state, events),
            )
            for events in list(steps.values())[:N_RECENT]
        )

    def revert(self, event_id: str) -> None:
        """Take back a decision, however much was decided since."""
        self._verdicts.revert(event_id)


def consequence(state: State, events: Sequence[Event]) -> str:
    """Say what else follows when some events are taken back."""
    standing = {verdict.event_id for verdict in state.verdicts}
    told: list[str] = []
    for event in events:
        content = event.content
        if isinstance(content, VerdictGiven):
            if event.id not in standing:
                told.append("a later decision stands in its place")
            elif content.revokes:
                told.append("brings back the pair that it replaced")
        elif isinstance(content, SomaAdded):
            named = [v for v in state.verdicts if not set(content.uids).isdisjoint(v.noted)]
            if named:
                n_named = "1 decision names" if len(named) == 1 else f"{len(named)} decisions name"
                told.append(f"{n_named} what it added")
    return ", ".join(dict.fromkeys(told))


def go_to(questions: Questions, project: Project, event: Event) -> None:
    """Ask about the cell that an action was about, or look where it was.

    A blind question stays blind: its verdict may have been taken back only now.
    """
    content, state = event.content, project.state()
    other: str | None
    match content:
        case VerdictGiven():
            uid, audit = content.query_uid, content.evidence.audit
            other = content.candidate_uid or NONE_OF_THESE
        case NoteWritten():
            uid, other, audit = content.uids[0], (*content.uids, None)[1], False
        case SomaAdded() | SomaMoved() | SomaDeleted():
            place = _place(state, content)
            if place is not None:
                questions.look_requested.emit(content.dataset, place)
            return
        case _:
            return
    dataset = next((name for name, somata in state.somata.items() if uid in somata), None)
    if dataset is None:
        return
    alive = other == NONE_OF_THESE or any(other in somata for somata in state.somata.values())
    questions.select(dataset, uid, audit=audit, pick=other if alive else None)


def _place(state: State, content: SomaAdded | SomaMoved | SomaDeleted) -> Vec3 | None:
    """Return where the first soma of an edit is, or was."""
    soma = state.somata.get(content.dataset, {}).get(content.uids[0])
    if soma is not None:
        return soma.center_um
    return None if isinstance(content, SomaDeleted) else content.centers_um[0]
