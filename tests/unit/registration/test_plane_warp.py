"""A plane drawn on the pixels of another."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.plane_warp import warp_plane
from napari_neurobridge.spaces.affine import Affine


def test_a_shift_by_whole_pixels_moves_them() -> None:
    values = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    moving = PlanarImage(values, 2.0)
    shift = Affine.from_linear(np.eye(3), (0, 20, -8), source="a", target="b")
    found = warp_plane(moving, shift, PlanarImage(np.zeros((30, 30), np.float32), 2.0))
    np.testing.assert_allclose(found[:, 4:], values[10:40, :26], atol=1e-5)
    assert (found[:, :4] == 0).all()


def test_finer_pixels_are_averaged() -> None:
    values = np.random.default_rng(0).random((320, 320)).astype(np.float32)
    identity = Affine.from_linear(np.eye(3), (0, 0, 0), source="a", target="b")
    found = warp_plane(
        PlanarImage(values, 0.5), identity, PlanarImage(np.zeros((38, 38), np.float32), 4.0)
    )
    assert found.std() < 0.25 * values.std()
