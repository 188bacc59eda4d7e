"""Probabilities of candidates, against the formula written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.posterior import find_candidates, posterior

seeds = st.integers(0, 10_000)


def gallery(seed: int, count: int = 300, size: float = 200.0) -> CandidateField:
    return CandidateField(np.random.default_rng(seed).uniform(0, size, (count, 3)))


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.05, 0.95))
def test_posterior_is_the_formula(seed, chance):
    field = gallery(seed)
    rng = np.random.default_rng(seed)
    mean = rng.uniform(50, 150, (4, 3))
    shape = rng.normal(0, 4, (4, 3, 3))
    covariance = shape @ shape.swapaxes(1, 2) + 9 * np.eye(3)
    found = posterior(
        find_candidates(field, mean, covariance, count=len(field)),
        chance,
        len(field),
        exclusive=False,
    )
    variance = np.linalg.det(covariance) ** (1 / 3)
    density = field.coincidence_density(np.tile(np.arange(len(field)), (4, 1)), variance)
    for query in range(4):
        near = multivariate_normal(mean[query], covariance[query]).pdf(field.points_um)
        weight = chance * near / density[query]
        expected = weight / (weight.sum() + 1 - chance)
        np.testing.assert_allclose(
            found.probability[query], expected[found.rows[query]], rtol=1e-6, atol=1e-12
        )
        assert found.none[query] == pytest.approx((1 - chance) / (weight.sum() + 1 - chance))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_probabilities_add_up_and_fall(seed):
    field = gallery(seed)
    mean = np.random.default_rng(seed).uniform(-50, 250, (30, 3))
    found = posterior(find_candidates(field, mean, np.full(30, 64.0), count=8), 0.8, len(field))
    total = found.probability.sum(axis=1) + found.none + found.beyond
    np.testing.assert_allclose(total, 1)
    assert (np.diff(found.probability, axis=1) <= 1e-12).all()
    assert (found.best == found.rows[:, 0]).all()


def test_a_variance_is_a_round_covariance():
    field = gallery(0)
    mean = np.random.default_rng(1).uniform(50, 150, (6, 3))
    flat = find_candidates(field, mean, np.full(6, 20.0))
    full = find_candidates(field, mean, np.broadcast_to(20 * np.eye(3), (6, 3, 3)))
    np.testing.assert_allclose(flat.ratio, full.ratio, rtol=1e-9)


def test_somata_anywhere_say_nothing_on_average():
    field = CandidateField(np.random.default_rng(0).uniform(0, 400, (5000, 3)))
    mean = np.random.default_rng(1).uniform(100, 300, (3000, 3))
    assert find_candidates(field, mean, np.full(3000, 60.0)).total.mean() == pytest.approx(
        1, abs=0.1
    )


def test_what_is_not_listed_is_neither_a_candidate_nor_none():
    field = gallery(0, 2000)
    found = posterior(
        find_candidates(field, np.full((1, 3), 100.0), np.array([50.0**2]), count=4), 0.9, 2000
    )
    assert found.beyond[0] > 0.7
    assert found.none[0] < 0.2


def test_two_queries_share_no_soma():
    field = CandidateField([[0.0, 0, 0], [100, 0, 0], [0, 100, 0]])
    found = posterior(
        find_candidates(field, np.array([[0.0, 0, 1], [0, 0, 6]]), np.full(2, 9.0)), 0.9, 3
    )
    mine = [found.probability[query][found.rows[query] == 0][0] for query in (0, 1)]
    assert sum(mine) <= 1 + 1e-6
    assert mine[0] > mine[1]


def test_a_gallery_of_one_is_refused():
    with pytest.raises(InputError, match="two somata"):
        CandidateField([[0.0, 0, 0]])
