"""The ex-vivo image under the current alignment, over the in-vivo one, while it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Vec3
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

_JOB = "overlay"
_PIXELS = 300
LEAST_FIELD_UM, MOST_FIELD_UM = 100.0, 800.0


@dataclass(frozen=True, eq=False)
class WarpedImage:
    """The ex-vivo tissue where the in-vivo canvas looks.

    Attributes
    ----------
    pixels : ndarray, shape (rows, columns)
        In [0, 1], projected over the slab, along the in-vivo rows and columns.
    center_um : Vec3
        Its middle in the in-vivo space.
    axes : (int, int, int)
        The in-vivo axes of depth, rows and columns.
    pixel_um : float
    """

    pixels: Float32Array
    center_um: Vec3
    axes: tuple[int, int, int]
    pixel_um: float

    @property
    def scale_um(self) -> npt.NDArray[np.float64]:
        """Size of a pixel along (z, y, x)."""
        scale = np.ones(3)
        scale[list(self.axes[1:])] = self.pixel_um
        return scale

    @property
    def corner_um(self) -> npt.NDArray[np.float64]:
        """Centre of the first pixel, µm (z, y, x)."""
        rows, columns = self.pixels.shape
        corner = np.array(self.center_um)
        corner[self.axes[1]] -= (rows - 1) / 2 * self.pixel_um
        corner[self.axes[2]] -= (columns - 1) / 2 * self.pixel_um
        return corner


class Overlay:
    """Warps the ex-vivo image to wherever the in-vivo canvas looks.

    It is cut as all crops are, in the alignment's frame at the middle of the view: what bends
    within the view is not followed. In a random check it would tell what the program expects,
    so there is none.

    Parameters
    ----------
    session : Session
    matches : Matches
        Whose alignment it follows.
    questions : Questions
        Whether the current one is a random check, and whether the pictures are swapped.

    Attributes
    ----------
    wanted : bool
        Whether somebody wants to see it.
    opacity : float
        From 0 to 1.
    """

    changed = Signal()

    def __init__(self, session: Session, matches: Matches, questions: Questions) -> None:
        self.wanted = False
        self.opacity = 0.7
        self._image: WarpedImage | None = None
        self._session = session
        self._matches = matches
        self._shown: QuestionSnapshot = questions.snapshot
        self._view: tuple[Vec3, float, float] | None = None
        session.project_changed.connect(self._on_project_changed)
        matches.match_changed.connect(self._on_match_changed)
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    @property
    def offered(self) -> bool:
        """Whether there are two images and an alignment between them."""
        project = self._session.project
        sides = () if project is None else (project.in_vivo(), project.ex_vivo())
        return self._matches.has_match and all(
            project is not None and project.dataset(name).uri is not None for name in sides
        )

    @property
    def image(self) -> WarpedImage | None:
        """What is to be shown; an older one stays until a newer is there."""
        return self._image if self.wanted and not self._shown.blind else None

    @property
    def flickered(self) -> bool:
        """Whether it is shown in the in-vivo image's place."""
        return self._shown.flickered

    def show(self, wanted: bool) -> None:
        """Show or hide it."""
        self.wanted = wanted and self.offered
        self._cut()

    def set_opacity(self, opacity: float) -> None:
        """Let more or less of it be seen."""
        self.opacity = min(max(opacity, 0.0), 1.0)
        self.changed.emit()

    def look(self, center_um: Vec3, field_um: float, slab_um: float) -> None:
        """Follow the in-vivo canvas.

        Parameters
        ----------
        center_um : Vec3
            Middle of the view, µm (z, y, x) of the in-vivo space.
        field_um : float
            How much tissue it shows across.
        slab_um : float
            Thickness of the projected tissue.
        """
        field = float(np.clip(field_um, LEAST_FIELD_UM, MOST_FIELD_UM))
        view = (center_um, field, slab_um)
        if view != self._view:
            self._view = view
            if self.wanted:
                self._cut()

    def _cut(self) -> None:
        project, view = self._session.project, self._view
        # What is still on its way belongs to another view.
        self._session.jobs.forget(_JOB)
        if project is None or view is None or not self.wanted or not self.offered:
            self._set(None)
            return
        self._session.jobs.submit(
            _JOB, lambda: warped_image(project, *view), self._set, self._refuse, beside=True
        )

    def _set(self, image: WarpedImage | None) -> None:
        self._image = image
        self.changed.emit()

    def _refuse(self, error: NeuroBridgeError) -> None:
        self.wanted = False
        self._set(None)
        self._session.show_error(error)

    def _on_project_changed(self, _: object) -> None:
        self.wanted, self._view = False, None
        self._set(None)

    def _on_match_changed(self) -> None:
        if not self.offered:
            self.wanted = False
        self._cut()

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        old, self._shown = self._shown, shown
        if (shown.blind, shown.flickered) != (old.blind, old.flickered):
            self.changed.emit()


def warped_image(project: Project, center_um: Vec3, field_um: float, slab_um: float) -> WarpedImage:
    """Return the ex-vivo image as it lies around a place of the in-vivo space.

    Parameters
    ----------
    project : Project
    center_um : Vec3
        µm (z, y, x) of the in-vivo space.
    field_um, slab_um : float
        Side and thickness of the tissue.

    Raises
    ------
    InputError
        If the image cannot be read, or the alignment does not reach the place.
    """
    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.project.crops import aligned_frame

    source, target = project.in_vivo(), project.ex_vivo()
    there = project.alignment(source, target).map_points(np.array([center_um]))
    spec = CropSpec(size_um=field_um, pixels=_PIXELS, slab_um=slab_um)
    (pixels,) = project.crops(target, there, aligned_frame(project, target, source), spec=spec)
    orientation = project.dataset(source).used_orientation
    depth, rows, columns = ("zyx".index(axis) for axis in orientation.axes[1::2])
    # A crop runs along the optical axis' rows and columns, in the dataset's own sense or against.
    for axis, sign in enumerate(orientation.axes[2::2]):
        if sign == "-":
            pixels = np.flip(pixels, axis)
    return WarpedImage(pixels, center_um, (depth, rows, columns), spec.pixel_um)
