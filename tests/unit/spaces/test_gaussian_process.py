"""The Gaussian process, against the textbook formulae."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.gaussian_process import (
    DeformationPrior,
    ExactRegression,
    FeatureRegression,
    PriorRegression,
    farthest_points,
    features,
    marginals,
    matern,
    weight_posterior,
)

PRIOR = DeformationPrior()
seeds = st.integers(0, 10_000)


def field(seed: int, count: int = 12):
    rng = np.random.default_rng(seed)
    offsets = rng.uniform(-200, 200, (count, 3))
    return offsets, rng.normal(0, 10, (count, 3)), rng.uniform(1, 5, count)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_prediction_and_evidence_are_those_of_a_joint_normal(seed):
    offsets, seen, sigma = field(seed)
    there = np.random.default_rng(seed + 1).uniform(-300, 300, (5, 3))
    regression = ExactRegression(PRIOR, offsets, seen, sigma)
    gram = PRIOR.covariance(offsets, offsets) + np.diag(sigma**2)
    cross = PRIOR.covariance(there, offsets) @ np.linalg.inv(gram)
    mean, variance = regression.predict(there)
    np.testing.assert_allclose(mean, cross @ seen, rtol=1e-4, atol=1e-3)
    joint = PRIOR.covariance(there, there) - cross @ PRIOR.covariance(offsets, there)
    np.testing.assert_allclose(variance, np.diag(joint), rtol=1e-4)
    _, determinant = np.linalg.slogdet(2 * np.pi * gram)
    expected = -0.5 * np.trace(seen.T @ np.linalg.solve(gram, seen)) - 1.5 * determinant
    assert regression.log_evidence == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_leave_one_out_is_what_fitting_without_it_gives(seed):
    offsets, seen, sigma = field(seed)
    residual, variance = ExactRegression(PRIOR, offsets, seen, sigma).leave_one_out()
    for row in range(len(offsets)):
        rest = np.arange(len(offsets)) != row
        others = ExactRegression(PRIOR, offsets[rest], seen[rest], sigma[rest])
        mean, spread = others.predict(offsets[[row]])
        np.testing.assert_allclose(residual[row], seen[row] - mean[0], atol=1e-3)
        np.testing.assert_allclose(variance[row], spread[0] + sigma[row] ** 2, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_features_on_all_points_are_the_exact_process(seed):
    offsets, seen, sigma = field(seed)
    basis, left_out = features(PRIOR, offsets, offsets)
    np.testing.assert_allclose(left_out, 0, atol=1e-3)
    np.testing.assert_allclose(basis @ basis.T, PRIOR.covariance(offsets, offsets), rtol=1e-4)
    factor, weights = weight_posterior(basis, sigma**-2, sigma[:, None] ** -2 * seen)
    mean, variance = marginals(basis, factor, weights)
    exact = ExactRegression(PRIOR, offsets, seen, sigma).predict(offsets)
    np.testing.assert_allclose(mean, exact[0], atol=0.01)
    np.testing.assert_allclose(variance, exact[1], rtol=0.01)


def test_features_own_up_to_what_they_leave_out():
    offsets, *_ = field(0, 60)
    basis, left_out = features(PRIOR, offsets, offsets[:20])
    total = np.einsum("ij,ij->i", basis, basis) + left_out
    np.testing.assert_allclose(total, PRIOR.variance(offsets), rtol=1e-6)
    assert left_out[20:].min() > 0


def test_correlation_falls_from_one_with_distance():
    line = np.arange(5)[:, None] * np.array([[100.0, 0, 0]])
    values = matern(line[:1], line, 200.0)[0]
    assert values[0] == 1
    assert (np.diff(values) < 0).all()


def test_farthest_points_start_with_the_leading_and_spread():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [100, 0, 0], [50, 0, 0]])
    assert farthest_points(points, 4, 2).tolist() == [0, 1, 3, 4]
    assert farthest_points(points, 9, 1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("change", [{"strain": 0}, {"sigma_um": np.nan}, {"wrong": 1.0}])
def test_impossible_priors_are_refused(change):
    with pytest.raises(InputError, match="prior"):
        replace(PRIOR, **change)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_mean_alone_is_the_mean_of_the_prediction(seed):
    offsets, seen, sigma = field(seed, 30)
    there = np.random.default_rng(seed + 1).uniform(-300, 300, (5, 3))
    for regression in (
        ExactRegression(PRIOR, offsets, seen, sigma),
        FeatureRegression(PRIOR, offsets, seen, sigma, 20),
        PriorRegression(PRIOR),
    ):
        mean, _ = regression.predict(there)
        np.testing.assert_allclose(regression.mean_displacement(there), mean, atol=1e-5)
