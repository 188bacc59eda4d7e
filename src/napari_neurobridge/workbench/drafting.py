"""From files to a project: what a person chooses before there is one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, NeuroBridgeError
from napari_neurobridge.io.rois.read import holds_rois
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workbench.draft import (
    POINTS_SUFFIX,
    PROJECT_SUFFIX,
    ImageChoice,
    PointsChoice,
    ProjectDraft,
)
from napari_neurobridge.workbench.session import Notice, Remedy
from napari_neurobridge.workflows.setup import create_project

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_neurobridge.types import Projection, Report, Role, Vec3
    from napari_neurobridge.workbench.imports import Imports
    from napari_neurobridge.workbench.session import Session

T = TypeVar("T")


class Drafting:
    """Chooses what a project is made of, and opens it; the first half of `Setup`.

    Parameters
    ----------
    session : Session
        Where the project lives.
    imports : Imports
        Takes dropped files of other programs.

    Attributes
    ----------
    draft : ProjectDraft
    """

    draft_changed = Signal()
    checklist_changed = Signal()

    def __init__(self, session: Session, imports: Imports) -> None:
        self.draft = ProjectDraft()
        self._session = session
        self._imports = imports
        self._offered: dict[Role, Path] = {}
        self._typed_axes: dict[Role, str | None] = {}

    def choose_image(
        self,
        role: Role,
        path: Path,
        *,
        voxel_size_um: Vec3 | None = None,
        suggested_um: Vec3 | None = None,
    ) -> None:
        """Read an image's metadata into the draft; notifies when it cannot be read.

        Parameters
        ----------
        role : Role
        path : Path
        voxel_size_um, suggested_um : Vec3, optional
            What is known beside the file: see `ImageChoice`.
        """
        read = partial(
            ImageChoice.from_file, voxel_size_um=voxel_size_um, suggested_um=suggested_um
        )
        self._choose({role: path}, {}, read)

    def choose_points(self, role: Role, path: Path) -> None:
        """Read a table of points into the draft; notifies when it cannot be read."""
        self._choose({}, {role: path})

    def _choose(
        self,
        images: Mapping[Role, Path],
        points: Mapping[Role, Path],
        read: Callable[..., ImageChoice] = ImageChoice.from_file,
    ) -> None:
        """Read files into the draft; asks first when that would close a project."""
        project = self._session.project
        if project is not None:
            start = Remedy("Start a new one", lambda: self._begin(images, points, read))
            text = f"{project.path.name} is open. Everything in it is saved."
            self._session.notified.emit(Notice(text, remedy=start))
            return
        self._begin(images, points, read)

    def _begin(
        self,
        images: Mapping[Role, Path],
        points: Mapping[Role, Path],
        read: Callable[..., ImageChoice],
    ) -> None:
        for role, path in images.items():
            self._offered[role] = path
            self._inspect(
                f"image {role}",
                partial(read, path, axes=self._typed_axes.get(role)),
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

    def set_axes(self, role: Role, axes: str | None) -> None:
        """Read a side's image by another order of axes; None: as its file says.

        That is the image chosen last, also when it was refused because its file does not say its
        axes, or the one to come. What does not fit is told, and leaves the draft as it was.
        """
        self._typed_axes[role] = axes
        path, image = self._offered.get(role), self.draft.images.get(role)
        if path is None:
            return
        read = partial(ImageChoice.from_file, path, axes=axes)
        if image is not None and Path(image.info.path) == path:
            read = partial(image.read_anew, axes)
        self._inspect(f"image {role}", read, partial(self._take_image, role))

    def set_voxel_size(self, role: Role, voxel_size_um: Vec3) -> None:
        """Set a voxel size, µm (z, y, x), that the file does not state."""
        self._session.attempt(
            lambda: self._set_draft(self.draft.with_voxel_size(role, voxel_size_um)),
            about=f"voxel size {role}",
        )

    def confirm_voxel_sizes(self) -> None:
        """Say that voxel sizes which look like mistakes are right."""
        self._set_draft(self.draft.with_confirmed_sizes())

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

    def _set_draft(self, draft: ProjectDraft) -> None:
        if self._session.project is not None:
            self._session.set_project(None)
        self.draft = draft
        self.draft_changed.emit()
        self.checklist_changed.emit()

    def _forget_draft(self) -> None:
        self.draft = ProjectDraft()
        self._offered.clear()
        self._typed_axes.clear()
