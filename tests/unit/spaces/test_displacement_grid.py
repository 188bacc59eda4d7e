"""A map on a grid: as exact as asked, invertible, and honest where the grid is too coarse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.spaces.displacement_grid import (
    DisplacementGrid,
    as_affine,
    sample_on_grid,
)
from napari_neurobridge.spaces.fit import fit_alignment
from napari_neurobridge.spaces.landmarks import Landmarks
from strategies import affines
from wavy_map import BOX_UM, WavyMap, inside

IDENTITY = Affine(np.eye(4), "a", "b")


def alignment(n, seed=0):
    """Fit an alignment to landmarks in the box that a wave displaces."""
    places = inside(seed, n)
    moved = WavyMap(5.0).map_points(places)
    return fit_alignment(Landmarks(places, moved), source="two_photon", target="fmost")


def test_interpolation_agrees_with_scipys():
    draw = np.random.default_rng(0)
    field = draw.normal(size=(4, 5, 6, 3))
    origin, step = np.array([1.0, -2.0, 3.0]), np.array([2.0, 3.0, 4.0])
    grid = DisplacementGrid(field, origin, step, IDENTITY)
    axes = [origin[i] + step[i] * np.arange(field.shape[i]) for i in range(3)]
    points = draw.uniform(*grid.corners_um, size=(300, 3))
    expected = RegularGridInterpolator(axes, field)(points)
    assert np.allclose(grid.map_points(points), points + expected)


def test_beyond_half_a_step_outside_nothing_is_displaced():
    grid = DisplacementGrid(np.ones((2, 2, 2, 3)), np.zeros(3), np.full(3, 10.0), IDENTITY)
    points = np.array([[-4.0, 5, 5], [-6.0, 5, 5], [5, 14.9, 5], [5, 5, 15.1]])
    moved = (grid.map_points(points) != points).any(axis=1)
    assert moved.tolist() == [True, False, True, False]


@given(height_um=st.floats(0.1, 6), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_grid_is_as_exact_as_asked_and_inverts(height_um, seed):
    transform = WavyMap(height_um)
    grid = sample_on_grid(transform, BOX_UM, tolerance_um=0.02)
    points = inside(seed)
    away = np.linalg.norm(grid.map_points(points) - transform.map_points(points), axis=1)
    assert away.max() <= 0.02
    assert grid.error_um <= 0.02
    inverse = grid.inverse()
    assert (inverse.source, inverse.target) == (grid.target, grid.source)
    assert np.abs(inverse.map_points(grid.map_points(points)) - points).max() < 1e-5


@pytest.mark.parametrize("backwards", [False, True])
def test_an_alignment_fits_on_a_grid_both_ways(backwards):
    transform = alignment(12)
    corners = BOX_UM
    if backwards:
        transform, corners = transform.inverse(), [[30.0, 60, 90], [90.0, 130, 200]]
    grid = sample_on_grid(transform, corners)
    points = np.random.default_rng(5).uniform(*corners, size=(200, 3))
    away = np.linalg.norm(grid.map_points(points) - transform.map_points(points), axis=1)
    assert away.max() <= 0.01


def test_where_nodes_do_not_suffice_the_error_is_told():
    coarse = sample_on_grid(WavyMap(4.0), BOX_UM, most_nodes=500)
    assert coarse.displacement_um[..., 0].size <= 500
    points = inside(9, 2000)
    away = np.linalg.norm(coarse.map_points(points) - WavyMap(4.0).map_points(points), axis=1)
    assert coarse.error_um > 0.01
    assert away.max() <= 1.05 * coarse.error_um


def test_a_stated_step_is_taken():
    grid = sample_on_grid(WavyMap(), BOX_UM, step_um=30.0)
    # It is shortened so that nodes lie on both ends: 120, 200 and 280 µm.
    assert np.allclose(grid.step_um, (30.0, 200 / 7, 28.0))
    assert np.allclose(grid.corners_um, BOX_UM)


@given(transform=affines())
@settings(max_examples=25, deadline=None)
def test_what_is_affine_is_found_to_be(transform):
    class Hidden:
        source, target = "a", "b"
        map_points = transform.map_points

    found = as_affine(Hidden(), BOX_UM)
    assert np.abs(found.map_points(inside(1)) - transform.map_points(inside(1))).max() < 1e-6


def test_what_bends_is_no_affine():
    assert as_affine(WavyMap(0.01), BOX_UM) is None
    assert as_affine(alignment(12), BOX_UM) is None
    assert as_affine(alignment(1), BOX_UM) is not None


def test_a_grid_that_folds_cannot_be_followed_back():
    field = np.zeros((3, 3, 3, 3))
    field[1, 1, 1, 0] = 40.0
    grid = DisplacementGrid(field, np.zeros(3), np.full(3, 10.0), IDENTITY)
    with pytest.raises(NotInvertibleError):
        grid.inverse().map_points([[15.0, 10.0, 10.0]])


@pytest.mark.parametrize(
    ("field", "step", "sentence"),
    [
        (np.zeros((2, 2, 3)), (1, 1, 1), "shape"),
        (np.zeros((2, 2, 2, 3)), (1, 0, 1), "positive"),
        (np.zeros((2, 2, 2, 3)), (1, 1), "an origin and a step"),
        (np.full((2, 2, 2, 3), np.nan), (1, 1, 1), "NaN"),
    ],
)
def test_bad_grids_are_refused(field, step, sentence):
    with pytest.raises(InputError, match=sentence):
        DisplacementGrid(field, np.zeros(3), np.array(step, dtype=float), IDENTITY)


@pytest.mark.parametrize(
    ("corners", "options"),
    [
        ([[0, 0, 0], [0, 1, 1]], {}),
        ([[0, 0, 0]], {}),
        (BOX_UM, {"step_um": 0.0}),
        (BOX_UM, {"tolerance_um": float("nan")}),
    ],
)
def test_bad_boxes_and_steps_are_refused(corners, options):
    with pytest.raises(InputError):
        sample_on_grid(WavyMap(), corners, **options)


def test_progress_is_reported_and_can_stop_it():
    class Stop(Exception):
        pass

    def report(done, total, message):
        raise Stop

    with pytest.raises(Stop):
        sample_on_grid(WavyMap(), BOX_UM, report=report)
