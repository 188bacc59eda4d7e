"""What the views may show of the current question: one frozen object, already blinded.

Views draw from a `QuestionSnapshot` and from nothing else, so that none of them has to
remember what an audit hides. Verdicts record their evidence from the unblinded `Answer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from napari_neurobridge.matching.wording import percent
from napari_neurobridge.types import NoneReason
from napari_neurobridge.workbench.known import marks_on_candidates, verdict_on_query
from napari_neurobridge.workbench.reasons import measured, notes, why, why_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Candidate, Expected, Vec3
    from napari_neurobridge.workbench.answers import Answer, Crops, Query
    from napari_neurobridge.workbench.neighbours import Neighbour

AUDIT_REASON = (
    "Random check: decide from what you see. Scores are hidden and the order is random, because "
    "your answer measures how often the program is wrong."
)
NONE_OF_THESE = ""
"""Stands for no soma at all, where the uid of a picked one is asked for."""

_RANKING = "Ranking the candidates …"
_NO_CANDIDATE = "There is no candidate to show."
_NONE_NEAR = "There is no soma near the expected place."


@dataclass(frozen=True, slots=True)
class ShownCandidate:
    """One line of the candidate list.

    Attributes
    ----------
    place : int
        From 1: its line, and the digit key that picks it.
    uid : str
    center_um : Vec3
        In the gallery's space, µm (z, y, x).
    mark : str
        What a person said about it before; empty when nobody did.
    chance : str
        Its probability, as "81 %"; empty in an audit and where there is none.
    measured : str
        Distance and similarity, in words; empty in an audit.
    why : str
        Sentences on the numbers, one a line; empty in an audit.
    """

    place: int
    uid: str
    center_um: Vec3
    mark: str = ""
    chance: str = ""
    measured: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class NoneLine:
    """The line of the candidate list that says that none of them is the cell; its key is 0.

    Attributes
    ----------
    after : int
        How many candidates stand above it: the more probable ones, in an audit all.
    picked : bool
        Whether a verdict would be about it.
    chance : str
        Its probability, as "> 99 %"; empty in an audit and where there is none.
    why : str
        What speaks for it, in a few words; empty in an audit and where nothing does.
    reason : NoneReason or None
        The reason that follows from that; ``None`` in an audit.
    """

    after: int
    picked: bool = False
    chance: str = ""
    why: str = ""
    reason: NoneReason | None = None


@dataclass(frozen=True, slots=True)
class PickedSoma:
    """The soma that a verdict would be about.

    Attributes
    ----------
    uid : str
    center_um : Vec3
        In the gallery's space, µm (z, y, x).
    place : int or None
        Its line in the candidate list, from 1; ``None`` when it is not listed.
    """

    uid: str
    center_um: Vec3
    place: int | None


@dataclass(frozen=True)
class QuestionSnapshot:
    """Everything that views may show of the current question.

    Attributes
    ----------
    query : Query or None
        ``None`` while nothing is asked.
    reason : str
        Why this cell is asked about; empty for one that somebody clicked.
    known : str
        What a person decided about it before; empty when nobody did.
    message : str
        Stands in the list while it holds no candidate.
    gallery : str
        Dataset of the candidates; empty until they are ranked.
    candidates : tuple of ShownCandidate
        Best first; in an audit in an order that says nothing.
    crops : Crops or None
        ``None`` until the candidates are ranked.
    picked : PickedSoma or None
    flickered : bool
        Whether the picked crop is shown in the query's place.
    notes : tuple of str
        How much is left open, a sentence each; empty in an audit.
    none : NoneLine or None
        ``None`` until the candidates are ranked.
    expected_place : Expected or None
        Where the partner is expected in ``gallery``; ``None`` in an audit.
    neighbours : tuple of Neighbour
        Numbered pairs around the query; in an audit only those that a person accepted.
    claimed : mapping of str to float
        Probability of each cell, of either side, that belongs to a claimed pair; empty in an
        audit.
    changed : frozenset of str
        Cells whose most probable partner the latest verdict changed, and their new partners;
        empty in an audit.
    would_change : frozenset of str or None
        The same, if the picked candidate were accepted; ``None`` while nobody asks that, and in
        an audit.
    """

    query: Query | None = None
    reason: str = ""
    known: str = ""
    message: str = ""
    gallery: str = ""
    candidates: tuple[ShownCandidate, ...] = ()
    crops: Crops | None = None
    picked: PickedSoma | None = None
    flickered: bool = False
    notes: tuple[str, ...] = ()
    none: NoneLine | None = None
    expected_place: Expected | None = None
    neighbours: tuple[Neighbour, ...] = ()
    claimed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    changed: frozenset[str] = frozenset()
    would_change: frozenset[str] | None = None

    @property
    def blind(self) -> bool:
        """Whether what the program thinks is hidden."""
        return self.query is not None and self.query.audit

    @property
    def asked(self) -> tuple[Query | None, str | None]:
        """What a verdict would be about: the query, and the uid of the picked soma.

        In place of the uid `NONE_OF_THESE` when that line is picked.
        """
        if self.none is not None and self.none.picked:
            return self.query, NONE_OF_THESE
        return self.query, None if self.picked is None else self.picked.uid


def take_snapshot(
    query: Query | None,
    answer: Answer | None,
    choice: Candidate | None,
    *,
    state: State | None,
    none_picked: bool = False,
    problem: str = "",
    flickered: bool = False,
    reason: str = "",
    neighbours: Sequence[Neighbour] = (),
    claimed: Mapping[str, float] | None = None,
    changed: frozenset[str] = frozenset(),
    would_change: frozenset[str] | None = None,
) -> QuestionSnapshot:
    """Return what the views may show; see `QuestionSnapshot`.

    Parameters
    ----------
    query, answer, choice
        What is asked, the ranking for it once there is one, and the picked candidate.
    state : State or None
        What people decided; ``None`` without a project.
    none_picked : bool
        Whether "none of these" is picked in place of a candidate.
    problem : str
        Why there is no answer.
    flickered : bool
    reason : str
        Why the queue asks about this cell.
    neighbours, claimed, changed, would_change
        As in `QuestionSnapshot`, unblinded.
    """
    waiting = _RANKING if query is not None else ""
    known = "" if query is None or state is None else verdict_on_query(state, query.uid)
    shown = QuestionSnapshot(
        query=query,
        known=known,
        message=problem or waiting,
        picked=_picked(answer, choice),
        flickered=flickered,
    )
    if answer is not None:
        shown = replace(
            shown,
            message="" if answer.shown else (_NO_CANDIDATE if shown.blind else _NONE_NEAR),
            gallery=answer.ranking.gallery_dataset,
            candidates=_candidates(answer, state),
            none=NoneLine(len(answer.shown), none_picked),
            crops=answer.crops,
        )
    if shown.blind:
        accepted = tuple(pair for pair in neighbours if pair.accepted)
        return replace(shown, reason=AUDIT_REASON, neighbours=accepted)
    return replace(
        shown if answer is None else _with_judgement(shown, answer),
        reason=reason,
        neighbours=tuple(neighbours),
        claimed=MappingProxyType(dict(claimed or {})),
        changed=changed,
        would_change=would_change,
    )


def _candidates(answer: Answer, state: State | None) -> tuple[ShownCandidate, ...]:
    """Return the lines of an answer without anything that the program thinks of them."""
    marks = {} if state is None else marks_on_candidates(state, answer.query.uid)
    return tuple(
        ShownCandidate(place, candidate.uid, candidate.center_um, marks.get(candidate.uid, ""))
        for place, candidate in enumerate(answer.shown, start=1)
    )


def _with_judgement(shown: QuestionSnapshot, answer: Answer) -> QuestionSnapshot:
    """Add what the program thinks."""
    ranking = answer.ranking
    return replace(
        shown,
        candidates=tuple(
            replace(
                line,
                chance="" if candidate.probability is None else percent(candidate.probability),
                measured=measured(ranking, candidate),
                why=why(ranking, candidate),
            )
            for line, candidate in zip(shown.candidates, answer.shown, strict=True)
        ),
        notes=notes(ranking, answer.near),
        none=_none_line(answer, shown.none is not None and shown.none.picked),
        expected_place=ranking.expected,
    )


def _none_line(answer: Answer, picked: bool) -> NoneLine:
    ranking = answer.ranking
    above = sum(
        ranking.p_none is None or (one.probability or 0.0) >= ranking.p_none for one in answer.shown
    )
    return NoneLine(
        after=above,
        picked=picked,
        chance="" if ranking.p_none is None else percent(ranking.p_none),
        why=why_none(ranking),
        reason=NoneReason.OUTSIDE if ranking.outside else None,
    )


def _picked(answer: Answer | None, choice: Candidate | None) -> PickedSoma | None:
    if answer is None or choice is None:
        return None
    places = {candidate.uid: place for place, candidate in enumerate(answer.shown, start=1)}
    return PickedSoma(choice.uid, choice.center_um, places.get(choice.uid))
