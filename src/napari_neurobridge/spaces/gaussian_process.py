"""The Gaussian process behind the deformation: its prior, exact and low-rank regression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.spatial.distance import cdist

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

_JITTER = 1e-6


@dataclass(frozen=True)
class DeformationPrior:
    """What is known of a deformation before any landmark, beyond a similarity.

    Fixed tissue is known to shrink by some 10 % more along one axis than along another,
    and to strain about as much locally; displacements are alike over some 0.2 mm.

    Attributes
    ----------
    strain : float
        Standard deviation of each entry of the affine trend, beside the similarity.
    displacement_um : float
        Standard deviation of each component of the non-affine displacement.
    length_um : float
        Length of its Matérn 3/2 kernel, in the target.
    shift_um : float
        Standard deviation of the translation about the landmarks' centre.
    sigma_um : float
        Standard deviation of each component of a landmark's or a soma's place.
    wrong : float
        Chance that a landmark is wrong.
    """

    strain: float = 0.1
    displacement_um: float = 11.0
    length_um: float = 220.0
    shift_um: float = 300.0
    sigma_um: float = 2.5
    wrong: float = 0.03

    def __post_init__(self) -> None:
        sizes = (self.strain, self.displacement_um, self.length_um, self.shift_um, self.sigma_um)
        if not (np.isfinite(sizes).all() and min(sizes) > 0 and 0 < self.wrong < 1):
            raise InputError("A deformation prior needs positive sizes and a chance below 1.")

    def covariance(self, first: FloatArray, second: FloatArray) -> Float64Array:
        """Return the (N, M) covariance of each component between offsets (N, 3) and (M, 3)."""
        trend = self.shift_um**2 + self.strain**2 * (first @ second.T)
        return np.asarray(trend + self.displacement_um**2 * matern(first, second, self.length_um))

    def variance(self, offsets: FloatArray) -> Float64Array:
        """Return the diagonal of `covariance`, (N,)."""
        radius = np.einsum("ij,ij->i", offsets, offsets)
        return np.asarray(self.shift_um**2 + self.strain**2 * radius + self.displacement_um**2)


def matern(first: FloatArray, second: FloatArray, length_um: float) -> Float64Array:
    """Return the Matérn 3/2 correlation between points (N, 3) and (M, 3)."""
    distance = cdist(first, second) * (np.sqrt(3.0) / length_um)
    return np.asarray((1.0 + distance) * np.exp(-distance))


class ExactRegression:
    """Exact Gaussian-process regression of displacements, alike for the three components.

    Parameters
    ----------
    prior : DeformationPrior
    offsets : ndarray, shape (N, 3)
        Where landmarks lie.
    displacement : ndarray, shape (N, 3)
        What was seen there.
    sigma_um : ndarray, shape (N,)
        How exactly.
    """

    def __init__(
        self,
        prior: DeformationPrior,
        offsets: FloatArray,
        displacement: FloatArray,
        sigma_um: FloatArray,
    ) -> None:
        self.prior, self.offsets = prior, np.asarray(offsets, dtype=np.float64)
        gram = prior.covariance(self.offsets, self.offsets)
        gram[np.diag_indices_from(gram)] += np.asarray(sigma_um) ** 2 + _JITTER
        self._factor = cholesky(gram, lower=True)
        self._white = solve_triangular(self._factor, displacement, lower=True)
        self.weights = solve_triangular(self._factor, self._white, lower=True, trans="T")

    @property
    def log_evidence(self) -> float:
        """Log probability of what was seen."""
        determinant = float(np.log(np.diag(self._factor)).sum())
        constant = 0.5 * np.log(2 * np.pi) * self._white.size
        return -0.5 * float((self._white**2).sum()) - 3 * determinant - float(constant)

    @property
    def trend(self) -> Float64Array:
        """Mean of the affine trend's linear part beyond the similarity, (3, 3)."""
        return np.asarray(self.prior.strain**2 * (self.weights.T @ self.offsets))

    def predict(self, offsets: FloatArray) -> tuple[Float64Array, Float64Array]:
        """Return mean (M, 3) and variance (M,) of the displacement, without noise."""
        cross = self.prior.covariance(self.offsets, offsets)
        white = solve_triangular(self._factor, cross, lower=True)
        variance = self.prior.variance(offsets) - np.einsum("ij,ij->j", white, white)
        return cross.T @ self.weights, np.maximum(variance, _JITTER)

    def mean_displacement(self, offsets: FloatArray) -> Float64Array:
        """Return the mean (M, 3) alone, which takes far less time."""
        return np.asarray(self.prior.covariance(offsets, self.offsets) @ self.weights)

    def leave_one_out(self) -> tuple[Float64Array, Float64Array]:
        """Return residuals (N, 3) and variances (N,), with noise, of each without itself."""
        inverse = np.diag(cho_solve((self._factor, True), np.eye(len(self.offsets))))
        return self.weights / inverse[:, None], 1.0 / inverse


def farthest_points(points: FloatArray, count: int, first: int) -> npt.NDArray[np.intp]:
    """Return rows of points (N, 3) spread over all: the leading ``first``, then the farthest."""
    if count >= len(points):
        return np.arange(len(points))
    rows = list(range(max(1, min(first, count))))
    distance = cdist(points, points[rows]).min(axis=1)
    while len(rows) < count:
        row = int(distance.argmax())
        rows.append(row)
        distance = np.minimum(distance, np.linalg.norm(points - points[row], axis=1))
    return np.array(rows)


def features(
    prior: DeformationPrior, offsets: FloatArray, support: FloatArray
) -> tuple[Float64Array, Float64Array]:
    """Write the process as features with standard normal weights.

    Parameters
    ----------
    prior : DeformationPrior
    offsets : ndarray, shape (N, 3)
    support : ndarray, shape (M, 3)
        At these points the features are exact.

    Returns
    -------
    features : ndarray, shape (N, M + 4)
    left_out : ndarray, shape (N,)
        Variance that the features do not carry, nearly independent between points.
    """
    return _features(prior, offsets, support, _support_factor(prior, support))


def _support_factor(prior: DeformationPrior, support: FloatArray) -> Float64Array:
    """Return the lower Cholesky factor (M, M) of the correlation of points (M, 3)."""
    gram = matern(support, support, prior.length_um)
    gram[np.diag_indices_from(gram)] += _JITTER
    return np.asarray(cholesky(gram, lower=True))


def _features(
    prior: DeformationPrior, offsets: FloatArray, support: FloatArray, factor: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """As `features`, with the `_support_factor` at hand."""
    cross = matern(support, offsets, prior.length_um)
    local = prior.displacement_um * solve_triangular(factor, cross, lower=True).T
    left_out = np.maximum(prior.displacement_um**2 - np.einsum("ij,ij->i", local, local), 0.0)
    shift = np.full((len(offsets), 1), prior.shift_um)
    return np.hstack([shift, prior.strain * offsets, local]), left_out


def weight_posterior(
    basis: FloatArray, precision: FloatArray, weighted_mean: FloatArray
) -> tuple[Float64Array, Float64Array]:
    """Return the factor and the mean of features' weights given soft observations.

    Parameters
    ----------
    basis : ndarray, shape (N, M)
        Features of the observed points.
    precision : ndarray, shape (N,)
        Of each observation, 1/µm²; 0 where nothing is known.
    weighted_mean : ndarray, shape (N, 3)
        Precision times what was observed.

    Returns
    -------
    factor : ndarray, shape (M, M)
        Lower Cholesky factor of the weights' precision.
    mean : ndarray, shape (M, 3)
    """
    inner = (basis * precision[:, None]).T @ basis
    inner[np.diag_indices_from(inner)] += 1.0
    factor = np.asarray(cholesky(inner, lower=True))
    return factor, np.asarray(cho_solve((factor, True), basis.T @ weighted_mean))


def marginals(
    basis: FloatArray, factor: FloatArray, mean: FloatArray
) -> tuple[Float64Array, Float64Array]:
    """Return the mean (N, 3) and variance (N,) at points with features (N, M)."""
    white = solve_triangular(factor, basis.T, lower=True)
    return basis @ mean, np.einsum("ij,ij->j", white, white)


class WeightedFeatures:
    """A deformation whose features' weights are known: how soft matches are kept.

    Parameters
    ----------
    prior : DeformationPrior
    support : ndarray, shape (M, 3)
        Inducing points: offsets at which the features are exact.
    factor : ndarray, shape (M + 4, M + 4)
        Lower Cholesky factor of the weights' precision.
    mean : ndarray, shape (M + 4, 3)
        Of the weights.
    """

    def __init__(
        self, prior: DeformationPrior, support: FloatArray, factor: FloatArray, mean: FloatArray
    ) -> None:
        self.prior, self.support = prior, np.asarray(support, dtype=np.float64)
        self.factor, self.mean = np.asarray(factor), np.asarray(mean)

    def predict(self, offsets: FloatArray) -> tuple[Float64Array, Float64Array]:
        """Return mean (M, 3) and variance (M,) of the displacement, without noise."""
        basis, left_out = _features(self.prior, offsets, self.support, self._support_factor)
        mean, variance = marginals(basis, self.factor, self.mean)
        return mean, variance + left_out

    def mean_displacement(self, offsets: FloatArray) -> Float64Array:
        """Return the mean (M, 3) alone, which takes far less time."""
        trend = self.prior.shift_um * self.mean[0] + self.prior.strain * offsets @ self.mean[1:4]
        correlation = matern(offsets, self.support, self.prior.length_um)
        return np.asarray(trend + correlation @ self._local_weights)

    @cached_property
    def _support_factor(self) -> Float64Array:
        return _support_factor(self.prior, self.support)

    @cached_property
    def _local_weights(self) -> Float64Array:
        """What the correlation with each inducing point is multiplied by, (M, 3)."""
        own = solve_triangular(self._support_factor, self.mean[4:], lower=True, trans="T")
        return np.asarray(self.prior.displacement_um * own)


@dataclass(frozen=True)
class PriorRegression:
    """A deformation of which nothing was seen.

    Attributes
    ----------
    prior : DeformationPrior
    """

    prior: DeformationPrior

    def predict(self, offsets: FloatArray) -> tuple[Float64Array, Float64Array]:
        """Return mean (M, 3), which is zero, and variance (M,) of the displacement."""
        return self.mean_displacement(offsets), self.prior.variance(np.asarray(offsets))

    def mean_displacement(self, offsets: FloatArray) -> Float64Array:
        """Return the mean (M, 3), which is zero."""
        return np.zeros((len(offsets), 3))


class FeatureRegression:
    """As `ExactRegression`, for many landmarks, on features of some of their places.

    Parameters
    ----------
    prior, offsets, displacement, sigma_um
        See `ExactRegression`.
    count : int
        Places on which the deformation is represented.
    """

    def __init__(
        self,
        prior: DeformationPrior,
        offsets: FloatArray,
        displacement: FloatArray,
        sigma_um: FloatArray,
        count: int,
    ) -> None:
        self.prior, self.offsets, self.displacement = prior, offsets, displacement
        self.support = offsets[farthest_points(offsets, count, 1)]
        basis, left_out = features(prior, offsets, self.support)
        self.variance = np.asarray(sigma_um) ** 2 + left_out
        self._basis, precision = basis, 1.0 / self.variance
        self._posterior = weight_posterior(basis, precision, precision[:, None] * displacement)
        self.weighted = WeightedFeatures(prior, self.support, *self._posterior)

    def predict(self, offsets: FloatArray) -> tuple[Float64Array, Float64Array]:
        """Return mean (M, 3) and variance (M,) of the displacement, without noise."""
        return self.weighted.predict(offsets)

    def mean_displacement(self, offsets: FloatArray) -> Float64Array:
        """Return the mean (M, 3) alone, which takes far less time."""
        return self.weighted.mean_displacement(offsets)

    def leave_one_out(self) -> tuple[Float64Array, Float64Array]:
        """Return residuals (N, 3) and variances (N,), with noise, of each without itself."""
        mean, variance = marginals(self._basis, *self._posterior)
        share = 1.0 - variance / self.variance
        return (self.displacement - mean) / share[:, None], self.variance / share
