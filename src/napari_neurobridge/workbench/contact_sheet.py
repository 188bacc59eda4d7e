"""The contact sheet: pages of claimed pairs to look through, and random checks of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.matching.proportions import draws_needed
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import Verdict
from napari_neurobridge.workbench import sheet_page
from napari_neurobridge.workbench.sheet_crops import PairPictures, SheetCrops
from napari_neurobridge.workbench.sheet_page import (
    MOST_TILES,
    SheetPage,
    action_in_words,
    check_page,
    page_in_words,
    review_page,
)
from napari_neurobridge.workflows.random_check import (
    Outcome,
    blocked_pairs,
    certify,
    draw_check,
    outcomes,
    waiting_pairs,
    write_certificate,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.matching.matched_pairs import MatchedPair
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.checks_fold import RandomCheck
    from napari_neurobridge.project.log.verdicts_fold import PairKey
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot
    from napari_neurobridge.workbench.verdicts import Verdicts
    from napari_neurobridge.workflows.random_check import Certificate

DEFAULT_SHARE = 0.02
"""Largest share of wrong pairs that a random check is to certify."""


@dataclass(frozen=True)
class _Queue:
    """What waits for a verdict, for one state of the project and one set of claims.

    Attributes
    ----------
    key : object
        That state and those claims.
    claimed : dict of PairKey to MatchedPair
        Every claimed pair that is not accepted.
    review : tuple of PairKey
        Those that nobody has judged and no unfinished check asks about, least certain first.
    check : RandomCheck or None
        The latest.
    asked : tuple of PairKey
        What it still asks about.
    certificate : Certificate or None
        What it says so far.
    judged : frozenset of PairKey
        Pairs with a verdict.
    """

    key: object = None
    claimed: dict[PairKey, MatchedPair] = field(default_factory=dict)
    review: tuple[PairKey, ...] = ()
    check: RandomCheck | None = None
    asked: tuple[PairKey, ...] = ()
    certificate: Certificate | None = None
    judged: frozenset[PairKey] = frozenset()


class ContactSheet:
    """Pages of claimed pairs: mark the wrong ones, accept the others, see the next page.

    A page stays as it is until it is closed, whatever is matched anew meanwhile.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        What is claimed.
    questions : Questions
        Tells whether a question is asked blind; all is hidden then.
    verdicts : Verdicts
        Undoes.

    Attributes
    ----------
    page : SheetPage
        What may be shown now.
    marks : dict of PairKey to Verdict
        Pairs that are not to be accepted: rejected or unsure.
    cursor : int
        The tile that keys act on.
    is_open : bool
        Whether anybody looks; no crop is cut before.
    checking : bool
        Whether the pages are those of a random check.
    """

    page_changed = Signal(object)
    pictures_changed = Signal()
    marks_changed = Signal()

    def __init__(
        self, session: Session, matches: Matches, questions: Questions, verdicts: Verdicts
    ) -> None:
        self.page = SheetPage(message=sheet_page.NO_PROJECT)
        self.marks: dict[PairKey, Verdict] = {}
        self.cursor = 0
        self.is_open = False
        self.checking = False
        self._session = session
        self._matches = matches
        self._questions = questions
        self._verdicts = verdicts
        self._crops = SheetCrops(session, self.pictures_changed.emit)
        self._capacity = MOST_TILES
        self._queue = _Queue()
        self._plan: tuple[PairKey, ...] = ()
        self._closed: dict[PairKey, Verdict | None] = {}
        self._turned_at = 0.0
        self._blind = False
        session.project_changed.connect(self._on_project_changed)
        session.orientation_changed.connect(self._on_crops_changed)
        session.somata_changed.connect(self._on_crops_changed)
        session.verdicts_changed.connect(self._refresh)
        matches.claims_changed.connect(self._refresh)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    # --- what views may ask ----------------------------------------------------------------

    @property
    def n_left(self) -> int:
        """How many claimed pairs nobody has judged; a random check would speak of these."""
        return len(self._queue.review)

    @property
    def action(self) -> str:
        """What closing the page would do, in words."""
        return action_in_words([self.marks.get(tile.pair) for tile in self.page.tiles])

    @property
    def certificate(self) -> Certificate | None:
        """What the latest random check says, finished or not."""
        return self._queue.certificate

    @property
    def can_go_on(self) -> bool:
        """Whether a random check was begun, and neither finished nor on show."""
        return not self.checking and bool(self._queue.asked)

    def pictures(self, pair: PairKey) -> PairPictures | None:
        """Return both crops of a pair; None while they are on their way."""
        return self._crops.of(pair)

    def draws_for(self, share: float) -> int:
        """Return how many pairs a random check would ask about."""
        return draws_needed(self.n_left, share) if self.n_left else 0

    # --- looking ------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to look; a random check that was left unfinished is gone on with."""
        self.is_open = True
        self._refresh()
        if self.can_go_on:
            self.turn_to_check()

    def close(self) -> None:
        """Stop looking; marks stay."""
        self.is_open = False

    def set_capacity(self, count: int) -> None:
        """Show so many tiles at most: as many as the window holds."""
        count = max(1, min(count, MOST_TILES))
        if count != self._capacity:
            self._capacity = count
            self._refresh()

    def move_to(self, index: int) -> None:
        """Put the frame that keys act on around a tile."""
        if 0 <= index < len(self.page.tiles):
            self.cursor = index
            self.marks_changed.emit()

    def mark(self, index: int, verdict: Verdict = Verdict.REJECT) -> None:
        """Mark a tile as not to be accepted, or take the same mark away."""
        if not 0 <= index < len(self.page.tiles):
            return
        pair, self.cursor = self.page.tiles[index].pair, index
        if self.marks.get(pair) is verdict:
            del self.marks[pair]
        else:
            self.marks[pair] = verdict
        self.marks_changed.emit()

    # --- deciding ------------------------------------------------------------------------

    def finish_page(self) -> None:
        """Accept what is not marked, reject what is, and turn to the next page: one undo step."""

        def record() -> None:
            said = self._said()
            annotate.judge_together(
                self._session.require_project(),
                [
                    Judgement(verdict, *pair, evidence=self._evidence(pair, len(said)))
                    for pair, verdict in said.items()
                    if verdict is not None
                ],
                annotator=self._session.annotator,
            )
            self._closed = {pair: self.marks.pop(pair, None) for pair in said}
            self._plan = ()
            self._session.verdicts_changed.emit()
            self._session.notify(page_in_words(list(said.values())))

        if self.page.tiles:
            self._session.attempt(record)

    def undo(self) -> None:
        """Undo the latest step; the page that it closed is shown again, with its marks."""
        self._verdicts.undo()
        if self._closed and not self._queue.judged.intersection(self._closed):
            self._plan = tuple(self._closed)
            self.marks |= {pair: mark for pair, mark in self._closed.items() if mark is not None}
            self._closed = {}
            self._begin_page()

    # --- certifying -----------------------------------------------------------------------

    def start_check(self, share: float = DEFAULT_SHARE) -> None:
        """Draw a random check of the pairs that are left, and turn to its first page."""

        def draw() -> None:
            match, left = self._matches.match, self._queue
            draw_check(
                self._session.require_project(),
                [left.claimed[pair] for pair in left.review],
                share,
                fdr=self._matches.fdr,
                alignment_id=None if match is None else match.alignment.id,
                annotator=self._session.annotator,
            )
            self.turn_to_check()

        self._session.attempt(draw)

    def turn_to_check(self) -> None:
        """Show the latest random check: its next page, or what it certifies."""
        self._turn(checking=True)

    def turn_to_review(self) -> None:
        """Show the claimed pairs again; those that a check still asks about stay hidden."""
        self._turn(checking=False)

    def save_certificate(self, path: Path) -> None:
        """Write what the latest random check says, in the background."""
        certificate = self.certificate
        if certificate is not None:
            self._session.jobs.submit(
                "certificate",
                lambda: write_certificate(certificate, path),
                lambda written: self._session.notify(f"wrote {written}"),
                self._session.show_error,
            )

    # --- inside ---------------------------------------------------------------------------

    def _turn(self, *, checking: bool) -> None:
        self.checking, self._plan, self._closed = checking, (), {}
        self._refresh()

    def _said(self) -> dict[PairKey, Verdict | None]:
        """Return the verdict on each pair of the page; None where it cannot be accepted now."""
        project, pairs = self._session.require_project(), [tile.pair for tile in self.page.tiles]
        datasets = project.in_vivo(), project.ex_vivo()
        withheld = blocked_pairs(project.state(), datasets, pairs)
        if not self.checking:
            # A newer match may claim another partner; the pair of that comes on another page.
            withheld |= set(pairs) - self._queue.claimed.keys()
        return {
            pair: self.marks.get(pair) or (None if pair in withheld else Verdict.ACCEPT)
            for pair in pairs
        }

    def _evidence(self, pair: PairKey, n_pairs: int) -> VerdictEvidence:
        claim, match, check = self._queue.claimed.get(pair), self._matches.match, self._queue.check
        return VerdictEvidence(
            residual_um=None if claim is None else claim.residual_um,
            probability=None if claim is None else claim.probability,
            alignment_id=None if claim is None or match is None else match.alignment.id,
            seconds=(time.monotonic() - self._turned_at) / n_pairs,
            audit=self.checking,
            check=check.event_id if self.checking and check is not None else None,
        )

    def _refresh(self, _: object = None) -> None:
        """Follow verdicts and claims; what is on the page stays while it waits for a verdict."""
        if not self.is_open:
            return
        self._look()
        queue = self._queue
        if self.checking:
            self._plan = tuple(pair for pair in self._plan if pair in set(queue.asked))
        else:
            self._plan = tuple(pair for pair in self._plan if pair not in queue.judged)
        if self._plan:
            self._publish()
        else:
            self._plan = (queue.asked if self.checking else queue.review)[:MOST_TILES]
            self._begin_page()

    def _begin_page(self) -> None:
        self.cursor, self._turned_at = 0, time.monotonic()
        self._publish()

    def _publish(self) -> None:
        self._blind = self._questions.snapshot.blind
        shown = self._plan[: self._capacity]
        self.cursor = min(self.cursor, max(len(shown) - 1, 0))
        self.page = SheetPage(message=sheet_page.HIDDEN) if self._blind else self._page(shown)
        self.page_changed.emit(self.page)
        if self.page.tiles:
            queue = self._queue.asked if self.checking else self._queue.review
            following = [pair for pair in queue if pair not in set(shown)]
            self._crops.want(shown, following[: self._capacity])

    def _page(self, shown: tuple[PairKey, ...]) -> SheetPage:
        project, queue = self._session.project, self._queue
        if project is None:
            return SheetPage(message=sheet_page.NO_PROJECT)
        if not project.has_images():
            return SheetPage(message=sheet_page.NO_IMAGES, points_only=True)
        if self.checking and queue.certificate is not None:
            return check_page(shown, queue.certificate)
        if self._matches.claims() is None:
            return SheetPage(message=sheet_page.NO_MATCH)
        return review_page(shown, queue.claimed, len(queue.review))

    def _look(self) -> None:
        """Find out what waits, unless nothing has changed."""
        project, claims = self._session.project, self._matches.claims()
        if project is None:
            self._queue = _Queue()
            return
        state, datasets = project.state(), (project.in_vivo(), project.ex_vivo())
        known = self._queue.key
        if isinstance(known, tuple) and known[0] is state and known[1] is claims:
            return
        check = state.checks[-1] if state.checks else None
        found = {} if check is None else outcomes(check, state)
        asked = tuple(pair for pair, outcome in found.items() if outcome is Outcome.WAITING)
        claimed = {} if claims is None else waiting_pairs(state, claims)
        hidden = blocked_pairs(state, datasets, claimed) | set(asked)
        self._queue = _Queue(
            key=(state, claims),
            claimed=claimed,
            review=tuple(pair for pair in claimed if pair not in hidden),
            check=check,
            asked=asked,
            certificate=None if check is None else certify(check, state),
            judged=frozenset(verdict.pair for verdict in state.verdicts if verdict.pair),
        )

    def _on_project_changed(self, _: Project | None) -> None:
        self._crops.forget()
        self.marks, self.checking, self._queue = {}, False, _Queue()
        self._plan, self._closed = (), {}
        self._refresh()

    def _on_crops_changed(self, _: str = "") -> None:
        self._crops.forget()
        self._refresh()

    def _on_snapshot_changed(self, snapshot: QuestionSnapshot) -> None:
        if self.is_open and snapshot.blind != self._blind:
            self._publish()
