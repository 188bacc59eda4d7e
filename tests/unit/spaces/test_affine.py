"""Affine maps: exact inverses, composition, and refusal of what is not a map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.affine import as_points
from strategies import affines, points, positions, voxel_sizes


@given(voxel_sizes, positions, st.tuples(*[st.integers(0, 5000)] * 3))
def test_voxels_map_to_index_times_size_plus_origin(voxel_size_um, origin_um, index):
    affine = Affine.from_voxels(voxel_size_um, source="array", target="fmost", origin_um=origin_um)
    expected = [
        i * size + origin for i, size, origin in zip(index, voxel_size_um, origin_um, strict=True)
    ]
    np.testing.assert_allclose(affine.map_points(index), [expected], rtol=1e-12)


def test_center_of_first_voxel_is_zero_um():
    affine = Affine.from_voxels((2.0, 0.65, 0.65), source="array", target="fmost")
    np.testing.assert_array_equal(affine.map_points((0, 0, 0)), [[0.0, 0.0, 0.0]])


@given(affines(), points())
def test_inverse_undoes_the_map(affine, array):
    inverse = affine.inverse()
    assert (inverse.source, inverse.target) == (affine.target, affine.source)
    np.testing.assert_allclose(inverse.map_points(affine.map_points(array)), array, atol=1e-6)


@given(affines("a", "b"), affines("b", "c"), points())
def test_then_applies_the_first_map_first(first, second, array):
    chained = first.then(second)
    assert (chained.source, chained.target) == ("a", "c")
    expected = second.map_points(first.map_points(array))
    scale = 1.0 + np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(chained.map_points(array) / scale, expected / scale, atol=1e-9)


@given(affines("a", "b"), affines("b", "c"))
def test_inverse_of_a_chain_is_the_chain_of_inverses_backwards(first, second):
    backwards = second.inverse().then(first.inverse())
    expected = first.then(second).inverse().matrix
    scale = np.abs(expected).max()
    np.testing.assert_allclose(backwards.matrix / scale, expected / scale, atol=1e-9)


def test_then_refuses_maps_that_do_not_meet():
    first = Affine(np.eye(4), "two_photon", "fmost")
    with pytest.raises(InputError, match="two_photon → fmost with atlas → fmost"):
        first.then(Affine(np.eye(4), "atlas", "fmost"))


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.diag([1.0, np.nan, 1.0, 1.0]),
        np.diag([1.0, np.inf, 1.0, 1.0]),
        np.array([[1, 2, 0, 0], [2, 4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]),
    ],
    ids=["shape", "zero axis", "nan", "infinite", "parallel axes", "projective"],
)
def test_matrix_without_an_inverse_is_refused(matrix):
    with pytest.raises(InputError):
        Affine(matrix, "a", "b")


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_decide_whether_a_map_is_invertible(scale):
    affine = Affine(np.diag([scale, scale, scale, 1.0]), "a", "b")
    np.testing.assert_allclose(affine.inverse().map_points((scale, 0, 0)), [[1.0, 0, 0]])


@pytest.mark.parametrize("size", [(0.0, 1.0, 1.0), (1.0, -0.5, 1.0), (1.0, 1.0, np.nan)])
def test_voxel_sizes_must_be_positive(size):
    with pytest.raises(InputError):
        Affine.from_voxels(size, source="array", target="fmost")


def test_matrix_cannot_be_changed_from_outside():
    matrix = np.eye(4)
    affine = Affine(matrix, "a", "b")
    matrix[0, 3] = 7.0
    assert affine.translation[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 3] = 7.0


def test_one_position_becomes_one_row():
    assert as_points((1, 2, 3)).shape == (1, 3)
    assert as_points((1, 2, 3)).dtype == np.float64


@pytest.mark.parametrize("nothing", [[], np.empty((0, 3))])
def test_no_points_stay_no_points(nothing):
    assert Affine(np.eye(4), "a", "b").map_points(nothing).shape == (0, 3)


@pytest.mark.parametrize(
    "bad",
    [(1.0, 2.0), np.zeros((4, 2)), np.zeros((2, 2, 3)), [(0.0, np.nan, 0.0)], [(np.inf, 0, 0)]],
    ids=["two coordinates", "two columns", "three dimensions", "nan", "infinite"],
)
def test_what_is_not_points_is_refused(bad):
    with pytest.raises(InputError, match="Points"):
        as_points(bad)
