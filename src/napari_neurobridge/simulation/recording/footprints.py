"""Where the light of each cell falls in a plane of pixels, at some depths around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.render import spline_shares

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_REACH_SIGMAS = 3.5
_MOST_CELLS = 1 << 32
_POINTS_AT_ONCE = 100_000
# Intensity 1 is a median soma; a pixel of a cell that stays below this is left out.
_DIMMEST = 1e-4


@dataclass(frozen=True)
class Plane:
    """The plane of pixels that a recording looks at, across the optical axis.

    Attributes
    ----------
    depth_um : float
        z of the plane in two-photon space.
    origin_um : tuple of float
        y and x of the centre of pixel (0, 0).
    shape : tuple of int
        Pixels along y and x.
    pixel_um : float
        Size of a pixel.
    """

    depth_um: float
    origin_um: tuple[float, float]
    shape: tuple[int, int]
    pixel_um: float = 1.0

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def padded(self, pixels: int) -> Plane:
        """Return the plane with so many more pixels on all sides."""
        y, x = (low - pixels * self.pixel_um for low in self.origin_um)
        height, width = (n + 2 * pixels for n in self.shape)
        return Plane(self.depth_um, (y, x), (height, width), self.pixel_um)


@dataclass(frozen=True)
class _Entries:
    """Light in pixels: ``value[k]`` of ``cell`` in ``pixel`` as seen from depth k."""

    pixel: Tensor
    cell: Tensor
    value: Tensor

    @classmethod
    def joined(cls, pieces: Iterable[_Entries]) -> _Entries:
        """Sum what lies in one pixel from one cell; sorted by pixel, then cell."""
        pixel, cell, value = (
            torch.cat(parts, dim=-1)
            for parts in zip(*((p.pixel, p.cell, p.value) for p in pieces), strict=True)
        )
        pairs, which = torch.unique(pixel * _MOST_CELLS + cell, return_inverse=True)
        total = value.new_zeros(len(value), len(pairs)).index_add_(1, which, value)
        return cls(pairs // _MOST_CELLS, pairs % _MOST_CELLS, total)


@dataclass(frozen=True)
class Footprints:
    """A sparse matrix (pixels × cells) for each of some depths, not yet blurred in plane.

    Attributes
    ----------
    cell : Tensor of int64, shape (N,)
        Ids of the cells that have any light here, rising.
    row_start : Tensor of int64, shape (P + 1,)
        First entry of each pixel, as in a compressed sparse row matrix.
    column : Tensor of int64, shape (E,)
        Row of each entry's cell in ``cell``.
    value : Tensor, shape (K, E)
        Fluorophore per µm³, blurred axially, as seen from each depth.
    offset_um : tuple of float, length K
        The depths, relative to the plane's, evenly spaced and rising.
    """

    cell: Tensor
    row_start: Tensor
    column: Tensor
    value: Tensor
    offset_um: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.cell)

    def to(self, device: torch.device | str) -> Footprints:
        """Return the same on another device."""
        return Footprints(
            self.cell.to(device),
            self.row_start.to(device),
            self.column.to(device),
            self.value.to(device),
            self.offset_um,
        )

    def total(self) -> Tensor:
        """Return the sum over pixels of each cell seen from the plane itself, (N,)."""
        middle = self.value[len(self.offset_um) // 2]
        return middle.new_zeros(len(self)).index_add_(0, self.column, middle)

    def weights(self, offset_um: Tensor) -> Tensor:
        """Return the share (K, C) of each depth in images taken at other depths (C,).

        Depths between two are interpolated linearly; those beyond the ends are the end's.
        """
        if len(self.offset_um) == 1:
            return torch.ones_like(offset_um)[None]
        depths = offset_um.new_tensor(self.offset_um)
        step = self.offset_um[1] - self.offset_um[0]
        inside = offset_um.clamp(self.offset_um[0], self.offset_um[-1])
        return (1 - (inside - depths[:, None]).abs() / step).clamp(min=0)

    def image(self, light: Tensor, weights: Tensor) -> Tensor:
        """Return what cells of some brightness look like, shape (C, P).

        Parameters
        ----------
        light : Tensor, shape (N, C)
            Brightness of each cell in C frames.
        weights : Tensor, shape (K, C)
            As from `weights`.
        """
        total = light.new_zeros(len(self.row_start) - 1, light.shape[1])
        for value, share in zip(self.value, weights, strict=True):
            if len(value) and share.any():
                # The product of a sparse and a dense matrix, row by row in a fixed order.
                total += torch.nn.functional.embedding_bag(
                    self.column,
                    light * share,
                    self.row_start,
                    per_sample_weights=value,
                    mode="sum",
                    include_last_offset=True,
                )
        return total.T.contiguous()


def make_footprints(
    pieces: Iterable[tuple[Tensor, Tensor, Tensor]],
    plane: Plane,
    *,
    axial_sigma_um: float,
    offset_um: tuple[float, ...] = (0.0,),
) -> Footprints:
    """Project cells onto a plane, weighting depths by the axial point spread.

    Made on the CPU, so that it is the same wherever the points come from.

    Parameters
    ----------
    pieces : iterable of (position_um, amount, cell)
        Points of some cells at a time: µm (z, y, x) in two-photon space (M, 3),
        fluorophore (M,) and id (M,). What lies far from the plane costs little.
    plane : Plane
        Where to look. Points nearer than half a pixel to the centres of its outermost
        pixels, or beyond, are left out.
    axial_sigma_um : float
        Gaussian point spread along z.
    offset_um : tuple of float
        Depths to look at, relative to the plane's.
    """
    entries = [_no_entries(len(offset_um))]
    for position, amount, cell in pieces:
        near = _near(position, plane, offset_um, _REACH_SIGMAS * axial_sigma_um) & (amount > 0)
        for some in torch.split(near.nonzero()[:, 0], _POINTS_AT_ONCE):
            where, light, who = (values[some].cpu() for values in (position, amount, cell))
            entries.append(_splat(where, light, who, plane, axial_sigma_um, offset_um))
    joined = _Entries.joined(entries)
    cells, column = torch.unique(joined.cell, return_inverse=True)
    counts = torch.bincount(joined.pixel, minlength=plane.n_pixels)
    row_start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Footprints(cells, row_start, column, joined.value, offset_um)


def _no_entries(depths: int) -> _Entries:
    none = torch.zeros(0, dtype=torch.int64)
    return _Entries(none, none, torch.zeros(depths, 0))


def _near(position: Tensor, plane: Plane, offset_um: tuple[float, ...], reach_um: float) -> Tensor:
    """Return which points (M, 3) put light into the plane's pixels."""
    # A point shares its light with the pixels on either side of its own.
    height, width = ((n - 1.5) * plane.pixel_um for n in plane.shape)
    border = 0.5 * plane.pixel_um
    y, x = plane.origin_um
    first, last = plane.depth_um + offset_um[0], plane.depth_um + offset_um[-1]
    low = position.new_tensor([first - reach_um, y + border, x + border])
    high = position.new_tensor([last + reach_um, y + height, x + width])
    return (position > low).all(dim=1) & (position < high).all(dim=1)


def _splat(
    position: Tensor,
    amount: Tensor,
    cell: Tensor,
    plane: Plane,
    axial_sigma_um: float,
    offset_um: tuple[float, ...],
) -> _Entries:
    """Share each point among nine pixels by quadratic splines, for every depth."""
    depth = position.new_tensor(offset_um)[:, None] + plane.depth_um
    axial = torch.exp(-0.5 * ((position[:, 0] - depth) / axial_sigma_um) ** 2)
    scale = math.sqrt(2 * math.pi) * axial_sigma_um * plane.pixel_um**2
    value = axial * (amount / scale)
    index = (position[:, 1:] - position.new_tensor(plane.origin_um)) / plane.pixel_um
    middle = torch.minimum(index.round().clamp_(min=1), torch.tensor(plane.shape) - 2)
    rows, columns = (spline_shares(axis) for axis in (index - middle).unbind(dim=1))
    y, x = (middle - 1).long().unbind(dim=1)
    joined = _Entries.joined(
        _Entries((y + j) * plane.shape[1] + x + i, cell, value * (row * column))
        for j, row in enumerate(rows)
        for i, column in enumerate(columns)
    )
    bright = joined.value.amax(dim=0) >= _DIMMEST
    return _Entries(joined.pixel[bright], joined.cell[bright], joined.value[:, bright])
