"""Expectation propagation against integrals and regressions computed directly."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.posterior import weigh
from napari_neurobridge.matching.propagation.expectation import (
    cavity,
    mixture_candidates,
    updated_sites,
)
from napari_neurobridge.spaces.gaussian_process import marginals, weight_posterior

P_PARTNER = 0.8
NOISE = 6.0


def factor(displacement: np.ndarray, field: CandidateField) -> np.ndarray:
    """Likelihood of a gallery given displacements (P, 3) of a query at the origin, over chance."""
    total = np.zeros(len(displacement))
    for place, density in zip(field.points_um, field.density, strict=True):
        square = ((displacement - place) ** 2).sum(axis=1)
        for share, variance in ((0.85, NOISE * 0.4 / 0.85), (0.15, NOISE * 4.0)):
            normal = np.exp(-square / (2 * variance)) / (2 * np.pi * variance) ** 1.5
            total += share * normal / density
    return 1 - P_PARTNER + P_PARTNER * total


def tilted_by_integration(
    mean: np.ndarray, variance: float, field: CandidateField
) -> tuple[np.ndarray, float, float]:
    """Mean, mean variance of a component, and integral of cavity times factor, on a lattice."""
    line = np.linspace(-6.5, 6.5, 79) * np.sqrt(variance)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3) + mean
    square = ((points - mean) ** 2).sum(axis=1)
    weight = np.exp(-square / (2 * variance)) / (2 * np.pi * variance) ** 1.5
    weight *= factor(points, field) * (line[1] - line[0]) ** 3
    whole = weight.sum()
    centre = weight @ points / whole
    spread = weight @ ((points - centre) ** 2).sum(axis=1) / whole / 3
    return centre, float(spread), float(whole)


def update(mean: np.ndarray, variance: float, field: CandidateField):
    """The site of one query at the origin by the code, and the sum of its ratios."""
    means, variances, noises = mean[None], np.array([variance]), np.array([NOISE])
    mixture = mixture_candidates(field, means, variances, noises, len(field))
    candidates = mixture.candidates
    _, probability, none, beyond = weigh(candidates, P_PARTNER, len(field), exclusive=False)
    offset = field.points_um[candidates.rows] - means[:, None]
    precision, weighted_mean = updated_sites(
        means, variances, noises, offset, probability, mixture.p_outlier, none + beyond
    )
    return precision[0], weighted_mean[0], candidates.total[0]


@pytest.mark.parametrize("seed", range(4))
def test_cavity_and_site_have_the_moments_of_the_tilted_distribution(seed):
    rng = np.random.default_rng(seed)
    field = CandidateField(rng.normal(0, 1, (7, 3)) * 25)
    mean = field.points_um[0] + rng.normal(0, 2, 3)
    variance = 12.0
    centre, spread, evidence = tilted_by_integration(mean, variance, field)
    precision, weighted_mean, total = update(mean, variance, field)
    assert precision > 0
    whole = 1 / variance + precision
    assert 1 / whole == pytest.approx(spread, rel=2e-3)
    np.testing.assert_allclose((mean / variance + weighted_mean) / whole, centre, atol=5e-3)
    assert 1 + P_PARTNER * (total - 1) == pytest.approx(evidence, rel=2e-3)


def test_candidates_that_contradict_each_other_leave_no_site():
    field = CandidateField(np.array([[0.0, 0, 14], [0, 0, -14], [300, 0, 0], [0, 300, 0]]))
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
