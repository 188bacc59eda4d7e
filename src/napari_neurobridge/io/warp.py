"""A volume seen through a transform, on the grid of another, computed where it is looked at."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.blocks import iter_blocks
from napari_neurobridge.io.resample import Index3, lies_on_voxels, sample_points
from napari_neurobridge.io.views import Box, LazyVolume
from napari_neurobridge.spaces.jacobian import jacobian_of

if TYPE_CHECKING:
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Float32Array, Report, Vec3

Float64Array: TypeAlias = npt.NDArray[np.float64]
IndexArray: TypeAlias = npt.NDArray[np.int64]

STEP_UM = 16.0
TOLERANCE_UM = 0.05
BLOCK: Index3 = (32, 128, 128)
"""Voxels of the reference that are computed at a time."""
_PATCH_VOXELS = 2**24
"""Voxels of the moving volume read at a time, 64 MiB as float32."""
_KEPT_BYTES = 2**26
_ROUNDING = 1e-6
# More voxels than this for each voxel that is shown would be read and skipped.
_MOST_SKIPPED = 4096


class WarpedView(LazyVolume):
    """A volume warped onto the grid of another; what is sliced is computed, and nothing else.

    The first voxel of the grid is at 0 µm. Values are interpolated trilinearly, at the coarsest
    level whose voxels are no larger than the grid's. A plane that is warped onto a plane is
    sampled on itself, whatever depth the transform says; in a volume it is as thick as its voxel.

    The transform is evaluated on a lattice within each block and interpolated linearly between.
    The step is halved in a block until the error of that, estimated from the lattice's second
    differences, is below the tolerance; at last each voxel is evaluated. The estimate is exact for
    maps of the second degree; a bend narrower than two steps may be missed.

    Parameters
    ----------
    moving : Volume
        What is warped.
    transform : Transform
        From µm of the reference to µm of ``moving``.
    shape : tuple of int, length 3
        Of the reference's grid.
    voxel_size_um : Vec3
        Of the reference.
    step_um : float
        Of the lattice to begin with.
    tolerance_um : float
        Largest error of an interpolated place, in µm of ``moving``.
    fill : float
        What is shown where ``moving`` shows nothing.

    Raises
    ------
    InputError
        If the grid, the step or the tolerance is none, or each voxel of the grid stands for
        over 4,096 voxels of the coarsest level. Slicing raises it where voxels are NaN, and
        `NotInvertibleError` where the transform is an inverse that folds.
    """

    def __init__(
        self,
        moving: Volume,
        transform: Transform,
        *,
        shape: tuple[int, int, int],
        voxel_size_um: Vec3,
        step_um: float = STEP_UM,
        tolerance_um: float = TOLERANCE_UM,
        fill: float = 0.0,
    ) -> None:
        _require_positive("shape of a grid", shape)
        _require_positive("voxel size of a grid", voxel_size_um)
        _require_positive("step and tolerance of a warp", (step_um, tolerance_um))
        block = tuple(min(n, b) for n, b in zip(shape, BLOCK, strict=True))
        super().__init__(shape, np.float32, (block[0], block[1], block[2]))
        self.moving, self.transform = moving, transform
        self.step_um, self.tolerance_um, self.fill = step_um, tolerance_um, fill
        self._voxel_um = np.asarray(voxel_size_um, dtype=np.float64)
        self.level = self._choose_level()
        self._lattices: dict[Index3, Float64Array] = {}

    def load(self, box: Box) -> Float32Array:
        """Compute one box."""
        lows, highs = [part.start for part in box], [part.stop for part in box]
        result = np.full(np.maximum(np.subtract(highs, lows), 0), self.fill, dtype=np.float32)
        for start in self._block_starts(box):
            part = self._within(start, box)
            where = tuple(slice(p.start - a, p.stop - a) for p, a in zip(part, lows, strict=True))
            result[where] = self._sample(self._block_places(start, part))
        return result

    def places_um(self, box: Box) -> Float64Array:
        """Return where the voxels of a box lie in the moving volume, (z, y, x, 3) µm."""
        lows, highs = [part.start for part in box], [part.stop for part in box]
        places = np.empty((*np.subtract(highs, lows), 3))
        for start in self._block_starts(box):
            part = self._within(start, box)
            where = tuple(slice(p.start - a, p.stop - a) for p, a in zip(part, lows, strict=True))
            places[where] = self._block_places(start, part)
        return places

    def _choose_level(self) -> int:
        """Return the coarsest level whose voxels are no larger than the grid's are there."""
        center = (np.asarray(self.shape) - 1) / 2 * self._voxel_um
        local = jacobian_of(self.transform, center, float(self._voxel_um.min()))[0]
        spacing = np.abs(local * self._voxel_um).max(axis=1)
        scales = np.asarray(self.moving.level_scales_um)
        # A tenth larger is near enough: 4.9 µm voxels serve a grid of 4.5 µm.
        fine = (scales <= np.maximum(1.1 * spacing, scales[0])).all(axis=1)
        level = int(np.flatnonzero(fine)[-1])
        shown = np.asarray(self.moving.levels[level].shape) > 1
        skipped = float(np.prod(np.maximum(spacing / scales[level], 1.0)[shown]))
        if skipped > _MOST_SKIPPED:
            raise InputError(
                f"Each voxel of the grid stands for {skipped:.0f} voxels of {self.moving.name}, "
                f"of which no coarser level is stored."
            )
        return level

    def _block_starts(self, box: Box) -> itertools.product[tuple[int, ...]]:
        return itertools.product(
            *(
                range(part.start // size * size, part.stop, size)
                for part, size in zip(box, self.chunks, strict=True)
            )
        )

    def _within(self, start: tuple[int, ...], box: Box) -> Box:
        """Return the part of a box that lies in a block."""
        z, y, x = (
            slice(max(a, part.start), min(a + size, part.stop))
            for a, size, part in zip(start, self.chunks, box, strict=True)
        )
        return z, y, x

    def _block_places(self, start: tuple[int, ...], part: Box) -> Float64Array:
        """Return where voxels of one block lie in the moving volume, (z, y, x, 3) µm."""
        z, y, x = start
        lattice = self._lattices.get((z, y, x))
        first = np.asarray(start, dtype=np.int64)
        lengths = np.minimum(first + self.chunks, self.shape) - first
        if lattice is None:
            lattice = self._lattice(first, lengths)
            if sum(kept.nbytes for kept in self._lattices.values()) > _KEPT_BYTES:
                self._lattices.clear()
            self._lattices[z, y, x] = lattice
        hats = [
            _hats(np.arange(span.start, span.stop) - a, length, count)
            for span, a, length, count in zip(part, start, lengths, lattice.shape, strict=False)
        ]
        return np.asarray(np.einsum("ai,bj,ck,ijkd->abcd", *hats, lattice, optimize="greedy"))

    def _lattice(
        self, start: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> Float64Array:
        """Evaluate the transform on as coarse a lattice of a block as the tolerance allows."""
        counts = np.ceil((lengths - 1) * self._voxel_um / self.step_um).astype(int) + 1
        counts = np.minimum(np.maximum(counts, 3), lengths)
        while True:
            along = [
                (a + np.linspace(0, length - 1, count)) * size
                for a, length, count, size in zip(
                    start, lengths, counts, self._voxel_um, strict=True
                )
            ]
            nodes = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)
            lattice = self.transform.map_points(nodes.reshape(-1, 3)).reshape(nodes.shape)
            error = interpolation_error(
                lattice, [bool(c < n) for c, n in zip(counts, lengths, strict=True)]
            )
            if error <= self.tolerance_um or (counts == lengths).all():
                return lattice
            counts = np.minimum(2 * counts - 1, lengths)

    def _sample(self, places_um: Float64Array) -> Float32Array:
        """Return the values at places (z, y, x, 3) of the moving volume."""
        scale, offset = (
            np.asarray(sizes[self.level])
            for sizes in (self.moving.level_scales_um, self.moving.level_offsets_um)
        )
        voxels = (places_um - offset) / scale
        z, y, x = self.moving.levels[self.level].shape
        if z == 1 and self.shape[0] == 1:
            voxels[..., 0] = 0.0
        return self._sample_voxels(voxels, (z, y, x))

    def _sample_voxels(self, voxels: Float64Array, shape: Index3) -> Float32Array:
        inside = lies_on_voxels(voxels, shape)
        if not inside.any():
            return np.full(inside.shape, self.fill, dtype=np.float32)
        needed = voxels[inside]
        # Rounding must not ask for one more plane where the grids coincide.
        low = np.clip(np.floor(needed.min(axis=0) + _ROUNDING), 0, shape).astype(int)
        high = np.clip(np.ceil(needed.max(axis=0) - _ROUNDING) + 1, 0, shape).astype(int)
        if math.prod((high - low).tolist()) > _PATCH_VOXELS and voxels.size > 3:
            axis = int(np.argmax(voxels.shape[:3]))
            halves = np.array_split(voxels, 2, axis=axis)
            return np.concatenate([self._sample_voxels(half, shape) for half in halves], axis=axis)
        start, stop = ((int(z), int(y), int(x)) for z, y, x in (low, high))
        patch = self.moving.read(start, stop, level=self.level)
        values, inside = sample_points(patch, start, voxels, shape)
        return np.where(inside, values, np.float32(self.fill))


def warp_image(view: WarpedView, *, report: Report | None = None) -> Float32Array:
    """Compute the whole of a warped volume, block by block.

    Parameters
    ----------
    view : WarpedView
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    ndarray of float32, of the view's shape
    """
    image = np.empty(view.shape, dtype=np.float32)
    blocks = list(iter_blocks(view.shape, view.chunks, (0, 0, 0)))
    for done, block in enumerate(blocks, start=1):
        z, y, x = (slice(a, b) for a, b in zip(block.start, block.stop, strict=True))
        image[z, y, x] = view.load((z, y, x))
        if report is not None:
            report(done, len(blocks), f"warping {view.moving.name}")
    return image


def interpolation_error(lattice: Float64Array, coarse: list[bool]) -> float:
    """Return by how much linear interpolation between the nodes of a lattice may err, at most.

    Parameters
    ----------
    lattice : ndarray, shape (Z, Y, X, 3)
        Values at nodes of equal distance, three or more along coarse axes.
    coarse : list of bool, length 3
        Whether an axis is interpolated at all.

    Notes
    -----
    Along an axis the error is at most 1/8 of the step squared times the second derivative, which
    the second differences tell; those of the axes add up.
    """
    return sum(
        float(np.linalg.norm(np.diff(lattice, 2, axis=axis), axis=-1).max()) / 8
        for axis in range(3)
        if coarse[axis]
    )


def _hats(offsets: IndexArray, length: int, count: int) -> Float64Array:
    """Return how much each of ``count`` nodes along an axis counts at some offsets, (N, count)."""
    position = offsets * ((count - 1) / max(length - 1, 1))
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(count))))


def _require_positive(what: str, sizes: tuple[float, ...]) -> None:
    if not (np.isfinite(sizes).all() and min(sizes) > 0):
        raise InputError(f"The {what} must be positive numbers, not {sizes}.")
