"""Which cell is being asked about, what the answer is, and which candidate is picked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_neurobridge.active.queue import QueueItem, clearest_first
from napari_neurobridge.workbench.answers import Answer, Query, answer_query, with_crops
from napari_neurobridge.workbench.models import DEFAULT_MODEL, EncoderCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Candidate, Vec3
    from napari_neurobridge.workbench.session import Session

MAX_DEPTH_UM = 20.0
"""How far the crops can be scrolled from the somata."""

CLICK_RADIUS_UM = 12.0
CLICK_HALF_SLAB_UM = 20.0


class Questions:
    """Asks about one cell at a time.

    Parameters
    ----------
    session : Session
        Where the project lives.
    encoders : EncoderCache
        Loads the model that ranks.

    Attributes
    ----------
    query : Query or None
    answer : Answer or None
        ``None`` while the ranking is on its way.
    choice : Candidate or None
        The candidate that a verdict would be about.
    """

    query_changed = Signal(object)
    answer_changed = Signal(object)
    choice_changed = Signal(object)

    def __init__(self, session: Session, encoders: EncoderCache) -> None:
        self.query: Query | None = None
        self.answer: Answer | None = None
        self.choice: Candidate | None = None
        self._session = session
        self._encoders = encoders
        self._answered_at = 0.0
        self._opened: set[str] = set()
        self._project: Project | None = None
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self._on_somata_changed)

    # --- asking ----------------------------------------------------------------------

    def select(self, dataset: str, uid: str) -> None:
        """Ask about a soma."""

        def ask() -> None:
            soma = self._session.require_project().state().soma(uid)
            self._opened.add(uid)
            self._ask(Query(dataset=dataset, center_um=soma.center_um, uid=uid))

        self._session.attempt(ask)

    def click(self, dataset: str, position_um: Vec3, *, depth_axis: int) -> None:
        """Ask about the two-photon soma under a click, or choose the fMOST soma there.

        Parameters
        ----------
        position_um : Vec3
            Where the canvas was clicked, µm (z, y, x) of ``dataset``.
        depth_axis : int
            The axis that the canvas looks along. A click says little about depth, so
            any soma within the displayed slab counts.
        """
        uid = self._soma_at(dataset, position_um, depth_axis)
        if uid is None:
            self._session.notify(
                "No soma here. Click a circle, or add one with the layer's + tool."
            )
        elif self.answer is not None and dataset == self.answer.ranking.gallery_dataset:
            self.choose_soma(uid)
        else:
            self.select(dataset, uid)

    def next_query(self) -> None:
        """Ask about the next cell of the queue."""

        def ask() -> None:
            in_vivo = self._session.require_project().in_vivo()
            queue = self.queue()
            asked_now = self.query.uid if self.query is not None else None
            item = next((item for item in queue if item.uid != asked_now), None)
            if item is None:
                self._session.notify(
                    "Every two-photon cell has been asked; click one to look at it again."
                )
                return
            self.select(in_vivo, item.uid)

        self._session.attempt(ask)

    def queue(self) -> Sequence[QueueItem]:
        """Return the two-photon cells nobody has judged, the next one first."""
        project = self._session.project
        if project is None:
            return ()
        items = clearest_first(project.state(), project.in_vivo())
        # A cell that was opened and left undecided goes to the end of the queue.
        return sorted(items, key=lambda item: item.uid in self._opened)

    def progress(self) -> tuple[int, int]:
        """Return how many two-photon cells were asked, and how many there are."""
        project = self._session.project
        if project is None:
            return 0, 0
        total = len(project.state().somata.get(project.in_vivo(), {}))
        return total - len(clearest_first(project.state(), project.in_vivo())), total

    # --- looking at the answer -----------------------------------------------------------

    def choose(self, rank: int) -> None:
        """Pick a candidate by its rank, counting from 1."""
        if self.answer is None or not 1 <= rank <= len(self.answer.ranking.candidates):
            return
        self.choice = self.answer.ranking.candidates[rank - 1]
        self.choice_changed.emit(self.choice)

    def choose_soma(self, uid: str) -> None:
        """Pick any soma of the gallery, listed or not."""
        candidates = self.answer.ranking.candidates if self.answer is not None else ()
        for candidate in candidates:
            if candidate.uid == uid:
                self.choose(candidate.rank)
                return
        self._session.notify(f"{uid} is not indexed yet; press Index in the Data dock first.")

    def look_deeper(self, step_um: float) -> None:
        """Scroll all crops along the optical axis, at most ± 20 µm from the somata."""
        answer, project = self.answer, self._session.project
        if answer is None or project is None:
            return
        depth = float(np.clip(answer.depth_um + step_um, -MAX_DEPTH_UM, MAX_DEPTH_UM))

        def show(deeper: Answer) -> None:
            self.answer = deeper
            self.answer_changed.emit(deeper)
            self.choice_changed.emit(self.choice)

        self._session.jobs.submit(
            "crops",
            lambda: with_crops(project, answer.query, answer.ranking, depth),
            show,
            self._session.show_error,
        )

    def seconds_spent(self) -> float | None:
        """Return how long the answer has been looked at."""
        return None if self.answer is None else time.monotonic() - self._answered_at

    # --- inside ----------------------------------------------------------------------

    def _ask(self, query: Query | None) -> None:
        self.query, self.answer, self.choice = query, None, None
        # Crops of the cell before may still be on their way.
        for key in ("rank", "crops"):
            self._session.jobs.forget(key)
        self.query_changed.emit(query)
        self.answer_changed.emit(None)
        self.choice_changed.emit(None)
        project = self._session.project
        if query is None or project is None:
            return

        def show(answer: Answer) -> None:
            self.answer = answer
            self._answered_at = time.monotonic()
            self.answer_changed.emit(answer)
            self.choose(1)

        self._session.jobs.submit(
            "rank",
            lambda: answer_query(project, self._encoders.get(project, DEFAULT_MODEL), query),
            show,
            self._session.show_error,
        )

    def _soma_at(self, dataset: str, position_um: Vec3, depth_axis: int) -> str | None:
        project = self._session.require_project()
        somata = list(project.state().somata.get(dataset, {}).values())
        if not somata:
            return None
        offsets = np.array([soma.center_um for soma in somata]) - np.asarray(position_um)
        in_plane = np.delete(offsets, depth_axis, axis=1)
        distances = np.hypot(in_plane[:, 0], in_plane[:, 1])
        distances[np.abs(offsets[:, depth_axis]) > CLICK_HALF_SLAB_UM] = np.inf
        nearest = int(distances.argmin())
        return somata[nearest].uid if distances[nearest] <= CLICK_RADIUS_UM else None

    def _on_project_changed(self, project: Project | None) -> None:
        if project is self._project:
            # Same project, seen another way round: the question stays.
            self._ask(self.query)
            return
        self._project = project
        self._opened = set()
        self._ask(None)

    def _on_somata_changed(self, _: str) -> None:
        """Forget a question whose soma is gone; ask again for one that was moved."""
        project, query = self._session.project, self.query
        if project is None or query is None or query.uid is None:
            return
        soma = project.state().somata.get(query.dataset, {}).get(query.uid)
        if soma is None:
            self._ask(None)
        elif soma.center_um != query.center_um or self.answer is None:
            self._ask(Query(query.dataset, soma.center_um, query.uid))
