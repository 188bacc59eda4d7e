"""The plane of one side as a surface in the other's canvas, while somebody wants to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.workflows.surface import planar_dataset, surface_of_match

if TYPE_CHECKING:
    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot
    from napari_neurobridge.workflows.surface import MappedPlane


class PlaneView:
    """Maps the plane anew with each match; in an audit there is none to be seen.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        Whose alignment maps the plane.
    questions : Questions
        Whether the current one is an audit: where the plane lies tells what is expected.

    Attributes
    ----------
    dataset : str or None
        Whose somata lie in one plane and are matched; ``None`` if there is nothing to show.
    wanted : bool
        Whether somebody wants to see it.
    """

    changed = Signal()

    def __init__(self, session: Session, matches: Matches, questions: Questions) -> None:
        self.dataset: str | None = None
        self.wanted = False
        self._mapped: MappedPlane | None = None
        self._session = session
        self._matches = matches
        self._questions = questions
        self._blind = False
        session.project_changed.connect(self._on_project_changed)
        matches.match_changed.connect(self._on_match_changed)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    @property
    def mapped(self) -> MappedPlane | None:
        """The plane in the other space; an older one stays until a newer is there."""
        return None if self._blind else self._mapped

    def show(self, wanted: bool) -> None:
        """Show or hide it."""
        self.wanted = wanted
        self._map()

    def _on_project_changed(self, _: object) -> None:
        self.wanted = False
        self._on_match_changed()

    def _on_match_changed(self) -> None:
        match = self._matches.match
        if match is not None and self._matches.updating:
            return
        self.dataset = None if match is None else planar_dataset(match)
        if self._mapped is not None and self._mapped.plane != self.dataset:
            self._mapped = None
        self._map()

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        if shown.blind != self._blind:
            self._blind = shown.blind
            self.changed.emit()

    def _map(self) -> None:
        match = self._matches.match
        # What is still on its way belongs to another match, or is no longer wanted.
        self._session.jobs.forget("plane")
        if match is None or self.dataset is None or not self.wanted:
            self._mapped = None
            self.changed.emit()
            return
        self.changed.emit()
        self._session.jobs.submit("plane", lambda: surface_of_match(match), self._set, self._refuse)

    def _set(self, mapped: MappedPlane | None) -> None:
        self._mapped = mapped
        self.changed.emit()

    def _refuse(self, error: NeuroBridgeError) -> None:
        self._set(None)
        self._session.show_error(error)
