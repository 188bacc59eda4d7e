"""The ex-vivo side imaged again from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.pairs import BlockKeys, image_block
from napari_neurobridge.simulation.viewpoints import Viewpoint, crops_from, laid_otherwise

EASY = level("easy").changed(
    crops={"centring_um": 0.0, "border_fraction": 0.0},
    misfit={"angle_deg": 0.0, "tilt_deg": 0.0, "scale": (1.0, 1.0), "nonrigid_um": 0.0},
)


@pytest.fixture(scope="module")
def seen():
    torch.set_num_threads(1)
    return crops_from(
        EASY, 3, 5, [Viewpoint(), Viewpoint(angle_deg=30.0), Viewpoint(depth_um=60.0)]
    )


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_a_turned_scene_is_the_crop_turned_but_shows_tissue_in_its_corners(seen):
    _, (plain, turned, _) = seen
    assert plain.shape == turned.shape
    middle = slice(35, 115)
    for before, after in zip(plain, turned, strict=True):
        found = {
            angle: correlation(
                ndimage.rotate(before, angle, reshape=False, order=1)[middle, middle],
                after[middle, middle],
            )
            for angle in (-30, 0, 30)
        }
        best = max(found.values())
        assert best > 0.8
        assert found[0] < best - 0.1
        corner = after[:15, :15]
        assert (corner > 0).mean() > 0.5


def test_deeper_slabs_show_other_cells(seen):
    _, (plain, _, deeper) = seen
    assert max(correlation(a, b) for a, b in zip(plain, deeper, strict=True)) < 0.5


def test_offsets_are_stretched_turned_and_tilted_about_the_middle():
    torch.set_num_threads(1)
    block = image_block(EASY, 4, BlockKeys.of(1, 0), torch.device("cpu"))
    viewpoint = Viewpoint(angle_deg=20.0, tilt_deg=-10.0, axial_scale=1.2)
    before, after = (
        side.specimen.warp.map_tensor(block.asked_um).numpy()
        for side in (block.sides[1], laid_otherwise(block, viewpoint))
    )
    np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0), atol=1e-3)
    offsets = before - before.mean(axis=0)
    np.testing.assert_allclose(after - after.mean(axis=0), offsets @ viewpoint.linear.T, atol=1e-3)
    # A pure tilt raises what lies along the rows by its sine, and keeps lengths.
    tilt = Viewpoint(tilt_deg=10.0).linear
    np.testing.assert_allclose(abs(tilt @ [0, 1, 0]), [np.sin(np.pi / 18), np.cos(np.pi / 18), 0])
    np.testing.assert_allclose(tilt @ tilt.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(viewpoint.linear) == pytest.approx(1.2)
