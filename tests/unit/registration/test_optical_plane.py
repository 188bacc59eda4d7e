"""Volumes re-sliced along the optical axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass, gaussian_filter

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.optical_plane import optical_pose, resliced
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.orientation import Orientation

VOXEL = (2.0, 1.0, 1.5)
SHAPE = (40, 90, 60)
MIDDLE = (40.0, 45.0, 45.0)
PLANE = PlanarImage(np.zeros((70, 80), dtype=np.float32), 1.0)


def volume_with(place_um: tuple[float, ...]) -> Volume:
    values = np.zeros(SHAPE, dtype=np.float32)
    values[tuple(np.round(np.divide(place_um, VOXEL)).astype(int))] = 1.0
    values = gaussian_filter(values, [3.0 / size for size in VOXEL])
    return Volume([values / values.max()], name="fmost", voxel_size_um=VOXEL)


def brightest(plane: PlanarImage) -> np.ndarray:
    return np.array(center_of_mass(plane.values * (plane.values > 0.3)))


def test_the_same_axes_show_the_maximum_over_the_slab() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((30, 50, 60)).astype(np.float32)
    volume = Volume([values], name="fmost", voxel_size_um=(2.0, 1.0, 1.0))
    plane = PlanarImage(np.zeros((50, 60), dtype=np.float32), 1.0)
    same = Affine.from_linear(np.eye(3), np.zeros(3), source="a", target="b")
    shown = resliced(volume, same, plane, depth_um=20.0, thickness_um=8.0)
    np.testing.assert_allclose(shown.values, values[8:13].max(axis=0), atol=1e-5)


@pytest.mark.parametrize("axes", ["+z+y+x", "-y+z-x", "+x-y+z"])
@pytest.mark.parametrize("angle", [0.0, 35.0, -120.0])
def test_a_soma_appears_where_the_pose_puts_it(axes: str, angle: float) -> None:
    there = tuple(np.add(MIDDLE, (4.0, -5.0, 6.0)).tolist())
    linear = Orientation(axes=axes, expansion=0.9).linear()
    pose = optical_pose(linear, (12.0, 35.0, 40.0), MIDDLE, angle_deg=angle, tilt_deg=(5.0, -8.0))
    place = pose.inverse().map_points(np.array([there]))[0]
    shown = resliced(volume_with(there), pose, PLANE, depth_um=place[0])
    np.testing.assert_allclose(brightest(shown), place[1:], atol=1.0)


def test_a_thicker_slab_shows_what_lies_deeper() -> None:
    pose = optical_pose(np.eye(3), (0.0, 35.0, 40.0), MIDDLE)
    deeper = tuple(np.add(MIDDLE, (16.0, 0.0, 0.0)).tolist())
    volume = volume_with(deeper)
    assert resliced(volume, pose, PLANE, thickness_um=6.0).values.max() < 0.05
    assert resliced(volume, pose, PLANE, thickness_um=32.0).values.max() > 0.9


def test_beyond_the_volume_there_is_its_median() -> None:
    pose = optical_pose(np.eye(3), (0.0, 35.0, 40.0), (40.0, 5.0, 45.0))
    shown = resliced(volume_with((40.0, 10.0, 45.0)), pose, PLANE)
    assert np.isfinite(shown.values).all()
    assert len(np.unique(shown.values[:28])) == 1
    np.testing.assert_allclose(brightest(shown), (40.0, 40.0), atol=1.0)


def test_a_plane_beside_the_volume_is_refused() -> None:
    pose = optical_pose(np.eye(3), (0.0, 0.0, 0.0), (500.0, 0.0, 0.0))
    with pytest.raises(InputError, match="beside the volume"):
        resliced(volume_with(MIDDLE), pose, PLANE)


@pytest.mark.parametrize("thickness", [0.0, -2.0, np.nan])
def test_a_slab_has_a_thickness(thickness: float) -> None:
    pose = optical_pose(np.eye(3), (0.0, 0.0, 0.0), MIDDLE)
    with pytest.raises(InputError, match="thickness"):
        resliced(volume_with(MIDDLE), pose, PLANE, thickness_um=thickness)


@given(st.floats(-180, 180), st.floats(-30, 30), st.floats(-30, 30))
@settings(max_examples=50, deadline=None)
def test_a_pose_turns_and_tilts_as_it_says(angle: float, first: float, second: float) -> None:
    pose = optical_pose(np.eye(3), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0), angle_deg=angle)
    np.testing.assert_allclose(pose.map_points([[1.0, 2.0, 3.0]]), [[7.0, 8.0, 9.0]], atol=1e-9)
    # Positive turns y towards x.
    np.testing.assert_allclose(
        pose.linear @ (0, 1, 0), (0, np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)))[:3],
        atol=1e-9,
    )  # fmt: skip
    tilted = optical_pose(
        np.eye(3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), tilt_deg=(first, second)
    ).linear
    np.testing.assert_allclose(tilted.T @ tilted, np.eye(3), atol=1e-9)
    # One step along y goes deeper by the sine of the tilt along y, if there is none along x.
    along = optical_pose(np.eye(3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), tilt_deg=(first, 0.0)).linear
    assert along[0, 1] == pytest.approx(np.sin(np.deg2rad(first)), abs=1e-9)
    across = optical_pose(
        np.eye(3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), tilt_deg=(0.0, second)
    ).linear
    assert across[0, 2] == pytest.approx(np.sin(np.deg2rad(second)), abs=1e-9)


def test_a_pose_is_of_finite_numbers() -> None:
    with pytest.raises(InputError, match="finite"):
        optical_pose(np.eye(3), (0.0, 0.0, 0.0), MIDDLE, angle_deg=np.nan)
    with pytest.raises(InputError, match=r"\(3, 3\)"):
        optical_pose(np.eye(2), (0.0, 0.0, 0.0), MIDDLE)
