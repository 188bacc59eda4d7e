"""The activity of one place of a recording over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report, Vec3

TRACE_DIAMETER_UM = 10.0
"""Of the disc whose mean is taken: less than a soma, so that little else is in it."""

_FRAMES_AT_ONCE = 256
_BASELINE_PERCENT = 20.0


@dataclass(frozen=True, eq=False)
class Trace:
    """Brightness over time.

    Attributes
    ----------
    values : ndarray of float32, shape (T,)
        One value for each frame.
    relative : bool
        Whether they are changes relative to the baseline (dF/F), and not grey values.
    """

    values: Float32Array
    relative: bool


def activity_trace(
    volume: Volume,
    center_um: Vec3,
    *,
    diameter_um: float = TRACE_DIAMETER_UM,
    report: Report | None = None,
) -> Trace:
    """Return the mean brightness of a disc over time.

    Parameters
    ----------
    volume : Volume
        A recording, seen as one volume.
    center_um : Vec3
        Middle of the disc, µm (z, y, x); it lies in the nearest plane.
    diameter_um : float
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    Trace
        (F - F0) / F0 with the 20th percentile as F0, as is usual without knowing when the cell was
        silent; the mean grey values themselves where F0 is not positive.

    Raises
    ------
    InputError
        If there is but one frame, or the disc lies outside of the image.
    """
    recording = volume.recording
    if recording is None:
        raise InputError(f"'{volume.name}' is no recording: it has one frame only.")
    z, rows, columns, inside = _disc(volume, center_um, diameter_um / 2)
    box = (slice(z, z + 1), rows, columns)
    values = np.empty(recording.n_frames, dtype=np.float64)
    for start in range(0, len(values), _FRAMES_AT_ONCE):
        stop = min(start + _FRAMES_AT_ONCE, len(values))
        if report is not None:
            report(start, len(values), "reading the trace")
        frames = recording.frames(box, slice(start, stop))
        values[start:stop] = frames[:, 0][:, inside].mean(axis=1, dtype=np.float64)
    baseline = float(np.percentile(values, _BASELINE_PERCENT))
    if baseline <= 0:
        return Trace(values.astype(np.float32), relative=False)
    return Trace(((values - baseline) / baseline).astype(np.float32), relative=True)


def _disc(
    volume: Volume, center_um: Vec3, radius_um: float
) -> tuple[int, slice, slice, npt.NDArray[np.bool_]]:
    """Return the plane, the rows and columns around a disc, and which of their pixels it holds."""
    center, voxel = np.asarray(center_um), np.asarray(volume.voxel_size_um)
    shape = np.asarray(volume.shape)
    z = int(np.clip(np.round(center[0] / voxel[0]), 0, shape[0] - 1))
    # At least the pixel that the place falls on, however large pixels are.
    reach = np.maximum(radius_um, voxel[1:] / 2)
    first = np.clip(np.ceil((center[1:] - reach) / voxel[1:]), 0, shape[1:]).astype(int)
    last = np.clip(np.floor((center[1:] + reach) / voxel[1:]) + 1, 0, shape[1:]).astype(int)
    if (last <= first).any():
        raise InputError(f"The place lies outside of '{volume.name}', so it has no trace there.")
    y, x = (np.arange(a, b) * size for a, b, size in zip(first, last, voxel[1:], strict=True))
    distance = np.hypot((y - center[1])[:, None] / reach[0], (x - center[2]) / reach[1])
    inside = distance <= max(1.0, float(distance.min()))
    return z, slice(first[0], last[0]), slice(first[1], last[1]), inside
