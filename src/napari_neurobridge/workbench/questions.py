"""Which cell is being asked about, what the answer is, and which candidate is picked.

What views may show of it is published as one blinded snapshot; see `snapshot`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_neurobridge.workbench.answers import (
    Answer,
    Query,
    answer_query,
    locate,
    with_crops,
)
from napari_neurobridge.workbench.clicks import soma_at
from napari_neurobridge.workbench.question_queue import QuestionQueue
from napari_neurobridge.workbench.remedies import explain
from napari_neurobridge.workbench.snapshot import NONE_OF_THESE, QuestionSnapshot, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.active.queue import QueueItem
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Candidate, Projection, Vec3
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.queue_choice import QueueChoice
    from napari_neurobridge.workbench.session import Session

MAX_DEPTH_UM = 20.0
"""How far the crops can be scrolled from the somata."""


class Questions:
    """Asks about one cell at a time.

    Parameters
    ----------
    session : Session
        Where the project lives.
    encoders : EncoderCache
        Loads the model that ranks.
    matches : Matches
        Gives probabilities, and with them the queue.
    choice : QueueChoice
        How a person wants to be asked.

    Attributes
    ----------
    snapshot : QuestionSnapshot
        What views may show; the only attribute that they read.
    query : Query or None
    answer : Answer or None
        With scores, also in an audit; ``None`` while the ranking is on its way, or could not
        be made.
    problem : str
        Why there is no answer; empty while there may still be one.
    choice : Candidate or None
        The candidate that a verdict would be about, with its scores.
    none_picked : bool
        Whether a verdict would be about none of the candidates.
    flickered : bool
        Whether the chosen crop is shown in the query's place.
    projection : Projection or None
        How crops show recordings over time; ``None``: as each dataset says.
    """

    snapshot_changed = Signal(object)
    look_requested = Signal(str, object)
    """A dataset and a place in it, µm (z, y, x), that somebody wants to see."""

    def __init__(
        self, session: Session, encoders: EncoderCache, matches: Matches, choice: QueueChoice
    ) -> None:
        self.snapshot = QuestionSnapshot()
        self.query: Query | None = None
        self.answer: Answer | None = None
        self.problem = ""
        self.choice: Candidate | None = None
        self.none_picked = False
        self.flickered = False
        self.projection: Projection | None = None
        self._session = session
        self._encoders = encoders
        self._matches = matches
        self._answered_at = 0.0
        self._depth_um = 0.0
        self._keep: str | None = None
        self._would_change: frozenset[str] | None = None
        self._queue = QuestionQueue(session, matches, choice)
        self._from_queue: str | None = None
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self._on_somata_changed)
        session.orientation_changed.connect(self._ask_again)
        session.verdicts_changed.connect(self._publish)
        matches.match_changed.connect(self._on_match_changed)
        matches.claims_changed.connect(self._publish)

    # --- asking ----------------------------------------------------------------------

    def select(
        self, dataset: str, uid: str, *, audit: bool = False, pick: str | None = None
    ) -> None:
        """Ask about a soma; for an audit, without scores.

        ``pick`` names the soma of the other side that is to be picked once there is an answer.
        """

        def ask() -> None:
            soma = self._session.require_project().state().soma(uid)
            self._queue.postpone(uid)
            # To click the cell that is being asked about blindly does not uncover it.
            blind = audit or (self.query is not None and self.query.audit and self.query.uid == uid)
            self._ask(Query(dataset, soma.center_um, uid, blind), keep=pick)

        self._session.attempt(ask)

    def click(
        self, dataset: str, position_um: Vec3, *, depth_axis: int, asks: bool = False
    ) -> None:
        """Ask about the two-photon soma under a click, or choose the fMOST soma there.

        Parameters
        ----------
        position_um : Vec3
            Where the canvas was clicked, µm (z, y, x) of ``dataset``.
        depth_axis : int
            The axis that the canvas looks along. A click says little about depth, so
            any soma within the displayed slab counts.
        asks : bool
            Ask about an fMOST soma, too, and rank the two-photon ones.
        """
        uid = soma_at(self._session.require_project(), dataset, position_um, depth_axis)
        if uid is None:
            self._session.notify(
                "No soma here. Click a circle, or add one with the layer's + tool."
            )
        elif asks or dataset == self._session.require_project().in_vivo():
            self.select(dataset, uid)
        else:
            self.choose_soma(uid)

    def next_query(self) -> None:
        """Ask about the next cell of the queue."""

        def ask() -> None:
            in_vivo = self._session.require_project().in_vivo()
            queue = self.queue()
            asked_now = self.query.uid if self.query is not None else None
            if asked_now is not None and asked_now == self._from_queue:
                self._queue.skip(asked_now)
            item = next((item for item in queue if item.uid != asked_now), None)
            if item is None:
                self._session.notify(
                    "No two-photon cell is left to ask about; click one to see it again."
                )
                return
            self._from_queue = item.uid
            self.select(in_vivo, item.uid, audit=item.audit)

        self._session.attempt(ask)

    def queue(self) -> Sequence[QueueItem]:
        """Return the two-photon cells nobody has judged, the next one first."""
        return self._queue.items()

    def progress(self) -> tuple[int, int]:
        """Return how many two-photon cells were asked, and how many there are."""
        return self._queue.progress()

    # --- looking at the answer -----------------------------------------------------------

    def choose(self, place: int) -> None:
        """Pick a shown candidate by its place, counting from 1; 0 is none of these."""
        if self.answer is None or not 0 <= place <= len(self.answer.shown):
            return
        if place:
            self._pick(self.answer.shown[place - 1])
        else:
            self.choice, self.none_picked = None, True
            self._publish()

    def choose_soma(self, uid: str) -> None:
        """Pick any soma of the gallery, listed or not."""
        self._choose_soma(uid, look=True)

    def flicker(self) -> None:
        """Show the chosen crop in the query's place, and back."""
        self.flickered = not self.flickered
        self._publish()

    def look_deeper(self, step_um: float) -> None:
        """Scroll all crops along the optical axis, at most ± 20 µm from the somata."""
        answer, project = self.answer, self._session.project
        if answer is None or project is None:
            return
        # From where the user wants to be, not from the crops that have arrived.
        depth = float(np.clip(self._depth_um + step_um, -MAX_DEPTH_UM, MAX_DEPTH_UM))
        self._depth_um = depth
        self._cut_crops(project, answer, self.projection)

    def show_projection(self, projection: Projection) -> None:
        """Show recordings by another projection over time, once that is computed.

        It takes one look at all frames, and other questions are answered meanwhile.
        """
        answer, project = self.answer, self._session.project
        if answer is None or project is None:
            return
        self._cut_crops(project, answer, projection, beside=True)

    def _cut_crops(
        self,
        project: Project,
        answer: Answer,
        projection: Projection | None,
        *,
        beside: bool = False,
    ) -> None:
        depth, query, ranking = self._depth_um, answer.query, answer.ranking

        def show(recut: Answer) -> None:
            self.answer, self.projection = recut, projection
            self._publish()

        self._session.jobs.submit(
            "crops",
            lambda: with_crops(project, query, ranking, depth, answer.match, projection),
            show,
            self._session.show_error,
            beside=beside,
        )

    def show_would_change(self, uids: frozenset[str] | None) -> None:
        """Publish the cells that a verdict would change; None takes them away; see `Preview`."""
        self._would_change = uids
        self._publish()

    def seconds_spent(self) -> float | None:
        """Return how long the answer has been looked at."""
        return None if self.answer is None else time.monotonic() - self._answered_at

    # --- inside ----------------------------------------------------------------------

    def _ask(self, query: Query | None, *, keep: str | None = None) -> None:
        """Rank for a query; ``keep`` names what is to stay picked."""
        self.query, self.answer, self.choice, self.none_picked = query, None, None, False
        self.problem, self.flickered, self._depth_um, self._keep = "", False, 0.0, keep
        # Answers about the cell before may still be on their way.
        for key in ("rank", "crops", "locate"):
            self._session.jobs.forget(key)
        self._publish()
        project = self._session.project
        if query is None or project is None:
            return
        self.look_requested.emit(query.dataset, query.center_um)
        self._rank(project, query, keep)

    def _choose_soma(self, uid: str, *, look: bool) -> None:
        answer, project = self.answer, self._session.project
        if answer is None or project is None:
            waiting = self.query is not None and not self.problem
            self._session.notify(
                "The candidates are still being ranked; please wait a moment."
                if waiting
                else "Click a two-photon cell first."
            )
            return
        listed = next((one for one in answer.shown if one.uid == uid), None)
        if listed is not None:
            self._pick(listed, look=look)
            return

        self._session.jobs.submit(
            "locate",
            lambda: locate(project, self._loader(project), answer, uid),
            partial(self._pick, look=look),
            self._session.show_error,
        )

    def _pick(self, candidate: Candidate, *, look: bool = True) -> None:
        self.choice, self.none_picked = candidate, False
        self._publish()
        if look and self.answer is not None:
            self.look_requested.emit(self.answer.ranking.gallery_dataset, candidate.center_um)

    def _publish(self, _: object = None) -> None:
        """Let the views know, if there is anything new that they may show."""
        project, query, matches = self._session.project, self.query, self._matches
        near = () if query is None else (query.dataset, query.center_um, query.uid)
        snapshot = take_snapshot(
            query,
            self.answer,
            self.choice,
            state=None if project is None else project.state(),
            none_picked=self.none_picked,
            problem=self.problem,
            flickered=self.flickered,
            reason=self._reason(),
            neighbours=matches.neighbours(*near) if near else (),
            claimed={uid: probability for uid, (_, probability) in matches.partners().items()},
            changed=matches.changed_on_both_sides(),
            would_change=self._would_change,
        )
        if snapshot != self.snapshot:
            self.snapshot = snapshot
            self.snapshot_changed.emit(snapshot)

    def _reason(self) -> str:
        """Return why the queue asks about this cell; nothing for one that somebody clicked."""
        if self.query is None or self.query.uid != self._from_queue:
            return ""
        return self._queue.reason(self.query.uid)

    def _explain(self, error: NeuroBridgeError) -> None:
        if self.answer is None:
            self.problem = explain(error)
        self._publish()
        self._session.show_error(error)

    def _rank(self, project: Project, query: Query, keep: str | None) -> None:
        match, depth, projection = self._matches.match, self._depth_um, self.projection

        def show(answer: Answer) -> None:
            # What was asked of the answer before would bring that one back.
            for key in ("crops", "locate"):
                self._session.jobs.forget(key)
            first = self.answer is None
            self.answer = answer
            if first:
                self._answered_at = time.monotonic()
            self._publish()
            if keep == NONE_OF_THESE:
                self.choose(0)
            elif keep is not None:
                # What was picked before is in sight already, unless the user moved away.
                self._choose_soma(keep, look=self.choice is None)
            elif not query.audit:  # in which nothing is proposed, not even by being picked
                self.choose(0 if answer.none_leads else 1)

        self._session.jobs.submit(
            "rank",
            lambda: answer_query(project, self._loader(project), query, match, depth, projection),
            show,
            self._explain,
        )

    def _loader(self, project: Project) -> Callable[[], Encoder]:
        return lambda: self._encoders.ranking(project)

    def _on_match_changed(self) -> None:
        """Rank again without taking away what is being looked at; a seen audit is left alone."""
        project, query = self._session.project, self.query
        seen_audit = query is not None and query.audit and self.answer is not None
        if self._matches.updating or project is None or query is None or seen_audit:
            self._publish()
            return
        # Published with the answer, so that all views are drawn once.
        self._rank(project, query, self._picked())

    def _picked(self) -> str | None:
        """Return the soma that is picked, or will be once the answer is there."""
        if self.none_picked:
            return NONE_OF_THESE
        return self._keep if self.choice is None else self.choice.uid

    def _ask_again(self) -> None:
        if self.query is not None:
            self._ask(self.query, keep=self._picked())

    def _on_project_changed(self, _: Project | None) -> None:
        self.projection = None
        self._queue.forget()
        self._ask(None)

    def _on_somata_changed(self, dataset: str) -> None:
        """Follow the queried soma, and rank again when the gallery is another."""
        project, query = self._session.project, self.query
        self._publish()
        if project is None or query is None or query.uid is None:
            return
        soma = project.state().somata.get(query.dataset, {}).get(query.uid)
        if soma is None:
            self._ask(None)
        elif soma.center_um != query.center_um:
            self._ask(replace(query, center_um=soma.center_um))
        elif dataset != query.dataset or self.answer is None:
            self._ask_again()
