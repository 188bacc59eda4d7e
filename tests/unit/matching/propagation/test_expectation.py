"""Expectation propagation against integrals and regressions computed directly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.posterior import weigh
from napari_neurobridge.matching.propagation.expectation import (
    cavity,
    mixture_candidates,
    updated_sites,
)
from napari_neurobridge.matching.propagation.place_noise import NOMINAL, VARIANCES, PlaceNoise
from napari_neurobridge.spaces.gaussian_process import marginals, weight_posterior

P_PARTNER = 0.8
NOISE = 3.0
LONG = np.diag([2.25, 1 / 1.5, 1 / 1.5])


class PlainField(CandidateField):
    """A gallery whose coincidences have the density of the somata, at every scale."""

    def coincidence_density(self, rows, variance_um2):
        return self.density[rows]


def factor(displacement: np.ndarray, field: CandidateField, places: PlaceNoise) -> np.ndarray:
    """Likelihood of a gallery given displacements (P, 3) of a query at the origin, over chance."""
    total = np.zeros(len(displacement))
    for place, density in zip(field.points_um, field.density, strict=True):
        for share, variance in zip(places.shares, NOISE * VARIANCES, strict=True):
            normal = multivariate_normal(place, variance * places.shape)
            total += share * normal.pdf(displacement) / density
    return 1 - P_PARTNER + P_PARTNER * total


def tilted_by_integration(
    mean: np.ndarray, variance: float, field: CandidateField, places: PlaceNoise = NOMINAL
) -> tuple[np.ndarray, float, float]:
    """Mean, mean variance of a component, and integral of cavity times factor, on a lattice.

    The cavity has the shape of the noise, and variances are relative to it.
    """
    line = np.linspace(-6.5, 6.5, 79) * np.sqrt(variance)
    unit = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    points = unit @ np.linalg.cholesky(places.shape).T + mean
    square = (unit**2).sum(axis=1)
    weight = np.exp(-square / (2 * variance)) / (2 * np.pi * variance) ** 1.5
    weight *= factor(points, field, places) * (line[1] - line[0]) ** 3
    whole = weight.sum()
    centre = weight @ points / whole
    spread = weight @ places.squared_length(points - centre) / whole / 3
    return centre, float(spread), float(whole)


def update(mean: np.ndarray, variance: float, field: CandidateField, places: PlaceNoise = NOMINAL):
    """The site of one query at the origin by the code, and the sum of its ratios."""
    means, variances, noises = mean[None], np.array([variance]), np.array([NOISE])
    mixture = mixture_candidates(field, means, variances, noises, places, len(field))
    candidates = mixture.candidates
    probability = weigh(candidates, P_PARTNER, len(field), exclusive=False)[1]
    offset = field.points_um[candidates.rows] - means[:, None]
    precision, weighted_mean, _ = updated_sites(
        means, variances, noises, places, offset, probability, mixture.component, 3
    )
    return precision[0], weighted_mean[0], candidates.total[0]


@pytest.mark.parametrize("shape", [np.eye(3), LONG], ids=["round", "long"])
@pytest.mark.parametrize("seed", range(3))
def test_cavity_and_site_have_the_moments_of_the_tilted_distribution(seed, shape):
    places = PlaceNoise(1.0, np.array([0.7, 0.2, 0.1]), shape)
    rng = np.random.default_rng(seed)
    field = PlainField(rng.normal(0, 1, (7, 3)) * 25)
    mean = field.points_um[0] + rng.normal(0, 2, 3)
    variance = 12.0
    centre, spread, evidence = tilted_by_integration(mean, variance, field, places)
    precision, weighted_mean, total = update(mean, variance, field, places)
    assert precision > 0
    whole = 1 / variance + precision
    assert 1 / whole == pytest.approx(spread, rel=2e-3)
    np.testing.assert_allclose((mean / variance + weighted_mean) / whole, centre, atol=5e-3)
    assert 1 + P_PARTNER * (total - 1) == pytest.approx(evidence, rel=2e-3)


def test_candidates_that_contradict_each_other_leave_no_site():
    field = PlainField(np.array([[0.0, 0, 14], [0, 0, -14], [300, 0, 0], [0, 300, 0]]))
    variance = 60.0
    assert tilted_by_integration(np.zeros(3), variance, field)[1] > variance
    precision, weighted_mean, _ = update(np.zeros(3), variance, field)
    assert precision == 0
    assert (weighted_mean == 0).all()


def test_a_cavity_is_the_regression_without_the_own_site():
    rng = np.random.default_rng(5)
    basis, precision = rng.normal(0, 3, (12, 6)), rng.uniform(0.05, 1, 12)
    precision[4] = 0.0
    weighted_mean = precision[:, None] * rng.normal(0, 5, (12, 3))
    whole = marginals(basis, *weight_posterior(basis, precision, weighted_mean))
    mean, variance = cavity(*whole, precision, weighted_mean)
    for row in range(12):
        others = np.arange(12) != row
        weights = weight_posterior(basis[others], precision[others], weighted_mean[others])
        alone = marginals(basis[[row]], *weights)
        np.testing.assert_allclose(mean[row], alone[0][0], rtol=1e-8, atol=1e-8)
        assert variance[row] == pytest.approx(alone[1][0])
