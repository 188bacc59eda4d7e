"""All decisions and claims as rows of one table: one for each pair, and each cell without one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_neurobridge.matching.wording import percent
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.project.log.notes import in_words
from napari_neurobridge.types import Verdict
from napari_neurobridge.workflows.claims import ClaimStatus, review_claims

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_neurobridge.matching.matched_pairs import MatchedPair, ReviewedPair
    from napari_neurobridge.project.log.claims import ImportedClaim
    from napari_neurobridge.project.log.fold import StandingVerdict, State

RowKey: TypeAlias = tuple[str, ...]
"""What a row is about: the uids of a pair in canonical order, as of verdicts, or one uid."""


class PairStatus(StrEnum):
    """What is known about a pair."""

    ACCEPTED = "accepted"
    DISPUTED = "disputed"
    CLAIMED = "claimed"
    REVIEW = "review"
    UNSURE = "unsure"
    NONE = "none"
    REJECTED = "rejected"
    NOTED = "noted"
    LANDMARK = "landmark"


class Column(StrEnum):
    """The columns, by their headings, the most important first."""

    IN_VIVO = "two-photon"
    EX_VIVO = "fMOST"
    STATUS = "status"
    PROBABILITY = "prob."
    RESIDUAL = "resid. µm"
    CONTRADICTS = "contradicts"
    NOTE = "note"
    ANNOTATOR = "annotator"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair, or one cell without a partner.

    Attributes
    ----------
    key : RowKey
    datasets : tuple of str
        Those of ``key``, in its order.
    cells : tuple of (str, str)
        Uids of its two columns, one of them empty for a cell without a partner.
    status : PairStatus
    review : bool
        Whether somebody should look at it.
    probability : float or None
        That it is right.
    residual_um : float or None
        Distance of the partner from where it is expected without this pair.
    contradicts : str
        What speaks against it, in words; empty if nothing does.
    note : str
        What people wrote on it.
    annotator : str
        Who decided, or which other program says so.
    time : str
        When it was decided last, UTC, ISO 8601; empty where nobody did.
    """

    key: RowKey
    datasets: tuple[str, ...]
    cells: tuple[str, str]
    status: PairStatus
    review: bool = False
    probability: float | None = None
    residual_um: float | None = None
    contradicts: str = ""
    note: str = ""
    annotator: str = ""
    time: str = ""

    def text(self, column: Column) -> str:
        """Return what a cell of the table says."""
        match column:
            case Column.PROBABILITY:
                return "" if self.probability is None else percent(self.probability)
            case Column.RESIDUAL:
                return "" if self.residual_um is None else f"{self.residual_um:.1f}"
            case Column.TIME:
                return _local_time(self.time) if self.time else ""
            case Column.STATUS if self.review and self.status is not PairStatus.REVIEW:
                return f"{self.status} ⚠"
        return str(self.value(column))

    def value(self, column: Column) -> Any:
        """Return what a column is sorted by: text, a number, or None."""
        match column:
            case Column.IN_VIVO:
                return self.cells[0]
            case Column.EX_VIVO:
                return self.cells[1]
            case Column.RESIDUAL:
                return self.residual_um
        return getattr(self, column.name.lower())

    def mentions(self, text: str) -> bool:
        """Return whether a row holds some words, in any column that people read."""
        cells = (*self.cells, self.status, self.contradicts, self.note, self.annotator)
        return text in "\n".join(cells).lower()


def pair_rows(
    state: State,
    claimed: Sequence[MatchedPair] = (),
    doubtful: Sequence[ReviewedPair] = (),
    *,
    sides: tuple[str, str],
    blind: bool = False,
) -> tuple[PairRow, ...]:
    """Return a row for each pair that somebody or something named, and each landmark.

    Parameters
    ----------
    state : State
    claimed : sequence of MatchedPair
        What the match claims, accepted pairs among them.
    doubtful : sequence of ReviewedPair
        Accepted pairs that all other cells contradict.
    sides : (str, str)
        The in-vivo and the ex-vivo dataset that were matched.
    blind : bool
        Leave out whatever a program thinks, because a cell is being asked about blindly.
    """
    builder = _RowBuilder(state, sides)
    builder.add_decisions(with_numbers=not blind)
    if not blind:
        builder.add_matched(claimed)
        builder.add_imported()
        builder.doubt(doubtful)
        builder.add_noted()
    builder.add_notes()
    builder.add_landmarks()
    return tuple(builder.rows.values())


_JUDGED = {
    Verdict.ACCEPT: PairStatus.ACCEPTED,
    Verdict.REJECT: PairStatus.REJECTED,
    Verdict.UNSURE: PairStatus.UNSURE,
    Verdict.NONE: PairStatus.NONE,
}


class _RowBuilder:
    """Collects the rows, people's decisions first."""

    def __init__(self, state: State, sides: tuple[str, str]) -> None:
        self.rows: dict[RowKey, PairRow] = {}
        self._state = state
        self._sides = sides
        self._accepted: dict[str, list[StandingVerdict]] = defaultdict(list)

    def add_decisions(self, *, with_numbers: bool) -> None:
        """Add what people decided: of several on one pair the latest, unless they disagree."""
        by_key: dict[RowKey, list[StandingVerdict]] = defaultdict(list)
        for verdict in self._state.verdicts:
            by_key[verdict.noted].append(verdict)
            if verdict.verdict is Verdict.ACCEPT:
                for uid in verdict.pair or ():
                    self._accepted[uid].append(verdict)
        for key, verdicts in by_key.items():
            last = verdicts[-1]
            status = self._status(key, last)
            disputed = status is PairStatus.DISPUTED
            evidence = last.evidence if with_numbers else VerdictEvidence()
            datasets = last.datasets or (last.query_dataset,)
            self.rows[key] = PairRow(
                key,
                datasets,
                self._cells(key, datasets),
                status,
                review=disputed,
                probability=evidence.probability,
                residual_um=evidence.residual_um,
                contradicts=self._dispute(key, datasets, verdicts) if disputed else "",
                annotator=", ".join(dict.fromkeys(v.annotator for v in verdicts)),
                time=last.time,
            )

    def _status(self, key: RowKey, last: StandingVerdict) -> PairStatus:
        if key in self._state.disputed:
            return PairStatus.DISPUTED
        # An unsure colleague takes nothing back.
        return PairStatus.ACCEPTED if key in self._state.agreed else _JUDGED[last.verdict]

    def add_matched(self, claimed: Sequence[MatchedPair]) -> None:
        """Add the claims of the match, and its numbers to what it knows already."""
        for pair in claimed:
            key = (pair.in_vivo_uid, pair.ex_vivo_uid)
            known = self.rows.get(key)
            if known is None:
                self.rows[key] = PairRow(
                    key,
                    self._sides,
                    key,
                    PairStatus.CLAIMED,
                    probability=pair.probability,
                    residual_um=pair.residual_um,
                )
            else:
                self.rows[key] = replace(
                    known, probability=pair.probability, residual_um=pair.residual_um
                )

    def add_imported(self) -> None:
        """Add other programs' claims that nobody has judged, and what contradicts them."""
        if not self._state.claims:
            return
        partners: dict[str, list[PairRow]] = defaultdict(list)
        for row in self.rows.values():
            if row.status in (PairStatus.ACCEPTED, PairStatus.CLAIMED):
                for uid in row.key:
                    partners[uid].append(row)
        for reviewed in review_claims(self._state):
            if reviewed.status in (ClaimStatus.WAITING, ClaimStatus.CONTRADICTED):
                self._add_imported(reviewed.claim, partners)

    def _add_imported(self, claim: ImportedClaim, partners: Mapping[str, list[PairRow]]) -> None:
        others = {
            row.key: row
            for uid in claim.pair
            for row in partners.get(uid, ())
            if row.key != claim.pair and row.datasets == claim.datasets
        }
        against = [f"{row.status}: {' ↔ '.join(row.key)}" for row in others.values()]
        against += [f"none for {uid}" for uid in claim.pair if uid in self._state.none]
        known = self.rows.get(claim.pair) or PairRow(
            claim.pair, claim.datasets, claim.pair, PairStatus.REVIEW
        )
        programs = ", ".join(filter(None, [known.annotator, claim.program]))
        self.rows[claim.pair] = replace(known, annotator=programs)
        self._look_at(claim.pair, *against)
        for key in others:
            self._look_at(key, f"{claim.program}: {' ↔ '.join(claim.pair)}")

    def _look_at(self, key: RowKey, *against: str) -> None:
        row = self.rows[key]
        told = dict.fromkeys(filter(None, [row.contradicts, *against]))
        self.rows[key] = replace(row, review=True, contradicts=", ".join(told))

    def doubt(self, doubtful: Iterable[ReviewedPair]) -> None:
        """Say of which accepted pairs all other cells tell otherwise."""
        for pair in doubtful:
            key = (pair.in_vivo_uid, pair.ex_vivo_uid)
            if key in self.rows:
                self._look_at(key, f"all other cells ({percent(pair.p_wrong)})")

    def add_noted(self) -> None:
        """Add what nobody judged or claimed, but somebody wrote a note on."""
        datasets = {uid: name for name, somata in self._state.somata.items() for uid in somata}
        for key in self._state.notes.keys() - self.rows.keys():
            if all(uid in datasets for uid in key):
                names = tuple(datasets[uid] for uid in key)
                self.rows[key] = PairRow(key, names, self._cells(key, names), PairStatus.NOTED)

    def add_notes(self) -> None:
        """Write the notes into the rows."""
        for key in self._state.notes.keys() & self.rows.keys():
            self.rows[key] = replace(self.rows[key], note=in_words(self._state.notes[key]))

    def add_landmarks(self) -> None:
        """Add the landmarks that are no somata; their note says how exactly they are known."""
        for uid, mark in self._state.landmarks.living.items():
            self.rows[(uid,)] = PairRow(
                (uid,),
                mark.datasets,
                (uid, uid),
                PairStatus.LANDMARK,
                note=f"σ {mark.sigma_um:g} µm",
                annotator=mark.annotator,
                time=mark.time,
            )

    def _cells(self, key: RowKey, datasets: tuple[str, ...]) -> tuple[str, str]:
        """Return the uids of the two columns."""
        if len(key) == 2:
            return key[0], key[1]
        return ("", key[0]) if datasets[0] == self._sides[1] else (key[0], "")

    def _dispute(
        self, key: RowKey, datasets: tuple[str, ...], verdicts: Sequence[StandingVerdict]
    ) -> str:
        """Say who contradicts an accepted pair, and how."""
        said = [f"{v.annotator} {_JUDGED[v.verdict]}" for v in verdicts if len(verdicts) > 1]
        said += [
            f"{v.annotator} accepted {' ↔ '.join(v.noted)}"
            for uid in key
            for v in self._accepted[uid]
            if v.pair != key and v.datasets == datasets
        ]
        said += [
            f"{v.annotator}: none for {v.query_uid}"
            for v in self._state.verdicts
            if v.verdict is Verdict.NONE and v.query_uid in key
        ]
        return ", ".join(dict.fromkeys(said))


def _local_time(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")
