"""Boxes of voxels on lattices, and linear interpolation from a coarse lattice to a fine one.

Voxel (i, j, k) of a lattice is centred at (i, j, k) times its step, so every lattice of a
space has a voxel at its origin. Interpolation uses elementwise operations only, so that a
voxel gets the same value, to the last bit, in whatever box it lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from napari_neurobridge.types import Vec3

Index: TypeAlias = tuple[int, int, int]
Piece: TypeAlias = tuple[slice, slice, slice]
"""Some boxes of a batch, some of their planes and some of the rows of these."""

# Small enough for the cache of a CPU; other devices want few and large pieces.
_CPU_PIECE = 1 << 19
_CPU_PLANES = 12
_DEVICE_PIECE = 1 << 27


@dataclass(frozen=True)
class Boxes:
    """A batch of boxes of one shape on a lattice.

    Attributes
    ----------
    starts : tuple of (int, int, int)
        Lattice index (z, y, x) of the first voxel of each box; may be negative.
    shape : tuple of int
        Voxels along (z, y, x).
    """

    starts: tuple[Index, ...]
    shape: Index

    @classmethod
    def of(cls, starts: Sequence[Sequence[int]], shape: Sequence[int]) -> Boxes:
        """Return boxes from any sequences of three numbers."""
        depth, height, width = (int(n) for n in shape)
        return cls(tuple((int(z), int(y), int(x)) for z, y, x in starts), (depth, height, width))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def batch_shape(self) -> tuple[int, int, int, int]:
        """Shape (B, D, H, W) of a tensor with one value for each voxel."""
        return (len(self), *self.shape)

    def index(self, axis: int) -> Tensor:
        """Return the lattice indices (B, n), int64 on the CPU, along one axis."""
        starts = torch.tensor([start[axis] for start in self.starts])
        return starts[:, None] + torch.arange(self.shape[axis])

    def permuted(self, order: Sequence[int]) -> Boxes:
        """Return the boxes with their axes in another order, as `Tensor.permute` does it."""
        return Boxes.of(
            [[start[axis] for axis in order] for start in self.starts],
            [self.shape[axis] for axis in order],
        )

    def part(self, piece: Piece) -> Boxes:
        """Return some of the boxes, and of them some planes and rows."""
        batch, planes, rows = piece
        top, bottom, _ = planes.indices(self.shape[0])
        first, last, _ = rows.indices(self.shape[1])
        return Boxes(
            tuple((z + top, y + first, x) for z, y, x in self.starts[batch]),
            (bottom - top, last - first, self.shape[2]),
        )

    def pieces(self, device: torch.device) -> Iterator[Piece]:
        """Cut the batch into pieces that are fast to work on: whole boxes or parts of one."""
        planes, rows, width = self.shape
        on_cpu = device.type == "cpu"
        budget = _CPU_PIECE if on_cpu else _DEVICE_PIECE
        together = max(1, budget // max(1, math.prod(self.shape)))
        if together > 1:
            deep, tall = planes, rows
        else:
            deep = min(planes, _CPU_PLANES) if on_cpu else planes
            tall = min(rows, max(1, budget // max(1, deep * width)))
        for box in range(0, len(self), together):
            for plane in range(0, planes, max(1, deep)):
                for row in range(0, rows, max(1, tall)):
                    yield (
                        slice(box, box + together),
                        slice(plane, min(plane + deep, planes)),
                        slice(row, min(row + tall, rows)),
                    )

    def nodes(self, step_um: Vec3, coarse_um: Vec3) -> Boxes:
        """Return the boxes of a coarser lattice that interpolation to these boxes needs."""
        ratios = [fine / coarse for fine, coarse in zip(step_um, coarse_um, strict=True)]
        return Boxes.of(
            [
                [math.floor(first * ratio) for first, ratio in zip(start, ratios, strict=True)]
                for start in self.starts
            ],
            # One node below, one above, and one for a start anywhere between two nodes.
            [
                math.floor((count - 1) * ratio + 1e-6) + 3
                for count, ratio in zip(self.shape, ratios, strict=True)
            ],
        )


@dataclass(frozen=True)
class Weights:
    """Linear interpolation along one axis, for a batch.

    Attributes
    ----------
    low : Tensor of int64, shape (B, n)
        The node below each voxel; the other one is the next.
    share, next_share : Tensor, shape (B, n)
        Weight of either node.
    """

    low: Tensor
    share: Tensor
    next_share: Tensor

    @classmethod
    def at(cls, position: Tensor, *, even: bool, device: torch.device) -> Weights:
        """Return the weights at positions (B, n), in nodes, float64.

        Parameters
        ----------
        position : Tensor
            Where values are wanted.
        even : bool
            Whether the squares of the weights add up to one, so that independent nodes
            give the same variance everywhere; otherwise the weights themselves do.
        device : torch.device
            Where the weights are used.
        """
        low = position.floor()
        next_share = position - low
        share = 1 - next_share
        if even:
            norm = (share * share + next_share * next_share).sqrt()
            share, next_share = share / norm, next_share / norm
        return cls(low.long().to(device), share.float().to(device), next_share.float().to(device))

    def part(self, batch: slice, voxels: slice) -> Weights:
        """Return the weights of some boxes and voxels."""
        return Weights(
            self.low[batch, voxels], self.share[batch, voxels], self.next_share[batch, voxels]
        )

    def narrowed(self, values: Tensor, axis: int) -> tuple[Weights, Tensor]:
        """Return, for one box, only the nodes along an axis that its voxels need."""
        first, last = int(self.low[0, 0]), int(self.low[0, -1]) + 2
        weights = Weights(self.low - first, self.share, self.next_share)
        return weights, values.narrow(axis, first, last - first)

    def along(self, values: Tensor, axis: int) -> Tensor:
        """Interpolate values (B, d, h, w) along one axis (1, 2 or 3)."""
        batch, nodes, voxels = len(values), values.shape[axis], self.low.shape[1]
        before, after = math.prod(values.shape[1:axis]), math.prod(values.shape[axis + 1 :])
        rows = torch.arange(batch * before, device=values.device).view(batch, before, 1) * nodes
        rows = (rows + self.low[:, None]).view(-1)
        flat = values.reshape(batch * before * nodes, after)
        if after == 1:
            flat = flat.view(-1)
        spread = (batch, before, voxels, after)
        near = flat.index_select(0, rows).view(spread)
        far = flat.index_select(0, rows.add_(1)).view(spread)
        near.mul_(self.share[:, None, :, None])
        near.addcmul_(far, self.next_share[:, None, :, None])
        return near.view(*values.shape[:axis], voxels, *values.shape[axis + 1 :])


class Sampling:
    """Interpolates from the nodes of a coarse lattice to the voxels of boxes.

    Parameters
    ----------
    boxes : Boxes
        Voxels that want values.
    step_um, coarse_um : Vec3
        Steps of their lattice and of that of the nodes.
    even : bool
        See `Weights.at`.
    device : torch.device
        Where the values are.
    """

    def __init__(
        self,
        boxes: Boxes,
        step_um: Vec3,
        coarse_um: Vec3,
        *,
        even: bool = False,
        device: torch.device,
    ) -> None:
        self.nodes = boxes.nodes(step_um, coarse_um)
        self._axes = []
        for axis, (fine, coarse) in enumerate(zip(step_um, coarse_um, strict=True)):
            # Exact for whatever box, because the product is of the voxel's own index.
            weights = Weights.at(
                boxes.index(axis).double() * (fine / coarse), even=even, device=device
            )
            weights.low.sub_(self.nodes.index(axis)[:, :1].to(device))
            self._axes.append(weights)

    def __call__(self, values: Tensor, piece: Piece) -> Tensor:
        """Interpolate node values (B, d, h, w) to some planes and rows of some boxes."""
        batch, planes, rows = piece
        values = values[batch]
        z = self._axes[0].part(batch, planes)
        y = self._axes[1].part(batch, rows)
        x = self._axes[2].part(batch, slice(None))
        if len(values) == 1:  # a part of one box needs few of its nodes
            z, values = z.narrowed(values, 1)
            y, values = y.narrowed(values, 2)
        return z.along(y.along(x.along(values, 3), 2), 1)
