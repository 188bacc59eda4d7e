"""Averaging voxels into coarser ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.types import Vec3

_SMALLEST_SIDE = 256
_MAX_LEVELS = 6


def downsample(planes: npt.NDArray[Any], factors: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Average blocks of voxels; incomplete blocks at the end repeat the last voxel.

    Parameters
    ----------
    planes : ndarray, shape (Z, Y, X)
        Any real type; whole numbers are rounded back to their own type.
    factors : tuple of int
        Voxels averaged along z, y and x.

    Returns
    -------
    ndarray, shape (ceil(Z / fz), ceil(Y / fy), ceil(X / fx))
    """
    padding = [(0, -n % f) for n, f in zip(planes.shape, factors, strict=True)]
    padded = np.pad(planes, padding, mode="edge")
    split = [n for full, f in zip(padded.shape, factors, strict=True) for n in (full // f, f)]
    mean = padded.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    if np.issubdtype(planes.dtype, np.integer):
        mean = np.rint(mean)
    averaged: npt.NDArray[Any] = mean.astype(planes.dtype)
    return averaged


def pyramid_factors(
    voxel_size_um: Vec3, plane_shape: tuple[int, int], levels: int | None = None
) -> list[tuple[int, int, int]]:
    """Return the downsampling from each level to the next.

    y and x are halved; z is halved too once that makes the voxel more of a cube.
    """
    if levels is None:
        levels = 1
        while levels < _MAX_LEVELS and max(plane_shape) > _SMALLEST_SIDE * 2 ** (levels - 1):
            levels += 1
    factors = []
    z, y, x = voxel_size_um
    for _ in range(levels - 1):
        y, x = 2 * y, 2 * x
        halve_z = abs(np.log(2 * z / np.sqrt(y * x))) < abs(np.log(z / np.sqrt(y * x)))
        factors.append((2 if halve_z else 1, 2, 2))
        z *= factors[-1][0]
    return factors
