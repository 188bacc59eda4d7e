"""The local linear part of maps whose derivative is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.jacobian import jacobian_of

POINTS = np.random.default_rng(0).uniform(-300, 300, (7, 3))


class Waves:
    """x goes to x + a sin(x'/l), each axis bent along the next."""

    amplitude_um, length_um = 12.0, 90.0

    def map_points(self, points):
        points = np.asarray(points)
        return points + self.amplitude_um * np.sin(np.roll(points, -1, axis=1) / self.length_um)

    def derivative(self, points):
        slope = self.amplitude_um / self.length_um * np.cos(np.roll(points, -1, axis=1) / 90.0)
        matrix = np.tile(np.eye(3), (len(points), 1, 1))
        for axis in range(3):
            matrix[:, axis, (axis + 1) % 3] = slope[:, axis]
        return matrix


@given(st.integers(0, 1000), st.floats(0.01, 500))
def test_that_of_an_affine_map_is_its_linear_part_whatever_the_step(seed, step_um):
    rng = np.random.default_rng(seed)
    linear = rng.normal(0, 1, (3, 3)) + 2 * np.eye(3)
    affine = Affine.from_linear(linear, rng.normal(0, 500, 3), source="a", target="b")
    found = jacobian_of(affine, POINTS, step_um)
    np.testing.assert_allclose(found, np.broadcast_to(linear, found.shape), atol=1e-8 / step_um)


def test_that_of_a_smooth_field_is_its_derivative():
    waves = Waves()
    np.testing.assert_allclose(jacobian_of(waves, POINTS), waves.derivative(POINTS), atol=1e-5)


def test_a_long_step_takes_the_mean_over_the_tissue_between():
    waves = Waves()
    period = 2 * np.pi * waves.length_um
    found = jacobian_of(waves, POINTS, period / 2)
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(3), found.shape), atol=1e-9)


def test_no_point_has_no_derivative():
    assert jacobian_of(Waves(), np.zeros((0, 3))).shape == (0, 3, 3)


@pytest.mark.parametrize("step_um", [0.0, -1.0, np.nan, np.inf])
def test_a_step_must_be_positive(step_um):
    with pytest.raises(InputError, match="positive number of µm"):
        jacobian_of(Waves(), POINTS, step_um)
