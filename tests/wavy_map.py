"""A map that is no affine, with a known inverse nowhere: what exports are compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_neurobridge.spaces.affine import Affine, as_points

BOX_UM = np.array([[-10.0, 0.0, 20.0], [110.0, 200.0, 300.0]])
"""Opposite corners, (z, y, x)."""

_LINEAR = np.array([[0.9, 0.1, 0.0], [-0.1, 0.8, 0.2], [0.0, -0.15, 1.1]])


def inside(seed: int, n: int = 200) -> npt.NDArray[np.float64]:
    """Draw places in the box, (N, 3)."""
    return np.random.default_rng(seed).uniform(*BOX_UM, size=(n, 3))


class WavyMap:
    """An affine of waves of some height, µm; a `Transform` but for its inverse."""

    def __init__(self, height_um: float = 2.0, *, source: str = "two_photon") -> None:
        self.height_um = height_um
        self.source, self.target = source, "fmost"
        self._affine = Affine.from_linear(
            _LINEAR, (5.0, -30.0, 40.0), source=source, target="fmost"
        )

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points (N, 3), µm (z, y, x)."""
        here = as_points(points)
        waves = self.height_um * np.sin(here[:, ::-1] / 90 + (0.0, 1.0, 2.0))
        return self._affine.map_points(here + waves)

    def inverse(self) -> WavyMap:
        """Not needed by any export."""
        raise NotImplementedError
