"""How bright crops are shown."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.io.grey import brightness, grey_levels


def test_dim_pixels_are_lifted_and_order_is_kept():
    crop = np.linspace(0, 1, 101).reshape(1, 101)
    shown = brightness(crop)
    assert (np.diff(shown) > 0).all()
    assert (shown >= crop - 1e-6).all()
    assert (shown[0, 0], shown[0, -1]) == (0, 1)


def test_grey_levels_fill_a_byte_and_clip_what_is_outside():
    levels = grey_levels([[-0.5, 0.0, 0.25, 1.0, 7.0]])
    assert levels.dtype == np.uint8
    assert levels.tolist() == [[0, 0, 127, 255, 255]]
