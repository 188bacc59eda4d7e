"""The queried cell's activity over time, where its side is a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, NeuroBridgeError
from napari_neurobridge.io.traces import activity_trace
from napari_neurobridge.workbench.remedies import explain

if TYPE_CHECKING:
    from napari_neurobridge.io.traces import Trace
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Projection
    from napari_neurobridge.workbench.answers import Query
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

_JOB = "trace"


class CellActivity:
    """Reads the trace of each queried cell in the background.

    It is a fact of the image, and no view of the program's, so that audits show it too.

    Parameters
    ----------
    session : Session
        Where the project lives.
    questions : Questions
        Which cell is asked about, and how crops show recordings.

    Attributes
    ----------
    trace : Trace or None
        Of the queried cell; ``None`` until it is read.
    projection : Projection or None
        How the crops show the recording, or are to as soon as it is computed; ``None`` where the
        queried cell's side is no recording.
    problem : str
        Why there is no trace; empty while there may still be one.
    """

    changed = Signal()

    def __init__(self, session: Session, questions: Questions) -> None:
        self.trace: Trace | None = None
        self.projection: Projection | None = None
        self.problem = ""
        self._session = session
        self._questions = questions
        self._query: Query | None = None
        self._latest = 0
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    def show_projection(self, projection: Projection) -> None:
        """Show the crops by another projection over time."""
        self.projection = projection
        self._questions.show_projection(projection)
        self.changed.emit()

    # --- inside ----------------------------------------------------------------------

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        if shown.query == self._query:
            return
        query, project = shown.query, self._session.project
        before, self._query = self._query, query
        self._latest += 1
        self._session.jobs.forget(_JOB)
        self.trace, self.problem = None, ""
        if query is None or project is None or before is None or before.dataset != query.dataset:
            self.projection = None
        self.changed.emit()
        if query is not None and project is not None:
            self._read(project, query)

    def _read(self, project: Project, query: Query) -> None:
        number = self._latest
        if project.dataset(query.dataset).uri is None:
            return

        def stop_if_stale(done: int, total: int, message: str) -> None:
            if number != self._latest:
                raise Cancelled("another cell is asked about")

        def work() -> tuple[Projection, Trace] | None:
            volume = project.volume(query.dataset)
            if volume.recording is None:
                return None
            trace = activity_trace(volume, query.center_um, report=stop_if_stale)
            return volume.recording.projection, trace

        def show(found: tuple[Projection, Trace] | None) -> None:
            if found is None:
                return
            own, self.trace = found
            self.projection = self.projection or self._questions.projection or own
            self.changed.emit()

        def refuse(error: NeuroBridgeError) -> None:
            if not isinstance(error, Cancelled):
                self.problem = explain(error)
                self.changed.emit()

        self._session.jobs.submit(_JOB, work, show, refuse, beside=True)
