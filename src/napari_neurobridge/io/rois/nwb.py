"""Plane segmentations of NWB files, read with h5py alone.

By its schema NWB stores x before y. Two programs that write it do otherwise, and say who they are
in the table's description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois import hdf5
from napari_neurobridge.io.rois.roi_set import (
    MOST_BYTES,
    Roi,
    RoiSet,
    check_size,
    numbered,
    roi_of_mask,
)
from napari_neurobridge.types import MaskAxes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_KIND = "PlaneSegmentation"
_CELL_COLUMNS = ("iscell", "keep", "Accepted")
"""Columns by which suite2p, CaImAn and NeuroConv say which ROIs are cells."""


_SUITE2P, _CAIMAN = "suite2p output", "CNMF_ROIs"
"""Descriptions: suite2p stores y before x; CaImAn stores (y, x), with pixels numbered down the
columns but laid out along the rows, so that its image is scrambled."""


def read_nwb(
    path: Path,
    *,
    every: bool = False,
    segmentation: str | None = None,
    mask_axes: MaskAxes | None = None,
) -> RoiSet:
    """Read the ROIs of one plane segmentation; uids hold its own ids.

    Parameters
    ----------
    path : Path
    every : bool
        Also those that the file says are no cells.
    segmentation : str, optional
        Name of the table, where there are several.
    mask_axes : MaskAxes, optional
        What is stored first; by default as the schema and the table's description say.

    Raises
    ------
    InputError
        If it cannot be read, holds no such table, or a mask is none.
    """
    check_size(path)
    with hdf5.opened(path) as file:
        table = _table(file, path, segmentation)
        description = _text(table.attrs.get("description"))
        ids = hdf5.values_of(table, "id")
        if ids is None or ids.ndim != 1 or ids.dtype.kind not in "iu" or not len(ids):
            raise InputError(f"{path} holds no ROI.")
        rows, kept_by = _kept(table, len(ids), description, every=every)
        uids = numbered("nwb", [int(id_) for id_ in ids])
        axes = mask_axes or (MaskAxes.YX if description == _SUITE2P else MaskAxes.XY)
        make = _Masks(table, path, len(ids), axes, by_column=description == _CAIMAN)
        rois = [make.roi(uids[row], row) for row in rows]
        return RoiSet(
            format="NWB",
            path=path,
            rois=rois,
            n_in_file=len(ids),
            kept_by=kept_by,
            index_base=0,
            planes_known=make.have_planes,
            shape=make.shape,
        )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _table(file: h5py.File, path: Path, name: str | None) -> h5py.Group:
    """Return the one plane segmentation, or that of a name."""
    found: dict[str, h5py.Group] = {}

    def look(_: str, item: Any) -> None:
        kind = _text(item.attrs.get("neurodata_type"))
        if isinstance(item, h5py.Group) and kind == _KIND:
            found[str(item.name).rsplit("/", 1)[-1]] = item

    file.visititems(look)
    if not found:
        raise InputError(f"{path} holds no plane segmentation of NWB.")
    names = ", ".join(sorted(found))
    if name is not None and name not in found:
        raise InputError(f"{path} holds no plane segmentation '{name}', but {names}.")
    if name is None and len(found) > 1:
        raise InputError(f"{path} holds several plane segmentations, {names}; choose one.")
    return found[name] if name is not None else next(iter(found.values()))


def _kept(
    table: h5py.Group, n_rois: int, description: str, *, every: bool
) -> tuple[list[int], str]:
    """Return the rows that are cells, and what said so."""
    rows = np.arange(n_rois)
    if description == _CAIMAN:
        # Its last rows are the background, which has no quality.
        quality = hdf5.values_of(table, "snr")
        if quality is not None and quality.shape == (n_rois,) and quality.dtype.kind == "f":
            rows = rows[np.isfinite(quality)]
    for name in () if every else _CELL_COLUMNS:
        said = hdf5.values_of(table, name)
        if said is None or len(said) != n_rois or said.dtype.kind not in "biuf":
            continue
        is_cell = (said if said.ndim == 1 else said[:, 0]).astype(np.float64) > 0.5
        return [int(row) for row in rows[is_cell[rows]]], name
    return [int(row) for row in rows], "all"


class _Masks:
    """The masks of a table, of whichever of three kinds it has.

    Attributes
    ----------
    shape : tuple of int or None
        (y, x) or (z, y, x) of the image, which only image masks say.
    have_planes : bool
        Whether masks say their planes.
    """

    def __init__(
        self, table: h5py.Group, path: Path, n_rois: int, axes: MaskAxes, *, by_column: bool
    ) -> None:
        self._path, self._axes, self._by_column = path, axes, by_column
        self.shape: tuple[int, ...] | None = None
        self._images = table.get("image_mask")
        self._pixels: npt.NDArray[Any] | None = None
        if isinstance(self._images, h5py.Dataset):
            if len(self._images) != n_rois or self._images.ndim not in (3, 4):
                raise InputError(f"{path} has other image masks than ROIs.")
            if np.prod([float(n) for n in self._images.shape[1:]]) > MOST_BYTES:
                raise InputError(f"{path} unpacks to more than any set of ROIs.")
            self.have_planes = self._images.ndim == 4
            self.shape = self._as_zyx(self._images.shape[1:])
            return
        name = "voxel_mask" if "voxel_mask" in table else "pixel_mask"
        self.have_planes = name == "voxel_mask"
        self._pixels = hdf5.values_of(table, name)
        ends = hdf5.values_of(table, f"{name}_index")
        if self._pixels is None or ends is None or len(ends) != n_rois:
            raise InputError(f"{path} has no masks of its ROIs.")
        self._ends = np.concatenate([[0], ends.astype(np.int64)])
        if (np.diff(self._ends) < 0).any() or self._ends[-1] > len(self._pixels):
            raise InputError(f"{path} has other masks than ROIs.")

    def _as_zyx(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Bring what is stored as (x, y[, z]), or (y, x[, z]), into the order (z, y, x)."""
        in_plane = values[:2] if self._axes is MaskAxes.YX or self._by_column else values[1::-1]
        return (*values[2:], *in_plane)

    def roi(self, uid: str, row: int) -> Roi:
        """Make the region of one row."""
        if self._pixels is None:
            pixels, weights = self._of_image(row)
        else:
            pixels, weights = self._of_list(self._pixels[self._ends[row] : self._ends[row + 1]])
        return roi_of_mask(uid, pixels, weights, path=self._path, index=row)

    def _of_image(self, row: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        mask = np.asarray(self._images[row])
        if self._by_column:
            mask = mask.reshape(-1).reshape(mask.shape, order="F")
        places = np.nonzero(mask)
        return np.column_stack(self._as_zyx(places)), mask[places]

    def _of_list(self, listed: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        names = listed.dtype.names
        columns = [listed[name] for name in names] if names else list(listed.T)
        if len(columns) != 3 + self.have_planes:
            raise InputError(f"{self._path} has masks that are no lists of pixels and weights.")
        return np.column_stack(self._as_zyx(tuple(columns[:-1]))), columns[-1]
