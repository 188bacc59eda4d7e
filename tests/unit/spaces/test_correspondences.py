"""Matched points: what is refused, and which take part."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.correspondences import Correspondences


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("source", "target", "weights", "says"),
    [
        (np.zeros((3, 3)), np.zeros((2, 3)), np.ones(3), "3 points cannot be paired with 2"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), np.ones(2), "NaN"),
        (np.zeros((2, 3)), np.full((2, 3), np.inf), np.ones(2), "infinite"),
        (np.zeros((2, 2)), np.zeros((2, 2)), np.ones(2), r"shape \(N, 3\)"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.ones(3), "as many weights"),
        (np.zeros((2, 3)), np.zeros((2, 3)), [1, np.nan], "from 0 to 1"),
        (np.zeros((2, 3)), np.zeros((2, 3)), [1, -0.1], "from 0 to 1"),
        (np.zeros((2, 3)), np.zeros((2, 3)), [1, 1.1], "from 0 to 1"),
    ],
)
def test_what_is_no_match_is_refused(source, target, weights, says):
    with pytest.raises(InputError, match=says):
        Correspondences(source, target, weights)


def test_a_pair_that_is_there_twice_takes_part_once_and_with_its_larger_weight(rng):
    source, target = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    twice = Correspondences(source[[0, 1, 1, 2, 3]], target[[0, 1, 1, 2, 3]], [1, 0.2, 0.7, 0, 1])
    assert twice.used().tolist() == [0, 2, 4]


def test_nothing_takes_part_without_a_weight():
    with pytest.raises(InputError, match="no match with a weight above 0"):
        Correspondences(np.zeros((2, 3)), np.zeros((2, 3)), 0.0).used()


def test_several_targets_of_one_place_become_their_weighted_mean():
    place = np.array([1.0, 2.0, 3.0])
    merged = Correspondences(
        [place, place + 9, place], [[0, 0, 0], [5, 5, 5], [3, 6, 9]], [0.2, 1.0, 0.4]
    ).merged()
    assert len(merged) == 2
    np.testing.assert_allclose(merged.target_um[0], [2, 4, 6])
    np.testing.assert_allclose(merged.weights, [0.6, 1.0])


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
def test_axes_are_those_along_which_matches_with_weight_extend(rng, dimensions):
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0][:dimensions]
    points = 50 + rng.uniform(-100, 100, (20, dimensions)) @ turned
    astray = np.vstack([points, rng.uniform(-500, 500, (5, 3))])
    weights = np.repeat([1.0, 0.0], [20, 5])
    axes = Correspondences(astray, astray, weights).axes
    assert axes.shape == (dimensions, 3)
    np.testing.assert_allclose(axes @ axes.T, np.eye(dimensions), atol=1e-9)
    np.testing.assert_allclose(axes.T @ axes, turned.T @ turned, atol=1e-9)
