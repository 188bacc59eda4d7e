"""The queue of questions: whom to ask next, and why."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_neurobridge.active.match_pool import match_pool
from napari_neurobridge.active.samplers.badge import badge
from napari_neurobridge.active.samplers.clue import clue
from napari_neurobridge.active.samplers.median_uncertainty import median_uncertainty
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.matching.wording import percent
from napari_neurobridge.project.landmarks import ProjectLandmarks
from napari_neurobridge.project.project_spaces import ENOUGH_LANDMARKS
from napari_neurobridge.types import SomaSource, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.log.claims import ImportedClaim
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Soma

CLEAR = 0.95
"""Probability of the first candidate from which on nobody would call it uncertain."""

AUDIT_EVERY = 5
"""Every so many questions one is drawn at random and asked blind; error rates rest on those."""


# After so many answers the match is another one.
_SAMPLED = 20


class QueueStrategy(StrEnum):
    """What makes a question worth asking.

    `ENTROPY` asks where the answer is least known, `SPREAD` clear cells far from all accepted
    pairs, which say most about the alignment while there are few, those last that the other
    side is not expected to show, and `CLEAREST` the brightest cells first, which give the most
    reliable first pairs. `MEDIAN` asks those of middling uncertainty, as NeuroADDA does (section
    4.3), which leaves out what nobody can answer. `BADGE` asks uncertain cells whose answers would
    change the map in unlike ways (`match_pool`), `CLUE` those that stand for the most uncertainty
    around them; either chooses the next twenty, and the others follow by entropy.
    """

    ENTROPY = "entropy"
    MEDIAN = "median"
    BADGE = "badge"
    CLUE = "clue"
    SPREAD = "spread"
    CLEAREST = "clearest"


BY_MATCH = frozenset(
    {QueueStrategy.ENTROPY, QueueStrategy.MEDIAN, QueueStrategy.BADGE, QueueStrategy.CLUE}
)
"""Strategies that need a match."""


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One question.

    Attributes
    ----------
    reason : str
        Why it is asked, in words for the annotator.
    uncertainty : float or None
        Entropy of the answer in bits; ``None`` where there are no probabilities.
    audit : bool
        Whether it is drawn at random, and to be answered without seeing scores.
    """

    uid: str
    reason: str
    uncertainty: float | None = None
    audit: bool = False


def waiting_questions(
    state: State,
    dataset: str,
    other: str,
    match: Match | None = None,
    strategy: QueueStrategy | None = None,
) -> list[QueueItem]:
    """Return the somata that nobody has decided on, in the order in which they are asked.

    Parameters
    ----------
    state : State
        The fold of the project's events.
    dataset : str
        Dataset whose cells are asked.
    other : str
        Dataset in which their partners are sought.
    match : Match, optional
        Makes entropy possible.
    strategy : QueueStrategy, optional
        By default the clearest first, then spread until four pairs are accepted, then entropy.
    """
    landmarks = ProjectLandmarks.of(state, dataset, other)
    strategy = strategy or default_strategy(len(landmarks))
    clearest = clearest_first(state, dataset)
    if strategy is QueueStrategy.SPREAD and len(landmarks):
        outside = _expected_outside(clearest, dataset, match)
        inside = [item for item in clearest if item.uid not in outside]
        beyond = [replace(item, reason=_OUTSIDE) for item in clearest if item.uid in outside]
        return _spread(state, dataset, inside, landmarks) + beyond
    if match is None or strategy not in BY_MATCH:
        return clearest
    items = _with_match(clearest, dataset, match)
    known = [item for item in items if item.uncertainty is not None]
    unknown = [item for item in items if item.uncertainty is None]
    if strategy is QueueStrategy.MEDIAN and known:
        pool = Pool(np.array([item.uncertainty for item in known], dtype=float))
        order = median_uncertainty(pool, len(pool), np.random.default_rng(0))
        return [known[row] for row in order.tolist()] + unknown
    known.sort(key=lambda item: -(item.uncertainty or 0.0))
    if strategy in (QueueStrategy.BADGE, QueueStrategy.CLUE):
        known = _sampled(known, dataset, match, strategy)
    return known + unknown


def _sampled(
    items: Sequence[QueueItem], dataset: str, match: Match, strategy: QueueStrategy
) -> list[QueueItem]:
    """Put the cells first that a sampler chooses."""
    rows = match.side(dataset).rows
    waiting = {rows[item.uid]: item for item in items}
    count, rng = min(len(waiting), _SAMPLED), np.random.default_rng(0)
    if not count:
        return []
    pool = match_pool(match, dataset)
    if strategy is QueueStrategy.BADGE:
        # Cells that have been answered since are not to be asked in other words.
        answered = sorted(set(range(len(pool))) - set(waiting))
        chosen = badge(pool, count, rng, after=answered).tolist()
    else:
        assert pool.features is not None
        left = np.array(sorted(waiting), dtype=np.intp)
        some = Pool(pool.uncertainty[left], features=pool.features[left])
        chosen = left[clue(some, count, rng)].tolist()
    first = [waiting.pop(row) for row in chosen]
    return first + list(waiting.values())


def is_share_of(uid: str, annotator: str, annotators: Collection[str]) -> bool:
    """Return whether a cell is for one of several people who annotate at the same time.

    By a hash of the uid, so that every window deals the cells out alike, and nobody is asked
    what somebody else is being asked.
    """
    people = sorted({annotator, *annotators})
    lot = int.from_bytes(hashlib.sha256(uid.encode()).digest()[-8:], "big")
    return lot % len(people) == people.index(annotator)


def default_strategy(n_landmarks: int) -> QueueStrategy:
    """Return what to ask by with so many accepted pairs."""
    if not n_landmarks:
        return QueueStrategy.CLEAREST
    return QueueStrategy.SPREAD if n_landmarks < ENOUGH_LANDMARKS else QueueStrategy.ENTROPY


def _expected_outside(items: Sequence[QueueItem], dataset: str, match: Match | None) -> set[str]:
    """Return the uids whose partner the other side is not expected to show."""
    if match is None or dataset not in match.datasets:
        return set()
    rows, outside = match.side(dataset).rows, match.partners_outside(dataset)
    return {item.uid for item in items if item.uid in rows and outside[rows[item.uid]]}


def _spread(
    state: State, dataset: str, clearest: Sequence[QueueItem], landmarks: ProjectLandmarks
) -> list[QueueItem]:
    """Put the clearer half of the cells first, the farthest from all landmarks leading."""
    somata = state.somata[dataset]
    tree = cKDTree(landmarks.source_um)
    clear, dim = clearest[: -(-len(clearest) // 2)], clearest[-(-len(clearest) // 2) :]
    if not clear:
        return []
    distance, _ = tree.query(np.array([somata[item.uid].center_um for item in clear]))
    order = np.argsort(-np.asarray(distance), kind="stable").tolist()
    reason = "a clear cell far from the accepted pairs, which says most about the alignment"
    return [replace(clear[row], reason=reason) for row in order] + list(dim)


def claimed_first(
    items: Sequence[QueueItem], claims: Mapping[str, Sequence[ImportedClaim]]
) -> list[QueueItem]:
    """Return the questions with those first that another program has an answer to.

    Parameters
    ----------
    items : sequence of QueueItem
    claims : mapping of str to sequence of ImportedClaim
        That nobody has reviewed, by the uid that is asked.
    """
    claimed = [
        replace(item, reason=_CLAIMED.format(_who(item.uid, claims[item.uid])))
        for item in items
        if item.uid in claims
    ]
    return claimed + [item for item in items if item.uid not in claims]


def _who(uid: str, claims: Sequence[ImportedClaim]) -> str:
    said = [f"{claim.program} pairs it with {claim.pair[claim.pair[0] == uid]}" for claim in claims]
    return " and ".join(said)


def with_audits(items: Sequence[QueueItem], n_asked: int) -> list[QueueItem]:
    """Return the questions with every fifth place taken by one drawn at random.

    Parameters
    ----------
    items : sequence of QueueItem
    n_asked : int
        Questions answered so far, so that the fifth is the fifth whatever was closed between.

    Returns
    -------
    list of QueueItem
        The same cells, each once. The draw depends on nothing but the uids and the place,
        so it is the same in every window and cannot be steered.
    """
    waiting = list(items)
    lots = sorted(waiting, key=lambda item: hashlib.sha256(item.uid.encode()).digest())
    placed: list[QueueItem] = []
    taken: set[str] = set()
    rest, drawn = iter(waiting), iter(lots)
    while len(placed) < len(waiting):
        audit = (n_asked + len(placed)) % AUDIT_EVERY == AUDIT_EVERY - 1
        item = next(item for item in (drawn if audit else rest) if item.uid not in taken)
        taken.add(item.uid)
        placed.append(replace(item, reason=_AUDIT, uncertainty=None, audit=True) if audit else item)
    return placed


def clearest_first(state: State, dataset: str) -> list[QueueItem]:
    """Return the somata of ``dataset`` that nobody has decided on, the clearest one first.

    A rejected candidate decides nothing about the cell: it comes again, after the others.

    Parameters
    ----------
    state : State
        The fold of the project's events.
    dataset : str
        Dataset whose cells are asked.
    """
    tried = {v.query_uid for v in state.verdicts if v.verdict is Verdict.REJECT}

    def order(soma: Soma) -> tuple[bool, float, str]:
        # Somata that a person placed have no confidence: somebody wanted them.
        return soma.uid in tried, -(1.0 if soma.confidence is None else soma.confidence), soma.uid

    return [
        QueueItem(soma.uid, _REJECTED if soma.uid in tried else _REASONS[soma.source])
        for soma in sorted(undecided_somata(state, dataset), key=order)
    ]


def undecided_somata(state: State, dataset: str) -> list[Soma]:
    """Return the somata of a dataset that nobody has decided on; a rejection decides nothing."""
    decided = {uid for pair in state.agreed for uid in pair}
    decided |= {v.query_uid for v in state.verdicts if v.verdict is not Verdict.REJECT}
    somata = state.somata.get(dataset, {}).values()
    return [soma for soma in somata if soma.uid not in decided]


def n_asked(state: State, dataset: str) -> int:
    """Return how many somata of a dataset were asked about."""
    return len(state.asked & state.somata.get(dataset, {}).keys())


def _with_match(items: Sequence[QueueItem], dataset: str, match: Match) -> list[QueueItem]:
    summary, rows = match.posterior_summary(dataset), match.side(dataset).rows
    answers = np.column_stack([summary.first, summary.second, summary.none, summary.beyond])
    told = []
    for item in items:
        row = rows.get(item.uid)
        if row is None:  # added since
            told.append(item)
            continue
        bits, reason = float(summary.bits[row]), _reason(*answers[row].tolist())
        told.append(QueueItem(item.uid, reason, bits))
    return told


def _reason(first: float, second: float, none: float, beyond: float) -> str:
    if beyond >= max(first, none):
        return "asked because no accepted pair is near enough to predict its place"
    if none >= CLEAR:
        return f"asked to confirm that it has no partner ({percent(none)})"
    if none >= max(first, 0.5):
        return f"asked because it may have no partner (probability {percent(none)})"
    if first >= CLEAR:
        return f"asked to confirm its first candidate ({percent(first)})"
    if first >= 0.5:
        return f"asked because its first candidate is not certain ({percent(first)})"
    if second >= 0.5 * first:
        both = f"{percent(first)} and {percent(second)}"
        return f"asked because several candidates are similarly probable ({both})"
    return f"asked because no candidate is probable (the first has {percent(first)})"


_OUTSIDE = "its partner is expected outside of what the other side shows"
_CLAIMED = "{}; look whether that is right"
_AUDIT = "a random check: decide from what you see, the scores are hidden"
_REJECTED = "one candidate was rejected, and no partner is found yet"
_REASONS = {
    SomaSource.DETECTED: "the clearest cell not asked yet",
    SomaSource.IMPORTED: "imported, and not asked yet",
    SomaSource.MANUAL: "placed by hand, and not asked yet",
}
