"""From a project to an indexed one: the actions behind the Data dock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_neurobridge.spaces import Orientation
from napari_neurobridge.workbench.checklist import (
    ChecklistItem,
    IndexState,
    checklist_of_draft,
    checklist_of_project,
    lacks_images,
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
    from napari_neurobridge.workbench.imports import Imports
    from napari_neurobridge.workbench.models import EncoderCache
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
    encoders : EncoderCache
        Loads the model whose index is counted.
    imports : Imports
        Takes dropped files of other programs.
    """

    suggestion_changed = Signal()

    def __init__(self, session: Session, encoders: EncoderCache, imports: Imports) -> None:
        super().__init__(session, imports)
        self.index_state: IndexState | None = None
        self.suggestion: SuggestedAngle | None = None
        self._encoders = encoders
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self._on_somata_changed)
        session.orientation_changed.connect(self._on_orientation_changed)

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

            self._session.jobs.start("orient", ["orient", str(project.path)], take)

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

    def detect(self, dataset: str, *, soma_diameter_um: float) -> None:
        """Detect the somata of a dataset in a child process."""

        def start() -> None:
            folder = str(self._session.require_project().path)
            arguments = ["detect", folder, "--dataset", dataset]
            arguments += ["--soma-diameter", str(soma_diameter_um)]
            self._session.jobs.start("detect", arguments, lambda _: self.refresh())

        self._session.attempt(start)

    def index(self) -> None:
        """Embed all somata that the current model has not embedded yet, in a child process."""

        def start() -> None:
            folder = str(self._session.require_project().path)
            self._session.jobs.start("index", ["index", folder], lambda _: self.refresh())

        self._session.attempt(start)

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
            if not lacks_images(project):
                self.index()

        self._session.attempt(start)

    def cancel(self) -> None:
        """Stop the running jobs; what they have finished is kept."""
        for job in self._session.jobs.running():
            self._session.jobs.cancel(job)

    # --- what to do next -------------------------------------------------------------

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
        self.index_state = None
        self._suggest(None)
        self._count_embedded()

    def _on_orientation_changed(self) -> None:
        self._suggest(None)  # it was about the orientation before
        self._count_embedded()

    def _on_somata_changed(self, _: str) -> None:
        self._count_embedded()

    def _count_embedded(self) -> None:
        self.checklist_changed.emit()
        # A count of the project before may still be on its way.
        self._session.jobs.forget("index state")
        project = self._session.project
        if project is None or lacks_images(project):
            return

        def show(state: IndexState) -> None:
            self.index_state = state
            self.checklist_changed.emit()

        self._session.jobs.submit(
            "index state",
            lambda: self._encoders.index_state(project),
            show,
            self._session.show_error,
        )
