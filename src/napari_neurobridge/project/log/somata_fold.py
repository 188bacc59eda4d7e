"""Which somata live where, from the events that placed, moved and removed them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_neurobridge.project.log.payload import EventKind
from napari_neurobridge.project.log.soma_events import (
    DetectionRun,
    PlacedSomata,
    RoiOrigin,
    SomaAdded,
    SomaDeleted,
    SomaMoved,
)
from napari_neurobridge.types import Soma, SomaSource

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from napari_neurobridge.project.log.events import Event

SOMA_KINDS = frozenset(
    {
        EventKind.SOMA_ADDED,
        EventKind.SOMA_MOVED,
        EventKind.SOMA_DELETED,
        EventKind.DETECTION_RUN,
    }
)

_KEPT_LEDGERS = 4

# "fm-00042", or "fm-00042-kqzb" from an annotator who does not own the plain numbers.
_NUMBERED_UID = re.compile(r"(?P<prefix>.+?)-(?P<number>\d+)(?:-[a-z]{4})?")


@dataclass(frozen=True)
class SomataFold:
    """The somata half of the state.

    Attributes
    ----------
    living : dict of dataset to dict of uid to Soma
        Datasets without living somata are absent.
    vanished : dict of uid to Soma
        Not found again by a later detection run, which may bring them back.
    withheld : dict of uid to Soma
        Their adding or detection was undone.
    deleted : dict of uid to Soma
        Removed by a person.
    numbers : dict of uid prefix to int
        Highest number ever used.
    owners : dict of dataset to str
        Annotator whose event first placed somata there.
    origins : dict of dataset to tuple of RoiOrigin
        Where its imported regions come from, the oldest import first.
    detected_with : dict of dataset to dict
        Parameters of the latest detection run that stands.
    """

    living: Mapping[str, Mapping[str, Soma]] = field(default_factory=dict)
    vanished: Mapping[str, Soma] = field(default_factory=dict)
    withheld: Mapping[str, Soma] = field(default_factory=dict)
    deleted: Mapping[str, Soma] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, tuple[RoiOrigin, ...]] = field(default_factory=dict)
    detected_with: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class IncrementalSomataFold:
    """Folds the soma events of a growing log, starting from what it folded before.

    A dataset may hold 10⁵ somata; moving one must not replay every detection run. The
    ledgers of the last few folds are kept, so that undoing the latest edit is as cheap.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[str, bool], ...] = ()
        self._ledgers = [(0, _SomaLedger())]

    def fold(self, events: Sequence[Event], cancelled: Container[str]) -> SomataFold:
        """Fold the soma events of a log.

        Parameters
        ----------
        events : sequence of Event
            All of the kinds in ``SOMA_KINDS``, sorted by (time, id).
        cancelled : container of str
            Ids of the events that were undone.

        Returns
        -------
        SomataFold
        """
        key = tuple((event.id, event.id in cancelled) for event in events)
        shared = _shared_length(key, self._key)
        self._key = key
        self._ledgers = [kept for kept in self._ledgers if kept[0] <= shared]
        start, ledger = self._ledgers[-1]
        if start < len(events):
            ledger = ledger.copy()
            for event in events[start:]:
                ledger.enter(event, cancelled=event.id in cancelled)
            self._ledgers = [self._ledgers[0], *self._ledgers[1:][1 - _KEPT_LEDGERS :]]
            self._ledgers.append((len(events), ledger))
        return ledger.result()


def _shared_length(first: Sequence[object], second: Sequence[object]) -> int:
    if first[: len(second)] == second:
        return len(second)
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), len(first))


class _SomaLedger:
    """The somata while events are entered in order."""

    def __init__(self) -> None:
        self._living: dict[str, dict[str, Soma]] = {}
        self._vanished: dict[str, Soma] = {}
        self._withheld: dict[str, Soma] = {}
        self._deleted: dict[str, Soma] = {}
        self._numbers: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        self._origins: dict[str, tuple[RoiOrigin, ...]] = {}
        self._detected_with: dict[str, Mapping[str, Any]] = {}

    def copy(self) -> _SomaLedger:
        copied = _SomaLedger()
        copied._living = {dataset: dict(somata) for dataset, somata in self._living.items()}
        copied._vanished, copied._withheld = dict(self._vanished), dict(self._withheld)
        copied._deleted = dict(self._deleted)
        copied._numbers, copied._owners = dict(self._numbers), dict(self._owners)
        copied._origins = dict(self._origins)
        copied._detected_with = dict(self._detected_with)
        return copied

    def enter(self, event: Event, *, cancelled: bool) -> None:
        content = event.content
        if isinstance(content, SomaAdded | DetectionRun):
            self._note(content, event.annotator)
            if cancelled:
                self._withhold(content)
        if not cancelled:
            self._apply(content)

    def result(self) -> SomataFold:
        living = {dataset: somata for dataset, somata in self._living.items() if somata}
        return SomataFold(
            living,
            self._vanished,
            self._withheld,
            self._deleted,
            self._numbers,
            self._owners,
            self._origins,
            self._detected_with,
        )

    def _note(self, content: PlacedSomata, annotator: str) -> None:
        """Remember names that were used, even by events that were undone since."""
        if content.uids:
            self._owners.setdefault(content.dataset, annotator)
        for uid in content.uids:
            if match := _NUMBERED_UID.fullmatch(uid):
                prefix, number = match["prefix"], int(match["number"])
                self._numbers[prefix] = max(number, self._numbers.get(prefix, 0))

    def _withhold(self, content: SomaAdded | DetectionRun) -> None:
        """Keep the somata of an undone event findable: verdicts may name them."""
        known = (self._at(content.dataset), self._vanished, self._deleted)
        for soma in content.to_somata(SomaSource.DETECTED):
            if not any(soma.uid in somata for somata in known):
                self._withheld.setdefault(soma.uid, soma)

    def _apply(self, content: object) -> None:
        match content:
            case SomaAdded():
                for soma in content.to_somata(content.source):
                    self._place(soma)
                if content.origin is not None:
                    known = self._origins.get(content.dataset, ())
                    self._origins[content.dataset] = (*known, content.origin)
            case DetectionRun():
                self._apply_run(content)
            case SomaMoved():
                self._move(content)
            case SomaDeleted():
                for somata in (self._at(content.dataset), self._vanished, self._withheld):
                    for uid in content.uids:
                        if uid in somata:
                            self._deleted[uid] = somata.pop(uid)

    def _at(self, dataset: str) -> dict[str, Soma]:
        return self._living.setdefault(dataset, {})

    def _place(self, soma: Soma) -> None:
        self._at(soma.dataset)[soma.uid] = soma
        for gone in (self._vanished, self._withheld, self._deleted):
            gone.pop(soma.uid, None)

    def _apply_run(self, run: DetectionRun) -> None:
        self._detected_with[run.dataset] = run.params
        living = self._at(run.dataset)
        found = set(run.uids)
        for uid, soma in list(living.items()):
            if soma.source is SomaSource.DETECTED and uid not in found:
                self._vanished[uid] = living.pop(uid)
        for soma in run.to_somata(SomaSource.DETECTED):
            known = living.get(soma.uid)
            # A person's position, or removal, stands against a detector's finding.
            by_person = known is not None and known.source is not SomaSource.DETECTED
            if not by_person and soma.uid not in self._deleted:
                self._place(soma)

    def _move(self, content: SomaMoved) -> None:
        living = self._at(content.dataset)
        for uid, center in zip(content.uids, content.centers_um, strict=True):
            if uid in living:
                # It now stands where a person put it, so a detector no longer removes it.
                living[uid] = replace(
                    living[uid], center_um=center, source=SomaSource.MANUAL, confidence=None
                )
