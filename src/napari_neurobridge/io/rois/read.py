"""Which format a file or folder of ROIs is in, and its ROIs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.suite2p import STAT, Kept, plane_folder, read_suite2p

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.io.rois.roi_set import RoiSet
    from napari_neurobridge.types import MaskAxes

_IMAGEJ = (".roi", ".zip")
_CAIMAN = (".hdf5", ".h5", ".npz")
_NWB = (".nwb",)
_LABELS = (".tif", ".tiff")
ROI_SUFFIXES = (*_IMAGEJ, *_CAIMAN, *_NWB)
"""Of files that hold ROIs and cannot be images; a TIFF can be either."""


@dataclass(frozen=True)
class RoiReading:
    """What a file may leave open.

    Attributes
    ----------
    kept : Kept
        Which ROIs are cells.
    axes : str or None
        Order of a label image's axes.
    segmentation : str or None
        Which plane segmentation of an NWB file.
    mask_axes : MaskAxes or None
        What the masks of an NWB file store first.
    """

    kept: Kept = field(default_factory=Kept)
    axes: str | None = None
    segmentation: str | None = None
    mask_axes: MaskAxes | None = None


def holds_rois(path: Path) -> bool:
    """Return whether a path is that of ROIs by its name, and not of an image or a table."""
    if path.is_dir():
        # Not deeper: the folder may be an OME-Zarr of a million chunks.
        places = (STAT, f"plane*/{STAT}", f"suite2p/plane*/{STAT}")
        return any(any(path.glob(place)) for place in places)
    return path.name == STAT or path.suffix.lower() in ROI_SUFFIXES


def read_rois(
    path: Path,
    reading: RoiReading | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
) -> RoiSet:
    """Read ROIs of ImageJ, suite2p, CaImAn, NWB, or a label image.

    Parameters
    ----------
    path : Path
    reading : RoiReading, optional
        What the file leaves open.
    image_shape : (int, int), optional
        (y, x) of the image that they lie in, for files that do not say it.

    Raises
    ------
    InputError
        If the format is unknown, the file cannot be read, or it holds no cell.
    """
    reading = reading or RoiReading()
    if not path.exists():
        raise InputError(f"There is no file or folder {path}.")
    if plane_folder(path) is not None:
        return read_suite2p(path, reading.kept)
    if reading.kept.min_probability is not None:
        raise InputError(f"Only suite2p's ROIs have a probability to choose by, not {path}.")
    suffix = path.suffix.lower()
    # Each reader is imported when it is needed: together they take a while to load.
    if path.is_file() and suffix in _IMAGEJ:
        from napari_neurobridge.io.rois.imagej import read_imagej

        return read_imagej(path)
    if path.is_file() and suffix in _CAIMAN:
        from napari_neurobridge.io.rois.caiman import read_caiman

        return read_caiman(path, every=reading.kept.every, image_shape=image_shape)
    if path.is_file() and suffix in _NWB:
        from napari_neurobridge.io.rois.nwb import read_nwb

        return read_nwb(
            path,
            every=reading.kept.every,
            segmentation=reading.segmentation,
            mask_axes=reading.mask_axes,
        )
    if path.is_file() and suffix in _LABELS:
        from napari_neurobridge.io.rois.label_image import read_label_image

        return read_label_image(path, axes=reading.axes)
    raise InputError(
        f"{path} is no known file of ROIs: those are ImageJ's .zip and .roi, suite2p's folder with "
        "stat.npy, CaImAn's .hdf5 and .npz, .nwb, label images (.tif), and .csv."
    )
