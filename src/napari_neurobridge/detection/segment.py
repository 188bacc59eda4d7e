"""Somata of volumes and planes by a trained segmenter, block by block."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from napari_neurobridge.detection.candidates import not_suppressed
from napari_neurobridge.detection.dog import Detection
from napari_neurobridge.detection.planes import plane_scales, standardised, with_neighbours
from napari_neurobridge.detection.watershed import WatershedParams, instances, smoothed
from napari_neurobridge.detection.working_grid import WorkingGrid
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.blocks import Block, Index3, iter_blocks

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report

# No soma reaches farther from its middle; cells between boundaries may, and are cut there.
_REACH_UM, _REACH_PX = 20.0, 64
_TILES, _TILE_PX = 3, 96
# Of the training's pixels, what is aimed at.
_FINER = 0.8
_PLANES_AT_ONCE = 4


class SegmentParams(BaseModel):
    """How a trained segmenter is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_probability: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        title="Least probability",
        description="Of a soma's middle; what the model was given with unless stated.",
    )
    min_distance_um: Annotated[float, Field(gt=0)] = Field(
        default=8.0,
        title="Least distance (µm)",
        description="Of two closer somata only the surer is kept.",
    )
    block_um: Annotated[float, Field(gt=0)] = Field(
        default=400.0,
        title="Block size (µm)",
        description="Side of the pieces that are worked on; the somata do not depend on it.",
    )


def segmenter_grid(volume: Volume, config: SegmenterConfig) -> WorkingGrid:
    """Choose voxels that are nearly those of a network's training, rather smaller than larger.

    Voxels are averaged by whole numbers, so that those of training are rarely met. A soma of too
    few pixels is missed where one of too many is found.
    """
    return WorkingGrid.choose(volume, _FINER * config.pixel_um)


@dataclass(frozen=True)
class SegmentedVolume:
    """A volume as a segmenter sees it.

    Attributes
    ----------
    net : SegmenterNet
        In evaluation mode.
    grid : WorkingGrid
        Voxels of about the size that the network was trained on.
    scales : ndarray, shape (Z, 2)
        Ground and unit of each plane, from the whole of it and not from a block.
    """

    net: SegmenterNet
    grid: WorkingGrid
    scales: npt.NDArray[np.float64]

    @classmethod
    def prepare(cls, volume: Volume, net: SegmenterNet) -> SegmentedVolume:
        """Choose the resolution, and measure the planes' brightness."""
        grid = segmenter_grid(volume, net.config)
        return cls(net.eval(), grid, _measured(grid))

    @property
    def spacing(self) -> npt.NDArray[np.float64]:
        """Length of a working voxel along each axis, in the network's pixels."""
        size = np.array(self.grid.voxel_um)
        if self.grid.is_plane:
            size[0] = self.net.config.pixel_um
        return np.asarray(size / self.net.config.pixel_um)

    def blocks(self, block_um: float) -> list[Block]:
        """Cut it into blocks, with as much halo as what has its middle in a block needs."""
        sides = [self._multiple(block_um / size) for size in self.grid.voxel_um]
        config = self.net.config
        reach = _REACH_UM if config.target == "somata" else _REACH_PX * config.pixel_um
        z, y, x = (math.ceil(reach / size) for size in self.grid.voxel_um)
        halo = (z, self._multiple(y), self._multiple(x))
        return list(iter_blocks(self.grid.shape, (sides[0], sides[1], sides[2]), halo))

    def _multiple(self, length: float) -> int:
        step = self.net.config.multiple
        return max(1, math.ceil(length / step)) * step

    @torch.inference_mode()
    def probability(self, block: Block) -> Float32Array:
        """Return the probability of a block with its halo.

        Returns
        -------
        ndarray of float32, of the block's outer shape
            The same voxel has the same value in all blocks.

        Raises
        ------
        InputError
            If the volume holds NaN pixels there or cannot be read.
        """
        config = self.net.config
        context = math.ceil((config.planes // 2) * config.plane_um / self.grid.voxel_um[0])
        size = tuple(np.subtract(block.outer_stop, block.outer_start).tolist())
        seen = Block.at(
            block.outer_start,
            (size[0], size[1], size[2]),
            shape=self.grid.shape,
            halo=(context, config.margin_px, config.margin_px),
        )
        planes = self.grid.read(seen.outer_start, seen.outer_stop)
        first, last = seen.outer_start[0], seen.outer_stop[0]
        planes = standardised(planes, self.scales[first:last])
        padding = [(0, -n % config.multiple) for n in planes.shape[1:]]
        planes = np.pad(planes, [(0, 0), *padding], mode="edge")
        own_z, own_y, own_x = seen.inner
        found = np.empty(size, dtype=np.float32)
        step = config.plane_um / self.grid.voxel_um[0]
        for start in range(0, size[0], _PLANES_AT_ONCE):
            stop = min(start + _PLANES_AT_ONCE, size[0])
            middles = np.arange(own_z.start + start, own_z.start + stop)
            images = with_neighbours(planes, middles, count=config.planes, step=step)
            told = self.net(torch.from_numpy(images)).sigmoid()
            found[start:stop] = told[:, own_y, own_x].numpy()
        return found


@dataclass(frozen=True)
class FoundSomata:
    """Somata of one array.

    Attributes
    ----------
    positions : ndarray, shape (N, ndim)
        Voxels with fractions: the mean of each soma's voxels, weighed by their probability.
    voxels : ndarray, shape (N,)
        How many belong to each.
    probability : ndarray, shape (N,)
        Highest smoothed probability.
    seeds : ndarray, shape (N, ndim)
        Where that is.
    """

    positions: npt.NDArray[np.float64]
    voxels: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    seeds: npt.NDArray[np.intp]


def off_faces(seeds: npt.NDArray[np.intp], shape: Index3) -> npt.NDArray[np.bool_]:
    """Return which seeds (N, 3) lie within a volume of some shape, (N,).

    Of the others the probability still rises towards a face, so that their middle lies beyond it.
    An axis of one voxel has no face.
    """
    length = np.array(shape)
    return np.asarray(((length == 1) | ((seeds > 0) & (seeds < length - 1))).all(axis=1))


def somata_in(
    probability: Float32Array, params: WatershedParams, spacing: npt.NDArray[np.float64]
) -> FoundSomata:
    """Return the somata of a probability (Z, Y, X), by the watershed."""
    found = instances(probability, "somata", params, spacing=spacing)
    smooth = smoothed(probability, params, spacing)
    numbers = np.arange(1, found.max() + 1)
    if not len(numbers):
        empty = np.zeros((0, probability.ndim))
        return FoundSomata(empty, np.zeros(0), np.zeros(0), empty.astype(np.intp))
    return FoundSomata(
        np.array(ndimage.center_of_mass(probability, found, numbers)),
        np.bincount(found.ravel())[1:].astype(np.float64),
        np.asarray(ndimage.maximum(smooth, found, numbers), dtype=np.float64),
        np.array(ndimage.maximum_position(smooth, found, numbers), dtype=np.intp),
    )


def segment_somata(
    volume: Volume,
    net: SegmenterNet,
    params: SegmentParams | None = None,
    *,
    report: Report | None = None,
) -> Detection:
    """Find the somata of a volume or a plane with a trained segmenter.

    Parameters
    ----------
    volume : Volume
        Read block by block, from the stored resolution that suits the network's pixels.
    net : SegmenterNet
        Of somata.
    params : SegmentParams, optional
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    Detection
        The surest first. A soma whose middle lies beyond a face of the volume is left out.

    Raises
    ------
    InputError
        If the volume holds NaN pixels or cannot be read, or the network knows no somata.
    """
    if net.config.target != "somata":
        raise InputError(f"'{net.config.name}' tells {net.config.target}, not somata.")
    params = params or SegmentParams()
    seen = SegmentedVolume.prepare(volume, net)
    cut = net.config.watershed
    if params.least_probability is not None:
        least = params.least_probability
        # A soma reaches down to its own seed at least.
        cut = cut.model_copy(update={"seed": least, "inside": min(cut.inside, least)})
    blocks = seen.blocks(params.block_um)
    message = f"looking for somata in {volume.name}"
    parts: list[npt.NDArray[np.float64]] = [np.zeros((0, 5))]
    for done, block in enumerate(blocks):
        if report is not None:
            report(done, len(blocks), message)
        found = somata_in(seen.probability(block), cut, seen.spacing)
        rows = np.column_stack([found.positions, found.voxels, found.probability])
        rows[:, :3] += block.outer_start
        seeds = found.seeds + np.array(block.outer_start)
        # The others are their neighbours' business.
        own = ((seeds >= block.start) & (seeds < block.stop)).all(axis=1)
        parts.append(rows[own & off_faces(seeds, seen.grid.shape)])
    if report is not None:
        report(len(blocks), len(blocks), message)
    return _detection(np.concatenate(parts), seen.grid, params.min_distance_um)


def _detection(
    rows: npt.NDArray[np.float64], grid: WorkingGrid, min_distance_um: float
) -> Detection:
    """Return rows of position (3), voxels and probability as somata, the surest first."""
    rows = rows[np.lexsort((*rows.T[2::-1], -rows[:, 4]))]
    positions = rows[:, :3] * grid.voxel_um + grid.origin_um
    rows = rows[kept := not_suppressed(positions, np.full(len(rows), min_distance_um))]
    voxel = np.array(grid.voxel_um)
    if grid.is_plane:
        radius = np.sqrt(rows[:, 3] * voxel[1] * voxel[2] / math.pi)
    else:
        radius = np.cbrt(rows[:, 3] * voxel.prod() * 3 / (4 * math.pi))
    return Detection(positions[kept], radius, rows[:, 4])


def _measured(grid: WorkingGrid) -> npt.NDArray[np.float64]:
    """Return ground and unit of each plane, (Z, 2), from a few tiles spread over all planes."""
    depth, *sides = grid.shape
    spread = []
    for length in sides:
        count = min(_TILES, -(-length // _TILE_PX))
        middles = (np.arange(count) + 0.5) / count * length
        starts = np.clip(np.rint(middles - _TILE_PX / 2), 0, max(length - _TILE_PX, 0)).astype(int)
        spread.append([(start, min(start + _TILE_PX, length)) for start in starts.tolist()])
    scales = []
    for first in range(0, depth, _TILE_PX):
        last = min(first + _TILE_PX, depth)
        tiles = [
            grid.read((first, y0, x0), (last, y1, x1)).reshape(last - first, -1)
            for (y0, y1), (x0, x1) in itertools.product(*spread)
        ]
        scales.append(plane_scales(np.concatenate(tiles, axis=1)))
    return np.concatenate(scales)
