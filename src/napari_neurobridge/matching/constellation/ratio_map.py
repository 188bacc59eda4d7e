"""How much each place speaks for a soma to lie there, tabulated so that millions can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.affine_search import ScaledGallery

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# In units of the somata's spacing.
_NOISE = 0.15
_STEP = {2: 0.06, 3: 0.1}
_MARGIN = 3.0
_P_PARTNER = 0.5
# Beyond so many voxels the grid is made coarser.
_MOST_VOXELS = 40_000_000


@dataclass(frozen=True, eq=False)
class RatioMap:
    """Log likelihood ratio of a soma's place, on a grid.

    Attributes
    ----------
    values : ndarray of float32, shape (voxels,)
        log(1 - p + p N(x; soma, noise) / density), summed over somata; 0 outside the field.
    shape : tuple of int
    origin : ndarray, shape (D,)
    step : float
    """

    values: Float32Array
    shape: tuple[int, ...]
    origin: Float64Array
    step: float

    @classmethod
    def of(cls, gallery: ScaledGallery, *, step: float | None = None) -> RatioMap:
        """Tabulate a gallery.

        Parameters
        ----------
        gallery : ScaledGallery
        step : float, optional
            Of the grid, in units of the spacing; 0.06 in a plane and 0.1 in a volume.
        """
        points, dimensions = gallery.points, gallery.points.shape[1]
        origin = points.min(axis=0) - _MARGIN
        extent = np.ptp(points, axis=0) + 2 * _MARGIN
        least = _STEP[dimensions] if step is None else step
        step = max(least, float((extent.prod() / _MOST_VOXELS) ** (1 / dimensions)))
        shape = tuple((np.ceil(extent / step).astype(int) + 1).tolist())
        total = np.zeros(int(np.prod(shape)), dtype=np.float32)
        inside = np.zeros(len(total), dtype=np.bool_)
        noise = max(_NOISE, 0.7 * step)
        density = np.broadcast_to(gallery.density, len(points))
        peak = 1 / (density * (2 * np.pi * noise**2) ** (dimensions / 2))
        middle = np.rint((points - origin) / step).astype(np.int64)
        for offset in _ball(3 * noise / step, dimensions):
            away = origin + (middle + offset) * step - points
            value = peak * np.exp(-0.5 * (away**2).sum(axis=1) / noise**2)
            rows = np.ravel_multi_index((middle + offset).T, shape)
            # Two somata may share a voxel.
            np.add.at(total, rows, value.astype(np.float32))
        coarse = max(1, int(gallery.edge / step / 4))
        _mark(inside, middle, shape, gallery.edge / step, coarse)
        values = np.log(1 - _P_PARTNER + _P_PARTNER * total)
        return cls(np.where(inside, values, np.float32(0.0)), shape, origin, step)

    def __call__(self, *coordinates: Float32Array) -> Float32Array:
        """Return the log ratio at places, one array for each axis, all of one shape."""
        row = np.zeros(coordinates[0].shape, dtype=np.int64)
        for value, low, size in zip(coordinates, self.origin, self.shape, strict=True):
            place = ((value - np.float32(low)) / np.float32(self.step) + np.float32(0.5)).astype(
                np.int32
            )
            row *= size
            # Of arrays of some hundred numbers, np.clip takes twice as long.
            row += np.minimum(np.maximum(place, 0, out=place), size - 1, out=place)
        return self.values[row]


def _ball(radius: float, dimensions: int) -> npt.NDArray[np.int64]:
    """Return the offsets (K, D) of voxels within a radius."""
    reach = int(np.ceil(radius))
    axes = [np.arange(-reach, reach + 1)] * dimensions
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dimensions)
    return np.asarray(offsets[(offsets**2).sum(axis=1) <= radius**2])


def _mark(
    inside: npt.NDArray[np.bool_],
    middle: npt.NDArray[np.int64],
    shape: tuple[int, ...],
    radius: float,
    coarse: int,
) -> None:
    """Mark the voxels within a radius of a soma; blocks of ``coarse`` voxels are marked as one."""
    small = tuple(-(-size // coarse) for size in shape)
    blocks = np.zeros(small, dtype=np.bool_)
    for offset in _ball(radius / coarse, len(shape)):
        place = np.clip(middle // coarse + offset, 0, np.array(small) - 1)
        blocks[tuple(place.T)] = True
    for axis in range(len(shape)):
        blocks = np.repeat(blocks, coarse, axis=axis)
    inside[:] = blocks[tuple(slice(size) for size in shape)].ravel()
