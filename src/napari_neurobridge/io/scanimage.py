"""Axes and pixel size of ScanImage files, from the header of ScanImage 2016 and later.

The names are ScanImage's own properties, ``SI.hStackManager`` and so on. A page is one
frame of one channel; channels follow each other fastest. A slow stack takes all frames
of a slice before it moves on, a fast one all slices of a volume.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt


def read_header(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Return the properties that hold for the whole file, their names without "SI."."""
    properties = (tif.scanimage_metadata or {}).get("FrameData")
    if not properties:
        properties = tifffile.matlabstr2py(tif.pages.first.software)
    return {str(name).removeprefix("SI."): value for name, value in properties.items()}


def arrange_pages(tif: tifffile.TiffFile, axes: str | None = None) -> tifffile.TiffPageSeries:
    """Arrange the pages by slice, frame and channel.

    Fly-back frames are left out, and so is a last slice or volume that was not
    finished, as when a recording is stopped by hand.

    Parameters
    ----------
    tif : TiffFile
        An opened ScanImage file.
    axes : str, optional
        Three axes here mean "one page after the other", whatever the header says.

    Raises
    ------
    InputError
        If not one slice or volume was finished.
    """
    pages, first = list(tif.pages), tif.pages.first
    properties = read_header(tif)
    if not any(name.startswith("hChannels") for name in properties) or len(axes or "") == 3:
        order, lead = np.arange(len(pages)), "I"
    else:
        order, lead = _order(properties, len(pages))
    if order.size == 0:
        raise InputError(f"{tif.filename} holds not one finished volume; record it again.")
    kept = [(axis, n) for axis, n in zip(lead, order.shape, strict=True) if n > 1]
    return tifffile.TiffPageSeries(
        [pages[index] for index in order.ravel()],
        (*(n for _, n in kept), *first.shape),
        first.dtype,
        "".join(axis for axis, _ in kept) + first.axes,
        parent=tif,
        kind="scanimage",
    )


def _order(properties: dict[str, Any], n_pages: int) -> tuple[npt.NDArray[np.int64], str]:
    """Return page numbers as an array, and what its axes are."""
    channels = int(np.size(properties["hChannels.channelSave"]))
    n_frames = n_pages // channels
    stack = {
        name.removeprefix("hStackManager."): value
        for name, value in properties.items()
        if name.startswith("hStackManager.")
    }
    slices = int(stack.get("actualNumSlices") or stack.get("numSlices") or 1)
    frames = float(stack.get("framesPerSlice", 1))
    frames /= float(properties.get("hScan2D.logAverageFactor", 1))
    if slices == 1 or stack.get("enable") is False or not math.isfinite(frames):
        return _numbers(n_frames, 1, channels)[:, 0], "TC"
    if frames <= 1 and (properties.get("hFastZ.enable") or stack.get("numVolumes", 1) > 1):
        with_flyback = int(stack.get("numFramesPerVolumeWithFlyback") or slices)
        volumes = n_frames // with_flyback
        return _numbers(volumes, with_flyback, channels)[:, :slices], "TZC"
    per_slice = max(round(frames), 1)
    return _numbers(n_frames // per_slice, per_slice, channels), "ZTC"


def _numbers(slow: int, fast: int, channels: int) -> npt.NDArray[np.int64]:
    return np.arange(slow * fast * channels).reshape(slow, fast, channels)


def spacing_um(
    tif: tifffile.TiffFile, page_shape: tuple[int, ...]
) -> tuple[float | None, float | None, float | None]:
    """Return slice distance, pixel height and width in µm, ``None`` where not written.

    The pixel is the field of view over the number of pixels; older files give the field
    in degrees and µm per degree. With several regions in one page there is no one field.
    """
    properties = read_header(tif)
    step = properties.get("hStackManager.actualStackZStepSize")
    step = step or properties.get("hStackManager.stackZStepSize")
    z = abs(float(step)) if step else None
    if properties.get("hRoiManager.mroiEnable"):
        return z, None, None
    um_per_unit = 1.0
    corners = properties.get("hRoiManager.imagingFovUm")
    if corners is None:
        corners = properties.get("hRoiManager.imagingFovDeg")
        um_per_unit = float(properties.get("objectiveResolution") or 0.0)
    if corners is None or np.size(corners) != 8 or um_per_unit <= 0:
        return z, None, None
    width, height = np.ptp(np.asarray(corners, dtype=float).reshape(4, 2), axis=0) * um_per_unit
    if not (width > 0 and height > 0):
        return z, None, None
    return z, float(height) / page_shape[-2], float(width) / page_shape[-1]
