"""How far the index is, and what it lacks by a few somata embedded in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, ErrorKind, NeuroBridgeError

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report
    from napari_neurobridge.workbench.checklist import IndexState
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.session import Session

MOST_EMBEDDED_UNASKED = 256
"""Somata embedded without being asked for; about ten seconds of work on two cores."""

INDEX_JOB = "index"

_COUNT, _LATE = "index state", "late somata"
# One soma is embedded before anybody could read about it.
_QUIET_S = 1.0


class Indexing:
    """Counts what is indexed, and embeds somata that were added or moved since.

    Parameters
    ----------
    session : Session
        Where the project lives.
    encoders : EncoderCache
        Loads the model whose index is counted.

    Attributes
    ----------
    state : IndexState or None
        ``None`` while it is unknown, or where there is nothing to embed.
    embedding : bool
        Whether somata are being embedded unasked.
    """

    changed = Signal()

    def __init__(self, session: Session, encoders: EncoderCache) -> None:
        self.state: IndexState | None = None
        self._session = session
        self._encoders = encoders
        self.embedding = False
        # Whether the user stopped an index: then nothing is embedded unasked.
        self._declined = False
        self._tell_kept = False
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self.count)
        session.orientation_changed.connect(self.count)

    def start(self) -> None:
        """Embed all somata that the current model has not embedded yet, in a child process.

        Raises
        ------
        NeuroBridgeError
            If no project is open, or that is under way.
        """
        project = self._session.require_project()
        self._declined = False
        self._session.jobs.start(
            INDEX_JOB,
            ["index", str(project.path)],
            lambda _: self._take_over(project),
            on_stopped=lambda: self._take_over(project, stopped=True),
            title="Index",
            in_turn=True,
        )

    def start_missing(self, project: Project) -> None:
        """Embed what the current model lacks, if it lacks more than is embedded unasked.

        For a project that has gone over to another model, so that rankings may follow it.
        """

        def decide(state: IndexState) -> None:
            if self._session.project is not project:
                return
            self._take(state)
            jobs = self._session.jobs
            if state.ranked_with and INDEX_JOB not in (*jobs.running(), *jobs.waiting()):
                self._session.attempt(self.start, about="index")

        # As the count, which it replaces, so that a count of before says nothing any more.
        self._session.jobs.submit(
            _COUNT,
            lambda: self._encoders.index_state(project),
            decide,
            self._session.show_error,
        )

    def _take_over(self, project: Project, *, stopped: bool = False) -> None:
        """Use what another process has embedded, be it all or a part."""
        if self._session.project is not project:
            return
        self._declined, self._tell_kept = stopped, stopped
        self._session.index_changed.emit()
        self.count()

    def count(self, _: object = None) -> None:
        """Count anew, in the background."""
        # A count of before may still be on its way.
        self._session.jobs.forget(_COUNT)
        project = self._session.project
        if project is None or not project.has_images():
            return
        self._session.jobs.submit(
            _COUNT,
            lambda: self._encoders.index_state(project),
            self._take,
            self._session.show_error,
        )

    def _take(self, state: IndexState) -> None:
        self.state = state
        self.changed.emit()
        if self._tell_kept:
            self._tell_kept = False
            kept = f"{state.n_embedded:,} of {state.n_somata:,} kept"
            self._session.notify(f"Index cancelled: {kept}. Press Index to go on from there.")
        project = self._session.project
        if project is not None and 0 < state.n_late <= MOST_EMBEDDED_UNASKED:
            self._embed_late(project)

    def _embed_late(self, project: Project) -> None:
        """Embed the few somata that the index lacks, unless that is under way."""
        if self.embedding or self._declined:
            return
        self.embedding = True

        def work(report: Report) -> int:
            from napari_neurobridge.matching.appearance.gallery import index_project

            encoder = self._encoders.ranking(project)
            return index_project(project, encoder, report=report).n_embedded

        def done(n_embedded: int) -> None:
            self.embedding = False
            if n_embedded:
                self._session.index_changed.emit()
                self.count()  # more may have been added meanwhile

        def refuse(error: NeuroBridgeError) -> None:
            self.embedding = False
            self._declined = isinstance(error, Cancelled)
            # Whatever long job holds the project, somata are counted again after it.
            if not self._declined and error.kind is not ErrorKind.LOCKED:
                self._session.show_error(error)

        self._session.jobs.follow(
            _LATE,
            work,
            done,
            refuse,
            title="Index of new cells",
            beside=True,
            in_turn=True,
            quiet_s=_QUIET_S,
        )

    def _on_project_changed(self, _: Project | None) -> None:
        self.state = None
        self._session.jobs.forget(_LATE)
        self.embedding = self._declined = self._tell_kept = False
        self.count()
