"""The state of a project: a fold of its events, the same in any order of arrival."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.checks_fold import RandomCheck, fold_checks
from napari_neurobridge.project.log.claims import ImportedClaim, fold_claims
from napari_neurobridge.project.log.events import Event, Undone, UndoScope
from napari_neurobridge.project.log.landmark_events import (
    LANDMARK_KINDS,
    LandmarksFold,
    fold_landmarks,
)
from napari_neurobridge.project.log.models_fold import Adoption, fold_adoptions
from napari_neurobridge.project.log.notes import Note, NotedKey, fold_notes
from napari_neurobridge.project.log.payload import EventKind, step_of
from napari_neurobridge.project.log.registrations import (
    AppliedRegistration,
    fold_registrations,
)
from napari_neurobridge.project.log.somata_fold import SOMA_KINDS, IncrementalSomataFold
from napari_neurobridge.project.log.verdicts_fold import PairKey, StandingVerdict, fold_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari_neurobridge.project.log.soma_events import RoiOrigin
    from napari_neurobridge.types import NoneReason, Soma

__all__ = ["History", "IncrementalFold", "StandingVerdict", "State", "fold"]


@dataclass(frozen=True)
class History:
    """What one annotator can take back and bring back, oldest first.

    Attributes
    ----------
    done : tuple of Event
        Actions that count.
    undone : dict of UndoScope to tuple of Event
        The undo events that a redo of that scope can take back.
    """

    done: tuple[Event, ...] = ()
    undone: Mapping[UndoScope, tuple[Event, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """What all events together say; an immutable snapshot, do not write into it.

    Attributes
    ----------
    somata : dict of dataset to dict of uid to Soma
        The living somata.
    tombstones : dict of uid to Soma
        Somata that are gone, but that a standing verdict names.
    vanished : dict of uid to Soma
        Somata that the latest detection run did not find again; a later run may.
    withheld : dict of uid to Soma
        Somata whose adding or detection was undone; a later run may find them.
    deleted : dict of uid to Soma
        Somata that a person removed; no run brings them back.
    retired : frozenset of str
        Uids of all somata that are gone; they are never given again.
    verdicts : tuple of StandingVerdict
        Latest for each annotator and pair, by (time, id).
    agreed : dict of PairKey to tuple of str
        Undisputed accepted pairs, with the names of their two datasets.
    disputed : frozenset of PairKey
        Accepted pairs that another standing verdict contradicts; no landmarks.
    none : dict of uid to NoneReason or None
        Queries that nobody has matched and somebody found without partner.
    numbers : dict of uid prefix to int
        Highest number ever used in a uid.
    owners : dict of dataset to str
        Annotator who first placed somata in a dataset.
    origins : dict of dataset to tuple of RoiOrigin
        Where imported regions come from, the oldest import first.
    detected_with : dict of dataset to dict
        Parameters of the latest detection run that stands.
    histories : dict of annotator to History
        What can be undone and redone.
    claims : tuple of ImportedClaim
        What other programs say about pairs; nobody's verdict.
    notes : dict of NotedKey to tuple of Note
        What people wrote on pairs and cells.
    checks : tuple of RandomCheck
        Random samples of claimed pairs, oldest first, with what was answered.
    landmarks : LandmarksFold
        Points that people saw on both sides, and that are no somata.
    adoptions : tuple of Adoption
        Models that the project went over to, the oldest first; ask
        `napari_neurobridge.models.current` which of them it uses.
    registrations : dict of frozenset of str to AppliedRegistration
        The last that stands of any two datasets.
    """

    somata: Mapping[str, Mapping[str, Soma]] = field(default_factory=dict)
    tombstones: Mapping[str, Soma] = field(default_factory=dict)
    vanished: Mapping[str, Soma] = field(default_factory=dict)
    withheld: Mapping[str, Soma] = field(default_factory=dict)
    deleted: Mapping[str, Soma] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    verdicts: tuple[StandingVerdict, ...] = ()
    agreed: Mapping[PairKey, tuple[str, str]] = field(default_factory=dict)
    disputed: frozenset[PairKey] = frozenset()
    none: Mapping[str, NoneReason | None] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, tuple[RoiOrigin, ...]] = field(default_factory=dict)
    detected_with: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)
    claims: tuple[ImportedClaim, ...] = ()
    notes: Mapping[NotedKey, tuple[Note, ...]] = field(default_factory=dict)
    checks: tuple[RandomCheck, ...] = ()
    landmarks: LandmarksFold = field(default_factory=LandmarksFold)
    adoptions: tuple[Adoption, ...] = ()
    registrations: Mapping[frozenset[str], AppliedRegistration] = field(default_factory=dict)

    @property
    def pairs(self) -> dict[str, str]:
        """Undisputed accepted pairs, two-photon uid to fMOST uid.

        With more than one dataset of a role a soma may have several partners; ask
        `pairs_between` then.
        """
        crossing = (v.pair for v in self.verdicts if v.crosses and v.pair in self.agreed)
        return dict(pair for pair in crossing if pair is not None)

    @property
    def asked(self) -> frozenset[str]:
        """Uids of all queries that have a standing verdict of any kind."""
        return frozenset(verdict.query_uid for verdict in self.verdicts)

    def pairs_between(self, first: str, second: str) -> dict[str, str]:
        """Return the undisputed pairs of two datasets, uid in ``first`` to uid in ``second``."""
        forward = {a: b for (a, b), names in self.agreed.items() if names == (first, second)}
        backward = {b: a for (a, b), names in self.agreed.items() if names == (second, first)}
        return forward | backward

    def registration(self, first: str, second: str) -> AppliedRegistration | None:
        """Return the registration that two datasets' alignment rests on; None without one."""
        return self.registrations.get(frozenset((first, second)))

    def soma(self, uid: str) -> Soma:
        """Return a living soma or a tombstone.

        Raises
        ------
        InputError
            If no event ever named the uid, or the soma is gone.
        """
        for somata in self.somata.values():
            if uid in somata:
                return somata[uid]
        if uid in self.tombstones:
            return self.tombstones[uid]
        if uid in self.retired:
            raise _removed(uid)
        some = next((name for somata in self.somata.values() for name in somata), None)
        hint = f"uids look like '{some}'" if some else "detect or import somata first"
        raise InputError(f"There is no soma '{uid}' in this project; {hint}.")

    def living_soma(self, uid: str) -> Soma:
        """Return a living soma.

        Raises
        ------
        InputError
            If there is none; a tombstone does not live.
        """
        soma = self.soma(uid)
        if uid not in self.somata.get(soma.dataset, {}):
            raise _removed(uid)
        return soma

    def undoable(self, annotator: str, scope: UndoScope = UndoScope.ALL) -> tuple[Event, ...]:
        """Return the events that the annotator's next undo takes back; empty if none."""
        done = self.histories.get(annotator, History()).done
        return _last_step([event for event in done if scope.includes(event.content)])

    def redoable(self, annotator: str, scope: UndoScope = UndoScope.ALL) -> tuple[Event, ...]:
        """Return the undo events that the annotator's next redo takes back; empty if none."""
        return _last_step(self.histories.get(annotator, History()).undone.get(scope, ()))


def _last_step(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the last event with all those of its step, oldest first."""
    if not events:
        return ()
    step = step_of(events[-1].content)
    if step is None:
        return (events[-1],)
    return tuple(event for event in events if step_of(event.content) == step)


def _removed(uid: str) -> InputError:
    return InputError(f"Soma '{uid}' was removed from this project; choose a living one.")


def fold(events: Iterable[Event]) -> State:
    """Fold events into the current state, the same for any order and any repetition."""
    return IncrementalFold().fold(events)


class IncrementalFold:
    """Folds a growing log without replaying all somata each time."""

    def __init__(self) -> None:
        self._somata = IncrementalSomataFold()

    def fold(self, events: Iterable[Event]) -> State:
        """Fold all events of a log; see `fold`."""
        ordered = _in_order(events)
        replay = _Replay(ordered)
        cancelled = replay.cancelled
        somata = self._somata.fold(
            [event for event in ordered if event.kind in SOMA_KINDS], cancelled
        )

        def standing(kind: EventKind) -> Iterator[Event]:
            return (event for event in ordered if event.kind is kind and event.id not in cancelled)

        verdicts = fold_verdicts(standing(EventKind.VERDICT))
        gone = {**somata.vanished, **somata.withheld, **somata.deleted}
        named = {
            uid
            for verdict in verdicts.verdicts
            for uid in (verdict.query_uid, verdict.candidate_uid)
        }
        return State(
            somata=somata.living,
            tombstones={uid: gone[uid] for uid in gone.keys() & named},
            vanished=somata.vanished,
            withheld=somata.withheld,
            deleted=somata.deleted,
            retired=frozenset(gone),
            verdicts=verdicts.verdicts,
            agreed=verdicts.agreed,
            disputed=verdicts.disputed,
            none=verdicts.none,
            numbers=somata.numbers,
            owners=somata.owners,
            origins=somata.origins,
            detected_with=somata.detected_with,
            histories=replay.histories(),
            claims=fold_claims(standing(EventKind.CLAIMS_IMPORTED)),
            notes=fold_notes(standing(EventKind.NOTE)),
            checks=fold_checks(standing(EventKind.CHECK_DRAWN), standing(EventKind.VERDICT)),
            landmarks=fold_landmarks(
                (event for event in ordered if event.kind in LANDMARK_KINDS), cancelled
            ),
            adoptions=fold_adoptions(standing(EventKind.MODEL_ADOPTED)),
            registrations=fold_registrations(standing(EventKind.REGISTRATION_APPLIED)),
        )


def _in_order(events: Iterable[Event]) -> list[Event]:
    return sorted({event.id: event for event in events}.values(), key=lambda event: event.order)


class _Replay:
    """Replays undo and redo in order, to learn which events were taken back.

    An undo can only name an event of its own annotator that sorts before it. The log
    stamps each event later than all it holds, so nothing else can have been meant. An
    undo of an undo is a redo, an undo of that takes back again, and so on.
    """

    def __init__(self, ordered: Iterable[Event]) -> None:
        self.cancelled: set[str] = set()
        self._actions: dict[str, Event] = {}
        self._meanings: dict[str, tuple[Event, bool]] = {}
        self._done: dict[str, dict[str, Event]] = defaultdict(dict)
        self._undone: dict[tuple[str, UndoScope], dict[str, Event]] = defaultdict(dict)
        for event in ordered:
            content = event.content
            if isinstance(content, Undone):
                self._take_back(event, content.target)
            else:
                self._actions[event.id] = event
                self._done[event.annotator][event.id] = event
                # A new action forgets what could be redone, as in every editor; but a
                # detection run must not cost a person the verdict just taken back.
                for scope in UndoScope:
                    if scope.includes(content):
                        self._undone[event.annotator, scope].clear()

    def histories(self) -> dict[str, History]:
        """Return what each annotator can take back and bring back."""
        return {
            annotator: History(
                tuple(done.values()),
                {scope: tuple(self._undone[annotator, scope].values()) for scope in UndoScope},
            )
            for annotator, done in self._done.items()
        }

    def _take_back(self, undo: Event, target: str) -> None:
        if target in self._actions:
            action, cancels = self._actions[target], True
        elif target in self._meanings:
            action, cancels = self._meanings[target]
            cancels = not cancels
        else:
            return
        if action.annotator != undo.annotator:
            return
        self._meanings[undo.id] = (action, cancels)
        if (action.id in self.cancelled) == cancels:
            return
        done = self._done[action.annotator]
        scopes = [scope for scope in UndoScope if scope.includes(action.content)]
        if cancels:
            self.cancelled.add(action.id)
            del done[action.id]
            for scope in scopes:
                self._undone[action.annotator, scope][action.id] = undo
        else:
            self.cancelled.discard(action.id)
            done[action.id] = action
            for scope in scopes:
                self._undone[action.annotator, scope].pop(action.id, None)
