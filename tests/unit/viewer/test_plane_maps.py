"""The same tissue in two canvases, through a map that bends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.viewer.plane_maps import carried


class Bent:
    """A map of (z, y, x) in µm that has an exact inverse, and ends at x = 1000."""

    def __init__(self, sign: float = 1.0) -> None:
        self._sign = sign

    def map_points(self, points: Any) -> np.ndarray:
        z, y, x = np.asarray(points).T
        if (x > 1000).any():
            raise InputError("It ends there.")
        return np.stack([z, y + self._sign * 5 * np.sin(x / 40), x], axis=1)

    def inverse(self) -> Bent:
        return Bent(-self._sign)


def planes(transform: Any) -> Any:
    fitted = None if transform is None else SimpleNamespace(transform=transform)
    return SimpleNamespace(
        source=SimpleNamespace(pixel_um=2.0),
        target=SimpleNamespace(pixel_um=0.5),
        found=SimpleNamespace(fitted=fitted),
    )


SOURCE = np.array([[0.0, -3.0, 10.0], [3.0, 0.0, -20.0], [0.0, 0.0, 1.0]])
TARGET = np.array([[0.7, 0.0, 400.0], [0.0, 0.7, 100.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("pixel", [(0.0, 0.0), (30.0, 41.5), (-3.0, 120.0)])
def test_a_place_is_carried_through_pixels_and_um(pixel: tuple[float, float]) -> None:
    here = SOURCE[:2, :2] @ pixel + SOURCE[:2, 2]
    y_um, x_um = 2.0 * np.array(pixel)
    expected = TARGET[:2, :2] @ (np.array([y_um + 5 * np.sin(x_um / 40), x_um]) / 0.5)
    expected += TARGET[:2, 2]
    both = SOURCE, TARGET
    there = carried(here, planes(Bent()), both)
    np.testing.assert_allclose(there, expected)
    np.testing.assert_allclose(carried(there, planes(Bent()), both, from_target=True), here)


def test_without_a_map_and_beyond_it_the_place_stays() -> None:
    both = SOURCE, TARGET
    np.testing.assert_allclose(carried((3.0, 4.0), planes(None), both), (3.0, 4.0))
    far = SOURCE[:2, :2] @ (0.0, 600.0) + SOURCE[:2, 2]
    np.testing.assert_allclose(carried(far, planes(Bent()), both), far)
