"""Planes as the segmenter sees them: of one brightness scale, with their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.types import Float32Array

_MAD_TO_SIGMA = 1.4826
_BRIGHT_PERCENT = 99.5
# Of the bright pixels' height: the unit where the ground is without noise.
_LEAST_UNIT = 0.1


def plane_scales(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return ground and unit of each plane, shape (Z, 2).

    The ground is the median; the unit is the standard deviation about it, estimated from the
    median absolute deviation, and a tenth of the height of the brightest pixels, which alone is
    left where the ground has no noise.

    Parameters
    ----------
    values : ndarray, shape (Z, ...)
        Pixels of each plane, all or a sample.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    ground, bright = np.percentile(flat, (50, _BRIGHT_PERCENT), axis=1)
    noise = _MAD_TO_SIGMA * np.median(np.abs(flat - ground[:, None]), axis=1)
    unit = noise + _LEAST_UNIT * (bright - ground)
    return np.column_stack([ground, np.where(unit > 0, unit, 1.0)])


def standardised(values: npt.NDArray[np.floating], scales: npt.NDArray[np.float64]) -> Float32Array:
    """Return planes in units above their ground, with bright ones compressed.

    Parameters
    ----------
    values : ndarray, shape (Z, Y, X)
    scales : ndarray, shape (Z, 2)
        Of `plane_scales`.

    Returns
    -------
    ndarray of float32, shape (Z, Y, X)
        The inverse hyperbolic sine: linear around 0, logarithmic beyond.
    """
    ground, unit = (column[:, None, None].astype(np.float32) for column in scales.T)
    return np.asarray(np.arcsinh((values - ground) / unit), dtype=np.float32)


def with_neighbours(
    planes: Float32Array, middles: npt.NDArray[np.floating], *, count: int, step: float
) -> Float32Array:
    """Return for each plane what lies above and below it, interpolated.

    Parameters
    ----------
    planes : ndarray, shape (Z, Y, X)
        Beyond the first and the last, these repeat.
    middles : ndarray, shape (N,)
        Which planes, as indices with fractions.
    count : int
        How many are returned for each; odd.
    step : float
        Their distance, in planes.

    Returns
    -------
    ndarray of float32, shape (N, count, Y, X)
    """
    offsets = step * (np.arange(count) - count // 2)
    at = np.clip(np.asarray(middles)[:, None] + offsets, 0, len(planes) - 1)
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, len(planes) - 1)
    share = (at - below).astype(np.float32)[..., None, None]
    return np.asarray(planes[below] * (1 - share) + planes[above] * share, dtype=np.float32)
