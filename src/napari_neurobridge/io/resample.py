"""Sampling a slab of any direction, or any points, from a volume, trilinearly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

if TYPE_CHECKING:
    from napari_neurobridge.types import Float32Array

Index3: TypeAlias = tuple[int, int, int]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

_ALIGNED = 1e-9


@dataclass(frozen=True, eq=False)
class SlabGrid:
    """The points of a slab relative to its centre: depths x rows x columns.

    A point lies inside the volume up to half a voxel beyond the outermost voxel
    centres, that is, anywhere on a voxel; there the nearest voxel counts. A volume of
    one plane is sampled on that plane whatever the position along z.

    Attributes
    ----------
    basis : ndarray, shape (3, 3)
        Takes µm along (depth, row, column) to voxels of the volume (z, y, x).
    depths, rows, columns : ndarray, 1-D
        Offsets of the points from the centre, µm.
    shape : tuple of int
        Shape of the volume.
    """

    basis: Floats
    depths: Floats
    rows: Floats
    columns: Floats
    shape: Index3

    def __post_init__(self) -> None:
        if self.shape[0] == 1:
            flat = self.basis.copy()
            flat[0] = 0.0
            object.__setattr__(self, "basis", flat)

    def voxel_center(self, center: Floats) -> Floats:
        """Return a centre in voxels, put onto the plane where there is only one."""
        return np.where([self.shape[0] == 1, False, False], 0.0, center)

    def box(self, center: Floats) -> tuple[Index3, Index3]:
        """Return the voxels that are needed around a centre, clipped to the volume.

        Parameters
        ----------
        center : ndarray, shape (3,)
            In voxels.

        Returns
        -------
        start, stop : tuple of int
            Half-open; ``stop <= start`` along some axis when nothing is needed.
        """
        low, high = self._reach(center)
        start = np.clip(np.floor(low), 0, self.shape).astype(int)
        stop = np.clip(np.ceil(high) + 1, 0, self.shape).astype(int)
        return _index3(start), _index3(stop)

    def _reach(self, center: Floats) -> tuple[Floats, Floats]:
        """Return the lowest and the highest voxel coordinates of the grid's points."""
        middle = self.voxel_center(center)
        low, high = middle.copy(), middle.copy()
        for direction, points in zip(
            self.basis.T, (self.depths, self.rows, self.columns), strict=True
        ):
            ends = direction * points.min(), direction * points.max()
            low += np.minimum(*ends)
            high += np.maximum(*ends)
        return low, high

    def split(self) -> tuple[int, SlabGrid, SlabGrid]:
        """Halve the grid along its longest axis, 0 depth, 1 row or 2 column."""
        axes = (self.depths, self.rows, self.columns)
        lengths = [np.abs(self.basis[:, i]).max() * np.ptp(axes[i]) for i in range(3)]
        longest = int(np.argmax(lengths))
        half = len(axes[longest]) // 2
        first = [points[:half] if i == longest else points for i, points in enumerate(axes)]
        second = [points[half:] if i == longest else points for i, points in enumerate(axes)]
        return longest, self._with_points(*first), self._with_points(*second)

    def _with_points(self, depths: Floats, rows: Floats, columns: Floats) -> SlabGrid:
        return SlabGrid(self.basis, depths, rows, columns, self.shape)

    def sample(
        self, patch: Float32Array, start: Index3, center: Floats
    ) -> tuple[Float32Array, Bools]:
        """Sample the slab around one centre and take its maximum over depth.

        Parameters
        ----------
        patch : ndarray, shape (Z, Y, X)
            Voxels that hold at least :meth:`box`.
        start : tuple of int
            Voxel of the volume at which the patch starts.
        center : ndarray, shape (3,)
            In voxels of the volume.

        Returns
        -------
        values : ndarray of float32, shape (rows, columns)
            -inf where no depth lies inside the volume.
        inside : ndarray of bool, same shape
        """
        low, high = self.box(center)
        if not patch.size or min(np.subtract(high, low)) <= 0:
            empty = np.zeros((len(self.rows), len(self.columns)), dtype=bool)
            return np.full(empty.shape, -np.inf, dtype=np.float32), empty
        own = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        tensor = torch.from_numpy(np.ascontiguousarray(patch[own]))
        middle = self.voxel_center(center)
        axis = self._depth_axis
        if axis is None:
            return self._sample_oblique(tensor, np.asarray(low), middle)
        return self._sample_aligned(tensor, np.asarray(low), middle, axis)

    @cached_property
    def _depth_axis(self) -> int | None:
        """The volume's axis along which the slab looks; ``None`` when it looks aslant."""
        along, across = np.abs(self.basis[:, 0]), np.abs(self.basis[:, 1:]).max(axis=1)
        tolerance = _ALIGNED * np.abs(self.basis).max()
        for axis in range(3):
            others = [other for other in range(3) if other != axis]
            if along[others].max() <= tolerance and across[axis] <= tolerance:
                return axis
        return None

    @cached_property
    def _face(self) -> Floats:
        """Offsets of the rows and columns in voxels, shape (rows, columns, 3)."""
        rows, columns = np.meshgrid(self.rows, self.columns, indexing="ij")
        return rows[..., None] * self.basis[:, 1] + columns[..., None] * self.basis[:, 2]

    def _sample_aligned(
        self, patch: torch.Tensor, low: npt.NDArray[np.int64], center: Floats, axis: int
    ) -> tuple[Float32Array, Bools]:
        """Interpolate along depth first, then all planes at once in the face.

        The same result as trilinear sampling, several times as fast: the weights in the
        face are common to all depths.
        """
        depths = center[axis] + self.depths * self.basis[axis, 0]
        depths = depths[_on_voxels(depths, self.shape[axis])]
        others = [other for other in range(3) if other != axis]
        points = (center + self._face)[..., others]
        inside = np.asarray(_on_voxels(points, np.asarray(self.shape)[others]).all(axis=-1))
        if depths.size == 0 or not inside.any():
            return np.full(inside.shape, -np.inf, dtype=np.float32), np.zeros_like(inside)
        planes = patch.movedim(axis, 0)
        position = np.clip(depths - low[axis], 0, len(planes) - 1)
        below = np.minimum(position.astype(int), max(len(planes) - 2, 0))
        above = np.minimum(below + 1, len(planes) - 1)
        weight = torch.from_numpy((position - below).astype(np.float32))[:, None, None]
        slab = torch.lerp(planes[below], planes[above], weight)
        relative = torch.from_numpy((points - low[others]).astype(np.float32))
        grid = _normalized(relative, slab.shape[1:])
        values = grid_sample(slab[None], grid[None], padding_mode="border", align_corners=False)
        highest = values[0].amax(dim=0).numpy()
        return np.where(inside, highest, np.float32(-np.inf)), inside

    def _sample_oblique(
        self, patch: torch.Tensor, low: npt.NDArray[np.int64], center: Floats
    ) -> tuple[Float32Array, Bools]:
        # Straight in the coordinates of grid_sample: -1 to 1 over the patch, x first.
        per_voxel = 2 / np.array(patch.shape)
        basis = (self.basis * per_voxel[:, None])[::-1]
        middle = ((center - low + 0.5) * per_voxel - 1)[::-1]
        along = middle + self.depths[:, None] * basis[:, 0]
        across = self.rows[:, None, None] * basis[:, 1] + self.columns[:, None] * basis[:, 2]
        points = _float32(across) + _float32(along)[:, None, None]
        values = grid_sample(
            patch[None, None], points[None], padding_mode="border", align_corners=False
        )[0, 0]
        if _on_voxels(np.stack(self._reach(center)), self.shape).all():
            return values.amax(dim=0).numpy(), np.ones(values.shape[1:], dtype=bool)
        # A patch ends before the grid does only where the volume ends.
        inside = (points.abs() <= 1).all(dim=-1)
        highest = values.masked_fill_(~inside, -torch.inf).amax(dim=0)
        return highest.numpy(), np.asarray(inside.any(dim=0).numpy())


def sample_points(
    patch: Float32Array, start: Index3, points: Floats, shape: Index3
) -> tuple[Float32Array, Bools]:
    """Sample any points of a volume.

    Parameters
    ----------
    patch : ndarray, shape (Z, Y, X)
        Voxels that hold at least those around the points that lie inside the volume.
    start : tuple of int
        Voxel of the volume at which the patch starts.
    points : ndarray, shape (D, H, W, 3)
        In voxels of the volume.
    shape : tuple of int
        Shape of the volume.

    Returns
    -------
    values : ndarray of float32, shape (D, H, W)
        Anything where a point lies outside.
    inside : ndarray of bool, same shape
        As in `SlabGrid`: up to half a voxel beyond the outermost voxel centres.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))
    grid = _normalized(_float32(points - np.asarray(start)), tensor.shape)
    values = grid_sample(
        tensor[None, None], grid[None], padding_mode="border", align_corners=False
    )[0, 0]
    return values.numpy(), lies_on_voxels(points, shape)


def lies_on_voxels(points: Floats, shape: Index3) -> Bools:
    """Return which points (..., 3), in voxels, lie on a voxel of a volume, (...)."""
    return np.asarray(_on_voxels(points, shape).all(axis=-1))


def _float32(values: Floats) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _on_voxels(points: npt.NDArray[np.floating], shape: npt.ArrayLike) -> Bools:
    return np.asarray((points >= -0.5) & (points <= np.asarray(shape) - 0.5))


def _normalized(points: torch.Tensor, shape: tuple[int, ...] | torch.Size) -> torch.Tensor:
    """Voxels as grid_sample wants them: -1 to 1 over the voxels' outer faces, x first."""
    per_voxel = 2 / torch.tensor(shape, dtype=torch.float32)
    return (points * per_voxel + (per_voxel / 2 - 1)).flip(-1)


def _index3(values: npt.NDArray[np.int64]) -> Index3:
    z, y, x = (int(value) for value in values)
    return z, y, x
