"""Bright, filled, ball-shaped places in one block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import KDTree
from torch.nn.functional import max_pool3d

from napari_neurobridge.detection.filters import SCALE_STEP, difference_of_gaussians

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.io.blocks import Block, Index3
    from napari_neurobridge.types import Float32Array, Vec3

SHELL_RADII = (1.5, 2.2)
"""The shell that a core is compared with, in soma radii."""

_CORE_RADIUS = 0.9
_DARK_PERCENT = 35
"""So much of the core, which is this many soma radii wide, may be dark: a nucleus
without dye, or a border misjudged."""


@dataclass(frozen=True)
class SomaCandidates:
    """Places that may be somata.

    Attributes
    ----------
    positions : ndarray, shape (N, 3)
        Working voxels, with fractions.
    radius_um, response, contrast : ndarray, shape (N,)
        Size, answer of the filter, and brightness above the surroundings.
    """

    positions: npt.NDArray[np.float64]
    radius_um: npt.NDArray[np.float64]
    response: npt.NDArray[np.float64]
    contrast: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> SomaCandidates:
        """Return some of the candidates, by index or by mask."""
        return SomaCandidates(
            self.positions[which],
            self.radius_um[which],
            self.response[which],
            self.contrast[which],
        )

    @classmethod
    def joined(cls, parts: Sequence[SomaCandidates]) -> SomaCandidates:
        """Join the candidates of several blocks."""
        return cls(
            np.concatenate([np.zeros((0, 3)), *(part.positions for part in parts)]),
            np.concatenate([np.zeros(0), *(part.radius_um for part in parts)]),
            np.concatenate([np.zeros(0), *(part.response for part in parts)]),
            np.concatenate([np.zeros(0), *(part.contrast for part in parts)]),
        )


def find_candidates(
    image: Float32Array,
    block: Block,
    *,
    volume_shape: Index3,
    radii_um: Sequence[float],
    voxel_um: Vec3,
    min_response: float,
) -> SomaCandidates:
    """Find the places of a block at which the filter answers more than all around.

    Parameters
    ----------
    image : ndarray, shape (Z, Y, X)
        The block with its halo.
    block : Block
        Where it lies; places in the halo are left to the neighbouring blocks.
    volume_shape : tuple of int
        Of the whole volume. Where the answer still rises towards a face of it, the
        centre lies beyond, and the place is left out.
    radii_um : sequence of float
        Scales to look at, increasing.
    voxel_um : Vec3
        Voxel size.
    min_response : float
        Places with a weaker answer are left out.
    """
    answers = difference_of_gaussians(torch.from_numpy(image), radii_um, voxel_um)
    strongest, scale = answers.max(dim=0)
    peaks = _local_maxima(strongest, min_response)
    inner = np.zeros(image.shape, dtype=bool)
    inner[_without_faces(block, volume_shape)] = True
    found = np.argwhere(peaks.numpy() & inner)
    best = scale.numpy()[tuple(found.T)]
    shifts = _subvoxel_shifts(strongest.numpy(), found)
    return SomaCandidates(
        positions=found + shifts + np.asarray(block.outer_start),
        radius_um=_radii(answers.numpy(), found, best, np.asarray(radii_um)),
        response=strongest.numpy()[tuple(found.T)].astype(np.float64),
        contrast=_contrast(image, found, np.asarray(radii_um)[best], voxel_um),
    )


def not_suppressed(
    positions: npt.NDArray[np.float64], reach: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Mark those that have no stronger one kept close by, (N,).

    Parameters
    ----------
    positions : ndarray, shape (N, 3)
        The strongest first.
    reach : ndarray, shape (N,)
        How far each suppresses weaker ones, in the unit of the positions.
    """
    kept = np.ones(len(positions), dtype=bool)
    if not len(positions):
        return kept
    tree = KDTree(positions)
    for index, position in enumerate(positions):
        if kept[index]:
            close = np.asarray(tree.query_ball_point(position, float(reach[index])))
            kept[close[close > index]] = False
    return kept


def _without_faces(block: Block, volume_shape: Index3) -> tuple[slice, ...]:
    return tuple(
        slice(own.start + (start == 0 and length > 1), own.stop - (stop == length and length > 1))
        for own, start, stop, length in zip(
            block.inner, block.start, block.stop, volume_shape, strict=True
        )
    )


def _local_maxima(image: torch.Tensor, minimum: float) -> torch.Tensor:
    # Equal neighbours on a plateau all stay; suppression by distance keeps one of them.
    window = [1 if n == 1 else 3 for n in image.shape]
    highest = max_pool3d(
        image[None, None], window, stride=1, padding=[size // 2 for size in window]
    )[0, 0]
    return (image == highest) & (image > minimum)


def _subvoxel_shifts(image: Float32Array, found: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Fit a parabola through each peak and its two neighbours along every axis."""
    shifts = np.zeros(found.shape)
    for axis, length in enumerate(image.shape):
        step = np.zeros(3, dtype=int)
        step[axis] = 1
        inside = (found[:, axis] > 0) & (found[:, axis] < length - 1)
        here = found[inside]
        before, peak, after = (
            image[tuple((here + sign * step).T)].astype(np.float64) for sign in (-1, 0, 1)
        )
        shifts[inside, axis] = _parabola_top(before, peak, after)
    return shifts


def _parabola_top(
    before: npt.NDArray[np.float64],
    peak: npt.NDArray[np.float64],
    after: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return where, from -0.5 to 0.5 around the middle, a parabola is highest."""
    bend = before - 2 * peak + after
    top = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend < 0)
    return np.clip(top, -0.5, 0.5)


def _radii(
    answers: Float32Array,
    found: npt.NDArray[np.intp],
    best: npt.NDArray[np.int64],
    radii_um: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Interpolate the radius between the scales, which are evenly spaced in its log."""
    at_peaks = answers[:, found[:, 0], found[:, 1], found[:, 2]].astype(np.float64)
    columns = np.arange(len(found))
    middle = np.clip(best, 1, len(radii_um) - 2)
    shift = _parabola_top(*(at_peaks[middle + step, columns] for step in (-1, 0, 1)))
    shift = np.where(best == middle, shift, 0.0)
    return np.asarray(radii_um[best] * SCALE_STEP**shift)


def _contrast(
    image: Float32Array,
    found: npt.NDArray[np.intp],
    radius_um: npt.NDArray[np.float64],
    voxel_um: Vec3,
) -> npt.NDArray[np.float64]:
    """Return how much brighter the core of each place is than the shell around it.

    A percentile of the core makes this blind to fibres: those that cross a soma-sized
    ball fill a part of it, however bright they are, while most of a soma is bright. The
    median of the shell is not moved by neighbours.
    """
    contrast = np.zeros(len(found))
    is_plane = image.shape[0] == 1
    for radius in np.unique(radius_um):
        of_this_size = radius_um == radius
        core = _ball_offsets(0.0, _CORE_RADIUS * radius, voxel_um, is_plane)
        inner, outer = (radius * relative for relative in SHELL_RADII)
        shell = _ball_offsets(inner, outer, voxel_um, is_plane)
        places = found[of_this_size]
        bright = _percentile_at(image, places, core, _DARK_PERCENT)
        contrast[of_this_size] = bright - _percentile_at(image, places, shell, 50)
    return contrast


def _ball_offsets(
    inner_um: float, outer_um: float, voxel_um: Vec3, is_plane: bool
) -> npt.NDArray[np.intp]:
    reach = [int(outer_um / size) for size in voxel_um]
    if is_plane:
        reach[0] = 0
    axes = (np.arange(-n, n + 1) for n in reach)
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(offsets * np.asarray(voxel_um), axis=1)
    return np.asarray(offsets[(distance >= inner_um) & (distance <= outer_um)])


def _percentile_at(
    image: Float32Array,
    found: npt.NDArray[np.intp],
    offsets: npt.NDArray[np.intp],
    percent: float,
) -> npt.NDArray[np.float64]:
    # Beyond the volume the border repeats, as it does for the filters.
    index = np.clip(found[:, None, :] + offsets, 0, np.asarray(image.shape) - 1)
    values = image[index[..., 0], index[..., 1], index[..., 2]]
    return np.asarray(np.percentile(values, percent, axis=1), dtype=np.float64)
