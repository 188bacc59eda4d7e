"""Pairs of somata of a plane and a volume, judged by slabs of the volume."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.soma_pairs import (
    CropSource,
    SomaPairConfig,
    SomaPairJudge,
    SomaPairNet,
)
from napari_neurobridge.registration.volume_pairs import (
    THICKNESS_UM,
    SlabImages,
    VolumePairJudge,
)

VOXEL_UM = (2.0, 1.0, 1.0)


@pytest.fixture
def volume() -> np.ndarray:
    """Return 24 planes of noise, 2 µm apart; the last slab is thinner."""
    return np.random.default_rng(0).random((24, 90, 80)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_hold_the_brightest_voxels_of_their_depths(volume, axis) -> None:
    turned = np.moveaxis(volume, 0, axis)
    voxel = np.insert([1.0, 1.0], axis, 2.0)
    slabs = SlabImages(turned, tuple(voxel), axis)
    step = int(THICKNESS_UM / 2.0)
    for number, stop in ((0, step), (2, 3 * step), (4, 24)):
        shown = volume[number * step : stop].max(axis=0)
        np.testing.assert_array_equal(
            slabs.image(number).values, PlanarImage.of(shown, 1.0).standardised()
        )
    depths = np.array([-5.0, 0.0, 9.9, 10.0, 46.0, 900.0])
    np.testing.assert_array_equal(slabs.nearest(depths), [0, 0, 0, 1, 4, 4])


def test_each_slab_is_read_once_and_an_empty_one_shows_nothing(volume) -> None:
    volume[:5] = 3.0
    slabs = SlabImages(volume, VOXEL_UM)
    assert slabs.image(2) is slabs.image(2)
    assert not slabs.image(0).crops(np.array([[20.0, 20.0]]), 5, 1.0).any()


def test_a_pair_in_a_slab_is_judged_as_in_an_image_of_that_slab(volume) -> None:
    rng = np.random.default_rng(1)
    net = SomaPairNet(SomaPairConfig(width=4, crop_px=16)).eval()
    plane = CropSource.of(PlanarImage.of(rng.random((80, 80)).astype(np.float32), 1.0))
    slabs = SlabImages(volume, VOXEL_UM)
    here = rng.uniform(15, 65, (12, 2))
    there = here * (1.1, 0.9) + 2
    depth = np.where(np.arange(12) < 6, 14.0, 31.0)
    found = VolumePairJudge(net, plane, slabs)(
        np.insert(here, 0, 0.0, axis=1), np.insert(there, 0, depth, axis=1)
    )
    for number, rows in ((1, slice(0, 6)), (3, slice(6, 12))):
        alone = SomaPairJudge(net, plane, slabs.image(number))(here, there)
        np.testing.assert_allclose(found[rows], alone[rows], atol=1e-5)
