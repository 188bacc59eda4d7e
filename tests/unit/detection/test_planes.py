"""Planes of one brightness scale, with their neighbours."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.detection.planes import plane_scales, standardised, with_neighbours


def test_gain_and_offset_of_a_plane_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    planes = rng.gamma(1.0, 1.0, (3, 30, 40))
    other = planes * np.array([2.0, 5.0, 0.1])[:, None, None] + 7
    ours, theirs = (standardised(some, plane_scales(some)) for some in (planes, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_unit_is_the_noise_and_a_tenth_of_the_bright() -> None:
    values = np.random.default_rng(0).normal(10, 2, (1, 400, 400))
    values[:, :4] = 50  # a hundredth of the pixels
    ground, unit = plane_scales(values)[0]
    assert abs(ground - 10) < 0.1
    assert abs(unit - (2 + 4)) < 0.15


def test_a_plane_without_noise_or_contrast_is_no_error() -> None:
    flat = np.full((2, 8, 8), 3.0)
    assert not standardised(flat, plane_scales(flat)).any()


def test_neighbours_are_interpolated_and_repeat_beyond_the_ends() -> None:
    planes = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    seen = with_neighbours(planes, np.array([0.0, 2.0, 4.0]), count=5, step=0.5)
    assert seen.shape == (3, 5, 2, 2)
    np.testing.assert_allclose(seen[1, :, 0, 0], [1, 1.5, 2, 2.5, 3])
    np.testing.assert_allclose(seen[0, :, 0, 0], [0, 0, 0, 0.5, 1])
    np.testing.assert_allclose(seen[2, :, 0, 0], [3, 3.5, 4, 4, 4])


def test_a_single_plane_is_repeated() -> None:
    plane = np.random.default_rng(0).random((1, 3, 3)).astype(np.float32)
    seen = with_neighbours(plane, np.array([0.0]), count=7, step=2.0)
    np.testing.assert_array_equal(seen[0], np.repeat(plane, 7, axis=0))
