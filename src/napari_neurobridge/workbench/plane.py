"""The plane of one side as a surface in the other's canvas, while somebody wants to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.workflows.surface import planar_dataset, surface_of_match

if TYPE_CHECKING:
    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workflows.surface import MappedPlane


class PlaneView:
    """Maps the plane anew with each match.

    Parameters
    ----------
    session : Session
        Where the project lives.
    matches : Matches
        Whose alignment maps the plane.

    Attributes
    ----------
    dataset : str or None
        Whose somata lie in one plane and are matched; ``None`` if there is nothing to show.
    wanted : bool
        Whether somebody wants to see it.
    mapped : MappedPlane or None
        The plane in the other space; an older one stays until a newer is there.
    """

    changed = Signal()

    def __init__(self, session: Session, matches: Matches) -> None:
        self.dataset: str | None = None
        self.wanted = False
        self.mapped: MappedPlane | None = None
        self._session = session
        self._matches = matches
        session.project_changed.connect(self._on_project_changed)
        matches.match_changed.connect(self._on_match_changed)

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
        self._map()

    def _map(self) -> None:
        match = self._matches.match
        # What is still on its way belongs to another match, or is no longer wanted.
        self._session.jobs.forget("plane")
        if match is None or self.dataset is None or not self.wanted:
            self.mapped = None
            self.changed.emit()
            return
        self.changed.emit()
        self._session.jobs.submit("plane", lambda: surface_of_match(match), self._set, self._refuse)

    def _set(self, mapped: MappedPlane | None) -> None:
        self.mapped = mapped
        self.changed.emit()

    def _refuse(self, error: NeuroBridgeError) -> None:
        self._set(None)
        self._session.show_error(error)
