"""The tissue around the mouse and around its place on the other side, for landmarks to be placed.

A block of tissue is cut in the background and kept; while the mouse stays within it, a picture is
a part of that block and costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_neurobridge.io.grey import grey_levels
from napari_neurobridge.spaces.orientation import Orientation

if TYPE_CHECKING:
    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Expected, Vec3
    from napari_neurobridge.workbench.ghost import GhostCursor
    from napari_neurobridge.workbench.point_landmarks import PointLandmarks
    from napari_neurobridge.workbench.session import Session

FIELD_UM = 40.0
"""Side of a picture; drawn 160 pixels wide, it is some four times as large as a canvas shows."""

_BLOCK_UM = 3 * FIELD_UM
_PIXEL_UM = 0.4
SLAB_UM = 6.0
"""Thin, so that a point of another depth is not taken for one of this depth."""

# A block serves places that lie no farther from its plane.
_DEPTH_UM = 1.5


@dataclass(frozen=True, eq=False)
class Magnified:
    """A picture of the tissue around a place.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (n, n)
        Along the rows and columns of the dataset's canvas; the place is in the middle.
    what : str
        Whose place it is: "pointer", "expected" or "clicked".
    expected_place : Expected or None
        Where the place itself is uncertain.
    axes : (int, int)
        The dataset's axes along rows and columns.
    signs : (int, int)
        -1 where a row or column runs against its axis.
    """

    pixels: npt.NDArray[np.uint8]
    what: str
    expected_place: Expected | None
    axes: tuple[int, int]
    signs: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TissueBlock:
    """A block of tissue, projected along the two-photon optical axis.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (N, N)
    center_um : ndarray, shape (3,)
        Its middle, (z, y, x).
    axes, signs : tuple of int, length 3
        Which axis of the dataset depth, rows and columns run along, and -1 where against it.
    """

    pixels: npt.NDArray[np.uint8]
    center_um: npt.NDArray[np.float64]
    axes: tuple[int, int, int]
    signs: tuple[int, int, int]

    def around(self, place_um: Vec3) -> npt.NDArray[np.uint8] | None:
        """Return the pixels within `FIELD_UM` of a place; None where the block lacks some."""
        offset = (np.asarray(place_um) - self.center_um)[list(self.axes)] * self.signs
        if abs(offset[0]) > _DEPTH_UM:
            return None
        size, field = len(self.pixels), round(FIELD_UM / _PIXEL_UM)
        first = np.rint(offset[1:] / _PIXEL_UM + (size - field) / 2).astype(int)
        if (first < 0).any() or (first + field > size).any():
            return None
        row, column = first.tolist()
        return self.pixels[row : row + field, column : column + field]


class Magnifier:
    """Shows the tissue around the mouse, and where its place is expected, enlarged.

    While landmarks are placed; once a point was clicked on one side, that side shows what is
    around it, so that the other side can be compared with it.

    Parameters
    ----------
    session : Session
        Where the project lives.
    ghost : GhostCursor
        Knows where the mouse is, and where on the other side that is expected.
    landmarks : PointLandmarks
        Whether landmarks are being placed, and what was clicked.

    Attributes
    ----------
    wanted : bool
        Whether somebody wants to see it.
    """

    changed = Signal()

    def __init__(self, session: Session, ghost: GhostCursor, landmarks: PointLandmarks) -> None:
        self.wanted = True
        self._session = session
        self._ghost = ghost
        self._landmarks = landmarks
        self._blocks: dict[str, TissueBlock] = {}
        self._under_way: set[str] = set()
        self._shown = False
        session.project_changed.connect(self._on_project_changed)
        session.orientation_changed.connect(self._forget)
        ghost.changed.connect(self._look)
        landmarks.changed.connect(self._look)

    @property
    def active(self) -> bool:
        """Whether there is something to be enlarged."""
        return self.wanted and self._landmarks.placing

    def show(self, wanted: bool) -> None:
        """Show or hide it."""
        self.wanted, self._shown = wanted, True
        self._look()

    def picture(self, dataset: str) -> Magnified | None:
        """Return what a dataset's canvas is to show; None where there is nothing, or not yet."""
        place = self._places().get(dataset) if self.active else None
        block = self._blocks.get(dataset)
        if place is None or block is None:
            return None
        what, place_um, expected = place
        pixels = block.around(place_um)
        if pixels is None:
            return None
        return Magnified(pixels, what, expected, block.axes[1:], block.signs[1:])

    def _places(self) -> dict[str, tuple[str, Vec3, Expected | None]]:
        """Return by dataset whose place is looked at, where that is, and how uncertain."""
        mouse, expected, begun = self._ghost.mouse, self._ghost.place, self._landmarks.begun
        found: dict[str, tuple[str, Vec3, Expected | None]] = {}
        if mouse is None:
            return found
        if expected is not None:
            found[expected.dataset] = "expected", expected.where.center_um, expected.where
        if begun is not None:
            found[begun[0]] = "clicked", begun[1], None
        found[mouse[0]] = "pointer", mouse[1], None
        return found

    def _look(self) -> None:
        project = self._session.project
        if project is not None and self.active:
            for dataset, (_, place_um, _) in self._places().items():
                block = self._blocks.get(dataset)
                lacks = block is None or block.around(place_um) is None
                if lacks and dataset not in self._under_way and _has_image(project, dataset):
                    self._cut(project, dataset, place_um)
        before, self._shown = self._shown, self.active
        if before or self._shown:
            self.changed.emit()

    def _cut(self, project: Project, dataset: str, place_um: Vec3) -> None:
        self._under_way.add(dataset)

        def keep(block: TissueBlock) -> None:
            self._under_way.discard(dataset)
            if self._session.project is project:
                self._blocks[dataset] = block
                self._look()  # the mouse may have gone on

        def refuse(error: NeuroBridgeError) -> None:
            # Once an image cannot be read, no move of the mouse is to try again.
            self.wanted = False
            self._under_way.discard(dataset)
            self._session.show_error(error)
            self.changed.emit()

        self._session.jobs.submit(
            _job(dataset), lambda: cut_block(project, dataset, place_um), keep, refuse, beside=True
        )

    def _on_project_changed(self, _: object) -> None:
        self._forget()

    def _forget(self) -> None:
        for dataset in self._under_way:
            self._session.jobs.forget(_job(dataset))
        self._blocks, self._under_way = {}, set()
        self._look()


def cut_block(project: Project, dataset: str, place_um: Vec3) -> TissueBlock:
    """Cut the tissue around a place as the dataset's canvas shows it, neither turned nor scaled.

    Parameters
    ----------
    project : Project
    dataset : str
        One that has an image.
    place_um : Vec3
        µm (z, y, x).

    Raises
    ------
    InputError
        If the image cannot be read.
    """
    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.spaces.crop_frame import CropFrame

    axes = project.dataset(dataset).used_orientation.axes
    as_shown = Orientation(axes=axes)
    spec = CropSpec(size_um=_BLOCK_UM, pixels=round(_BLOCK_UM / _PIXEL_UM), slab_um=SLAB_UM)
    (crop,) = project.crops(dataset, [place_um], CropFrame(as_shown.linear()), spec=spec)
    down, right, deeper = (-1 if sign == "-" else 1 for sign in (axes[2], axes[4], axes[0]))
    return TissueBlock(
        grey_levels(crop), np.array(place_um), as_shown.axis_order, (deeper, down, right)
    )


def _job(dataset: str) -> str:
    return f"magnify {dataset}"


def _has_image(project: Project, dataset: str) -> bool:
    return dataset in project.datasets_with_images
