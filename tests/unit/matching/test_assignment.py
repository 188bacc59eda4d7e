"""One-to-one matching, against trying every assignment."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.matching.assignment import assign, exclusive_marginals

seeds = st.integers(0, 10_000)


def draw(seed: int, queries: int, somata: int):
    rng = np.random.default_rng(seed)
    weight = rng.gamma(0.5, 2.0, (queries, somata))
    rows = np.tile(np.arange(somata), (queries, 1))
    return weight, rng.uniform(0.05, 1, queries), rows


def joint(weight, rest):
    """Return all one-to-one assignments (-1: none) with their weights."""
    queries, somata = weight.shape
    for choice in itertools.product(range(-1, somata), repeat=queries):
        taken = [c for c in choice if c >= 0]
        if len(set(taken)) == len(taken):
            value = np.prod([rest[q] if c < 0 else weight[q, c] for q, c in enumerate(choice)])
            yield choice, value


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_marginals_are_exact_for_two_queries_of_one_soma(seed):
    weight, rest, rows = draw(seed, 2, 1)
    weight = np.minimum(weight, 10 * rest[:, None])
    probability, left = exclusive_marginals(weight, rest, rows, 1)
    np.testing.assert_allclose(probability.sum(axis=1) + left, 1)
    options = dict(joint(weight, rest))
    total = sum(options.values())
    for query in range(2):
        expected = sum(v for c, v in options.items() if c[query] == 0) / total
        assert abs(probability[query, 0] - expected) < 0.02


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_marginals_are_near_the_true_ones(seed):
    weight, rest, rows = draw(seed, 3, 3)
    probability, left = exclusive_marginals(weight, rest, rows, 3)
    np.testing.assert_allclose(probability.sum(axis=1) + left, 1)
    expected = np.zeros((3, 3))
    total = 0.0
    for choice, value in joint(weight, rest):
        total += value
        for query, soma in enumerate(choice):
            if soma >= 0:
                expected[query, soma] += value
    assert np.abs(probability - expected / total).max() < 0.25


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 3))
def test_assignment_is_the_best_of_all(seed, queries, somata):
    weight, rest, rows = draw(seed, queries, somata)
    total = weight.sum(axis=1) + rest
    probability, none = weight / total[:, None], rest / total
    found = assign(rows, probability, none)
    taken = found[found >= 0]
    assert len(set(taken.tolist())) == len(taken)
    reached = np.prod([none[q] if c < 0 else probability[q, c] for q, c in enumerate(found)])
    assert np.isclose(reached, max(value for _, value in joint(probability, none)))


def test_no_queries_need_no_somata():
    assert assign(np.empty((0, 3), int), np.empty((0, 3)), np.empty(0)).shape == (0,)
