"""How exactly somata are placed about the deformation, learned from the field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2

Float64Array = npt.NDArray[np.float64]

VARIANCES = np.array([1.0, 8.0, 60.0])
"""Of the components, as multiples of that of the first, (C,)."""

# Shares of the components to begin with; pseudo-counts of somata that speak for the start.
_SHARES = np.array([0.82, 0.15, 0.03])
_SCALE_COUNT, _SHARE_COUNT, _SHAPE_COUNT = 20.0, 40.0, 60.0
_LARGEST_SCALE = 16.0
_COVERED = 0.9


@dataclass(frozen=True, eq=False)
class NoiseStatistics:
    """What the soft matches of one round say of the noise (expected sufficient statistics).

    Attributes
    ----------
    mass : ndarray, shape (C,)
        Expected number of somata that each component placed.
    scatter : ndarray, shape (3, 3)
        Sum of their expected squared distances from the deformation, each over the variance of
        its component.
    """

    mass: Float64Array
    scatter: Float64Array


@dataclass(frozen=True, eq=False)
class PlaceNoise:
    """The place of a soma about the deformation: a mixture of three Gaussians of one shape.

    Most somata are placed well and some far worse; along the optical axis worse than
    across it. Scale, shares and shape are maximum-posterior estimates, the M-step of
    expectation maximisation.

    Attributes
    ----------
    scale : float
        Variance of the first component, as a multiple of the nominal variance.
    shares : ndarray, shape (C,)
        Of the components, whose variances are `VARIANCES` times that.
    shape : ndarray, shape (3, 3)
        Covariance of determinant 1, in the gallery's axes.
    """

    scale: float
    shares: Float64Array
    shape: Float64Array

    @classmethod
    def nominal(cls) -> PlaceNoise:
        """Return what to begin with: 90 % lie where a Gaussian of nominal variance has them."""
        return cls(1.0 / _equivalent_variance(_SHARES), _SHARES, np.eye(3))

    @cached_property
    def spread(self) -> float:
        """Variance of the Gaussian whose 90 % ellipsoid holds as much, over the first's."""
        return _equivalent_variance(self.shares)

    @property
    def relative_sigma(self) -> float:
        """Standard deviation of that Gaussian, over the nominal one."""
        return float(np.sqrt(self.scale * self.spread))

    @cached_property
    def inverse_shape(self) -> Float64Array:
        """Inverse of the shape, (3, 3)."""
        return np.asarray(np.linalg.inv(self.shape))

    def squared_length(self, offset: Float64Array) -> Float64Array:
        """Return the squared Mahalanobis length of offsets (..., 3) by the shape, µm²."""
        return np.asarray(np.einsum("...i,ij,...j->...", offset, self.inverse_shape, offset))

    def updated(self, seen: NoiseStatistics, dimensions: int) -> PlaceNoise:
        """Return the noise after a round.

        Parameters
        ----------
        seen : NoiseStatistics
        dimensions : int
            Of the gallery; the shape of a plane's noise is not learned.
        """
        total = seen.mass.sum()
        square = np.trace(self.inverse_shape @ seen.scatter) / dimensions
        scale = (self.scale * square + _SCALE_COUNT * NOMINAL.scale) / (total + _SCALE_COUNT)
        bounds = NOMINAL.scale / _LARGEST_SCALE, NOMINAL.scale * _LARGEST_SCALE
        shares = (seen.mass + _SHARE_COUNT * _SHARES) / (total + _SHARE_COUNT)
        shape = self.shape
        if dimensions > 2:
            shape = seen.scatter + _SHAPE_COUNT * np.eye(3)
            shape = shape / np.linalg.det(shape) ** (1 / 3)
        return PlaceNoise(float(np.clip(scale, *bounds)), shares, shape)


def _equivalent_variance(shares: Float64Array) -> float:
    bound = chi2.ppf(_COVERED, 3)

    def excess(variance: float) -> float:
        return float(shares @ chi2.cdf(bound * variance / VARIANCES, 3)) - _COVERED

    return float(brentq(excess, VARIANCES[0], VARIANCES[-1]))


NOMINAL = PlaceNoise.nominal()
"""Before anything is learned."""
