"""What is learned of the noise, against noise that was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from napari_neurobridge.matching.propagation.place_noise import (
    NOMINAL,
    VARIANCES,
    NoiseStatistics,
    PlaceNoise,
)


def learned(residual: np.ndarray, rounds: int = 60) -> PlaceNoise:
    """Expectation maximisation on residuals (N, 3) of known partners, nominal variance 1."""
    places = NOMINAL
    for _ in range(rounds):
        square = places.squared_length(residual)[:, None] / (places.scale * VARIANCES)
        log = np.log(places.shares) - 1.5 * np.log(VARIANCES) - 0.5 * square
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        each = (weight / (places.scale * VARIANCES)).sum(axis=1)
        scatter = (each[:, None, None] * residual[:, :, None] * residual[:, None]).sum(axis=0)
        places = places.updated(NoiseStatistics(weight.sum(axis=0), scatter), 3)
    return places


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("freedom", [3, 30])
def test_the_ellipsoid_holds_nine_in_ten_whatever_the_tails(sigma, freedom):
    rng = np.random.default_rng(0)
    tails = np.sqrt(freedom / rng.chisquare(freedom, (2000, 1)))
    residual = sigma * rng.normal(size=(2000, 3)) * tails * [1.5, 1, 1]
    places = learned(residual)
    square = places.squared_length(residual) / (places.scale * places.spread)
    assert (square <= chi2.ppf(0.9, 3)).mean() == pytest.approx(0.9, abs=0.035)


def test_the_long_axis_is_found():
    residual = np.random.default_rng(1).normal(size=(3000, 3)) * [2.0, 1.0, 1.0]
    shape = learned(residual).shape
    assert np.linalg.det(shape) == pytest.approx(1)
    assert shape[0, 0] / shape[1, 1] == pytest.approx(4, rel=0.15)


def test_few_somata_leave_the_noise_nearly_as_it_was():
    residual = 3.0 * np.random.default_rng(2).normal(size=(3, 3))
    places = learned(residual, rounds=1)
    assert places.relative_sigma == pytest.approx(1, abs=0.3)


def test_to_begin_with_nine_in_ten_lie_where_the_nominal_variance_says():
    assert NOMINAL.relative_sigma == pytest.approx(1)
    bound = chi2.ppf(0.9, 3)
    inside = NOMINAL.shares @ chi2.cdf(bound / (NOMINAL.scale * VARIANCES), 3)
    assert inside == pytest.approx(0.9, abs=1e-6)


def test_noise_in_a_plane_has_two_components():
    flat = np.random.default_rng(3).normal(size=(4000, 3)) * [0, 1, 1]
    scatter = flat.T @ flat / NOMINAL.scale
    seen = NoiseStatistics(np.array([4000.0, 0, 0]), scatter)
    places = NOMINAL.updated(seen, 2)
    assert places.scale == pytest.approx(1, rel=0.05)
    np.testing.assert_array_equal(places.shape, np.eye(3))
