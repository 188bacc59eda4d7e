"""One renderer for crops and scenes: clouds of points become blurred voxels.

Points are splatted as splines into the voxels of a lattice, and each axis is
blurred by products with banded matrices. Sums are kept in fixed point, so that they do not
depend on the order of the points: a voxel has the same value in whatever box it is rendered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import ive

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.simulation.cloud import PointCloud
    from napari_neurobridge.types import Vec3

SPLINE_VARIANCE = 0.25
"""By how much splatting blurs by itself along each axis, in voxels squared."""

_REACH_SIGMAS = 3.5
_FAINTEST = 1e-7
_FIXED_POINT = 1 << 16
_TILE = 96
POINTS_AT_ONCE = 1 << 17
"""On a CPU: so many that Python's own work is small beside theirs, and memory is little."""


@dataclass(frozen=True)
class Box:
    """A block of voxels of a lattice whose voxel (0, 0, 0) is centred at 0 µm.

    Attributes
    ----------
    start, shape : tuple of int
        First voxel and number of voxels along z, y and x.
    voxel_um : Vec3
        Voxel size.
    """

    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    voxel_um: Vec3

    def padded(self, pads: tuple[int, int, int]) -> Box:
        """Return the box with more voxels on both sides of each axis."""
        z, y, x = (s - p for s, p in zip(self.start, pads, strict=True))
        d, h, w = (n + 2 * p for n, p in zip(self.shape, pads, strict=True))
        return Box((z, y, x), (d, h, w), self.voxel_um)

    def low_um(self, device: torch.device | None = None) -> Tensor:
        """Return the centre of the first voxel, (3,)."""
        return torch.tensor(self.start, device=device) * torch.tensor(self.voxel_um, device=device)

    def high_um(self, device: torch.device | None = None) -> Tensor:
        """Return the centre of the last voxel, (3,)."""
        size = torch.tensor(self.shape, device=device) - 1
        return self.low_um(device) + size * torch.tensor(self.voxel_um, device=device)


@dataclass(frozen=True)
class Blur:
    """A Gaussian point spread, and where each plane of the box really looked.

    Attributes
    ----------
    axial_um : Tensor, shape (D,)
        Standard deviation along z, for each plane.
    lateral_um : tuple of float
        Standard deviations along y and x.
    shift_um : Tensor, shape (D, 3), optional
        Each plane shows what lies at its own place plus this shift.
    """

    axial_um: Tensor
    lateral_um: tuple[float, float]
    shift_um: Tensor | None = None

    def pads(self, voxel_um: Vec3) -> tuple[int, int, int]:
        """Return how many voxels beyond a box its image depends on.

        To the reach of the weights come a voxel or two of rounding, and two that lack what
        points outside would share with them.
        """
        widest = (float(self.axial_um.max()), *self.lateral_um)
        moved = (
            (0.0, 0.0, 0.0)
            if self.shift_um is None
            else tuple(self.shift_um.abs().amax(dim=0).tolist())
        )
        z, y, x = (
            int((_REACH_SIGMAS * s + m) / v) + 5
            for s, m, v in zip(widest, moved, voxel_um, strict=True)
        )
        return z, y, x


def spline_shares(offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the voxels below, at and above a point get, at -1/2 … 1/2 from the middle."""
    below, above = 0.5 - offset, 0.5 + offset
    below = (below * below).mul_(0.5)
    above = (above * above).mul_(0.5)
    return below, (1 - below).sub_(above), above


def spread_weights(
    offset: npt.NDArray[np.floating | np.integer],
    sigma: npt.NDArray[np.float64] | float,
    fraction: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return weights that blur and shift a splatted image, not yet normalised.

    They are the discrete analogue of the Gaussian (Lindeberg, PAMI 1990), whose variance is
    exact however narrow it is; a shift by a fraction interpolates linearly, and what that and
    the splines blur is taken off.

    Parameters
    ----------
    offset : ndarray
        Whole numbers: from the voxel wanted to the one weighed, less whole voxels of shift.
    sigma : ndarray or float
        Standard deviation, voxels.
    fraction : ndarray
        Shift by a part of a voxel, 0 … 1, towards rising offsets. All three broadcast.
    """
    rest = np.clip(sigma**2 - SPLINE_VARIANCE - fraction * (1 - fraction), 0, None)
    return np.asarray((1 - fraction) * ive(offset, rest) + fraction * ive(offset - 1, rest))


def _taps(
    pad: int, sigma: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], device: torch.device
) -> Tensor:
    """Return weights (K, 2 pad + 1) that blur and shift, from ``sigma`` and ``shift`` (K,).

    Both are in voxels.
    """
    sigma, whole = sigma[:, None], np.floor(shift)[:, None]
    offset = np.arange(-pad, pad + 1) - whole
    weights = spread_weights(offset, sigma, shift[:, None] - whole)
    # The same cut whatever the box; besides, products with denormal numbers take ages.
    reach = np.ceil(_REACH_SIGMAS * sigma) + 1
    weights = np.where((np.abs(offset) <= reach) & (weights > _FAINTEST), weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return torch.from_numpy(weights).float().to(device)


def _banded(taps: Tensor, length: int) -> Tensor:
    """Return matrices (B, length, length + 2 pad) with the taps (B, 1 or length, ...) as rows."""
    batch, _, count = taps.shape
    width = length + count - 1
    # Rows one longer than the matrix's move the taps on by one from row to row.
    rows = taps.new_zeros(batch, length, width + 1)
    rows[..., :count] = taps
    return rows.view(batch, -1)[:, : length * width].view(batch, length, width)


def _blur_along(volume: Tensor, axis: int, taps: Tensor) -> Tensor:
    """Blur axis 1 or 2 of a padded volume tile by tile; ``taps`` are (1 or D, 2 pad + 1)."""
    padding = taps.shape[1] - 1
    length = volume.shape[axis] - padding
    shape = list(volume.shape)
    shape[axis] = length
    out = volume.new_empty(shape)
    kernels = _banded(taps[:, None], min(_TILE, length))
    for first in range(0, length, _TILE):
        count = min(_TILE, length - first)
        kernel = kernels[:, :count, : count + padding]
        part = volume.narrow(axis, first, count + padding)
        if axis == 1:
            out[:, first : first + count] = kernel @ part
        else:
            out[:, :, first : first + count] = part @ kernel.transpose(1, 2)
    return out


class Rendering:
    """Clouds of one substance, added up and seen through a point spread.

    Each point is spread over 27 voxels by quadratic B-splines first. These blur every point
    alike, wherever it lies between the voxels' centres: by a variance of 1/4 voxel squared
    along each axis.

    Parameters
    ----------
    box : Box
        Voxels wanted.
    blur : Blur
        Point spread of each plane.
    device : torch.device
        Where the clouds will be.

    Attributes
    ----------
    reach_um : tuple of Tensor, shape (3,)
        Corners of the box of points that matter.
    """

    def __init__(self, box: Box, blur: Blur, device: torch.device | str = "cpu") -> None:
        self._box, self._blur, self._device = box, blur, torch.device(device)
        self._pads = blur.pads(box.voxel_um)
        padded = box.padded(self._pads)
        self._shape = padded.shape
        self.reach_um = padded.low_um(self._device), padded.high_um(self._device)
        self._total = torch.zeros(math.prod(padded.shape), dtype=torch.int32, device=self._device)

    def add(self, cloud: PointCloud) -> None:
        """Add the points of a cloud; those out of reach do no harm."""
        low = self.reach_um[0][:, None]
        voxel = low.new_tensor(self._box.voxel_um)[:, None]
        at_once = POINTS_AT_ONCE if self._device.type == "cpu" else max(1, len(cloud))
        for position, amount in zip(
            torch.split(cloud.position_um, at_once),
            torch.split(cloud.amount, at_once),
            strict=True,
        ):
            # Rows of coordinates, which are contiguous.
            self._splat((position.T.contiguous() - low) / voxel, amount)

    def _splat(self, index: Tensor, amount: Tensor) -> None:
        """Add points at fractional indices (3, M) of the padded box."""
        inside = amount > 0
        for row, length in zip(index, self._shape, strict=True):
            inside &= (row >= 0.5) & (row < length - 1.5)
        which = inside.nonzero()[:, 0]
        index, amount = index.index_select(1, which), amount.index_select(0, which)
        middle = (index + 0.5).floor_()
        shares = spline_shares(index - middle)
        _, height, width = self._shape
        z, y, x = middle.long()
        first = ((z - 1) * height + y - 1) * width + x - 1
        amount = amount * _FIXED_POINT
        # One piece of memory for all 27 voxels of each point.
        voxel, value, whole = first.clone(), torch.empty_like(amount), first.int()
        for k in range(3):
            along_z = shares[k][0] * amount
            for j in range(3):
                row = along_z * shares[j][1]
                torch.add(first, (k * height + j) * width, out=voxel)
                for share in shares:
                    whole.copy_(torch.mul(row, share[2], out=value))
                    self._total.scatter_add_(0, voxel, whole)
                    voxel += 1

    def image(self, planes: slice = slice(None)) -> Tensor:
        """Return the blurred amount for each µm³ in some planes of the box, (n, H, W)."""
        first, last, _ = planes.indices(self._box.shape[0])
        voxel = np.array(self._box.voxel_um)
        volume = self._total.view(self._shape)[first : last + 2 * self._pads[0]]
        volume = volume.float().mul_(1 / (_FIXED_POINT * float(voxel.prod())))
        axial = self._blur.axial_um[first:last].cpu().double().numpy() / voxel[0]
        shift = np.zeros((1, 3))
        if self._blur.shift_um is not None:
            shift = self._blur.shift_um[first:last].cpu().double().numpy() / voxel
        along_z = _taps(self._pads[0], axial, shift[:, 0], self._device)
        banded = _banded(along_z[None], last - first)[0]
        volume = (banded @ volume.view(len(volume), -1)).view(-1, *self._shape[1:])
        for axis in (1, 2):
            sigma = np.array([self._blur.lateral_um[axis - 1] / voxel[axis]])
            taps = _taps(self._pads[axis], sigma, shift[:, axis], self._device)
            volume = _blur_along(volume, axis, taps)
        return volume


def render(
    clouds: Iterable[PointCloud], box: Box, blur: Blur, device: torch.device | str = "cpu"
) -> Tensor:
    """Render clouds as seen through a point spread.

    Parameters
    ----------
    clouds : iterable of PointCloud
        All points within the reach of the box; others do no harm.
    box : Box
        Voxels to render.
    blur : Blur
        Point spread of each plane.
    device : torch.device or str
        Where the clouds are.

    Returns
    -------
    Tensor, shape (D, H, W)
        Intensity: amount for each µm³, blurred.
    """
    rendering = Rendering(box, blur, device)
    for cloud in clouds:
        rendering.add(cloud)
    return rendering.image()
