"""How far apart two sets of images are, as a model sees them: maximum mean discrepancy.

Gretton et al., A kernel two-sample test, JMLR 13 (2012); NeuroADDA, section 4.1, uses it
between max-pooled features to choose the model to start from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import median_distance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_neurobridge.types import FloatArray

_BLOCK_NUMBERS = 250_000
PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class TwoSampleTest:
    """Whether two sets come from one distribution.

    Attributes
    ----------
    mmd2 : float
        Unbiased squared maximum mean discrepancy.
    p_value : float
        Share of the permutations, the observed one among them, whose MMD² is as large.
    permutations : int
        Permutations besides the observed one.
    """

    mmd2: float
    p_value: float
    permutations: int

    @property
    def floor(self) -> float:
        """The smallest p-value that so many permutations can give."""
        return 1 / (self.permutations + 1)


def mmd2(first: FloatArray, second: FloatArray, *, bandwidth: float) -> float:
    """Return the unbiased squared maximum mean discrepancy (Gretton 2012, equation 3).

    The kernel is the mean of three Gaussians, of half, once and twice the bandwidth. It is made
    block by block: memory does not grow with N × M.

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
        If a set has fewer than two rows, their numbers of features differ, or the bandwidth is
        not positive.
    """
    _check(first, second, bandwidth)
    n, m = len(first), len(second)
    within = [_kernel_sum(rows, rows, bandwidth) - len(rows) for rows in (first, second)]
    between = _kernel_sum(first, second, bandwidth)
    return within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * between / (n * m)


def mmd2_test(
    first: FloatArray,
    second: FloatArray,
    *,
    bandwidth: float,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> TwoSampleTest:
    """Test whether two sets come from one distribution, by permuting who belongs to which.

    All permutations share one pass over the kernel, block by block; memory grows with
    (N + M) × ``permutations``.

    Parameters
    ----------
    first, second, bandwidth
        As for `mmd2`.
    rng : numpy.random.Generator
        Draws the permutations.
    permutations : int

    Raises
    ------
    InputError
        As `mmd2`, and if there is not one permutation.
    """
    _check(first, second, bandwidth)
    if permutations < 1:
        raise InputError("A permutation test needs at least one permutation.")
    n, m = len(first), len(second)
    member = np.zeros((n + m, permutations + 1))
    member[:n, 0] = 1
    for column in range(1, permutations + 1):
        member[rng.permutation(n + m)[:n], column] = 1
    both = np.concatenate([first, second])
    within, of_first, total, start = np.zeros(permutations + 1), np.zeros(permutations + 1), 0.0, 0
    for block in _kernel_blocks(both, both, bandwidth):
        mine = member[start : start + len(block)]
        within += (mine * (block @ member)).sum(axis=0)
        of_first += block.sum(axis=1) @ mine
        total += float(block.sum())
        start += len(block)
    other = total - 2 * of_first + within
    values = (within - n) / (n * (n - 1)) + (other - m) / (m * (m - 1))
    values -= 2 * (of_first - within) / (n * m)
    # The same split again differs by rounding alone.
    as_large = int((values[1:] >= values[0] - 1e-12).sum())
    return TwoSampleTest(float(values[0]), (1 + as_large) / (permutations + 1), permutations)


def distance_matrix(
    domains: Sequence[FloatArray], *, bandwidth: float | None = None
) -> npt.NDArray[np.float64]:
    """Return the MMD² between each two domains (K, K), in features of one network.

    The bandwidth is the `median_distance` of all domains unless given.
    """
    if bandwidth is None:
        bandwidth = median_distance(*domains)
    matrix = np.zeros((len(domains), len(domains)))
    for i, first in enumerate(domains):
        for j, second in enumerate(domains[:i]):
            matrix[i, j] = matrix[j, i] = mmd2(first, second, bandwidth=bandwidth)
    return matrix


def own_network_distances(
    features: Sequence[Sequence[FloatArray]], *, bandwidths: Sequence[float] | None = None
) -> npt.NDArray[np.float64]:
    """Return the MMD² of each source to each domain, in features of the source's own network.

    It is not symmetric (NeuroADDA, figure 1B); see `symmetrised`.

    Parameters
    ----------
    features : sequence of sequences of ndarray, shape (N, F)
        ``features[i][j]``: what the network that was trained on domain i makes of domain j. F may
        differ between networks.
    bandwidths : sequence of float, optional
        Of each network's kernel; the `median_distance` within its own domain unless given, which
        is what a model's fingerprint carries.

    Returns
    -------
    ndarray, shape (K, K)
        Row i by network i; zero on the diagonal.

    Raises
    ------
    InputError
        If there are not K sets of features of K networks.
    """
    count = len(features)
    if any(len(row) != count for row in features):
        raise InputError(f"Each of {count} networks needs features of all {count} domains.")
    if bandwidths is None:
        bandwidths = [median_distance(features[i][i]) for i in range(count)]
    if len(bandwidths) != count:
        raise InputError(f"{count} networks need {count} bandwidths, not {len(bandwidths)}.")
    matrix = np.zeros((count, count))
    for i, row in enumerate(features):
        for j, domain in enumerate(row):
            if i != j:
                matrix[i, j] = mmd2(row[i], domain, bandwidth=bandwidths[i])
    return matrix


def symmetrised(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of a matrix (K, K) and its transpose (NeuroADDA, section 4.5)."""
    return np.asarray((distances + distances.T) / 2)


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


def _check(first: FloatArray, second: FloatArray, bandwidth: float) -> None:
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise InputError(
            "A distance between domains needs two sets of at least two rows of equal length, "
            f"not {first.shape} and {second.shape}."
        )
    if not bandwidth > 0:
        raise InputError(f"The kernel's bandwidth has to be positive, and not {bandwidth:g}.")


def _kernel_sum(first: FloatArray, second: FloatArray, bandwidth: float) -> float:
    return sum(float(block.sum()) for block in _kernel_blocks(first, second, bandwidth))


def _kernel_blocks(
    first: FloatArray, second: FloatArray, bandwidth: float
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield rows of the kernel matrix (N, M), as many at once as a block may hold."""
    # About the mean, so that squares of large coordinates do not cancel.
    centre = np.asarray(first, dtype=np.float64).mean(axis=0)
    others = second - centre
    lengths = (others**2).sum(axis=1)
    step = max(1, _BLOCK_NUMBERS // len(others))
    for start in range(0, len(first), step):
        rows = first[start : start + step] - centre
        squared = (rows**2).sum(axis=1)[:, None] + lengths - 2 * rows @ others.T
        np.maximum(squared, 0, out=squared)
        # A Gaussian of half the width is the fourth power.
        wide = np.exp(squared / (-2 * (2 * bandwidth) ** 2))
        middle = np.square(np.square(wide))
        yield np.asarray((wide + middle + np.square(np.square(middle))) / 3)
