"""Everything a person does to a project, each as events in its log.

Each function appends to the log in one step and returns the events, which are then on
the disk. ``annotator`` is the name of the system's user unless given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from napari_neurobridge.errors import InvalidActionError
from napari_neurobridge.project.log.events import (
    Undone,
    UndoScope,
    VerdictEvidence,
    default_annotator,
)
from napari_neurobridge.project.log.judging import Judgement, same_dataset, verdicts_of
from napari_neurobridge.project.log.notes import NoteWritten, note_of
from napari_neurobridge.project.log.payload import step_of
from napari_neurobridge.project.log.somata import (
    add_somata,
    delete_soma,
    delete_somata,
    move_soma,
    move_somata,
    record_detection,
)
from napari_neurobridge.project.log.verdicts_fold import in_canonical_order
from napari_neurobridge.project.log.wording import describe
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.project.log.notes import NotedKey
    from napari_neurobridge.types import NoneReason

# Of the events of one step, so many are told one by one.
_DESCRIBED = 3

__all__ = [
    "accept",
    "add_somata",
    "default_annotator",
    "delete_soma",
    "delete_somata",
    "describe_target",
    "judge_together",
    "move_soma",
    "move_somata",
    "none",
    "note",
    "record_detection",
    "redo",
    "reject",
    "revert",
    "undo",
    "unsure",
]


def accept(
    project: Project,
    query_uid: str,
    candidate_uid: str,
    *,
    annotator: str | None = None,
    force: bool = False,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that two somata are the same cell.

    Parameters
    ----------
    project : Project
        Where both lie.
    query_uid, candidate_uid : str
        In two different datasets, in either direction.
    annotator : str, optional
        Who says so.
    force : bool
        Set aside accepted pairs that share one of the somata.
    evidence : VerdictEvidence, optional
        What the person saw.

    Returns
    -------
    list of Event

    Raises
    ------
    InvalidActionError
        Forceable, if one of the somata already has another partner in the same dataset.
    InputError
        If a soma does not live or both lie in one dataset.
    """
    judgement = Judgement(Verdict.ACCEPT, query_uid, candidate_uid, evidence=evidence)
    return _record(project, judgement, annotator, force=force)


def reject(
    project: Project,
    query_uid: str,
    candidate_uid: str,
    *,
    annotator: str | None = None,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that two somata are different cells; see `accept`."""
    judgement = Judgement(Verdict.REJECT, query_uid, candidate_uid, evidence=evidence)
    return _record(project, judgement, annotator)


def unsure(
    project: Project,
    query_uid: str,
    candidate_uid: str,
    *,
    annotator: str | None = None,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that one looked and cannot tell; see `accept`."""
    judgement = Judgement(Verdict.UNSURE, query_uid, candidate_uid, evidence=evidence)
    return _record(project, judgement, annotator)


def none(
    project: Project,
    query_uid: str,
    reason: NoneReason | None = None,
    *,
    annotator: str | None = None,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that no candidate is the queried cell, and why; see `accept`."""
    judgement = Judgement(Verdict.NONE, query_uid, reason=reason, evidence=evidence)
    return _record(project, judgement, annotator)


def judge_together(
    project: Project,
    judgements: Sequence[Judgement],
    *,
    annotator: str | None = None,
    force: bool = False,
) -> list[Event]:
    """Record several verdicts as one step of undo: all of them, or none.

    Parameters
    ----------
    project : Project
    judgements : sequence of Judgement
        In the order in which they are given; none does nothing.
    annotator : str, optional
        Who says so.
    force : bool
        Set aside accepted pairs that share a soma with one that is accepted here.

    Raises
    ------
    InvalidActionError
        Forceable, if a soma already has another partner; and, whatever ``force`` says, if two of
        the verdicts themselves give one soma two partners.
    InputError
        If a soma does not live, or a pair lies in one dataset.
    """
    step = uuid4().hex if len(judgements) > 1 else None
    return project.record(
        annotator or default_annotator(),
        lambda state: verdicts_of(project, state, judgements, force=force, step=step),
    )


def _record(
    project: Project, judgement: Judgement, annotator: str | None, *, force: bool = False
) -> list[Event]:
    return judge_together(project, [judgement], annotator=annotator, force=force)


def note(
    project: Project,
    uid: str,
    partner_uid: str | None,
    text: str,
    *,
    annotator: str | None = None,
) -> list[Event]:
    """Write a note on a pair, or on one cell; it replaces what the same person wrote there.

    Parameters
    ----------
    project : Project
    uid, partner_uid : str
        Somata of two datasets, in either order; no partner for a note on one cell.
    text : str
        Spaces around it and line breaks are dropped; empty takes the note away.
    annotator : str, optional
        Who writes.

    Raises
    ------
    InputError
        If there is no such soma, or both lie in one dataset.
    """

    def decide(state: State) -> list[NoteWritten]:
        uids = _noted(project, state, uid, partner_uid)
        written = " ".join(text.split())
        same = note_of(state.notes, uids, annotator or default_annotator()) == written
        return [] if same else [NoteWritten(uids=uids, text=written)]

    return project.record(annotator or default_annotator(), decide)


def _noted(project: Project, state: State, uid: str, partner_uid: str | None) -> NotedKey:
    one = state.soma(uid)
    if partner_uid is None:
        return (one.uid,)
    other = state.soma(partner_uid)
    if one.dataset == other.dataset:
        raise same_dataset(one, other)
    first, second = ((project.dataset(s.dataset).role, s.dataset, s.uid) for s in (one, other))
    return in_canonical_order(first, second)[1]


def undo(
    project: Project, annotator: str | None = None, *, scope: UndoScope = UndoScope.ALL
) -> list[Event]:
    """Take back the annotator's latest event of a scope that still counts.

    Raises
    ------
    InvalidActionError
        If there is none.
    """
    annotator = annotator or default_annotator()

    def decide(state: State) -> list[Undone]:
        events = state.undoable(annotator, scope)
        if not events:
            raise InvalidActionError(f"There is nothing that '{annotator}' could undo.")
        return _take_back(events)

    return project.record(annotator, decide)


def revert(project: Project, event_id: str, *, annotator: str | None = None) -> list[Event]:
    """Take back one of the annotator's events, however much was done since.

    Parameters
    ----------
    project : Project
    event_id : str
        What else belongs to its step of undo is taken back with it.
    annotator : str, optional
        Who decided it; nobody takes back what somebody else decided.

    Raises
    ------
    InvalidActionError
        If the event is not this annotator's, or counts no more.
    """
    annotator = annotator or default_annotator()

    def decide(state: State) -> list[Undone]:
        done = state.histories[annotator].done if annotator in state.histories else ()
        event = next((event for event in done if event.id == event_id), None)
        if event is None:
            raise InvalidActionError(
                f"No decision of '{annotator}' with the id {event_id} counts; it may have been "
                "undone already."
            )
        step = step_of(event.content)
        together = [one for one in done if one is event or (step and step_of(one.content) == step)]
        return _take_back(together)

    return project.record(annotator, decide)


def _take_back(events: Sequence[Event]) -> list[Undone]:
    return [Undone(target=event.id, step=step_of(event.content)) for event in events]


def redo(
    project: Project, annotator: str | None = None, *, scope: UndoScope = UndoScope.ALL
) -> list[Event]:
    """Bring back what the annotator's latest undo of a scope took back.

    Raises
    ------
    InvalidActionError
        If there is no undo, or the annotator did something else of that scope since.
    """
    annotator = annotator or default_annotator()

    def decide(state: State) -> list[Undone]:
        events = state.redoable(annotator, scope)
        if not events:
            raise InvalidActionError(f"There is nothing that '{annotator}' could redo.")
        return _take_back(events)

    return project.record(annotator, decide)


def describe_target(project: Project, events: Sequence[Event]) -> str:
    """Say in a few words what undo or redo events took back or brought back."""
    told = [describe(project.action_behind(event)) for event in events[:_DESCRIBED]]
    left = len(events) - len(told)
    return ", ".join(told) + (f" and {left} more" if left else "")
