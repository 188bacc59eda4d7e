"""From two files to an indexed project: the actions behind the Data dock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, NeuroBridgeError
from napari_neurobridge.io.rois.read import holds_rois
from napari_neurobridge.project.folder import Project
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.workbench.checklist import (
    ChecklistItem,
    checklist_of_draft,
    checklist_of_project,
)
from napari_neurobridge.workbench.draft import (
    POINTS_SUFFIX,
    PROJECT_SUFFIX,
    ImageChoice,
    PointsChoice,
    ProjectDraft,
)
from napari_neurobridge.workbench.session import Notice, Remedy
from napari_neurobridge.workflows.adopt import adopt_model, roll_back
from napari_neurobridge.workflows.orient import state_orientation
from napari_neurobridge.workflows.setup import create_project, import_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.models.current import UsableModel
    from napari_neurobridge.types import Projection, Report, Role, Vec3
    from napari_neurobridge.workbench.checklist import IndexState
    from napari_neurobridge.workbench.imports import Imports
    from napari_neurobridge.workbench.indexing import Indexing
    from napari_neurobridge.workbench.session import Session

T = TypeVar("T")


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


class Setup:
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

    draft_changed = Signal()
    checklist_changed = Signal()
    suggestion_changed = Signal()

    def __init__(self, session: Session, indexing: Indexing, imports: Imports) -> None:
        self.draft = ProjectDraft()
        self.suggestion: SuggestedAngle | None = None
        self._session = session
        self._indexing = indexing
        self._imports = imports
        session.project_changed.connect(self._on_project_changed)
        session.somata_changed.connect(self._tell)
        session.orientation_changed.connect(self._on_orientation_changed)
        indexing.changed.connect(self._tell)

    # --- a project -------------------------------------------------------------------

    def choose_image(self, role: Role, path: Path, *, axes: str | None = None) -> None:
        """Read an image's metadata into the draft; notifies when it cannot be read."""
        self._choose({role: path}, {}, axes)

    def choose_points(self, role: Role, path: Path) -> None:
        """Read a table of points into the draft; notifies when it cannot be read."""
        self._choose({}, {role: path})

    def _choose(
        self, images: Mapping[Role, Path], points: Mapping[Role, Path], axes: str | None = None
    ) -> None:
        """Read files into the draft; asks first when that would close a project."""
        project = self._session.project
        if project is not None:
            start = Remedy("Start a new one", lambda: self._begin(images, points, axes))
            text = f"{project.path.name} is open. Everything in it is saved."
            self._session.notified.emit(Notice(text, remedy=start))
            return
        self._begin(images, points, axes)

    def _begin(
        self, images: Mapping[Role, Path], points: Mapping[Role, Path], axes: str | None
    ) -> None:
        for role, path in images.items():
            self._inspect(
                f"image {role}",
                partial(ImageChoice.from_file, path, axes=axes),
                partial(self._take_image, role),
            )
        for role, path in points.items():
            self._inspect(
                f"points {role}",
                partial(PointsChoice.from_file, path),
                partial(self._take_points, role),
            )

    def _inspect(self, what: str, read: Callable[[], T], take: Callable[[T], None]) -> None:
        self._session.jobs.submit(f"inspect {what}", read, take, self._session.show_error)

    def _take_image(self, role: Role, choice: ImageChoice) -> None:
        self._set_draft(self.draft.with_image(role, choice))

    def _take_points(self, role: Role, choice: PointsChoice) -> None:
        self._set_draft(self.draft.with_points(role, choice))

    def take_files(self, paths: Sequence[Path]) -> None:
        """Do the obvious with dropped files: open a project, offer ROIs, or fill the checklist."""
        for path in paths:
            if path.suffix == PROJECT_SUFFIX:
                self.open_project(path)
                return
            if holds_rois(path):
                self._session.attempt(partial(self._imports.offer_rois, path))
                return
        draft = ProjectDraft() if self._session.project is not None else self.draft
        tables = [path for path in paths if path.suffix.lower() == POINTS_SUFFIX]
        images = [path for path in paths if path not in tables]

        def take() -> None:
            self._choose(draft.assign_roles(images), draft.assign_points(tables))

        self._session.attempt(take)

    def set_voxel_size(self, role: Role, voxel_size_um: Vec3) -> None:
        """Set a voxel size, µm (z, y, x), that the file does not state."""
        self._session.attempt(
            lambda: self._set_draft(self.draft.with_voxel_size(role, voxel_size_um))
        )

    def set_reading(self, role: Role, *, channel: int, projection: Projection) -> None:
        """Set which channel is used, and how a recording becomes one plane."""
        self._session.attempt(
            lambda: self._set_draft(
                self.draft.with_reading(role, channel=channel, projection=projection)
            )
        )

    def create_project(self, folder: Path) -> None:
        """Make a project folder from the draft and open it."""
        if folder.suffix != PROJECT_SUFFIX:
            folder = folder.with_name(folder.name + PROJECT_SUFFIX)

        def create() -> None:
            sources = self.draft.to_sources()
            self._open(folder, lambda: create_project(folder, sources))

        self._session.attempt(create)

    def open_project(self, folder: Path) -> None:
        """Open an existing project folder."""
        self._open(folder, lambda: Project.open(folder))

    def _open(self, folder: Path, make: Callable[[], Project]) -> None:
        def refuse(error: NeuroBridgeError) -> None:
            if not isinstance(error, Cancelled):
                self._session.show_error(error)

        def work(_: Report) -> Project:
            return make()

        title = f"Opening {folder.name}"
        self._session.jobs.follow("open", work, self._session.set_project, refuse, title=title)

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

        def add() -> None:
            somata = import_points(
                self._session.require_project(), dataset, path, annotator=self._session.annotator
            )
            self._session.somata_were_changed(dataset)
            self._session.notify(f"imported {len(somata)} somata into {dataset}")

        self._session.attempt(add)

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

    def cancel(self) -> None:
        """Stop all long jobs, those that wait first; what they have finished is kept."""
        jobs = self._session.jobs
        for job in (*reversed(jobs.waiting()), *jobs.running()):
            jobs.cancel(job)

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

    def _set_draft(self, draft: ProjectDraft) -> None:
        if self._session.project is not None:
            self._session.set_project(None)
        self.draft = draft
        self.draft_changed.emit()
        self.checklist_changed.emit()

    def _on_project_changed(self, project: Project | None) -> None:
        if project is not None:
            self.draft = ProjectDraft()
        self._suggest(None)
        self._tell()

    def _on_orientation_changed(self) -> None:
        self._suggest(None)  # it was about the orientation before
        self._tell()

    def _tell(self, _: object = None) -> None:
        self.checklist_changed.emit()
