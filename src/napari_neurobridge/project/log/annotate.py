"""Everything a person does to a project, each as events in its log.

Each function appends to the log in one step and returns the events, which are then on
the disk. ``annotator`` is the name of the system's user unless given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari_neurobridge
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.project.log.events import (
    Undone,
    UndoScope,
    VerdictEvidence,
    VerdictGiven,
    default_annotator,
)
from napari_neurobridge.project.log.somata import (
    add_somata,
    delete_soma,
    delete_somata,
    move_soma,
    move_somata,
    record_detection,
)
from napari_neurobridge.project.log.wording import describe
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.fold import StandingVerdict, State
    from napari_neurobridge.types import NoneReason

__all__ = [
    "accept",
    "add_somata",
    "default_annotator",
    "delete_soma",
    "delete_somata",
    "describe_target",
    "move_soma",
    "move_somata",
    "none",
    "record_detection",
    "redo",
    "reject",
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

    def decide(state: State) -> list[VerdictGiven]:
        verdict = _judge(
            project, state, Verdict.ACCEPT, query_uid, candidate_uid, evidence=evidence
        )
        conflicts = _conflicting_accepts(state, verdict)
        if conflicts and not force:
            raise _conflict_error(conflicts, query_uid, candidate_uid)
        revokes = tuple(conflict.event_id for conflict in conflicts)
        return [verdict.model_copy(update={"revokes": revokes})]

    return project.record(annotator or default_annotator(), decide)


def reject(
    project: Project,
    query_uid: str,
    candidate_uid: str,
    *,
    annotator: str | None = None,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that two somata are different cells; see `accept`."""
    return project.record(
        annotator or default_annotator(),
        lambda state: [
            _judge(project, state, Verdict.REJECT, query_uid, candidate_uid, evidence=evidence)
        ],
    )


def unsure(
    project: Project,
    query_uid: str,
    candidate_uid: str,
    *,
    annotator: str | None = None,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that one looked and cannot tell; see `accept`."""
    return project.record(
        annotator or default_annotator(),
        lambda state: [
            _judge(project, state, Verdict.UNSURE, query_uid, candidate_uid, evidence=evidence)
        ],
    )


def none(
    project: Project,
    query_uid: str,
    reason: NoneReason | None = None,
    *,
    annotator: str | None = None,
    evidence: VerdictEvidence | None = None,
) -> list[Event]:
    """Say that no candidate is the queried cell, and why; see `accept`."""
    return project.record(
        annotator or default_annotator(),
        lambda state: [
            _judge(project, state, Verdict.NONE, query_uid, None, reason=reason, evidence=evidence)
        ],
    )


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
        event = state.undoable(annotator, scope)
        if event is None:
            raise InvalidActionError(f"There is nothing that '{annotator}' could undo.")
        return [Undone(target=event.id)]

    return project.record(annotator, decide)


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
        event = state.redoable(annotator, scope)
        if event is None:
            raise InvalidActionError(f"There is nothing that '{annotator}' could redo.")
        return [Undone(target=event.id)]

    return project.record(annotator, decide)


def describe_target(project: Project, events: Sequence[Event]) -> str:
    """Say in a few words what undo or redo events took back or brought back."""
    return ", ".join(describe(project.action_behind(event)) for event in events)


def _judge(
    project: Project,
    state: State,
    verdict: Verdict,
    query_uid: str,
    candidate_uid: str | None,
    *,
    reason: NoneReason | None = None,
    evidence: VerdictEvidence | None = None,
) -> VerdictGiven:
    """Make the payload of a verdict, refusing somata that do not live and pairs of one dataset."""
    query = state.living_soma(query_uid)
    candidate = None if candidate_uid is None else state.living_soma(candidate_uid)
    if candidate is not None and candidate.dataset == query.dataset:
        raise InputError(
            f"'{query_uid}' and '{candidate_uid}' both lie in dataset '{query.dataset}'; a pair "
            "joins somata of two datasets."
        )
    return VerdictGiven(
        verdict=verdict,
        query_uid=query.uid,
        query_dataset=query.dataset,
        query_role=project.dataset(query.dataset).role,
        candidate_uid=candidate and candidate.uid,
        candidate_dataset=candidate and candidate.dataset,
        candidate_role=candidate and project.dataset(candidate.dataset).role,
        reason=reason,
        evidence=evidence or VerdictEvidence(),
        software_version=napari_neurobridge.__version__,
    )


def _conflicting_accepts(state: State, wanted: VerdictGiven) -> list[StandingVerdict]:
    """Return accepted pairs of the same two datasets that share one soma, but not both."""
    uids = {wanted.query_uid, wanted.candidate_uid}
    datasets = {wanted.query_dataset, wanted.candidate_dataset}
    return [
        known
        for known in state.verdicts
        if known.verdict is Verdict.ACCEPT
        and known.pair is not None
        and {known.query_dataset, known.candidate_dataset} == datasets
        and len(uids.intersection(known.pair)) == 1
    ]


def _conflict_error(
    conflicts: Sequence[StandingVerdict], query_uid: str, candidate_uid: str
) -> InvalidActionError:
    first = conflicts[0]
    return InvalidActionError(
        f"Cannot accept {query_uid} ↔ {candidate_uid}: {first.annotator} already accepted "
        f"{first.query_uid} ↔ {first.candidate_uid}, and a cell has one partner; force it to set "
        "the earlier pair aside.",
        forceable=True,
    )
