"""How far the index is, and what it lacks by a few somata embedded in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import ErrorKind, NeuroBridgeError

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.checklist import IndexState
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.session import Session

MOST_EMBEDDED_UNASKED = 256
"""Somata embedded without being asked for; about ten seconds of work on two cores."""

_COUNT, _LATE = "index state", "late somata"


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
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self.count)
        session.orientation_changed.connect(self.count)

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
        project = self._session.project
        if project is not None and 0 < state.n_late <= MOST_EMBEDDED_UNASKED:
            self._embed_late(project)

    def _embed_late(self, project: Project) -> None:
        """Embed the few somata that the index lacks, unless that is under way."""
        if self.embedding:
            return
        self.embedding = True

        def work() -> int:
            from napari_neurobridge.matching.appearance.gallery import index_project

            return index_project(project, self._encoders.ranking(project)).n_embedded

        def done(n_embedded: int) -> None:
            self.embedding = False
            if n_embedded:
                self._session.index_changed.emit()
                self.count()  # more may have been added meanwhile

        def refuse(error: NeuroBridgeError) -> None:
            self.embedding = False
            # Whatever long job holds the project, somata are counted again after it.
            if error.kind is not ErrorKind.LOCKED:
                self._session.show_error(error)

        self._session.jobs.submit(_LATE, work, done, refuse, beside=True)

    def _on_project_changed(self, _: Project | None) -> None:
        self.state = None
        self._session.jobs.forget(_LATE)
        self.embedding = False
        self.count()
