"""How far apart two sets of images are, as a model sees them: maximum mean discrepancy.

Gretton et al., A kernel two-sample test, JMLR 13 (2012); NeuroADDA, section 3.1, uses it
between max-pooled features to choose the model to start from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist, pdist

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.types import FloatArray

_BANDWIDTHS = (0.5, 1.0, 2.0)
_MEDIAN_ROWS = 1000


def median_distance(*features: FloatArray) -> float:
    """Return the median distance between rows of all sets (N, F): the usual bandwidth."""
    rows = np.concatenate([f[:: max(1, len(f) * len(features) // _MEDIAN_ROWS)] for f in features])
    return float(np.median(pdist(rows)))


def mmd2(first: FloatArray, second: FloatArray, *, bandwidth: float) -> float:
    """Return the unbiased squared maximum mean discrepancy (Gretton 2012, equation 3).

    The kernel is the mean of three Gaussians, of half, once and twice the bandwidth.

    Parameters
    ----------
    first, second : ndarray, shapes (N, F) and (M, F)
        Features of two sets of images, at least two each.
    bandwidth : float
        Standard deviation of the middle Gaussian, in units of the features.

    Returns
    -------
    float
        0 on average for sets of one distribution, and then as often negative.

    Raises
    ------
    InputError
        If a set has fewer than two rows, or their numbers of features differ.
    """
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise InputError(
            "A distance between domains needs two sets of at least two rows of equal length, "
            f"not {first.shape} and {second.shape}."
        )
    within = [_kernel(rows, rows, bandwidth) for rows in (first, second)]
    means = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in within]
    return float(sum(means) - 2 * _kernel(first, second, bandwidth).mean())


def _kernel(first: FloatArray, second: FloatArray, bandwidth: float) -> npt.NDArray[np.float64]:
    squared = cdist(first, second, "sqeuclidean")
    kernels = [np.exp(-squared / (2 * (scale * bandwidth) ** 2)) for scale in _BANDWIDTHS]
    return np.asarray(np.mean(kernels, axis=0))


def distance_matrix(
    domains: Sequence[FloatArray], *, bandwidth: float | None = None
) -> npt.NDArray[np.float64]:
    """Return the MMD² between each two domains (K, K), with one bandwidth for all.

    It is the `median_distance` of all domains unless given.
    """
    if bandwidth is None:
        bandwidth = median_distance(*domains)
    matrix = np.zeros((len(domains), len(domains)))
    for i, first in enumerate(domains):
        for j, second in enumerate(domains[:i]):
            matrix[i, j] = matrix[j, i] = mmd2(first, second, bandwidth=bandwidth)
    return matrix


def half_split_mmd2(
    features: FloatArray, *, bandwidth: float, splits: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the MMD² between random halves of one domain, (splits,): what chance gives."""
    values = np.empty(splits)
    for split in range(splits):
        order = rng.permutation(len(features))
        half = len(features) // 2
        values[split] = mmd2(features[order[:half]], features[order[half:]], bandwidth=bandwidth)
    return values
