"""Walking through volumes that do not fit into memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Index3: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Block:
    """A piece of a volume with as much of its surroundings as a filter needs.

    Attributes
    ----------
    start, stop : tuple of int
        The block itself, half-open; the blocks of a volume cover it without overlap.
    outer_start, outer_stop : tuple of int
        The block and its halo, clipped to the volume.
    """

    start: Index3
    stop: Index3
    outer_start: Index3
    outer_stop: Index3

    @classmethod
    def at(cls, start: Index3, size: Index3, *, shape: Index3, halo: Index3) -> Block:
        """Return the block of some size that starts somewhere, clipped to the volume."""
        spans = [
            (a, min(a + length, n), max(a - h, 0), min(a + length + h, n))
            for a, length, n, h in zip(start, size, shape, halo, strict=True)
        ]
        return cls(*zip(*spans, strict=True))

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """Where the block lies within an array of the outer shape."""
        z, y, x = (
            slice(a - outer, b - outer)
            for a, b, outer in zip(self.start, self.stop, self.outer_start, strict=True)
        )
        return z, y, x


def iter_blocks(shape: Index3, block: Index3, halo: Index3) -> Iterator[Block]:
    """Cut a volume into blocks, in the order in which they lie on disk.

    Parameters
    ----------
    shape : tuple of int
        Shape of the volume.
    block : tuple of int
        Shape of a block; the last ones may be smaller.
    halo : tuple of int
        Voxels added on either side.
    """
    starts = [range(0, length, size) for length, size in zip(shape, block, strict=True)]
    for z, y, x in itertools.product(*starts):
        yield Block.at((z, y, x), block, shape=shape, halo=halo)
