"""Outlines as single lines."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.viewer.outlines import outline_segments


def test_sides_close_each_outline_with_few_corners():
    angle = np.linspace(0, 2 * np.pi, 400)
    circle = np.column_stack([np.full(400, 7.0), 10 * np.cos(angle), 30 + 10 * np.sin(angle)])
    square = np.array([[1, 0, 0], [1, 0, 4], [1, 4, 4], [1, 4, 0], [1, 0, 0]], dtype=np.float32)
    sides = outline_segments([circle.astype(np.float32), square])
    ends = sides.sum(axis=1)
    assert np.allclose(sides[-4:, 0], square[:-1])
    assert np.allclose(ends[-4:], square[1:])
    n_circle = len(sides) - 4
    assert n_circle < 50
    assert np.allclose(ends[: n_circle - 1], sides[1:n_circle, 0]), "each begins where one ends"
    assert np.allclose(ends[n_circle - 1], sides[0, 0], atol=1e-4)
    assert np.allclose(np.linalg.norm(sides[:n_circle, 0, 1:] - (0, 30), axis=1), 10, atol=1e-4)
    middle = (sides[:n_circle, 0] + ends[:n_circle]) / 2
    assert np.linalg.norm(middle[:, 1:] - (0, 30), axis=1).min() > 9.5
    assert outline_segments([]).shape == (0, 2, 3)
