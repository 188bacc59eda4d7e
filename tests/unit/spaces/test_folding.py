"""Maps that fold or tear are refused with the place; mild ones are measured."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from tests.strategies import affines

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.spaces.folding import require_no_folding, volume_change

LOW, HIGH = np.zeros(3), np.array([100.0, 200.0, 300.0])


class Wave:
    """Bends x by a wave along x: the determinant is 1 + a/l cos(x/l)."""

    def __init__(self, amplitude_um, mirror=1.0):
        self.amplitude_um, self.mirror = amplitude_um, mirror

    def map_points(self, points):
        moved = np.array(points, dtype=float)
        moved[:, 2] += self.amplitude_um * np.sin(moved[:, 2] / 50)
        return moved * [self.mirror, 1, 1]


@settings(max_examples=25, deadline=None)
@given(affines())
def test_an_affine_map_changes_volume_alike_everywhere(affine):
    change = require_no_folding(affine, LOW, HIGH, step_um=50)
    np.testing.assert_allclose(change.factor, 1, atol=1e-4)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_a_mild_map_is_measured_and_kept_also_when_mirrored(mirror):
    change = require_no_folding(Wave(15, mirror), LOW, HIGH)
    x = change.points_um[:, 2]
    # The mean of the derivative over one step.
    exact = 1 + 15 * (np.sin((x + 5) / 50) - np.sin((x - 5) / 50)) / 10
    np.testing.assert_allclose(change.factor, exact / np.median(exact), atol=0.01)
    assert change.points_um.min() == 0
    np.testing.assert_allclose(change.points_um.max(axis=0), HIGH)


def test_a_fold_is_refused_with_its_place_and_size():
    with pytest.raises(NotInvertibleError) as caught:
        require_no_folding(Wave(80), LOW, HIGH)
    # The determinant is lowest where x / 50 is π.
    where = re.search(
        r"folds at \d+\.\d% of the places tested, most at z \S+, y \S+, x (\d+) µm",
        str(caught.value),
    )
    assert abs(float(where[1]) - 157) <= 5
    assert "\n" not in str(caught.value)


def test_a_place_that_shrinks_too_much_is_refused():
    with pytest.raises(InputError, match=r"shrinks tissue \d+\.\d-fold at z .* up to 3-fold"):
        require_no_folding(Wave(42), LOW, HIGH)


def test_a_place_that_swells_too_much_is_refused():
    class Bubble:
        def map_points(self, points):
            offset = np.asarray(points) - [50, 100, 150]
            square = (offset**2).sum(axis=1, keepdims=True)
            return offset * (1 + np.exp(-square / 800))

    with pytest.raises(InputError, match=r"swells tissue .*-fold at z 50, y 100, x 150"):
        require_no_folding(Bubble(), LOW, HIGH, largest_change=2)


def test_a_box_may_be_a_plane():
    change = volume_change(Wave(15), [7, 0, 0], [7, 200, 300])
    assert set(change.points_um[:, 0]) == {7.0}
    assert change.step_um == 10


def test_a_large_box_gets_a_coarser_grid():
    change = volume_change(Wave(15), [0, 0, 0], [5000, 5000, 5000])
    assert len(change.points_um) <= 20_000
    assert change.step_um > 100


@pytest.mark.parametrize(
    ("low", "high", "step"),
    [((0, 0, 0), (-1, 5, 5), 1.0), ((0, 0, 0), (5, 5, 5), 0.0), ((0, 0, 0), (5, 5, 5), np.nan)],
)
def test_what_is_no_box_is_refused(low, high, step):
    with pytest.raises(InputError, match="low and a high corner"):
        volume_change(Wave(1), low, high, step_um=step)


def test_a_map_that_flattens_all_is_refused():
    class Flat:
        def map_points(self, points):
            return np.asarray(points) * [0, 1, 1]

    with pytest.raises(InputError, match="flattens space"):
        volume_change(Flat(), LOW, HIGH)
