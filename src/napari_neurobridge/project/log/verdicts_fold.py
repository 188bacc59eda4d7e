"""Which verdicts stand, which pairs are agreed on, and which are disputed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from napari_neurobridge.project.log.events import Event, VerdictEvidence, VerdictGiven
from napari_neurobridge.types import NoneReason, Role, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

PairKey: TypeAlias = tuple[str, str]
"""Uids of a pair: in vivo before ex vivo, and by dataset name within one role."""


def in_canonical_order(
    one: tuple[Role, str, str], other: tuple[Role, str, str]
) -> tuple[tuple[str, str], PairKey]:
    """Return datasets and uids of two somata (role, dataset, uid) as in a `PairKey`."""
    first, second = sorted((one, other), key=lambda soma: (soma[0] is Role.EX_VIVO, *soma[1:]))
    return (first[1], second[1]), (first[2], second[2])


@dataclass(frozen=True)
class StandingVerdict:
    """The latest word of one annotator on one pair, or on a query without partner.

    Attributes
    ----------
    event_id, time, annotator : str
        The event that says so.
    verdict : Verdict
        What it says.
    query_uid, query_dataset : str
        What was asked.
    candidate_uid, candidate_dataset : str or None
        What was proposed; ``None`` for `Verdict.NONE`.
    pair : PairKey or None
        The two uids in canonical order, whichever side was asked.
    datasets : tuple of str or None
        Datasets of ``pair``, in the same order.
    crosses : bool
        Whether the pair joins in vivo with ex vivo.
    reason : NoneReason or None
        Why there is no partner.
    evidence : VerdictEvidence
        What the annotator saw.
    """

    event_id: str
    time: str
    annotator: str
    verdict: Verdict
    query_uid: str
    query_dataset: str
    candidate_uid: str | None
    candidate_dataset: str | None
    pair: PairKey | None
    datasets: tuple[str, str] | None
    crosses: bool
    reason: NoneReason | None
    evidence: VerdictEvidence

    @property
    def noted(self) -> tuple[str, ...]:
        """What a note on this verdict is about: its pair, or the cell without a partner."""
        return self.pair or (self.query_uid,)

    @classmethod
    def of(cls, event: Event, content: VerdictGiven) -> StandingVerdict:
        """Read a verdict event."""
        pair: PairKey | None = None
        datasets: tuple[str, str] | None = None
        if (
            content.candidate_uid is not None
            and content.candidate_dataset is not None
            and content.candidate_role is not None
        ):
            datasets, pair = in_canonical_order(
                (content.query_role, content.query_dataset, content.query_uid),
                (content.candidate_role, content.candidate_dataset, content.candidate_uid),
            )
        return cls(
            event_id=event.id,
            time=event.time,
            annotator=event.annotator,
            verdict=content.verdict,
            query_uid=content.query_uid,
            query_dataset=content.query_dataset,
            candidate_uid=content.candidate_uid,
            candidate_dataset=content.candidate_dataset,
            pair=pair,
            datasets=datasets,
            crosses=content.candidate_role not in (None, content.query_role),
            reason=content.reason,
            evidence=content.evidence,
        )


@dataclass(frozen=True)
class VerdictsFold:
    """The verdict half of the state; see `State` for the fields."""

    verdicts: tuple[StandingVerdict, ...] = ()
    agreed: dict[PairKey, tuple[str, str]] = field(default_factory=dict)
    disputed: frozenset[PairKey] = frozenset()
    none: dict[str, NoneReason | None] = field(default_factory=dict)


def fold_verdicts(events: Iterable[Event]) -> VerdictsFold:
    """Fold verdict events, sorted by (time, id), without those that were undone."""
    return _folded(_standing_verdicts(events))


def fold_one_more(standing: Iterable[StandingVerdict], event: Event) -> VerdictsFold:
    """Fold one more verdict event after those that made some verdicts stand."""
    ledger = _VerdictLedger()
    for verdict in standing:
        ledger.enter(verdict, ())
    ledger.enter_event(event)
    return _folded(tuple(ledger.standing.values()))


def _folded(standing: tuple[StandingVerdict, ...]) -> VerdictsFold:
    accepted = [v for v in standing if v.verdict is Verdict.ACCEPT]
    disputed = _disputed_pairs(standing, accepted)
    agreed = {
        v.pair: v.datasets
        for v in accepted
        if v.pair is not None and v.datasets is not None and v.pair not in disputed
    }
    matched = {uid for v in accepted if v.crosses and v.pair for uid in v.pair}
    none = {
        v.query_uid: v.reason
        for v in standing
        if v.verdict is Verdict.NONE and v.query_uid not in matched
    }
    return VerdictsFold(standing, agreed, disputed, none)


def _standing_verdicts(events: Iterable[Event]) -> tuple[StandingVerdict, ...]:
    ledger = _VerdictLedger()
    for event in events:
        ledger.enter_event(event)
    return tuple(ledger.standing.values())


_Key: TypeAlias = tuple[str, str, str]
"""Annotator and the two uids of a pair; annotator, uid and "" for `Verdict.NONE`."""


class _VerdictLedger:
    """The verdicts that stand while events are entered in order."""

    def __init__(self) -> None:
        self.standing: dict[_Key, StandingVerdict] = {}
        self._keys_by_event: dict[str, _Key] = {}
        self._accepts_by_soma: dict[tuple[str, str], set[_Key]] = defaultdict(set)

    def enter_event(self, event: Event) -> None:
        content = event.content
        if isinstance(content, VerdictGiven):
            self.enter(StandingVerdict.of(event, content), content.revokes)

    def enter(self, verdict: StandingVerdict, revokes: Iterable[str]) -> None:
        for event_id in revokes:
            if event_id in self._keys_by_event:
                self._drop(self._keys_by_event[event_id])
        annotator = verdict.annotator
        if verdict.pair is None:
            key = (annotator, verdict.query_uid, "")
            for accepted in tuple(self._accepts_by_soma[annotator, verdict.query_uid]):
                self._drop(accepted)
        else:
            key = (annotator, *verdict.pair)
            if verdict.verdict is Verdict.ACCEPT and verdict.crosses:
                for uid in verdict.pair:
                    self._drop((annotator, uid, ""))
        self._drop(key)
        self.standing[key] = verdict
        self._keys_by_event[verdict.event_id] = key
        if verdict.verdict is Verdict.ACCEPT and verdict.crosses and verdict.pair:
            for uid in verdict.pair:
                self._accepts_by_soma[annotator, uid].add(key)

    def _drop(self, key: _Key) -> None:
        verdict = self.standing.pop(key, None)
        if verdict is None:
            return
        del self._keys_by_event[verdict.event_id]
        for uid in verdict.pair or ():
            self._accepts_by_soma[verdict.annotator, uid].discard(key)


def _disputed_pairs(
    standing: Iterable[StandingVerdict], accepted: Iterable[StandingVerdict]
) -> frozenset[PairKey]:
    """Find the accepted pairs that another verdict contradicts.

    A pair is contradicted by a rejection, by somebody's "none" on one of its somata, and
    by another accepted pair between the same two datasets that shares a soma.
    """
    rejected = {v.pair for v in standing if v.verdict is Verdict.REJECT}
    partnerless = {v.query_uid for v in standing if v.verdict is Verdict.NONE}
    partners: dict[tuple[tuple[str, str] | None, str], set[PairKey]] = defaultdict(set)
    for verdict in accepted:
        for uid in verdict.pair or ():
            if verdict.pair:
                partners[verdict.datasets, uid].add(verdict.pair)
    return frozenset(
        v.pair
        for v in accepted
        if v.pair is not None
        and (
            v.pair in rejected
            or (v.crosses and not partnerless.isdisjoint(v.pair))
            or any(len(partners[v.datasets, uid]) > 1 for uid in v.pair)
        )
    )
