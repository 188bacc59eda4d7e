"""The local linear part of any map of points."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points

Float64Array = npt.NDArray[np.float64]


class MapsPoints(Protocol):
    """Anything that takes points of one space to another."""

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x)."""


def jacobian_of(transform: MapsPoints, points: npt.ArrayLike, step_um: float = 1.0) -> Float64Array:
    """Return how a map turns and stretches space about some points, by central differences.

    Parameters
    ----------
    transform : MapsPoints
        Called once, with six places about each point.
    points : array_like, shape (N, 3)
        µm (z, y, x) of the map's source.
    step_um : float
        Half the distance over which it is taken: the result is a mean over that much tissue.

    Returns
    -------
    ndarray, shape (N, 3, 3)
        Takes a small offset at each point to one in the target; column j belongs to axis j.

    Raises
    ------
    InputError
        If the step is not positive, or a coordinate is no finite number.
    """
    if not (np.isfinite(step_um) and step_um > 0):
        raise InputError(
            f"The step of a derivative must be a positive number of µm, not {step_um}."
        )
    places = as_points(points)
    steps = step_um * np.concatenate([np.eye(3), -np.eye(3)])
    mapped = transform.map_points((places[:, None] + steps).reshape(-1, 3)).reshape(-1, 6, 3)
    return np.asarray((mapped[:, :3] - mapped[:, 3:]).transpose(0, 2, 1) / (2 * step_um))
