"""The coarser grid on which somata are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.io.pyramid import downsample

if TYPE_CHECKING:
    from napari_neurobridge.io.blocks import Index3
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Vec3

_LEVEL_SLACK = 1.25
"""How much coarser than asked for a stored resolution may be and still be used."""


@dataclass(frozen=True)
class WorkingGrid:
    """A volume averaged to about one voxel size, read block by block.

    Its voxels are counted from the first voxel of the volume, so that they are the same
    however the volume is cut into blocks.

    Attributes
    ----------
    volume : Volume
    level : int
        Stored resolution that is read.
    factors : tuple of int
        Voxels of that level averaged along z, y and x.
    """

    volume: Volume
    level: int
    factors: Index3

    @classmethod
    def choose(cls, volume: Volume, voxel_um: float) -> WorkingGrid:
        """Take the coarsest stored resolution that is fine enough, and average the rest."""
        fine_enough = [
            index
            for index, scale in enumerate(volume.level_scales_um)
            if all(
                size <= max(_LEVEL_SLACK * voxel_um, full)
                for size, full in zip(scale, volume.voxel_size_um, strict=True)
            )
        ]
        level = fine_enough[-1]
        scale, shape = volume.level_scales_um[level], volume.levels[level].shape
        z, y, x = (
            min(max(1, round(voxel_um / size)), n) for size, n in zip(scale, shape, strict=True)
        )
        return cls(volume, level, (z, y, x))

    @property
    def shape(self) -> Index3:
        """Number of working voxels along z, y and x."""
        shape = self.volume.levels[self.level].shape
        z, y, x = (math.ceil(n / f) for n, f in zip(shape, self.factors, strict=True))
        return z, y, x

    @property
    def voxel_um(self) -> Vec3:
        """Size of a working voxel."""
        scale = self.volume.level_scales_um[self.level]
        z, y, x = (size * f for size, f in zip(scale, self.factors, strict=True))
        return z, y, x

    @property
    def origin_um(self) -> Vec3:
        """Centre of the first working voxel."""
        scale = self.volume.level_scales_um[self.level]
        offset = self.volume.level_offsets_um[self.level]
        z, y, x = (
            o + (f - 1) / 2 * size for o, f, size in zip(offset, self.factors, scale, strict=True)
        )
        return z, y, x

    @property
    def is_plane(self) -> bool:
        """Whether there is nothing to look for along z."""
        return self.shape[0] == 1

    def read(self, start: Index3, stop: Index3) -> Float32Array:
        """Read a box of working voxels, half-open."""
        shape = self.volume.levels[self.level].shape
        low = tuple(a * f for a, f in zip(start, self.factors, strict=True))
        high = tuple(min(b * f, n) for b, f, n in zip(stop, self.factors, shape, strict=True))
        voxels = self.volume.read(
            (low[0], low[1], low[2]), (high[0], high[1], high[2]), level=self.level
        )
        return np.asarray(downsample(voxels, self.factors), dtype=np.float32)
