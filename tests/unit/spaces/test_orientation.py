"""Orientation: what its axes, angle, expansion and shift mean, and exact round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Orientation
from strategies import ALL_AXES, orientations, points, positions

Z, Y, X = np.eye(3)


def relabelled(axes: str, offset: np.ndarray) -> list[float]:
    """Return the offset in the dataset, read letter by letter from the documentation."""
    result = dict.fromkeys("zyx", 0.0)
    for position, value in enumerate(offset):
        sign, name = axes[2 * position : 2 * position + 2]
        result[name] = value if sign == "+" else -value
    return [result["z"], result["y"], result["x"]]


def test_documented_example_of_axes():
    linear = Orientation(axes="+y+z-x").linear()
    np.testing.assert_array_equal(linear @ Z, Y)  # deeper in the reference: up in this y
    np.testing.assert_array_equal(linear @ Y, Z)
    np.testing.assert_array_equal(linear @ X, -X)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_axes_relabel_offsets(axes):
    offset = np.array([3.0, 5.0, 7.0])
    np.testing.assert_array_equal(
        Orientation(axes=axes).linear() @ offset, relabelled(axes, offset)
    )


def test_positive_angle_turns_y_towards_x():
    np.testing.assert_allclose(Orientation(angle_deg=90).linear() @ Y, X, atol=1e-15)
    turned = Orientation(angle_deg=30).linear() @ Y
    np.testing.assert_allclose(turned, [0, np.sqrt(3) / 2, 0.5])


@given(st.sampled_from(ALL_AXES), st.floats(-180, 180))
def test_angle_turns_in_the_reference_plane_before_axes_are_renamed(axes, angle_deg):
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    linear = Orientation(axes=axes, angle_deg=angle_deg).linear()
    np.testing.assert_allclose(linear @ Y, relabelled(axes, np.array([0, cos, sin])), atol=1e-12)
    np.testing.assert_allclose(linear @ Z, relabelled(axes, Z), atol=1e-12)


@given(orientations(), points(min_size=1))
def test_every_length_grows_by_the_expansion(orientation, array):
    lengths = np.linalg.norm(array @ orientation.linear().T, axis=1)
    expected = orientation.expansion * np.linalg.norm(array, axis=1)
    np.testing.assert_allclose(lengths, expected, rtol=1e-9, atol=1e-9)


def test_the_order_of_axes_is_depth_rows_and_columns():
    assert Orientation(axes="+y-z+x").axis_order == (1, 0, 2)


@pytest.mark.parametrize(
    ("axes", "mirrored"),
    [
        ("+z+y+x", False),
        ("-z+y+x", True),
        ("-z-y+x", False),
        ("-z-y-x", True),
        ("+z+x+y", True),
        ("-z+x+y", False),
        ("+y+x+z", False),
    ],
)
def test_mirrored_names_a_change_of_handedness(axes, mirrored):
    assert Orientation(axes=axes).mirrored is mirrored


@given(orientations())
def test_mirrored_is_the_sign_of_the_whole_map(orientation):
    assert orientation.mirrored == (np.linalg.det(orientation.linear()) < 0)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("zyx", "+z+y+x"), ("-y,z,x", "-y+z+x"), ("x, -y, +z", "+x-y+z"), ("+z+y+x", "+z+y+x")],
)
def test_axes_are_stored_in_one_form(written, canonical):
    assert Orientation(axes=written).axes == canonical


@pytest.mark.parametrize("axes", ["", "zy", "zzx", "zyxt", "+z+y--x", "z y c", "+-zyx", "zyx+"])
def test_axes_that_cannot_be_read_are_refused(axes):
    with pytest.raises(ValidationError, match=r"such as '\+z\+y\+x'"):
        Orientation(axes=axes)


@pytest.mark.parametrize(
    "values",
    [
        {"expansion": 0.0},
        {"expansion": -1.0},
        {"expansion": float("nan")},
        {"angle_deg": 200.0},
        {"angle_deg": float("nan")},
        {"shift_um": (0.0, 0.0)},
        {"scale": 1.0},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        Orientation(**values)


@given(orientations())
def test_json_round_trip(orientation):
    assert Orientation.model_validate_json(orientation.model_dump_json()) == orientation


@given(orientations(), positions, positions)
def test_centers_fall_on_each_other_up_to_the_shift(orientation, reference_center, own_center):
    affine = orientation.to_affine(
        source="two_photon",
        target="fmost",
        source_center_um=reference_center,
        target_center_um=own_center,
    )
    mapped = affine.map_points(reference_center)[0] - np.asarray(own_center)
    np.testing.assert_allclose(mapped, orientation.shift_um, atol=1e-6)
    assert (affine.source, affine.target) == ("two_photon", "fmost")


@given(orientations(), positions, positions, points())
def test_round_trip_through_the_dataset(orientation, reference_center, own_center, array):
    affine = orientation.to_affine(
        source="two_photon",
        target="fmost",
        source_center_um=reference_center,
        target_center_um=own_center,
    )
    np.testing.assert_allclose(
        affine.inverse().map_points(affine.map_points(array)), array, atol=1e-6
    )


def test_center_that_is_not_finite_is_refused():
    with pytest.raises(InputError):
        Orientation().to_affine(
            source="two_photon",
            target="fmost",
            source_center_um=(float("nan"), 0.0, 0.0),
            target_center_um=(0.0, 0.0, 0.0),
        )
