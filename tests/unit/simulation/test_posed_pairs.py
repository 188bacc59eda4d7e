import itertools

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.posed_pairs import CropPoses, simulate_posed_pairs

CALM = level("easy").changed(crops={"centring_um": 0.0, "border_fraction": 0.0})
SPEC = CropSpec()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_drawn_poses_are_rotations_within_their_range():
    frames, depth_um = CropPoses().draw(500, np.random.default_rng(0))
    np.testing.assert_allclose(
        frames @ frames.transpose(0, 2, 1), np.eye(3)[None].repeat(500, 0), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(frames), 1)
    tilt = np.rad2deg(np.arccos(frames[:, 0, 0]))
    turn = np.rad2deg(
        np.arctan2(frames[:, 2, 1] - frames[:, 1, 2], frames[:, 1, 1] + frames[:, 2, 2])
    )
    assert 9.5 < tilt.max() <= 10 + 1e-9
    assert 43 < np.abs(turn).max() <= 45 + 1e-6
    assert turn.min() < -43
    assert 9.5 < np.abs(depth_um).max() <= 10


def test_extremes_are_as_far_as_the_range_goes():
    pose = CropPoses(rotation_deg=30, tilt_deg=0, depth_um=4, extremes=True)
    frames, depth_um = pose.draw(50, np.random.default_rng(0))
    np.testing.assert_allclose(np.rad2deg(np.arccos(frames[:, 1, 1])), 30)
    assert set(depth_um) == {-4.0, 4.0}
    assert {-1, 1} == set(np.sign(frames[:, 2, 1]))


@pytest.mark.parametrize(
    "pose", [CropPoses(), CropPoses(rotation_deg=180), CropPoses(rotation_deg=0)]
)
def test_no_corner_of_a_posed_crop_lies_beyond_its_reach(pose):
    frames, depth_um = pose.draw(2000, np.random.default_rng(1))
    half = np.array([SPEC.slab_um / 2, SPEC.size_um / 2, SPEC.size_um / 2])
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * half
    shifted = corners[None] + np.stack([depth_um, 0 * depth_um, 0 * depth_um], axis=1)[:, None]
    reached = np.abs(np.einsum("nij,nkj->nki", frames, shifted)).max(axis=(0, 1))
    assert (reached <= pose.reach_um(SPEC)).all()


def test_a_crop_that_is_turned_shows_the_same_place_turned():
    """By a quarter, so that the picture can be turned back pixel by pixel."""
    quarter = CropPoses(rotation_deg=90, tilt_deg=0, depth_um=0, extremes=True)
    plain, turned = simulate_posed_pairs(
        3, seed=4, level=CALM, poses=(None, quarter), cells_per_scene=3
    )
    assert np.array_equal(plain.two_photon, turned.two_photon)
    assert np.array_equal(plain.center_um, turned.center_um)
    for lies, turns in zip(plain.fmost, turned.fmost, strict=True):
        back = [np.abs(np.rot90(turns, k) - lies).mean() for k in range(4)]
        assert min(back[1], back[3]) < 0.005 < min(back[0], back[2])


def test_each_pose_is_centred_anew_and_the_same_seed_gives_the_same():
    asked = {"seed": 4, "level": "easy", "poses": (None, CropPoses()), "cells_per_scene": 2}
    sets = simulate_posed_pairs(2, **asked)
    assert [s.fmost.shape for s in sets] == 2 * [(2, 150, 150)]
    assert not np.array_equal(sets[0].two_photon, sets[1].two_photon)
    for one, other in zip(sets, simulate_posed_pairs(2, **asked), strict=True):
        assert np.array_equal(one.fmost, other.fmost)


def test_no_poses_and_steep_ones_are_refused():
    with pytest.raises(InputError, match="of poses must be at least 1"):
        simulate_posed_pairs(2, seed=1, poses=())
    with pytest.raises(ValidationError):
        CropPoses(tilt_deg=60)
