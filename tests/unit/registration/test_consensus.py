"""One similarity that explains most matches, beside scikit-image's RANSAC."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from skimage.measure import ransac
from skimage.transform import SimilarityTransform

from napari_neurobridge.registration.consensus import consensus


def matches(seed, count=200, wrong=0.6, bend=5.0, scale=0.9):
    generator = np.random.default_rng(seed)
    source = generator.uniform(0, 500, (count, 2))
    angle = generator.uniform(0, 2 * np.pi)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = source @ linear.T + [70, -20] + bend * np.sin(source[:, ::-1] / 80)
    is_wrong = np.arange(count) < wrong * count
    target[is_wrong] = generator.uniform(target.min(0), target.max(0), (is_wrong.sum(), 2))
    return source, target, is_wrong


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_about_as_much_as_the_reference(seed) -> None:
    source, target, is_wrong = matches(seed)
    found = consensus(source, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, reference = ransac(
            (source, target), SimilarityTransform, 2, 25.0, max_trials=300, rng=seed
        )
    assert found.sum() >= 0.95 * reference.sum()
    assert found[~is_wrong].mean() > 0.95
    assert found[is_wrong].mean() < 0.1


def test_all_that_is_exact_is_explained_and_nothing_else() -> None:
    source, target, is_wrong = matches(0, count=40, bend=0.0)
    far = np.abs(target[is_wrong] - source[is_wrong]).min() > 0
    assert far
    np.testing.assert_array_equal(consensus(source, target, tolerance_um=1e-6), ~is_wrong)


def test_a_mirrored_plane_is_no_similarity() -> None:
    source, target, _ = matches(1, wrong=0.0, bend=0.0)
    assert consensus(source, target).all()
    assert consensus(source, target * [1, -1]).mean() < 0.5


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_tissue_does_not_swell_or_shrink_threefold(scale) -> None:
    source, target, _ = matches(1, wrong=0.0, bend=0.0, scale=scale)
    assert consensus(source, target).mean() < 0.6


def test_a_collapse_into_one_place_explains_nothing() -> None:
    source = np.random.default_rng(0).uniform(0, 500, (50, 2))
    assert not consensus(source, np.full((50, 2), 100.0)).any()


@pytest.mark.parametrize("count", [0, 1])
def test_one_match_says_no_similarity(count) -> None:
    places = np.zeros((count, 2))
    assert consensus(places, places).tolist() == [False] * count


def test_matches_of_one_place_say_none() -> None:
    assert not consensus(np.ones((5, 2)), np.arange(10.0).reshape(5, 2)).any()
