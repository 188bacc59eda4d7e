"""Planes, sheets and volumes in common coordinates, and the table of log ratios."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.affine_search import ScaledGallery
from napari_neurobridge.matching.constellation.flat_space import (
    FlatSpace,
    is_sheet,
    local_density,
)
from napari_neurobridge.matching.constellation.ratio_map import RatioMap

TILT = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()


def draw(extent: tuple[float, float, float], count: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 3)) * extent


@pytest.mark.parametrize(
    ("extent", "sheet"),
    [((0, 500, 500), True), ((10, 500, 500), True), ((60, 300, 300), False), ((1, 1, 1), False)],
)
def test_a_thin_layer_is_a_sheet_however_it_lies(extent, sheet):
    assert is_sheet(draw(extent)) is sheet
    assert is_sheet(draw(extent) @ TILT.T) is sheet


def test_a_dome_is_a_sheet_and_a_stack_of_planes_is_not():
    points = draw((0, 600, 600))
    points[:, 0] = 40 * np.cos(points[:, 1] / 200)
    assert is_sheet(points)
    stack = draw((0, 400, 400))
    stack[:, 0] = np.random.default_rng(1).integers(0, 5, len(stack)) * 25.0
    assert not is_sheet(stack)


@pytest.mark.parametrize("extent", [(0.0, 400.0, 400.0), (200.0, 400.0, 400.0)])
def test_a_map_between_flat_coordinates_is_the_same_map_in_micrometres(extent):
    queries = draw((0, 300, 300)) @ TILT.T
    gallery = draw(extent, seed=1) @ TILT.T
    orientation = np.diag([1.0, 1.2, -1.0])
    space = FlatSpace.of(queries, gallery, orientation)
    assert space.dimensions == (2 if extent[0] == 0 else 3)
    flat = np.eye(space.dimensions) * 1.1
    flat[:2, :2] += [[0.1, -0.4], [0.3, 0.0]]
    # What lies in the plane is moved alike in both coordinates.
    whole = space.linear(flat)
    moved = (queries[:50] - queries[0]) @ whole.T @ space.gallery_axes.T
    inside = (space.queries[:50] - space.queries[0]) @ flat.T * space.unit_um
    np.testing.assert_allclose(moved[:, :2], inside[:, :2], atol=1e-6)


def test_density_is_that_of_the_dimension():
    plane = draw((0, 100, 100), 4000)[:, 1:]
    assert np.median(local_density(plane)) == pytest.approx(0.4, rel=0.1)
    assert np.median(local_density(draw((100, 100, 100), 4000))) == pytest.approx(0.004, rel=0.2)
    with pytest.raises(InputError, match="one place"):
        local_density(np.zeros((30, 2)))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_table_says_what_the_formula_says(dimensions: int):
    points = np.random.default_rng(0).uniform(0, 8, (60, dimensions))
    table = RatioMap.of(ScaledGallery(points, cKDTree(points), 1.0, 1.5))
    places = points[:40] + np.random.default_rng(1).normal(0, 0.15, (40, dimensions))
    square = ((places[:, None] - points[None]) ** 2).sum(axis=2) / 0.15**2
    density = np.exp(-square / 2).sum(axis=1) / (2 * np.pi * 0.15**2) ** (dimensions / 2)
    found = table(*places.T.astype(np.float32))
    # As far as half a step of the grid changes it.
    assert np.abs(found - np.log(0.5 + 0.5 * density)).max() < 0.6
    assert np.corrcoef(found, np.log(0.5 + 0.5 * density))[0, 1] > 0.95


def test_outside_the_field_nothing_is_said():
    points = np.random.default_rng(0).uniform(0, 8, (60, 2))
    table = RatioMap.of(ScaledGallery(points, cKDTree(points), 1.0, 1.5))
    far = np.array([-2.5, 50.0, 4.0], dtype=np.float32)
    np.testing.assert_array_equal(table(far, np.full(3, 30.0, dtype=np.float32)), 0.0)
