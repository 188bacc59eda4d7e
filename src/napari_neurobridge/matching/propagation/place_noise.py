"""How exactly somata are placed, learned from the field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2

Float64Array = npt.NDArray[np.float64]

VARIANCES = (1.0, 8.0, 60.0)
"""Of the components, as multiples of the first's."""

_SHARES = np.array([0.82, 0.15, 0.03])
# Pseudo-counts of somata, and bounds of what is learned.
_SCALE_COUNT, _SHARE_COUNT = 20.0, 40.0
_LARGEST_SCALE = 16.0
_COVERED = 0.9


@dataclass(frozen=True, eq=False)
class PlaceNoise:
    """The place of a soma about the deformation: a mixture of three Gaussians.

    Most somata are placed well and some far worse.

    Attributes
    ----------
    scale : float
        Variance of the first component, as a multiple of the nominal variance.
    shares : ndarray, shape (3,)
        Of the components, whose variances are `VARIANCES` times that.
    """

    scale: float
    shares: Float64Array

    @classmethod
    def nominal(cls) -> PlaceNoise:
        """Return the mixture to begin with."""
        return cls(1.0 / _equivalent_variance(_SHARES), _SHARES)

    @cached_property
    def spread(self) -> float:
        """Variance of the Gaussian whose 90 % ellipsoid holds as much, over the first's."""
        return _equivalent_variance(self.shares)

    def updated(self, mass: Float64Array, square: Float64Array) -> PlaceNoise:
        nominal = NOMINAL.scale
        scale = (self.scale * square.sum() + _SCALE_COUNT * nominal) / (mass.sum() + _SCALE_COUNT)
        shares = (mass + _SHARE_COUNT * _SHARES) / (mass.sum() + _SHARE_COUNT)
        bounds = nominal / _LARGEST_SCALE, nominal * _LARGEST_SCALE
        return PlaceNoise(float(np.clip(scale, *bounds)), shares)


def _equivalent_variance(shares: Float64Array) -> float:
    bound = chi2.ppf(_COVERED, 3)
    variances = np.asarray(VARIANCES)
    def excess(v):
        return float(shares @ chi2.cdf(bound * v / variances, 3)) - _COVERED
    return float(brentq(excess, VARIANCES[0], VARIANCES[-1]))


NOMINAL = PlaceNoise.nominal()
