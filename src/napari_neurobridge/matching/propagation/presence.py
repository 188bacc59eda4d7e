"""The chance that the gallery holds a cell's partner, which may vary over the field."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, xlogy

Float64Array = npt.NDArray[np.float64]

_BOUNDS = (0.02, 0.99)
# Standard deviation of a coefficient, for places in units of the field's extent.
_SLOPE_SD = 1.0
_NEWTON_STEPS = 3
# A chance that varies must make what was seen more likely by this factor (log), before it is
# believed as much as a constant one: soft matches of a region that fits badly err alike.
_BURDEN = 10.0


@dataclass(frozen=True, eq=False)
class Presence:
    """A constant, or a quadratic logistic function of place, as far as the cells speak for it.

    One side may end, fade with depth or miss a corner. Both are maximum-posterior estimates, the
    M-step of expectation maximisation, and are averaged by their (Laplace) evidence; the
    coefficients have a normal prior about 0.

    Attributes
    ----------
    centre_um, extent_um : ndarray, shape (3,), and float
        Of the queries, in the gallery's space.
    known_um : ndarray, shape (2, 3)
        Corners of what the coefficients rest on; outside, the chance is that of the rim.
    prior : tuple of float
        Beta prior of the constant.
    flat : float
        The constant.
    weights : ndarray, shape (10,)
    varying : float
        Probability that the chance varies.
    """

    centre_um: Float64Array
    extent_um: float
    known_um: Float64Array
    prior: tuple[float, float]
    flat: float
    weights: Float64Array
    varying: float = 0.0

    @classmethod
    def constant(cls, places_um: Float64Array, prior: tuple[float, float]) -> Presence:
        """Start with the prior's mean everywhere.

        Parameters
        ----------
        places_um : ndarray, shape (N, 3)
            Of all queries.
        prior : tuple of float
            Beta prior.
        """
        centre, flat = places_um.mean(axis=0), prior[0] / sum(prior)
        weights = np.zeros(10)
        weights[0] = logit(flat)
        extent = max(float(places_um.std(axis=0).max()), 1e-6)
        return cls(centre, extent, np.stack([centre, centre]), prior, flat, weights)

    def at(self, places_um: Float64Array) -> Float64Array:
        """Return the chance at places (N, 3), (N,)."""
        local = expit(self._features(places_um) @ self.weights)
        return np.clip(self.flat + self.varying * (local - self.flat), *_BOUNDS)

    def updated(self, places_um: Float64Array, own: Float64Array, none: Float64Array) -> Presence:
        """Return the same after a look at some queries.

        Parameters
        ----------
        places_um : ndarray, shape (N, 3)
        own : ndarray, shape (N,)
            What a query's own detection says; the chance is this times that of its place.
        none : ndarray, shape (N,)
            Posterior probability that the gallery does not hold it.
        """
        if not len(places_um):
            return self
        known = replace(self, known_um=np.stack([places_um.min(axis=0), places_um.max(axis=0)]))
        place = known.at(places_um)
        # What is absent may be so by its own fault.
        excused = place * (1.0 - own) / np.maximum(1.0 - own * place, 1e-12)
        seen = 1.0 - none + none * excused
        first, second = self.prior
        flat = (first - 1.0 + seen.sum()) / (first + second - 2.0 + len(seen))
        flat = float(np.clip(flat, *_BOUNDS))
        basis = known._features(places_um)
        weights, gain = _logistic(basis, seen, self.weights)
        gain -= _log_likelihood(seen, np.full(len(seen), flat))
        varying = float(expit(gain - _BURDEN))
        return replace(known, flat=flat, weights=weights, varying=varying)

    def _features(self, places_um: Float64Array) -> Float64Array:
        place = (np.clip(places_um, *self.known_um) - self.centre_um) / self.extent_um
        square = place[:, [0, 1, 2, 0, 0, 1]] * place[:, [0, 1, 2, 1, 2, 2]]
        return np.column_stack([np.ones(len(place)), place, square])


def _logistic(
    basis: Float64Array, seen: Float64Array, weights: Float64Array
) -> tuple[Float64Array, float]:
    """Return coefficients nearer to the best ones, and their log evidence."""
    penalty = np.full(basis.shape[1], _SLOPE_SD**-2)
    penalty[0] = 1e-2
    for _ in range(_NEWTON_STEPS):
        chance = np.clip(expit(basis @ weights), 1e-3, 1 - 1e-3)
        curvature = (basis * (chance * (1.0 - chance))[:, None]).T @ basis + np.diag(penalty)
        slope = basis.T @ (seen - chance) - penalty * weights
        weights = weights + np.clip(np.linalg.solve(curvature, slope), -1.0, 1.0)
    fit = _log_likelihood(seen, np.clip(expit(basis @ weights), 1e-3, 1 - 1e-3))
    # The constant is common to both and costs either the same.
    width = np.linalg.slogdet(curvature[1:, 1:] / penalty[1:, None])[1]
    return weights, fit - 0.5 * float(penalty[1:] @ weights[1:] ** 2) - 0.5 * float(width)


def _log_likelihood(seen: Float64Array, chance: Float64Array) -> float:
    return float((xlogy(seen, chance) + xlogy(1.0 - seen, 1.0 - chance)).sum())
