"""Crops around somata, seen along the two-photon optical axis (DESIGN §2)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.resample import Index3, SlabGrid
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.types import CROP_UM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report

_LOW_PERCENT, _HIGH_PERCENT = 1.0, 99.7
DARKEST = np.float32(1e-6)
"""What the darkest pixels inside a volume become; 0 itself says that a pixel lies outside."""
_PATCH_VOXELS = 2**25
"""Voxels read at a time, 128 MiB as float32."""


class CropSpec(BaseModel):
    """What a crop shows; part of the key under which embeddings are stored.

    Attributes
    ----------
    size_um : float
        Side of the square crop.
    pixels : int
        Side in pixels.
    slab_um : float
        Thickness that is projected, along the two-photon optical axis.
    slab_step_um : float
        Largest distance between two planes sampled within the slab.
    projection : {"max"}
        How the slab becomes a plane.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_um: Annotated[float, Field(gt=0)] = Field(default=CROP_UM, title="Crop size (µm)")
    pixels: Annotated[int, Field(ge=2)] = Field(default=150, title="Crop size (pixels)")
    slab_um: Annotated[float, Field(ge=0)] = Field(default=30.0, title="Slab thickness (µm)")
    slab_step_um: Annotated[float, Field(gt=0)] = Field(default=1.5, title="Slab step (µm)")
    projection: Literal["max"] = "max"

    @property
    def pixel_um(self) -> float:
        """Side of one pixel in µm."""
        return self.size_um / self.pixels

    def digest(self) -> str:
        """Return 12 hex digits that differ whenever the specification does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def offsets_um(self) -> npt.NDArray[np.float64]:
        """Return offsets of pixel centres from the crop's centre, shape (pixels,)."""
        centered = np.arange(self.pixels, dtype=np.float64) - (self.pixels - 1) / 2
        return centered * self.pixel_um

    def depths_um(self) -> npt.NDArray[np.float64]:
        """Return offsets of the sampled planes from the centre, from -slab/2 to slab/2."""
        steps = int(np.ceil(self.slab_um / self.slab_step_um))
        return np.linspace(-self.slab_um / 2, self.slab_um / 2, steps + 1) if steps else np.zeros(1)


def normalize_crops(
    crops: npt.ArrayLike, inside: npt.NDArray[np.bool_] | None = None
) -> Float32Array:
    """Stretch every crop to [0, 1] between its own 1st and 99.7th percentile.

    Parameters
    ----------
    crops : array_like, shape (N, H, W) or (H, W)
        Intensities in any unit.
    inside : ndarray of bool, same shape, optional
        Pixels that lie in the volume. The others take no part and become 0.

    Returns
    -------
    ndarray of float32, same shape
        Pixels inside are at least `DARKEST`, so that a crop says itself which are outside. One
        without contrast, or with no pixel inside, is all 0.

    Raises
    ------
    InputError
        If a pixel inside is NaN or infinite.
    """
    array = np.asarray(crops, dtype=np.float32)
    stack = array.reshape(-1, *array.shape[-2:])
    masks = None if inside is None else np.asarray(inside, bool).reshape(stack.shape)
    normalized = np.zeros_like(stack)
    for index, crop in enumerate(stack):
        mask = None if masks is None or masks[index].all() else masks[index]
        pixels = crop.ravel() if mask is None else crop[mask]
        if pixels.size == 0:
            continue
        if not np.isfinite(pixels).all():
            raise InputError("A crop holds NaN or infinite pixels; replace them, for example by 0.")
        low, high = np.percentile(pixels, (_LOW_PERCENT, _HIGH_PERCENT))
        if high > low:
            stretched = np.clip((crop - low) / (high - low), DARKEST, 1.0)
            normalized[index] = stretched if mask is None else np.where(mask, stretched, 0.0)
    return normalized.reshape(array.shape)


def extract_crops(
    volume: Volume,
    centers_um: npt.ArrayLike,
    *,
    linear: npt.NDArray[np.floating] | None = None,
    spec: CropSpec | None = None,
    report: Report | None = None,
) -> Float32Array:
    """Crop a slab around every soma, re-sliced along the two-photon optical axis.

    Parameters
    ----------
    volume : Volume
        Where the somata lie.
    centers_um : array_like, shape (N, 3)
        µm in the volume's own space, (z, y, x); may lie outside it.
    linear : ndarray, shape (3, 3) or (N, 3, 3), optional
        Takes offsets in the two-photon frame (depth, row, column) to offsets in the
        volume's space, both µm; the identity for the two-photon side itself. One for
        all crops, or one for each.
    spec : CropSpec, optional
        What a crop shows.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    ndarray of float32, shape (N, pixels, pixels)
        In [0, 1], each stretched by :func:`normalize_crops`. What lies outside the
        volume is 0.

    Raises
    ------
    InputError
        If the centres, the frame or the voxels read are not finite, or there are frames for
        another number of crops.

    Notes
    -----
    Sampling is trilinear, at pixel centres and at the depths of ``spec.depths_um()``;
    the slab's maximum is taken. Somata whose patches share chunks are read together.
    """
    spec = spec or CropSpec()
    centers = as_points(centers_um) / np.asarray(volume.voxel_size_um)
    grids = _grids(volume, linear, spec, len(centers))
    crops = np.zeros((len(centers), spec.pixels, spec.pixels), dtype=np.float32)
    done = 0
    for group in _groups(grids, centers, volume.chunks):
        patch = None if group.too_large else volume.read(group.start, group.stop)
        for index in group.members:
            if patch is None:
                values, inside = _sample_in_parts(volume, grids[index], centers[index])
            else:
                values, inside = grids[index].sample(patch, group.start, centers[index])
            crops[index] = normalize_crops(values, inside)
            done += 1
            if report is not None:
                report(done, len(centers), f"cropping {volume.name}")
    return crops


def _grids(
    volume: Volume, linear: npt.NDArray[np.floating] | None, spec: CropSpec, count: int
) -> list[SlabGrid]:
    """Return the grid of each crop; one and the same where all look the same way."""
    frames = np.eye(3) if linear is None else np.asarray(linear, dtype=np.float64)
    if frames.shape not in ((3, 3), (count, 3, 3)) or not np.isfinite(frames).all():
        raise InputError(
            f"A crop's frame is a finite (3, 3) matrix, one for all or one for each of {count} "
            f"crops, not an array of shape {frames.shape} or with NaN."
        )
    per_um = frames / np.asarray(volume.voxel_size_um)[:, None]
    offsets = spec.offsets_um()
    made = [
        SlabGrid(basis, spec.depths_um(), offsets, offsets, volume.shape)
        for basis in per_um.reshape(-1, 3, 3)
    ]
    return made * count if frames.ndim == 2 else made


@dataclass(frozen=True)
class _Group:
    """Somata whose crops are made from one read."""

    members: list[int]
    start: Index3
    stop: Index3

    @property
    def n_voxels(self) -> int:
        return math.prod(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def too_large(self) -> bool:
        return self.n_voxels > _PATCH_VOXELS

    def n_chunked(self, chunks: Index3) -> int:
        """Return how many voxels are read when whole chunks are."""
        return math.prod(
            -(-b // c) * c - a // c * c
            for a, b, c in zip(self.start, self.stop, chunks, strict=True)
        )

    def with_member(self, other: _Group) -> _Group:
        z, y, x = (min(a, b) for a, b in zip(self.start, other.start, strict=True))
        zz, yy, xx = (max(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return _Group([*self.members, *other.members], (z, y, x), (zz, yy, xx))


def _groups(
    grids: Sequence[SlabGrid], centers: npt.NDArray[np.float64], chunks: Index3
) -> Iterator[_Group]:
    """Walk from place to place, and read together what costs less to read together."""
    if not grids:
        return
    start, stop = grids[0].box(np.asarray(grids[0].shape) / 2)
    reach = np.subtract(stop, start)
    cells = np.floor(centers / np.maximum(reach, chunks))
    order = np.lexsort((*centers.T[::-1], *cells.T[::-1]))
    current: _Group | None = None
    for index in order:
        start, stop = grids[index].box(centers[index])
        if any(a >= b for a, b in zip(start, stop, strict=True)):
            continue  # wholly outside: the crop stays 0
        single = _Group([int(index)], start, stop)
        if current is None:
            current = single
            continue
        joined = current.with_member(single)
        apart = current.n_chunked(chunks) + single.n_chunked(chunks)
        if joined.too_large or joined.n_chunked(chunks) > apart:
            yield current
            current = single
        else:
            current = joined
    if current is not None:
        yield current


def _sample_in_parts(
    volume: Volume, grid: SlabGrid, center: npt.NDArray[np.float64]
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Sample a crop that needs more voxels than fit into memory, half by half."""
    start, stop = grid.box(center)
    if not _Group([], start, stop).too_large:
        return grid.sample(volume.read(start, stop), start, center)
    axis, *halves = grid.split()
    (first, first_inside), (second, second_inside) = (
        _sample_in_parts(volume, half, center) for half in halves
    )
    if axis == 0:
        return np.maximum(first, second), first_inside | second_inside
    return (
        np.concatenate([first, second], axis - 1),
        np.concatenate([first_inside, second_inside], axis - 1),
    )
