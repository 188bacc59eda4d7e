"""What every format of ROIs becomes: centres, sizes and outlines, in pixels of one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_neurobridge.types import Vec3

MOST_BYTES = 2**30
"""A larger file, or a file that unpacks to more, is no set of ROIs."""

_LARGEST_BOX = 2**24  # pixels around one ROI


@dataclass(frozen=True, eq=False)
class Roi:
    """One region.

    Attributes
    ----------
    uid : str
        How its file names it.
    center_px : ndarray, shape (3,)
        (z, y, x); the centre of the image's first pixel is 0.
    size_px : float
        Pixels, or voxels of a solid; 0 for a mere point.
    outline_px : ndarray, shape (V, 3)
        Closed polygon around it in its plane, of a solid in its widest one; empty for a point.
    box_px : ndarray, shape (2, 3)
        Smallest and largest pixel that it covers.
    index : int or None
        Its place in the file; see `RoiSet.index_base`.
    """

    uid: str
    center_px: npt.NDArray[np.float64]
    size_px: float
    outline_px: npt.NDArray[np.float64]
    box_px: npt.NDArray[np.float64]
    index: int | None = None


@dataclass(frozen=True, eq=False)
class RoiSet:
    """The regions of one file.

    Attributes
    ----------
    format : str
        Which program wrote it.
    path : Path
        The file that holds the regions.
    rois : list of Roi
        Those that are kept.
    n_in_file : int
        All of them.
    kept_by : str
        What chose among them.
    index_base : int or None
        Whether ``Roi.index`` counts from 0 or from 1.
    planes_known : bool
        Whether z is their plane; 0 otherwise.
    stack_positions : list of int or None
        From 0: places in a stack whose images may be planes, or frames of a recording.
    shape : tuple of int or None
        (y, x) or (z, y, x) of the image that they were found in.
    voxel_size_um : Vec3 or None
        µm (z, y, x), where the file itself says it.
    notes : tuple of str
        What a person should know, a sentence each.
    """

    format: str
    path: Path
    rois: list[Roi]
    n_in_file: int
    kept_by: str = "all"
    index_base: int | None = None
    planes_known: bool = False
    stack_positions: list[int] | None = None
    shape: tuple[int, ...] | None = None
    voxel_size_um: Vec3 | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.rois:
            left = f"; all of its {self.n_in_file} ROIs are left out" if self.n_in_file else ""
            raise InputError(f"{self.path} holds no cell{left}.")
        if self.shape is not None:
            self._check_inside(np.array((1, *self.shape)[-3:]))

    @property
    def solid(self) -> bool:
        """Whether they extend over several planes, so that sizes are volumes."""
        return any(roi.box_px[0, 0] < roi.box_px[1, 0] for roi in self.rois)

    def _check_inside(self, shape: npt.NDArray[np.intp]) -> None:
        for roi in self.rois:
            beyond = roi.box_px[1][-2:] > shape[-2:] - 1
            if (roi.box_px[0][-2:] < 0).any() or beyond.any():
                size = " × ".join(str(n) for n in shape[-2:])
                raise InputError(
                    f"ROI '{roi.uid}' of {self.path} lies outside its image of {size} pixels."
                )


def roi_of_mask(
    uid: str,
    pixels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    path: Path,
    index: int | None = None,
) -> Roi:
    """Make a region of the pixels that it covers.

    Parameters
    ----------
    uid : str
    pixels : array_like of int, shape (N, 3) or (N, 2)
        (z, y, x) or (y, x), each once.
    weights : array_like, shape (N,), optional
        What each pixel counts for the centre.
    path : Path
        For messages.
    index : int, optional
        Its place in the file.

    Raises
    ------
    InputError
        If there are no pixels, they are no whole numbers, are negative, or too far apart to be
        of one cell.
    """
    covered = _as_pixels(uid, pixels, path)
    low, high = covered.min(axis=0), covered.max(axis=0)
    if (low < 0).any():
        raise InputError(f"ROI '{uid}' of {path} has pixels before the first one of its image.")
    if np.prod(high[1:] - low[1:] + 1.0) > _LARGEST_BOX:
        raise InputError(f"ROI '{uid}' of {path} spans more pixels than any cell.")
    share = _as_weights(uid, weights, len(covered), path)
    return Roi(
        uid,
        share @ covered / share.sum(),
        float(len(covered)),
        outline_of(covered),
        np.array([low, high], dtype=np.float64),
        index,
    )


def _as_pixels(uid: str, pixels: npt.ArrayLike, path: Path) -> npt.NDArray[np.int64]:
    given = np.asarray(pixels)
    if given.ndim != 2 or given.shape[1] not in (2, 3) or given.dtype.kind not in "iuf":
        raise InputError(f"ROI '{uid}' of {path} is no list of pixels.")
    if not len(given):
        raise InputError(f"ROI '{uid}' of {path} covers no pixel.")
    if not (np.abs(given.astype(np.float64)) < 2**31).all():  # as NaN is not
        raise InputError(f"ROI '{uid}' of {path} has pixels that no image has.")
    whole = given.astype(np.int64)
    if (whole != given).any():
        raise InputError(f"ROI '{uid}' of {path} has pixels that are no whole numbers.")
    whole = np.pad(whole, ((0, 0), (3 - whole.shape[1], 0)))
    return np.asarray(whole)


def _as_weights(
    uid: str, weights: npt.ArrayLike | None, n_pixels: int, path: Path
) -> npt.NDArray[np.float64]:
    if weights is None:
        return np.ones(n_pixels)
    given = np.asarray(weights)
    if given.shape != (n_pixels,) or given.dtype.kind not in "iufb":
        raise InputError(f"ROI '{uid}' of {path} has other weights than pixels.")
    share = np.clip(given.astype(np.float64), 0.0, None)
    if not np.isfinite(share).all() or share.sum() <= 0:
        raise InputError(f"ROI '{uid}' of {path} has weights that are no positive numbers.")
    return share


def outline_of(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the longest outline of a mask, (V, 3), in the plane where the mask is widest.

    Parameters
    ----------
    pixels : ndarray of int, shape (N, 3)
        (z, y, x).
    """
    from skimage.measure import find_contours  # slow to import

    planes, counts = np.unique(pixels[:, 0], return_counts=True)
    plane = planes[counts.argmax()]
    inside = pixels[pixels[:, 0] == plane, 1:]
    low = inside.min(axis=0) - 1  # a margin, so that every outline is closed
    mask = np.zeros(inside.max(axis=0) - low + 2)
    mask[tuple((inside - low).T)] = 1.0
    longest = max(find_contours(mask, 0.5), key=len)
    return np.column_stack([np.full(len(longest), float(plane)), longest + low])


def check_size(path: Path) -> None:
    """Refuse a file that is larger than any set of ROIs, before it is read.

    Raises
    ------
    InputError
        If it is, or cannot be looked at.
    """
    try:
        n_bytes = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"{path} holds {n_bytes / 2**30:.1f} GiB, which is more than any set of ROIs."
        )


def numbered(prefix: str, indices: Iterable[int]) -> list[str]:
    """Return names such as "s2p-00042", which sort as their numbers do."""
    return [f"{prefix}-{index:05d}" for index in indices]
