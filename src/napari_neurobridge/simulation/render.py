"""One renderer for crops and scenes: a cloud of points becomes blurred images.

Points are splatted with trilinear weights into the voxels of a grid that may lie anywhere
in space, and each axis is blurred by one matrix product with a banded matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Vec3

_REACH_SIGMAS = 3.0
_BIN_UM = 12.0
# Splatting with triangles blurs by itself, with this variance in voxels squared.
_SPLAT_VARIANCE = 1.0 / 6.0


@dataclass(frozen=True)
class PointCloud:
    """Fluorescent points.

    Attributes
    ----------
    position_um : Tensor, shape (M, 3)
        µm (z, y, x).
    amount : Tensor, shape (M,)
        Fluorophore; 1 for each µm³ renders as intensity 1.
    """

    position_um: Tensor
    amount: Tensor

    def lit(self) -> PointCloud:
        """Return only the points that emit anything."""
        lit = self.amount > 0
        return PointCloud(self.position_um[lit], self.amount[lit])

    def mapped(self, transform: Transform) -> PointCloud:
        """Return the points in the space that a transform leads to."""
        mapped = transform.map_points(self.position_um.numpy())
        return PointCloud(torch.from_numpy(mapped).float(), self.amount)

    def joined(self, other: PointCloud) -> PointCloud:
        """Return the points of both clouds."""
        return PointCloud(
            torch.cat([self.position_um, other.position_um]),
            torch.cat([self.amount, other.amount]),
        )


@dataclass(frozen=True)
class Grid:
    """Shape (D, H, W) and voxel size of an image, wherever it is placed."""

    shape: tuple[int, int, int]
    step_um: Vec3


def _axis_pads(sigma_um: Vec3, grid: Grid) -> list[int]:
    return [
        int(_REACH_SIGMAS * s / step) + 1 for s, step in zip(sigma_um, grid.step_um, strict=True)
    ]


def _blur_matrix(length: int, pad: int, sigma: float) -> Tensor:
    """Return the (length, length + 2 pad) matrix that blurs and drops the padding."""
    rest = max(sigma**2 - _SPLAT_VARIANCE, 1e-4) ** 0.5
    offset = torch.arange(length + 2 * pad) - pad - torch.arange(length)[:, None]
    kernel = torch.exp(-0.5 * (offset / rest) ** 2)
    # Normalised over all offsets, so that light beyond the padding is lost, not added.
    whole = torch.exp(-0.5 * (torch.arange(-pad, pad + 1) / rest) ** 2).sum()
    return kernel * (offset.abs() <= pad) / whole


def transform_axes(volume: Tensor, matrices: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Multiply each spatial axis of a batch of volumes by a matrix.

    Parameters
    ----------
    volume : Tensor, shape (B, D, H, W)
    matrices : tuple of Tensor, shapes (d, D), (h, H), (w, W)

    Returns
    -------
    Tensor, shape (B, d, h, w)
    """
    along_z, along_y, along_x = matrices
    b, depth, height, width = volume.shape
    volume = (along_z @ volume.reshape(b, depth, -1)).reshape(b, -1, height, width)
    volume = volume @ along_x.T
    return along_y @ volume


def interpolation_matrix(positions: Tensor, length: int) -> Tensor:
    """Return the (N, length) matrix of linear interpolation at positions in samples.

    Positions beyond the ends take the end's value.
    """
    distance = (positions.clamp(0, length - 1)[:, None] - torch.arange(length)).abs()
    return (1 - distance).clamp(min=0)


def _splat(index: Tensor, amount: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Add points at fractional indices (K, 3), all inside, to a new volume."""
    volume = torch.zeros(shape[0] * shape[1] * shape[2])
    floor = index.floor()
    fraction = index - floor
    corner = floor.long()
    flat = (corner[:, 0] * shape[1] + corner[:, 1]) * shape[2] + corner[:, 2]
    sides = (1 - fraction, fraction)
    for z, y, x in product((0, 1), repeat=3):
        share = amount * sides[z][:, 0] * sides[y][:, 1] * sides[x][:, 2]
        volume.index_add_(0, flat + (z * shape[1] + y) * shape[2] + x, share)
    return volume.view(shape)


class Renderer:
    """Renders one cloud on many grids along its axes.

    For a grid that lies otherwise, map the cloud first.

    Parameters
    ----------
    cloud : PointCloud
        What emits light.
    """

    def __init__(self, cloud: PointCloud) -> None:
        position = cloud.position_um
        # Sorted by bins along z, y and x: a grid takes one run of points from each row.
        self._low = position.amin(dim=0)
        bins = ((position - self._low) / _BIN_UM).long()
        self._bins = (bins.amax(dim=0) + 1).tolist()
        flat = (bins[:, 0] * self._bins[1] + bins[:, 1]) * self._bins[2] + bins[:, 2]
        order = torch.argsort(flat)
        self._position = position[order]
        self._amount = cloud.amount[order]
        counts = torch.bincount(flat, minlength=math.prod(self._bins))
        self._starts = [0, *torch.cumsum(counts, dim=0).tolist()]

    def render(self, origins_um: Tensor, grid: Grid, sigma_um: Vec3) -> Tensor:
        """Render the cloud on copies of a grid.

        Parameters
        ----------
        origins_um : Tensor, shape (B, 3)
            Where the centre of voxel (0, 0, 0) of each copy lies in the cloud's space.
        grid : Grid
            Shape and voxel size.
        sigma_um : Vec3
            Gaussian point-spread function along the grid's axes.

        Returns
        -------
        Tensor, shape (B, D, H, W)
            Intensity: fluorophore for each µm³, blurred.
        """
        pads = _axis_pads(sigma_um, grid)
        step = torch.tensor(grid.step_um)
        padded = tuple(n + 2 * pad for n, pad in zip(grid.shape, pads, strict=True))
        corners = origins_um.float() - torch.tensor(pads) * step
        shape = (padded[0], padded[1], padded[2])
        splats = torch.stack([self._splat_at(corner, shape, step) for corner in corners])
        z, y, x = (
            _blur_matrix(n, pad, s / d)
            for n, pad, s, d in zip(grid.shape, pads, sigma_um, grid.step_um, strict=True)
        )
        return transform_axes(splats / float(step.prod()), (z, y, x))

    def _splat_at(self, corner: Tensor, shape: tuple[int, int, int], step: Tensor) -> Tensor:
        size = (torch.tensor(shape) - 1) * step
        runs = self._runs(corner, corner + size)
        if not runs:
            return torch.zeros(shape)
        index = (torch.cat([self._position[run] for run in runs]) - corner) / step
        amount = torch.cat([self._amount[run] for run in runs])
        limit = torch.tensor(shape) - 1
        inside = ((index >= 0) & (index < limit)).all(dim=1).nonzero()[:, 0]
        return _splat(index[inside], amount[inside], shape)

    def _runs(self, low: Tensor, high: Tensor) -> list[slice]:
        """Return runs of points that hold all those of a box."""
        ranges = [
            range(max(first, 0), min(last + 1, count))
            for first, last, count in zip(
                *(((bound - self._low) / _BIN_UM).floor().long().tolist() for bound in (low, high)),
                self._bins,
                strict=True,
            )
        ]
        if not all(ranges):
            return []
        along_z, along_y, along_x = ranges
        rows = ((z * self._bins[1] + y) * self._bins[2] for z in along_z for y in along_y)
        return [
            slice(self._starts[row + along_x[0]], self._starts[row + along_x[-1] + 1])
            for row in rows
        ]
