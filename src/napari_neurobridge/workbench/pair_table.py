"""The table of all decisions and claims: its rows, what of them is shown, and what acts on them."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.project.log.notes import note_of
from napari_neurobridge.types import Verdict
from napari_neurobridge.workbench.pair_rows import Column, PairRow, PairStatus, pair_rows
from napari_neurobridge.workbench.session import Remedy
from napari_neurobridge.workbench.snapshot import NONE_OF_THESE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_neurobridge.types import NoneReason
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.point_landmarks import PointLandmarks
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

MANY_ROWS = 2000
"""From so many rows on they are collected in the background."""


class Chip(StrEnum):
    """What the table can be narrowed to."""

    ACCEPTED = "accepted"
    CLAIMED = "claimed"
    REVIEW = "review"
    NONE = "none"
    UNSURE = "unsure"
    REJECTED = "rejected"
    LANDMARK = "landmark"

    def holds(self, row: PairRow) -> bool:
        """Return whether a row belongs here; some belong to review and elsewhere too."""
        return row.review if self is Chip.REVIEW else row.status == self.value


_DONE = {
    Verdict.ACCEPT: "accepted",
    Verdict.REJECT: "rejected",
    Verdict.UNSURE: "unsure about",
    Verdict.NONE: "no partner for",
}


class PairTable:
    """All pairs that somebody decided on, or that a program claims.

    While a cell is being asked about blindly, only what people decided is in it.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        What is claimed.
    questions : Questions
        What a row asks about.
    landmarks : PointLandmarks
        Lets the canvases look at one.

    Attributes
    ----------
    rows : tuple of PairRow
        In no particular order; see `arranged`.
    chips : frozenset of Chip
        What the table is narrowed to; none of them means everything.
    words : str
        Text that each shown row holds.
    """

    changed = Signal()
    narrowed = Signal()
    """The chips or the words are others."""
    show_requested = Signal()
    """Somebody wants to see the table."""

    def __init__(
        self,
        session: Session,
        matches: Matches,
        questions: Questions,
        landmarks: PointLandmarks,
    ) -> None:
        self.rows: tuple[PairRow, ...] = ()
        self.chips: frozenset[Chip] = frozenset()
        self.words = ""
        self._session = session
        self._matches = matches
        self._questions = questions
        self._landmarks = landmarks
        self._watched = False
        self._basis: tuple[object, ...] = ()
        session.project_changed.connect(self._refresh)
        session.verdicts_changed.connect(self._refresh)
        matches.claims_changed.connect(self._refresh)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    # --- what is shown -----------------------------------------------------------------

    def watch(self, watched: bool) -> None:
        """Say whether anybody sees the table; unseen, it is not kept up to date."""
        self._watched = watched
        if not watched:
            # What is on its way might show what a blind question hides by then.
            self._session.jobs.forget("pairs")
            self._basis = ()
        self._refresh()

    def counts(self) -> dict[Chip, int]:
        """Return how many rows each chip would show."""
        counted = Counter(row.status.value for row in self.rows)
        counted[Chip.REVIEW.value] = sum(row.review for row in self.rows)
        return {chip: counted[chip.value] for chip in Chip}

    def narrow(self, chips: Iterable[Chip] | None = None, words: str | None = None) -> None:
        """Show only the rows of some chips, or that hold some words; None leaves it as it is."""
        narrowed = (
            self.chips if chips is None else frozenset(chips),
            self.words if words is None else words.strip().lower(),
        )
        if narrowed != (self.chips, self.words):
            self.chips, self.words = narrowed
            self.narrowed.emit()

    def show(self, *chips: str) -> None:
        """Bring the table to the front, narrowed to some chips such as "review"."""
        self.narrow([Chip(chip) for chip in chips], "")
        self.show_requested.emit()

    def arranged(self, column: Column, *, descending: bool = False) -> list[int]:
        """Return which rows are shown, in order of a column; empty cells come last."""
        chips, words = self.chips, self.words
        shown = [
            number
            for number, row in enumerate(self.rows)
            if (not chips or any(chip.holds(row) for chip in chips))
            and (not words or row.mentions(words))
        ]
        values = {number: self.rows[number].value(column) for number in shown}
        full = [number for number in shown if values[number] not in (None, "")]
        full.sort(key=values.__getitem__, reverse=descending)
        return full + [number for number in shown if values[number] in (None, "")]

    # --- what acts on rows -----------------------------------------------------------

    def ask(self, row: PairRow) -> None:
        """Ask about a row's cell, with its partner picked; both canvases move there."""
        if row.status is PairStatus.LANDMARK:
            self._landmarks.look_at(row.key[0])
            return
        query, picked = self._questions.snapshot.asked
        partner = _partner(row)
        if query is None or query.uid != row.key[0] or partner not in (None, picked):
            self._questions.select(row.datasets[0], row.key[0], pick=partner)

    def is_asked(self, row: PairRow) -> bool:
        """Return whether a verdict would be about a row, or will be once there is an answer."""
        if row.status is PairStatus.LANDMARK:
            return True
        (query, picked), partner = self._questions.snapshot.asked, _partner(row)
        if query is None or query.uid != row.key[0]:
            return False
        return None in (partner, picked) or picked == partner

    def decide(
        self, rows: Sequence[PairRow], verdict: Verdict, reason: NoneReason | None = None
    ) -> None:
        """Give all rows one verdict, as one step of undo."""
        judgements = self._judgements(rows, verdict, reason)

        def write(*, force: bool) -> None:
            if not judgements:
                raise InputError(
                    "These cells have no partner to judge; pick one in the Match dock."
                )
            annotate.judge_together(
                self._session.require_project(),
                judgements,
                annotator=self._session.annotator,
                force=force,
            )
            noun = "cell" if verdict is Verdict.NONE else "pair"
            n_done = len(judgements)
            told = f"{_DONE[verdict]} {n_done} {noun}{'s' if n_done > 1 else ''}"
            if n_done > 1:
                told += "; one undo takes all of it back"
            n_left = 0 if verdict is Verdict.NONE else len(rows) - n_done
            if n_left:
                told += f"; {n_left} without a partner left alone"
            self._session.verdicts_changed.emit()
            self._session.notify(told)

        attempt = self._session.attempt
        forced = Remedy("Replace them", lambda: attempt(partial(write, force=True)))
        attempt(partial(write, force=False), forced)

    def write_note(self, row: PairRow, text: str) -> None:
        """Write this annotator's note on a row."""

        def write() -> None:
            if row.status is PairStatus.LANDMARK:
                raise InputError("Notes are about pairs and cells, not about landmarks.")
            uid, partner = (*row.key, None)[:2]
            project, annotator = self._session.require_project(), self._session.annotator
            assert uid is not None
            if annotate.note(project, uid, partner, text, annotator=annotator):
                self._session.verdicts_changed.emit()

        self._session.attempt(write)

    def own_note(self, row: PairRow) -> str:
        """Return what this annotator wrote on a row."""
        project = self._session.project
        if project is None:
            return ""
        return note_of(project.state().notes, row.key, self._session.annotator)

    def _judgements(
        self, rows: Sequence[PairRow], verdict: Verdict, reason: NoneReason | None
    ) -> list[Judgement]:
        rows = [row for row in rows if row.status is not PairStatus.LANDMARK]
        if verdict is Verdict.NONE:
            return [
                Judgement(verdict, uid, None, reason) for uid in {row.key[0]: 0 for row in rows}
            ]
        return [
            Judgement(verdict, *row.key, evidence=self._evidence(row))
            for row in rows
            if len(row.key) == 2
        ]

    def _evidence(self, row: PairRow) -> VerdictEvidence | None:
        """Return what a row told of a claim of the match."""
        match = self._matches.match
        if row.status is not PairStatus.CLAIMED or match is None:
            return None
        return VerdictEvidence(
            residual_um=row.residual_um,
            probability=row.probability,
            model_hash=match.model or None,
            alignment_id=match.alignment.id,
        )

    # --- keeping up to date ----------------------------------------------------------------

    def _on_snapshot_changed(self, snapshot: QuestionSnapshot) -> None:
        if self._basis and snapshot.blind != self._basis[-1]:
            self._refresh()

    def _refresh(self, _: object = None) -> None:
        project, matches = self._session.project, self._matches
        if not self._watched:
            return
        if project is None:
            self._basis = ()
            self._show(())
            return
        state, match, claims = project.state(), matches.match, matches.claims()
        blind = self._questions.snapshot.blind
        basis = (state, match, claims, blind)
        if len(self._basis) == len(basis) and all(
            old is new for old, new in zip(self._basis, basis, strict=True)
        ):
            return
        self._basis = basis
        sides = project.in_vivo(), project.ex_vivo()

        def collect() -> tuple[PairRow, ...]:
            doubtful = () if match is None else match.doubtful()
            claimed = () if claims is None else claims.pairs
            return pair_rows(state, claimed, doubtful, sides=sides, blind=blind)

        jobs = self._session.jobs
        n_rows = len(state.verdicts) + len(state.claims)
        n_rows += len(claims.pairs) if claims is not None and not blind else 0
        if n_rows < MANY_ROWS or blind:
            # What a blind question hides is gone before anything else happens.
            jobs.forget("pairs")
            self._show(collect())
        else:
            jobs.submit("pairs", collect, self._show, self._session.show_error, beside=True)

    def _show(self, rows: tuple[PairRow, ...]) -> None:
        self.rows = rows
        self.changed.emit()


def _partner(row: PairRow) -> str | None:
    """Return what a row picks; nothing for a cell that somebody only wrote a note on."""
    if len(row.key) == 2:
        return row.key[1]
    return NONE_OF_THESE if row.status is PairStatus.NONE else None
