"""Planes seen through turned, mirrored and shifted grids."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.plane_grid import PlaneGrid, grids_onto, lies_on
from napari_neurobridge.spaces.affine import Affine


@pytest.fixture
def plane() -> PlanarImage:
    values = np.random.default_rng(0).random((30, 50)).astype(np.float32)
    return PlanarImage(values, 2.0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_right_angles_move_pixels_and_change_none(plane, quarters, mirrored) -> None:
    view = PlaneGrid.turned(plane, 90.0 * quarters, mirrored=mirrored)
    seen = view.image_of(plane)
    values = plane.values[:, ::-1] if mirrored else plane.values
    # numpy turns x towards y, rows being drawn downwards.
    np.testing.assert_allclose(seen.values, np.rot90(values, quarters), atol=1e-4)
    assert seen.pixel_um == plane.pixel_um


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 33.0, 180.0, 271.0])
def test_what_is_seen_somewhere_lies_where_it_says(plane, angle, mirrored) -> None:
    row, column = 11, 37
    plane.values[:] = 0
    plane.values[row - 1 : row + 2, column - 1 : column + 2] = 1
    view = PlaneGrid.turned(plane, angle, mirrored=mirrored)
    seen = view.image_of(plane).values
    # Beyond the border there is the plane's mirror image.
    grid = np.stack(np.indices(seen.shape), axis=-1).reshape(-1, 2) * 2.0
    seen[~lies_on(plane, view.to_plane(grid)).reshape(seen.shape)] = 0
    weight = seen / seen.sum()
    place = np.array([[(weight * index).sum() * 2.0 for index in np.indices(seen.shape)]])
    np.testing.assert_allclose(view.to_plane(place), [[22.0, 74.0]], atol=0.3)


def test_all_of_the_plane_is_shown(plane) -> None:
    corners = np.array([[0, 0], [0, 98.0], [58, 0], [58, 98]])
    view = PlaneGrid.turned(plane, 30.0)
    on_grid = (corners - view.origin_um) @ np.linalg.inv(view.linear).T
    assert (on_grid >= -1e-9).all()
    assert (on_grid <= (np.array(view.shape) - 1) * 2.0 + 1e-9).all()


def test_positive_angles_turn_y_towards_x(plane) -> None:
    view = PlaneGrid.turned(plane, 90.0)
    # One µm along the grid's x comes from one along the plane's y.
    np.testing.assert_allclose(view.linear @ [0, 1], [1, 0], atol=1e-12)


def test_beyond_the_border_the_image_fades_into_its_median() -> None:
    values = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    plane = PlanarImage(values, 2.0)
    view = PlaneGrid(np.eye(2), np.array([0.0, -100.0]), (40, 90), 2.0)
    seen = view.image_of(plane).values
    np.testing.assert_allclose(seen[:, 50:], values, atol=1e-6)
    np.testing.assert_allclose(seen[:, :29], np.median(values), atol=1e-6)
    # No edge: the last pixel is the first one beyond the border.
    np.testing.assert_allclose(seen[:, 49], seen[:, 50], atol=0.06)


def test_a_source_is_laid_on_the_part_of_the_target_that_it_covers() -> None:
    generator = np.random.default_rng(0)
    source = PlanarImage(generator.random((40, 60)).astype(np.float32), 1.0)
    target = PlanarImage(generator.random((200, 300)).astype(np.float32), 1.0)
    affine = Affine.from_linear(np.eye(3), (0, 80, 120), source="a", target="b")
    on_source, on_target = grids_onto(affine, source, target, 10.0)
    seen = on_target.image_of(target)
    assert seen.values.shape == (60, 80)
    np.testing.assert_array_equal(seen.values, target.values[70:130, 110:190])
    laid = on_source.image_of(source).values
    np.testing.assert_allclose(laid[10:50, 10:70], source.values, atol=1e-6)
    here = np.array([[3.0, 4.0]])
    np.testing.assert_allclose(on_target.to_plane(here), [[73, 114]])
    np.testing.assert_allclose(on_source.to_plane(here), [[-7, -6]])


def test_planes_that_do_not_overlap_have_no_common_part() -> None:
    plane = PlanarImage(np.zeros((40, 60), np.float32), 1.0)
    affine = Affine.from_linear(np.eye(3), (0, 500, 0), source="a", target="b")
    assert grids_onto(affine, plane, plane, 10.0) is None


def test_places_lie_on_pixels_up_to_their_borders(plane) -> None:
    places = np.array([[0, 0], [-0.99, 98.99], [-1.01, 0], [58.99, 0], [59.01, 0], [0, 99.01]])
    assert lies_on(plane, places).tolist() == [True, True, False, True, False, False]
