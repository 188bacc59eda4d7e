"""The thin plate spline against SciPy and direct formulas, in volumes and planes, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.spaces.graph import SpaceGraph
from napari_neurobridge.spaces.inversion import follow_back
from napari_neurobridge.spaces.thin_plate import ThinPlate, best_smoothing, weighted_thin_plate


@pytest.fixture
def rng():
    return np.random.default_rng(0)


UP = np.array([40.0, 0.0, 0.0])
TREND = np.array([[1.1, 0.05, 0.0], [0.0, 0.95, 0.1], [0.0, -0.1, 1.0]])


def bend(points, amplitude=8.0):
    """Return where a known smooth map takes points, µm."""
    return points @ TREND.T + [10, -20, 30] + amplitude * np.sin(points[:, [1, 2, 0]] / 100)


def places(rng, count=150, flat=False):
    """Return points of a volume or a plane, µm."""
    return rng.uniform(0, 500, (count, 3)) * ([0, 1, 1] if flat else [1, 1, 1])


@pytest.mark.parametrize("flat", [False, True])
def test_it_is_the_spline_of_scipy_in_micrometres(rng, flat):
    source = places(rng, 40, flat)
    target = bend(source) + rng.normal(0, 2, (40, 3))
    weights = rng.uniform(0.2, 1, 40)
    found = weighted_thin_plate(Correspondences(source, target, weights), smoothing=0.3)
    axes = slice(1, 3) if flat else slice(0, 3)
    # SciPy's smoothing has the unit of the kernel: an area.
    area = ((source - source.mean(axis=0)) ** 2).sum(axis=1).mean()
    other = RBFInterpolator(source[:, axes], target, smoothing=0.3 * area / weights)
    there = places(rng, 60, flat)
    np.testing.assert_allclose(found.map_points(there), other(there[:, axes]), atol=1e-6)


@pytest.mark.parametrize("flat", [False, True])
def test_a_known_map_is_found_from_noisy_matches(rng, flat):
    source = places(rng, 300, flat)
    noisy = bend(source) + rng.normal(0, 1.5, source.shape)
    inner = 50 + 0.8 * places(rng, 200, flat) * ([0, 1, 1] if flat else [1, 1, 1])
    inner = inner * ([0, 1, 1] if flat else [1, 1, 1])
    found = weighted_thin_plate(Correspondences(source, noisy))
    error = np.linalg.norm(found.map_points(inner) - bend(inner), axis=1)
    assert error.mean() < 1.5
    through = weighted_thin_plate(Correspondences(source, noisy), smoothing=0.0)
    assert error.mean() < np.linalg.norm(through.map_points(inner) - bend(inner), axis=1).mean()


def test_without_smoothing_it_passes_through_all_matches(rng):
    source = places(rng, 30)
    found = weighted_thin_plate(Correspondences(source, bend(source)), smoothing=0.0)
    np.testing.assert_allclose(found.map_points(source), bend(source), atol=1e-6)


def test_of_an_affine_map_nothing_is_bent(rng):
    source = places(rng)
    found = weighted_thin_plate(Correspondences(source, bend(source, 0.0)))
    far = places(rng) * 3 - 500
    np.testing.assert_allclose(found.map_points(far), bend(far, 0.0), atol=1e-5)


def test_off_the_plane_of_the_matches_the_orientation_counts(rng):
    source = places(rng, flat=True)
    found = weighted_thin_plate(Correspondences(source, source))
    np.testing.assert_allclose(found.map_points(source + UP), source + UP, atol=0.1)
    bent = weighted_thin_plate(Correspondences(source, bend(source)))
    moved = bent.map_points(source + UP) - bent.map_points(source)
    np.testing.assert_allclose(moved, np.tile(moved[0], (len(source), 1)), atol=1e-6)
    assert 30 < moved[0, 0] < 50


def test_weights_exclude_outliers(rng):
    source = places(rng)
    target = bend(source)
    target[::4] += rng.uniform(-300, 300, target[::4].shape)
    weights = np.ones(len(source))
    weights[::4] = 0.0
    found = weighted_thin_plate(Correspondences(source, target, weights))
    assert np.linalg.norm(found.map_points(source) - bend(source), axis=1).mean() < 1.0
    weights[::4] = 1e-4
    low = weighted_thin_plate(Correspondences(source, target, weights))
    assert np.linalg.norm(low.map_points(source) - bend(source), axis=1).mean() < 3.0


def test_a_smoothing_is_chosen_by_generalised_cross_validation(rng):
    coordinates, weights = rng.normal(size=(25, 2)), rng.uniform(0.3, 1, 25)
    values = np.sin(2 * coordinates) + rng.normal(0, 0.2, (25, 2))

    def score(smoothing):
        # The influence matrix, column by column.
        influence = RBFInterpolator(coordinates, np.eye(25), smoothing=smoothing / weights)(
            coordinates
        )
        rest = np.sqrt(weights)[:, None] * (values - influence @ values)
        return (rest**2).sum() / (25 - np.trace(influence)) ** 2

    chosen = best_smoothing(coordinates, values, weights)
    assert 1e-4 < chosen < 1e3
    for factor in (0.1, 0.5, 2.0, 10.0):
        assert score(chosen) <= score(factor * chosen) * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.floats(0.5, 15))
def test_the_inverse_undoes_the_map_to_a_hundredth_of_a_µm(seed, flat, amplitude):
    rng = np.random.default_rng(seed)
    source = places(rng, 60, flat)
    matches = Correspondences(source, bend(source, amplitude), source="a", target="b")
    found = weighted_thin_plate(matches)
    back = found.inverse()
    assert (back.source, back.target) == ("b", "a")
    assert back.inverse() is found
    there = places(rng, 40)
    np.testing.assert_allclose(back.map_points(found.map_points(there)), there, atol=0.01)
    np.testing.assert_allclose(found.map_points(back.map_points(there)), there, atol=0.01)


def test_where_it_folds_it_has_no_inverse():
    corners = np.array([[z, y, x] for z in (0, 300) for y in (0, 300) for x in (0, 300)], float)
    inner = np.array([[150, 150, 130], [150, 150, 170]], float)
    # Two neighbours change places.
    matches = Correspondences(np.vstack([corners, inner]), np.vstack([corners, inner[::-1]]))
    found = weighted_thin_plate(matches, smoothing=0.0)
    with pytest.raises(NotInvertibleError, match="z 150, y 150, x 150 µm: it folds there"):
        found.inverse().map_points([[150, 150, 150]])
    np.testing.assert_allclose(
        found.map_points(found.inverse().map_points([[0, 0, 10]])), [[0, 0, 10]], atol=1e-4
    )


def test_a_place_that_nothing_is_mapped_to_is_refused():
    class Squashed:
        def map_points(self, points):
            return 10 * np.tanh(np.asarray(points) / 10)

    with pytest.raises(NotInvertibleError, match="cannot be inverted at z 0, y 0, x 20"):
        follow_back(Squashed(), np.array([[0.0, 0, 20]]), np.zeros((1, 3)), hand=1.0)


def test_newton_follows_where_a_fixed_point_would_not():
    class Steep:
        # Its slope lies between 0.05 and 1.95: simple iteration crawls.
        def map_points(self, points):
            return np.asarray(points) + 95 * np.sin(np.asarray(points) / 100)

    wanted = np.random.default_rng(0).uniform(-1000, 1000, (50, 3))
    found = follow_back(Steep(), wanted, wanted, hand=1.0)
    np.testing.assert_allclose(Steep().map_points(found), wanted, atol=1e-4)


@pytest.mark.parametrize(("count", "flat"), [(3, True), (4, False)])
def test_too_few_matches_are_refused(rng, count, flat):
    source = places(rng, count, flat)
    with pytest.raises(InputError, match=r"A thin plate of matches in a .* needs"):
        weighted_thin_plate(Correspondences(source, source))


def test_many_matches_of_one_place_are_few(rng):
    source = np.repeat(places(rng, 4), 10, axis=0)
    with pytest.raises(InputError, match="needs 5 of them at different places, but there are 4"):
        weighted_thin_plate(Correspondences(source, source + rng.normal(size=source.shape)))


def test_several_targets_of_one_place_are_no_trouble(rng):
    source = places(rng, 30)
    twice = np.vstack([source, source[:5]])
    target = np.vstack([bend(source), bend(source[:5]) + UP])
    found = weighted_thin_plate(Correspondences(twice, target, 0.5), smoothing=0.0)
    off = found.map_points(source[:5]) - bend(source[:5])
    np.testing.assert_allclose(off, np.tile(UP / 2, (5, 1)), atol=1e-6)


def test_matches_on_a_line_bend_along_it():
    line = np.linspace(0, 400, 30)[:, None] * np.array([0.0, 0.6, 0.8])
    target = line + 5 * np.sin(np.linspace(0, 400, 30) / 80)[:, None] * [1, 0, 0]
    found = weighted_thin_plate(Correspondences(line, target))
    np.testing.assert_allclose(found.map_points(line), target, atol=0.3)


@pytest.mark.parametrize("smoothing", [-1.0, np.nan])
def test_a_smoothing_is_no_negative_number(rng, smoothing):
    source = places(rng)
    with pytest.raises(InputError, match="must not be negative"):
        weighted_thin_plate(Correspondences(source, source), smoothing=smoothing)


def test_it_joins_spaces_like_any_transform(rng):
    source = places(rng)
    found = weighted_thin_plate(Correspondences(source, bend(source), source="a", target="b"))
    graph = SpaceGraph([found, Affine.from_voxels((2, 2, 2), source="c", target="a")])
    there = graph.map_points(source[:5] / 2, "c", "b")
    np.testing.assert_allclose(there, found.map_points(source[:5]))
    np.testing.assert_allclose(graph.map_points(there, "b", "c"), source[:5] / 2, atol=1e-4)
    assert found.map_points(np.zeros((0, 3))).shape == (0, 3)


def test_one_that_does_not_fit_together_is_refused(rng):
    base = Affine(np.eye(4), "a", "b")
    controls = places(rng, 10)
    for displacement, smoothing, axes, says in (
        (np.zeros((9, 3)), np.zeros(10), np.eye(3), "one displacement and smoothing"),
        (np.zeros((10, 3)), -np.ones(10), np.eye(3), "must not be negative"),
        (np.zeros((10, 3)), np.zeros(10), np.zeros((0, 3)), "one to three axes"),
    ):
        with pytest.raises(InputError, match=says):
            ThinPlate(base, controls, displacement, smoothing, axes)
    same = ThinPlate(base, np.ones((10, 3)), np.zeros((10, 3)), np.zeros(10), np.eye(3))
    with pytest.raises(InputError, match="different places"):
        same.map_points(controls)
