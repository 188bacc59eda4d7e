"""What the simulator draws with: somata, the points of neurons, points that shine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


class Part(IntEnum):
    """What a point belongs to, numbered as in an SWC file."""

    SOMA = 1
    AXON = 2
    BASAL = 3
    APICAL = 4


@dataclass(frozen=True)
class Somata:
    """One row for each cell of a tissue; a cell's id is its row.

    Attributes
    ----------
    center_um : Tensor, shape (N, 3)
        Tissue space, µm (z, y, x), float32.
    radius_um : Tensor, shape (N,)
        Mean radius.
    pyramidal : Tensor of bool, shape (N,)
        Cells with an apical dendrite; the others are interneurons.
    depth_um : Tensor, shape (N,)
        Below the surface of the brain.
    """

    center_um: Tensor
    radius_um: Tensor
    pyramidal: Tensor
    depth_um: Tensor

    def __len__(self) -> int:
        return len(self.center_um)


@dataclass(frozen=True)
class Morphology:
    """Points of some cells, about 1 µm apart along processes and evenly spread in somata.

    Attributes
    ----------
    position_um : Tensor, shape (M, 3)
        Tissue space, µm (z, y, x), float32.
    volume_um3 : Tensor, shape (M,)
        Volume of the piece of cell that a point stands for.
    cell : Tensor of int64, shape (M,)
        Id of the cell.
    part : Tensor of int64, shape (M,)
        A `Part`.
    reach : Tensor, shape (M,)
        For somata the distance from the centre as a share of the radius (0 … 1); for
        processes the straight distance from the centre in µm.
    """

    position_um: Tensor
    volume_um3: Tensor
    cell: Tensor
    part: Tensor
    reach: Tensor

    @classmethod
    def join(cls, pieces: Sequence[Morphology]) -> Morphology:
        """Return the points of several pieces in one."""
        return cls(
            torch.cat([piece.position_um for piece in pieces]),
            torch.cat([piece.volume_um3 for piece in pieces]),
            torch.cat([piece.cell for piece in pieces]),
            torch.cat([piece.part for piece in pieces]),
            torch.cat([piece.reach for piece in pieces]),
        )

    def only(self, kept: Tensor) -> Morphology:
        """Return some of the points; ``kept`` (M,) is a mask."""
        return Morphology(
            self.position_um[kept],
            self.volume_um3[kept],
            self.cell[kept],
            self.part[kept],
            self.reach[kept],
        )

    def pieces(self, count: int) -> Iterator[Morphology]:
        """Yield the points, so many at a time."""
        columns = (self.position_um, self.volume_um3, self.cell, self.part, self.reach)
        for piece in zip(*(torch.split(column, count) for column in columns), strict=True):
            yield Morphology(*piece)


class Neurons(Protocol):
    """Where the shapes of cells come from.

    Attributes
    ----------
    reach_um : float
        No point of a cell lies farther from the centre of its soma.
    cells_at_once : int
        How many cells to ask for together, so that their points fit into memory.
    """

    reach_um: float
    cells_at_once: int

    def grow(self, cells: Tensor) -> Morphology:
        """Return the points of cells (ids, int64, (K,)): the same for a cell in any batch."""


@dataclass(frozen=True)
class PointCloud:
    """Points of a substance: fluorophore, or the inside of vessels.

    Attributes
    ----------
    position_um : Tensor, shape (M, 3)
        µm (z, y, x), float32.
    amount : Tensor, shape (M,)
        1 for each µm³ renders as intensity 1.
    """

    position_um: Tensor
    amount: Tensor

    def __len__(self) -> int:
        return len(self.amount)

    @classmethod
    def join(cls, clouds: Sequence[PointCloud]) -> PointCloud:
        """Return the points of several clouds in one."""
        return cls(
            torch.cat([cloud.position_um for cloud in clouds]),
            torch.cat([cloud.amount for cloud in clouds]),
        )

    def within(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        """Return the points that lie in a box and hold anything."""
        kept = (((self.position_um >= low_um) & (self.position_um <= high_um)).all(dim=1)) & (
            self.amount > 0
        )
        return PointCloud(self.position_um[kept], self.amount[kept])
