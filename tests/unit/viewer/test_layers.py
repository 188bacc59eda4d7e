"""Layers show tissue as a canvas projects it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.viewer.layers import brightest_of_slabs, contrast_limits


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_brightest_of_each_slab_is_kept(axis: int) -> None:
    pixels = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    slabs = brightest_of_slabs(pixels, axis, 2)
    expected = [
        pixels.take(range(start, min(start + 2, pixels.shape[axis])), axis).max(axis)
        for start in range(0, pixels.shape[axis], 2)
    ]
    np.testing.assert_array_equal(slabs, np.stack(expected, axis))


def test_dense_fibres_do_not_saturate_a_slab() -> None:
    """One voxel in a hundred is bright, and so is every fifth pixel of twenty planes at once."""
    rng = np.random.default_rng(1)
    pixels = rng.gamma(2.0, 1.0, (20, 200, 200)).astype(np.float32)
    fibres = rng.random(pixels.shape) < 0.01
    pixels[fibres] += rng.gamma(2.0, 20.0, fibres.sum()).astype(np.float32)
    projected = brightest_of_slabs(pixels, 0, 20)
    assert (projected >= contrast_limits(pixels)[1]).mean() > 0.01
    assert (projected >= contrast_limits(projected)[1]).mean() < 0.002
