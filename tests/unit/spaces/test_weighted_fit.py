"""Weighted similarities and affine maps against other programs, and where matches say little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import special_ortho_group
from skimage.transform import EuclideanTransform, SimilarityTransform, estimate_transform

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.spaces.weighted_fit import (
    turned_over,
    weighted_affine,
    weighted_similarity,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


FITS = (weighted_similarity, weighted_affine)
MIRROR = np.diag([-1.0, 1.0, 1.0])


def similar(rng, count=30, noise=1.0, scale=1.3):
    """Return a similarity's linear part and noisy matches under it."""
    linear = scale * special_ortho_group.rvs(3, random_state=rng)
    source = rng.uniform(-300, 300, (count, 3))
    return linear, source, source @ linear.T + [40, -900, 7] + rng.normal(0, noise, (count, 3))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_similarity_of_a_volume_is_that_of_scikit_image(seed):
    _, source, target = similar(np.random.default_rng(seed), noise=20.0)
    found = weighted_similarity(Correspondences(source, target))
    other = estimate_transform("similarity", source, target)
    assert isinstance(other, SimilarityTransform | EuclideanTransform)
    np.testing.assert_allclose(found.map_points(source), other(source), atol=1e-3)


def test_the_similarity_of_a_plane_is_that_of_scikit_image_within_it(rng):
    plane = rng.uniform(-300, 300, (30, 2))
    linear = 1.2 * Rotation.from_rotvec([0.7, 0, 0]).as_matrix()
    target = plane @ linear[1:, 1:].T + [50, 60] + rng.normal(0, 5, (30, 2))
    lifted = [np.column_stack([np.full(30, z), flat]) for z, flat in ((7, plane), (0, target))]
    found = weighted_similarity(Correspondences(*lifted))
    expected = estimate_transform("similarity", plane, target)(plane)
    np.testing.assert_allclose(found.map_points(lifted[0])[:, 1:], expected, atol=1e-3)
    np.testing.assert_allclose(found.map_points(lifted[0])[:, 0], 0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_affine_map_is_the_weighted_least_squares_of_numpy(seed):
    rng = np.random.default_rng(seed)
    source = rng.uniform(-300, 300, (25, 3))
    target = source @ rng.normal(0, 1, (3, 3)) + rng.normal(0, 30, (25, 3))
    weights = rng.uniform(0.05, 1, 25)
    found = weighted_affine(Correspondences(source, target, weights))
    design, root = np.column_stack([source, np.ones(25)]), np.sqrt(weights)[:, None]
    best = np.linalg.lstsq(root * design, root * target, rcond=None)[0]
    np.testing.assert_allclose(found.map_points(source), design @ best, atol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_a_match_of_double_weight_counts_like_two(rng, fit):
    _, source, target = similar(rng, 12, noise=30.0)
    # A micrometre apart in the target, so that they are two matches and not one.
    nudge = np.array([1e-3, 0, 0])
    two = Correspondences(
        np.vstack([source, source[:1]]), np.vstack([target, target[:1] + nudge]), 0.5
    )
    one = Correspondences(source, target, np.r_[1.0, np.full(11, 0.5)])
    np.testing.assert_allclose(fit(two).map_points(source), fit(one).map_points(source), atol=2e-3)


@pytest.mark.parametrize("fit", FITS)
def test_weights_exclude_outliers(rng, fit):
    linear, source, target = similar(rng, 60)
    target[::3] += rng.uniform(-400, 400, (20, 3))
    weights = np.ones(60)
    weights[::3] = 0
    truth = source @ linear.T + [40, -900, 7]
    error = np.linalg.norm(
        fit(Correspondences(source, target, weights)).map_points(source) - truth, axis=1
    )
    assert error.max() < 1.5
    alike = np.linalg.norm(fit(Correspondences(source, target)).map_points(source) - truth, axis=1)
    assert alike.mean() > 20


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("magnitude", [0.01, 100.0])
def test_sizes_that_differ_a_hundredfold_are_no_matter(rng, fit, magnitude):
    linear, source, target = similar(rng, 20, noise=0.0, scale=magnitude)
    found = fit(Correspondences(source, target), orientation=linear)
    np.testing.assert_allclose(found.linear, linear, rtol=1e-3, atol=1e-3 * magnitude)


@pytest.mark.parametrize("mirrored", [False, True])
def test_handedness_is_that_of_the_orientation(rng, mirrored):
    hand = MIRROR if mirrored else np.eye(3)
    linear, source, _ = similar(rng, 20)
    linear = linear @ hand
    found = weighted_similarity(Correspondences(source, source @ linear.T), orientation=hand)
    np.testing.assert_allclose(found.linear, linear, atol=1e-3)
    other = weighted_similarity(
        Correspondences(source, source @ linear.T), orientation=hand @ MIRROR
    )
    assert np.linalg.det(other.linear) * np.linalg.det(linear) < 0


@pytest.mark.parametrize("mirrored", [False, True])
def test_across_a_plane_the_orientation_counts(rng, mirrored):
    # The plane is sheared and turned; across it, the orientation knows of a shrinkage to 0.8.
    source = rng.uniform(-300, 300, (20, 3)) * [0, 1, 1]
    shape = np.diag([-0.8 if mirrored else 0.8, 1.0, 1.0])
    turn = Rotation.from_rotvec([0.5, 0.2, -0.1]).as_matrix()
    within = np.array([[1, 0, 0], [0, 1.05, 0.1], [0, 0.1, 0.95]])
    target = source @ (turn @ within).T
    found = weighted_affine(Correspondences(source, target), orientation=shape)
    np.testing.assert_allclose(found.linear[:, 1:], (turn @ within)[:, 1:], atol=1e-6)
    across = found.linear[:, 0]
    assert np.linalg.norm(across) == pytest.approx(0.8, abs=0.01)
    assert np.sign(np.linalg.det(found.linear)) == (-1 if mirrored else 1)
    np.testing.assert_allclose(across @ found.linear[:, 1:], 0, atol=0.1)


def test_the_noise_of_a_plane_makes_no_axis_across_it(rng):
    source = rng.uniform(-300, 300, (40, 3)) * [0, 1, 1] + rng.normal(0, 2, (40, 3)) * [1, 0, 0]
    target = source + rng.normal(0, 3, (40, 3))
    across = weighted_affine(Correspondences(source, target)).linear[:, 0]
    np.testing.assert_allclose(across, [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("fit", FITS)
def test_matches_on_a_line_leave_the_rest_to_the_orientation(rng, fit):
    line = np.linspace(0, 400, 9)[:, None] * np.array([0.0, 0.6, 0.8]) + [5, 6, 7]
    orientation = Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix()
    found = fit(Correspondences(line, 1.1 * line @ orientation.T), orientation=orientation)
    np.testing.assert_allclose(found.linear, 1.1 * orientation, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_matches_give_a_similarity_with_the_rest_from_the_orientation(rng, count):
    linear, source, _ = similar(rng, count, scale=1.0)
    found = weighted_similarity(Correspondences(source, source @ linear.T), orientation=linear)
    np.testing.assert_allclose(found.linear, linear, atol=1e-3)


def test_three_matches_give_an_affine_map_of_their_plane(rng):
    _, source, target = similar(rng, 3)
    found = weighted_affine(Correspondences(source, target))
    np.testing.assert_allclose(found.map_points(source), target, atol=1e-6)


@pytest.mark.parametrize("source", [[[1, 2, 3]], [[0, 0, 0], [0, 10, 0], [0, 10, 0]]])
def test_one_or_two_places_leave_an_affine_map_to_the_orientation(source):
    orientation = Rotation.from_rotvec([0.0, 0.3, 0.0]).as_matrix()
    matches = Correspondences(source, np.array(source) @ orientation.T + 5)
    found = weighted_affine(matches, orientation=orientation)
    np.testing.assert_allclose(found.linear, orientation, atol=1e-3)


@pytest.mark.parametrize("fit", FITS)
def test_targets_at_one_place_are_refused(rng, fit):
    _, source, _ = similar(rng)
    with pytest.raises(InputError, match="all lie at one place in the target"):
        fit(Correspondences(source, np.zeros_like(source)))


def test_targets_in_a_plane_flatten_space(rng):
    _, source, target = similar(rng)
    with pytest.raises(InputError, match="flattens space"):
        weighted_affine(Correspondences(source, target * [0, 1, 1]))


def test_an_orientation_that_flattens_space_is_refused(rng):
    _, source, target = similar(rng)
    with pytest.raises(InputError, match="flattens space"):
        weighted_affine(Correspondences(source, target), orientation=np.diag([1, 1, 0]))
    with pytest.raises(InputError, match=r"\(3, 3\) matrix"):
        weighted_similarity(Correspondences(source, target), orientation=np.eye(2))


@pytest.mark.parametrize("fit", FITS)
def test_a_mirrored_plane_is_told(rng, fit):
    source = rng.uniform(-300, 300, (20, 3)) * [0, 1, 1]
    turn = Rotation.from_rotvec([2.5, 0.2, -0.1]).as_matrix()
    for image, mirrored in ((source, False), (source * [1, 1, -1], True)):
        matches = Correspondences(source, image @ turn.T)
        assert turned_over(fit(matches), matches) is mirrored
    volume = Correspondences(*[rng.uniform(-300, 300, (20, 3))] * 2)
    assert not turned_over(fit(volume), volume)
