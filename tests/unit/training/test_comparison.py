import numpy as np
import pytest

from napari_neurobridge.training.comparison import compare_models, reciprocal_ranks


def similarity(n, gain, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n)) + gain * np.eye(n)


def test_reciprocal_ranks_are_those_of_the_own_scene_in_both_directions():
    values = np.array([[5.0, 6.0, 9.0], [0.0, 7.0, 9.0], [9.0, 9.0, 1.0]])
    # Of scene 0, query 0 finds its partner second, and candidate 0 its query first.
    expected = [(1 / 2 + 1) / 2, 1.0, 1.0]
    assert reciprocal_ranks(values, np.array([0, 0, 1])) == pytest.approx(expected)


def test_ties_count_against_the_partner():
    assert reciprocal_ranks(np.ones((4, 4)), np.zeros(4)) == pytest.approx([0.25] * 4)


def test_a_clear_gain_is_better_and_the_same_model_is_not():
    worse, better, scene = similarity(53, 1), similarity(53, 3), np.zeros(53)
    found = compare_models(worse, better, scene)
    assert found.better
    assert found.n == 53
    assert found.interval[0] < found.gain < found.interval[1]
    assert not compare_models(better, worse, scene).better
    same = compare_models(worse, worse, scene)
    assert (same.gain, same.interval, same.better) == (0.0, (0.0, 0.0), False)


def test_chance_alone_is_rarely_called_better():
    scene = np.zeros(30)
    called = [
        compare_models(similarity(30, 1.5, seed), similarity(30, 1.5, seed + 1000), scene).better
        for seed in range(60)
    ]
    assert sum(called) <= 15
