import numpy as np
import pytest

from napari_neurobridge.io.pyramid import downsample, pyramid_factors


def test_downsample_averages_blocks():
    image = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)
    small = downsample(image, (2, 2, 3))
    assert small.shape == (1, 2, 2)
    assert small[0, 1, 0] == pytest.approx(image[:, 2:4, 0:3].mean())


def test_downsample_repeats_the_last_voxel_and_keeps_the_type():
    image = np.array([[[1, 2, 8]]], dtype=np.uint16)
    small = downsample(image, (1, 1, 2))
    assert small.dtype == np.uint16
    assert small.ravel().tolist() == [2, 8]


def test_factors_make_voxels_more_of_a_cube():
    factors = pyramid_factors((2.0, 0.5, 0.5), (4096, 4096), levels=5)
    voxels = np.cumprod([(2.0, 0.5, 0.5), *factors], axis=0)
    anisotropy = voxels.max(axis=1) / voxels.min(axis=1)
    assert anisotropy[-1] <= 2
    assert factors[0] == (1, 2, 2)


def test_levels_end_at_a_small_plane():
    assert pyramid_factors((1.0, 1.0, 1.0), (200, 250)) == []
    assert len(pyramid_factors((1.0, 1.0, 1.0), (1000, 250))) == 2
