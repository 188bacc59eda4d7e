"""What already lies in the viewer, brought into a project."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.tables import COLUMNS, write_points, write_rows
from napari_neurobridge.workbench.session import Notice, Remedy
from napari_neurobridge.workflows.layers import is_in_its_file, positions_um, save_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.types import FloatArray, Report, Role
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.setup import Setup
    from napari_neurobridge.workflows.layers import LayerImage, LayerPoints

SUFFIX = ".ome.zarr"
SAVE_JOB = "save layer"


class LayersIn:
    """Takes layers as images and points of a project.

    Parameters
    ----------
    session : Session
    setup : Setup
        Takes the files that come of them.

    Attributes
    ----------
    path_wanted : Signal
        Carries the role and the image that has to be written, and asks where.
    """

    path_wanted = Signal(object, object)

    def __init__(self, session: Session, setup: Setup) -> None:
        self._session = session
        self._setup = setup
        self._taken: dict[Role, tuple[Path, LayerImage]] = {}
        # Tables of points, until the project has them.
        self._tables = tempfile.TemporaryDirectory(prefix="neurobridge-points-")

    # --- images ----------------------------------------------------------------------

    def use_image(self, role: Role, image: LayerImage) -> None:
        """Let a layer's image be one side: from its file, or else from a copy to be written."""

        def take(in_file: bool) -> None:
            if in_file and image.path is not None:
                self._take(role, image, image.path)
            else:
                self.path_wanted.emit(role, image)

        self._session.jobs.submit(
            "layer's file", partial(is_in_its_file, image), take, self._session.show_error
        )

    def save_image(self, role: Role, image: LayerImage, path: Path) -> None:
        """Write a layer's image as OME-Zarr in the background, and take that as one side."""
        if not path.name.endswith(".zarr"):
            path = path.with_name(path.name + SUFFIX)

        def save(report: Report) -> Path:
            return save_image(image, path, report=report)

        def refuse(error: NeuroBridgeError) -> None:
            if not isinstance(error, Cancelled):
                self._session.show_error(error)

        self._session.jobs.follow(
            SAVE_JOB,
            save,
            partial(self._take, role, image),
            refuse,
            title="Save layer",
            beside=True,
        )

    def _take(self, role: Role, image: LayerImage, path: Path) -> None:
        self._taken[role] = (path, image)
        self._setup.choose_image(
            role, path, voxel_size_um=image.voxel_size_um, suggested_um=image.suggested_um
        )

    # --- points ----------------------------------------------------------------------

    def use_points(self, role: Role, points: LayerPoints) -> None:
        """Let a layer's points be the somata of one side."""

        def take(um: FloatArray) -> None:
            self._setup.choose_points(role, self._write(points, um))

        choice = self._setup.draft.images.get(role)
        path, image = self._taken.get(role, (None, None))
        if choice is None or path is None or Path(choice.info.path) != path:
            image = None
        voxels = None if choice is None else choice.voxel_size_um
        self._with_unit(points, positions_um(points, image=image, voxel_size_um=voxels), take)

    def add_points(self, dataset: str, points: LayerPoints) -> None:
        """Add a layer's points to the somata of a dataset of the open project."""

        def take(um: FloatArray) -> None:
            self._setup.import_points(dataset, self._write(points, um))

        def add() -> None:
            voxels = self._session.require_project().dataset(dataset).used_voxel_size_um
            self._with_unit(points, positions_um(points, voxel_size_um=voxels), take)

        self._session.attempt(add)

    def _with_unit(
        self, points: LayerPoints, um: FloatArray | None, take: Callable[[FloatArray], None]
    ) -> None:
        """Take positions in µm, or ask where nothing says the unit."""
        if um is not None:
            take(um)
        elif points.scaled:
            text = f"'{points.name}' has a scale and no unit of length."
            remedy = Remedy("Its scale is in µm", lambda: take(points.world))
            self._session.notified.emit(Notice(text, remedy=remedy))
        else:
            self._session.show_error(
                InputError(
                    f"'{points.name}' is in pixels: choose the image of its side and its voxel "
                    "size first, or give the layer a scale in µm."
                )
            )

    def _write(self, points: LayerPoints, um: FloatArray) -> Path:
        name = "".join(c if c.isalnum() or c in " -_" else "_" for c in points.name).strip()
        path = Path(self._tables.name) / f"{name or 'points'}.csv"
        if points.uids is None:
            write_rows(path, COLUMNS, um.tolist())
        else:
            write_points(path, points.uids, um)
        return path
