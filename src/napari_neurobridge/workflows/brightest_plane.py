"""Putting a soma that was clicked in a slab at the depth where it is brightest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM

if TYPE_CHECKING:
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3


@dataclass(frozen=True)
class Slab:
    """What a canvas projected when it was clicked.

    Attributes
    ----------
    depth_axis : int
        The axis of (z, y, x) that it looks along.
    half_um : float
        Half of the slab's thickness.
    """

    depth_axis: int
    half_um: float


def at_brightest_plane(project: Project, dataset: str, center_um: Vec3, slab: Slab) -> Vec3:
    """Return a place moved along the depth axis to where a soma there is brightest.

    A click in a projected slab says where a soma lies in the plane, and nothing of its depth.
    The brightness of a plane is the mean over a square of a soma's radius around the place,
    averaged over as much depth as a soma has; the brightest of its peaks is taken.

    Parameters
    ----------
    project : Project
    dataset : str
    center_um : Vec3
        Where was clicked, µm (z, y, x).
    slab : Slab
        Only planes in it are considered.

    Returns
    -------
    Vec3
        The place itself where the dataset has no image there, or but one plane.
    """
    if project.dataset(dataset).uri is None:
        return center_um
    volume = project.volume(dataset)
    axis, radius = slab.depth_axis, USUAL_SOMA_DIAMETER_UM / 2
    reach = np.full(3, radius / 2)
    # Planes at the border, and one beyond it, are averaged over as much as all others.
    reach[axis] = slab.half_um + 2 * radius
    start, stop = _box(volume, center_um, reach)
    if (stop <= start).any() or stop[axis] - start[axis] < 2:
        return center_um
    first, last = (tuple(int(n) for n in corner) for corner in (start, stop))
    voxels = volume.read(first, last)  # type: ignore[arg-type]  # three of each
    profile = voxels.mean(axis=tuple(other for other in range(3) if other != axis))
    size = volume.voxel_size_um[axis]
    smooth = _running_mean(profile, max(1, round(radius / size)))
    depths = (start[axis] + np.arange(len(profile))) * size
    inside = np.abs(depths - center_um[axis]) <= slab.half_um
    # A peak: at the slab's border the flank of a brighter soma beyond it may be brighter still.
    higher = np.concatenate([[-np.inf], smooth, [-np.inf]])
    peaks = inside & (smooth >= higher[:-2]) & (smooth >= higher[2:])
    allowed = np.where(peaks if peaks.any() else inside, smooth, -np.inf)
    if not np.isfinite(allowed).any():
        return center_um
    moved = list(center_um)
    moved[axis] = float(depths[allowed.argmax()])
    z, y, x = moved
    return z, y, x


def _box(volume: Volume, center_um: Vec3, reach_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the half-open box of voxels whose centres lie within reach of a place."""
    size, center = np.asarray(volume.voxel_size_um), np.asarray(center_um)
    start = np.ceil((center - reach_um) / size).astype(int)
    stop = np.floor((center + reach_um) / size).astype(int) + 1
    shape = np.asarray(volume.shape)
    return np.clip(start, 0, shape), np.clip(stop, 0, shape)


def _running_mean(values: np.ndarray, n: int) -> np.ndarray:
    """Return means over ``n`` values to either side, of those that there are."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    low, high = np.maximum(index - n, 0), np.minimum(index + n + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))
