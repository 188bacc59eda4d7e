"""What people painted over a dataset's image: labels of somata and of background, on disk.

``labels/<dataset>/<z>-<y>-<x>.npz`` of a project holds one region, named by its first voxel. Of
its voxels only the box that is painted is stored.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.io.blocks import Index3
    from napari_neurobridge.project.folder import Project

UNLABELLED, BACKGROUND, CELL = 0, 1, 2
"""What painted labels mean: nobody said anything of 0, 1 is background, all others are somata."""

LABEL_TYPE = np.uint16

_FOLDER = "labels"

_READ_ERRORS = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False)
class PaintedRegion:
    """A box of an image's finest level that somebody paints in.

    Attributes
    ----------
    start : tuple of int
        Its first voxel (z, y, x).
    labels : ndarray of int, shape (Z, Y, X)
        0 where nobody said anything, 1 for background, and any other number for somata.
    """

    start: Index3
    labels: npt.NDArray[np.integer]

    @property
    def stop(self) -> Index3:
        """One voxel beyond its last."""
        z, y, x = (a + n for a, n in zip(self.start, self.labels.shape, strict=True))
        return z, y, x

    def holds(self, voxel: Sequence[float]) -> bool:
        """Return whether a voxel (z, y, x) lies in it."""
        return all(
            a <= v < b for a, v, b in zip(self.start, np.rint(voxel), self.stop, strict=True)
        )

    def painted_box(self) -> tuple[slice, slice, slice] | None:
        """Return the smallest box of `labels` with all that is painted; None if nothing is."""
        box: list[slice] = []
        within = self.labels
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            rows = np.flatnonzero(within.any(axis=others))
            if not len(rows):
                return None
            box.append(slice(int(rows[0]), int(rows[-1]) + 1))
            within = within[(*[slice(None)] * axis, box[-1])]
        return box[0], box[1], box[2]


def save_region(project: Project, dataset: str, region: PaintedRegion) -> Path:
    """Write a region; an older state of it is replaced in one step.

    One in which nothing is painted, and never was, leaves no file.

    Raises
    ------
    InputError
        If the dataset is unknown, or its folder cannot be written.
    """
    name = "-".join(map(str, region.start))
    path = _folder(project, dataset) / f"{name}.npz"
    box = region.painted_box()
    if box is None:
        if not path.is_file():
            return path
        box = (slice(0), slice(0), slice(0))
    try:
        with atomic_write(path) as temporary:
            np.savez_compressed(
                temporary,
                start=np.array(region.start),
                shape=np.array(region.labels.shape),
                at=np.array([part.start or 0 for part in box]),
                painted=region.labels[box],
            )
    except OSError as error:
        raise InputError(f"The painted labels {path} cannot be written: {error}.") from error
    return path


def painted_regions(project: Project, dataset: str) -> list[PaintedRegion]:
    """Return all regions that were painted in a dataset, with arrays of their own.

    Raises
    ------
    InputError
        If the dataset is unknown, or a file is damaged.
    """
    return [_read(path) for path in sorted(_folder(project, dataset).glob("[!.]*.npz"))]


def _folder(project: Project, dataset: str) -> Path:
    return project.path / _FOLDER / project.dataset(dataset).name


def _read(path: Path) -> PaintedRegion:
    try:
        with np.load(path, allow_pickle=False) as stored:
            start, shape, at = (
                tuple(int(n) for n in stored[name]) for name in ("start", "shape", "at")
            )
            painted = stored["painted"]
        if not len(start) == len(shape) == len(at) == painted.ndim == 3:
            raise ValueError(path)  # as of any other damage
        labels = np.zeros(shape, dtype=LABEL_TYPE)
        box = tuple(slice(a, a + n) for a, n in zip(at, painted.shape, strict=True))
        labels[box] = painted
    except _READ_ERRORS as error:
        raise InputError(f"The painted labels {path} are damaged; delete the file.") from error
    return PaintedRegion((start[0], start[1], start[2]), labels)
