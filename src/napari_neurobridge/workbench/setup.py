"""From a project to an indexed one: the actions behind the Data dock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_neurobridge.spaces import Orientation
from napari_neurobridge.workbench.checklist import (
    ChecklistItem,
    checklist_of_draft,
    checklist_of_project,
)
from napari_neurobridge.workbench.drafting import Drafting
from napari_neurobridge.workflows.adopt import adopt_model, roll_back
from napari_neurobridge.workflows.orient import state_orientation
from napari_neurobridge.workflows.setup import import_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_neurobridge.models.current import UsableModel
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Soma
    from napari_neurobridge.workbench.checklist import IndexState
    from napari_neurobridge.workbench.imports import Imports
    from napari_neurobridge.workbench.indexing import Indexing
    from napari_neurobridge.workbench.session import Session


@dataclass(frozen=True)
class SuggestedAngle:
    """What a search for the in-plane angle said.

    Attributes
    ----------
    orientation : Orientation or None
        What is suggested; ``None``: the angle is not known.
    text : str
        The result and its evidence.
    """

    orientation: Orientation | None
    text: str


class Setup(Drafting):
    """Makes a project ready for questions, and knows what is still to be done.

    Parameters
    ----------
    session : Session
        Where the project lives.
    indexing : Indexing
        Knows how far the index is.
    imports : Imports
        Takes dropped files of other programs.
    """

    suggestion_changed = Signal()

    def __init__(self, session: Session, indexing: Indexing, imports: Imports) -> None:
        super().__init__(session, imports)
        self.suggestion: SuggestedAngle | None = None
        self._indexing = indexing
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self._tell)
        session.orientation_changed.connect(self._on_orientation_changed)
        indexing.changed.connect(self._tell)

    # --- orientation -----------------------------------------------------------------

    def set_orientation(self, orientation: Orientation) -> None:
        """Set how the fMOST dataset lies in the two-photon frame."""

        def turn() -> None:
            state_orientation(self._session.require_project(), orientation)
            self._session.orientation_changed.emit()

        self._session.attempt(turn)

    def suggest_angle(self) -> None:
        """Search the in-plane angle by appearance, in a child process; changes nothing."""

        def start() -> None:
            project = self._session.require_project()

            def take(result: dict[str, Any]) -> None:
                if self._session.project is not project:
                    return  # another project has been opened meanwhile
                found = result["orientation"]
                self._suggest(
                    SuggestedAngle(
                        None if found is None else Orientation.model_validate(found),
                        result["text"],
                    )
                )

            self._session.jobs.start(
                "orient", ["orient", str(project.path)], take, title="Angle of the fMOST side"
            )

        self._session.attempt(start)

    def _suggest(self, suggestion: SuggestedAngle | None) -> None:
        self.suggestion = suggestion
        self.suggestion_changed.emit()

    # --- somata and index ------------------------------------------------------------

    def import_points(self, dataset: str, path: Path) -> None:
        """Add the somata of a CSV with columns ``uid,z_um,y_um,x_um``."""

        def tell(somata: list[Soma]) -> None:
            self._session.somata_were_changed(dataset)
            self._session.notify(f"imported {len(somata)} somata into {dataset}")

        def start() -> None:
            add = partial(
                import_points,
                self._session.require_project(),
                dataset,
                path,
                annotator=self._session.annotator,
            )
            self._session.jobs.submit("import points", add, tell, self._session.show_error)

        self._session.attempt(start)

    def index(self) -> None:
        """Embed all somata that the current model has not embedded yet, in a child process."""
        self._session.attempt(self._indexing.start)

    def adopt_model(self, model: str) -> None:
        """Go over to a model of this name, and index for it in the background.

        Until that is done, rankings rest on the last complete index.
        """
        self._change_model(
            lambda project: adopt_model(project, model, annotator=self._session.annotator)
        )

    def roll_back_model(self) -> None:
        """Return to the model before the current one."""
        self._change_model(lambda project: roll_back(project, annotator=self._session.annotator))

    def _change_model(self, change: Callable[[Project], UsableModel]) -> None:
        def start() -> None:
            project = self._session.require_project()
            current = change(project)
            self._session.notify(f"the project uses the model {current.label} now")
            self.refresh()
            if project.has_images():
                self.index()

        self._session.attempt(start)

    # --- what to do next -------------------------------------------------------------

    @property
    def index_state(self) -> IndexState | None:
        """How much is indexed; None while that is unknown."""
        return self._indexing.state

    def checklist(self) -> tuple[ChecklistItem, ...]:
        """Return what is done and what to do next."""
        if self._session.project is None:
            return checklist_of_draft(self.draft)
        return checklist_of_project(self._session.project, self.index_state)

    def refresh(self) -> None:
        """Show what another process has added to the project; nothing without one."""
        project = self._session.project
        for dataset in project.datasets if project is not None else ():
            self._session.somata_were_changed(dataset)

    def _on_project_changed(self, project: Project | None) -> None:
        if project is not None:
            self._forget_draft()
        self._suggest(None)
        self._tell()

    def _on_orientation_changed(self) -> None:
        self._suggest(None)  # it was about the orientation before
        self._tell()

    def _tell(self, _: object = None) -> None:
        self.checklist_changed.emit()
