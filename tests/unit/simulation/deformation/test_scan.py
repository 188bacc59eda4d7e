"""The in-vivo image misplaces by what is stated, and that can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.scan import (
    ScanDistortion,
    ScanParams,
    draw_scan_distortion,
)
from napari_neurobridge.simulation.keyed import Key

FIELD = ((0.0, 0.0, 0.0), (200.0, 500.0, 500.0))
LINE = (0.0, 500.0)


def test_depth_is_scaled_about_the_first_plane():
    points = np.random.default_rng(0).uniform(-100, 500, (50, 3))
    shown = ScanDistortion(0.08, 0.0, LINE).map_points(points)
    slope, offset = np.polyfit(points[:, 0], shown[:, 0], 1)
    assert slope == pytest.approx(1.08)
    assert offset == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(shown[:, 1:], points[:, 1:], atol=1e-12)


def test_lines_are_bent_by_the_stated_amplitude_but_not_in_the_middle_and_at_the_ends():
    points = np.zeros((5, 3))
    points[:, 2] = 0, 125, 250, 375, 500
    shown = ScanDistortion(0.0, 3.0, LINE).map_points(points) - points
    np.testing.assert_allclose(shown[:, 2], (0, -3, 0, 3, 0), atol=1e-9)
    assert (shown[:, :2] == 0).all()


@given(
    error=st.floats(-0.5, 0.5),
    amplitude=st.floats(-39, 39),
    x=st.lists(st.floats(-1000, 1000), min_size=1, max_size=20),
)
def test_inverse_undoes_it(error, amplitude, x):
    distortion = ScanDistortion(error, amplitude, LINE)
    points = np.stack([x, np.zeros(len(x)), x], axis=1)
    there = distortion.map_points(points)
    np.testing.assert_allclose(distortion.inverse().map_points(there), points, atol=1e-9)
    assert distortion.inverse().inverse() is distortion
    assert (distortion.inverse().source, distortion.inverse().target) == ("two_photon", "tissue")


def test_drawn_errors_fill_their_range():
    drawn = [draw_scan_distortion(ScanParams(), Key.of(seed), *FIELD) for seed in range(300)]
    errors = np.array([one.axial_error for one in drawn])
    sizes = np.array([one.amplitude_um for one in drawn])
    assert 0.095 < np.abs(errors).max() <= 0.1
    assert 1.9 < np.abs(sizes).max() <= 2.0
    assert abs(errors.mean()) < 0.015 and abs(sizes.mean()) < 0.3


def test_field_too_narrow_for_the_distortion_is_refused():
    with pytest.raises(InputError, match="lower scan_amplitude_um"):
        ScanDistortion(0.0, 5.0, (0.0, 50.0))
    with pytest.raises(InputError, match="end beyond"):
        ScanDistortion(0.0, 0.0, (50.0, 50.0))
    with pytest.raises(InputError, match="turns depth over"):
        ScanDistortion(-1.0, 0.0, LINE)


@pytest.mark.parametrize("bad", [{"axial_scale_error": 1.0}, {"scan_amplitude_um": -1.0}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        ScanParams(**bad)
