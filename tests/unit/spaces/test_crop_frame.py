"""How crops are held: exactly as the alignment, unless that says nothing sensible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine, Orientation
from napari_neurobridge.spaces.crop_frame import CropFrame, without_shear

PLACES = np.random.default_rng(0).uniform(0, 300, (5, 3))
TILT = Rotation.from_euler("xyz", [4, 12, -15], degrees=True).as_matrix()


def _affine(linear) -> Affine:
    return Affine.from_linear(linear, (30.0, -20.0, 100.0), source="two_photon", target="fmost")


class _Bent:
    """The identity but for a fold or a stretch around a place of the target."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def map_points(self, points):
        points = np.asarray(points, dtype=float)
        bump = np.exp(-((points - 150) ** 2).sum(axis=1, keepdims=True) / (2 * 30.0**2))
        return points + self.strength * (points - 150) * bump

    def inverse(self):
        return Affine.from_linear(np.eye(3), np.zeros(3), source="fmost", target="two_photon")


def test_the_orientation_holds_all_crops_alike():
    frame = CropFrame(Orientation(axes="+y+z-x", angle_deg=7, expansion=1.1).linear())
    assert frame.linears(PLACES) is frame.orientation
    assert not frame.departs(PLACES).any()
    assert frame.key == "orientation"
    assert set(frame.identity()) == {"linear"}


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_rotation_tilt_and_scales_of_the_alignment_are_taken(mirror):
    stated = Orientation(axes="+y+z-x").linear() @ np.diag([mirror, 1, 1])
    true = stated @ TILT @ np.diag([0.85, 1.1, 1.2])
    frame = CropFrame(stated, _affine(true), "abc")
    np.testing.assert_allclose(frame.linears(PLACES), np.broadcast_to(true, (5, 3, 3)), atol=1e-9)
    assert frame.departs(PLACES).all()
    assert frame.key == "alignment abc"
    assert frame.identity()["frame"] == "alignment abc"


def test_how_the_other_side_is_held_comes_first():
    reference = Orientation(angle_deg=30).linear()
    frame = CropFrame(np.eye(3), _affine(TILT), "abc", reference)
    np.testing.assert_allclose(frame.linears(PLACES)[0], TILT @ reference, atol=1e-9)


@given(st.integers(0, 10_000))
def test_what_is_left_without_shear_is_a_turn_after_scales(seed):
    rng = np.random.default_rng(seed)
    linear = Rotation.random(random_state=seed).as_matrix() @ (
        np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))
    )
    held = without_shear(linear[None])[0]
    lengths = np.linalg.norm(held, axis=0)
    np.testing.assert_allclose((held / lengths).T @ (held / lengths), np.eye(3), atol=1e-9)
    assert np.linalg.det(held) > 0
    np.testing.assert_allclose(without_shear(held[None])[0], held, atol=1e-9)


@pytest.mark.parametrize(
    ("linear", "departs"),
    [
        (Rotation.from_euler("x", 2, degrees=True).as_matrix(), False),
        (Rotation.from_euler("x", 5, degrees=True).as_matrix(), True),
        (1.03 * np.eye(3), False),
        (np.diag([1.0, 1.0, 1.08]), True),
    ],
)
def test_a_frame_that_is_nearly_the_orientation_is_the_orientation(linear, departs):
    frame = CropFrame(np.eye(3), _affine(linear), "abc")
    assert (frame.departs(PLACES) == departs).all()
    if not departs:
        np.testing.assert_array_equal(frame.linears(PLACES), np.broadcast_to(np.eye(3), (5, 3, 3)))


@pytest.mark.parametrize("strength", [-3.0, -0.8, 4.0])
def test_where_the_alignment_folds_or_stretches_the_orientation_stands_in(strength):
    frame = CropFrame(np.eye(3), _Bent(strength), "abc")
    np.testing.assert_array_equal(frame.linears([(150.0, 150, 150)])[0], np.eye(3))


def test_a_gentle_bend_is_followed():
    assert CropFrame(np.eye(3), _Bent(0.2), "abc").departs([(150.0, 150, 150)]).all()


def test_tissue_that_is_flattened_everywhere_is_not_believed():
    frame = CropFrame(np.eye(3), _affine(np.diag([0.3, 1.0, 1.0])), "abc")
    np.testing.assert_array_equal(frame.linears(PLACES[:1])[0], np.eye(3))


@pytest.mark.parametrize("fails", ["there", "back", "around"])
def test_where_the_alignment_cannot_be_followed_the_orientation_stands_in(fails):
    class Contradicts(_Bent):
        def inverse(self):
            return Contradicts(1.0) if fails == "back" else super().inverse()

        def map_points(self, points):
            if fails == "around" and np.abs(points - np.mean(PLACES, axis=0)).max() < 200:
                return np.asarray(points) @ TILT.T
            raise InputError("The alignment cannot be inverted there: its landmarks contradict.")

    frame = CropFrame(2 * np.eye(3), Contradicts(0.0), "abc")
    np.testing.assert_array_equal(frame.linears(PLACES), np.broadcast_to(2 * np.eye(3), (5, 3, 3)))


def test_no_place_needs_no_frame():
    frame = CropFrame(np.eye(3), _affine(TILT), "abc")
    assert frame.linears(np.zeros((0, 3))).shape == (0, 3, 3)
    assert frame.departs(np.zeros((0, 3))).shape == (0,)
    assert CropFrame(np.eye(3)).departs(PLACES).shape == (5,)
