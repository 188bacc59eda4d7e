"""Label images: TIFF in which each cell's pixels hold its number, and 0 is background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.roi_set import RoiSet, numbered, roi_of_mask
from napari_neurobridge.io.tiff import open_tiff
from napari_neurobridge.io.volumes import READ_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.types import Vec3

_MOST_BYTES = 2**32


def read_label_image(path: Path, *, axes: str | None = None) -> RoiSet:
    """Read a plane or a volume of labels; uids and indices are the labels themselves.

    Parameters
    ----------
    path : Path
        TIFF of whole numbers.
    axes : str, optional
        Order of its axes, where the file does not say it.

    Raises
    ------
    InputError
        If it cannot be read, is no label image, or all of it is background.
    """
    labels, voxel_size_um = read_labels(path, axes=axes)
    flat = np.flatnonzero(labels)
    if not len(flat):
        raise InputError(f"{path} holds no label: all of it is 0.")
    values = labels.ravel()[flat]
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    if len(found) == 1 and ndimage.label(labels)[1] > 1:
        raise InputError(
            f"{path} is a mask with one value for all cells; a label image numbers them."
        )
    pixels = np.column_stack(np.unravel_index(flat[order], labels.shape))
    rows = [int(label) for label in found]
    rois = [
        roi_of_mask(uid, mine, path=path, index=row)
        for uid, row, mine in zip(
            numbered("label", rows), rows, np.split(pixels, starts[1:]), strict=True
        )
    ]
    is_volume = labels.shape[0] > 1
    return RoiSet(
        format="label image",
        path=path,
        rois=rois,
        n_in_file=len(rois),
        index_base=1,
        planes_known=is_volume,
        shape=labels.shape if is_volume else labels.shape[1:],
        voxel_size_um=voxel_size_um,
    )


def read_labels(
    path: Path, *, axes: str | None = None
) -> tuple[npt.NDArray[np.integer], Vec3 | None]:
    """Return the labels (Z, Y, X) of a TIFF, and its voxel size where the file says it.

    Raises
    ------
    InputError
        If it cannot be read or holds no labels.
    """
    source = open_tiff(path, axes)
    stored = source.levels[0]
    if np.dtype(stored.dtype).kind not in "iu":
        raise InputError(f"{path} holds {stored.dtype} and no whole numbers, so no labels.")
    if np.prod([float(n) for n in stored.shape]) * stored.dtype.itemsize > _MOST_BYTES:
        raise InputError(f"{path} unpacks to more than any label image.")
    try:
        labels = _as_zyx(np.asarray(stored[...]), source.axes, path)
    except READ_ERRORS as error:
        raise InputError(f"{path} is damaged ({error}).") from error
    if labels.min(initial=0) < 0:
        raise InputError(f"{path} holds negative numbers, which are no labels.")
    return labels, source.voxel_size_um


def _as_zyx(labels: npt.NDArray[Any], axes: str, path: Path) -> npt.NDArray[Any]:
    for axis, length in zip(axes, labels.shape, strict=True):
        if axis not in "zyx" and length > 1:
            raise InputError(f"{path} has several images along '{axis}'; a label image has one.")
    kept = [axis for axis in axes if axis in "zyx"]
    chosen = labels[tuple(slice(None) if axis in "zyx" else 0 for axis in axes)]
    ordered = chosen.transpose([kept.index(axis) for axis in "zyx" if axis in kept])
    return ordered.reshape((1,) * (3 - ordered.ndim) + ordered.shape)
