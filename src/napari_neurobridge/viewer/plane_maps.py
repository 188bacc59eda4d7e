"""Where the pixels of two registered planes lie in the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.image_matches import lifted

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_neurobridge.insight.registration_page import RegisteredPlanes

Float64Array = npt.NDArray[np.float64]


def data_to_world(layer: Layer) -> Float64Array:
    """Return the map from a layer's data to the viewer, (N + 1, N + 1) for N axes."""
    n = layer.ndim
    offset = np.asarray(layer.data_to_world(np.zeros(n)), dtype=float)
    full = np.eye(n + 1)
    full[:n, n] = offset
    for axis, row in enumerate(np.eye(n)):
        full[:n, axis] = np.asarray(layer.data_to_world(row), dtype=float) - offset
    return full


def plane_to_world(layer: Layer) -> Float64Array:
    """Return the map from a layer's pixels (y, x) to where the viewer shows them, (3, 3)."""
    return data_to_world(layer)[_plane_of(layer)]


def applied(matrix: Float64Array, places: npt.ArrayLike) -> Float64Array:
    """Map places (N, 2) by a matrix (3, 3)."""
    return np.asarray(np.asarray(places) @ matrix[:2, :2].T + matrix[:2, 2])


def source_to_target_pixels(planes: RegisteredPlanes) -> Float64Array | None:
    """Return the affine part of a registration as a map of pixels, (3, 3); None without a map."""
    fitted = planes.found.fitted
    if fitted is None:
        return None
    to_um = np.diag([planes.source.pixel_um] * 2 + [1])
    to_pixels = np.diag([1 / planes.target.pixel_um] * 2 + [1])
    return np.asarray(to_pixels @ fitted.affine.matrix[1:, 1:] @ to_um)


def carried(
    place: npt.ArrayLike,
    planes: RegisteredPlanes,
    to_world: tuple[Float64Array, Float64Array],
    *,
    from_target: bool = False,
) -> Float64Array:
    """Return where one canvas shows the tissue that another one shows at a place.

    Parameters
    ----------
    place : array_like, shape (2,)
        (y, x) in the canvas of the source.
    planes : RegisteredPlanes
    to_world : tuple of ndarray, (3, 3) each
        Where the canvases show the pixels of source and target.
    from_target : bool
        The place is in the canvas of the target, and the answer in that of the source.

    Returns
    -------
    ndarray, shape (2,)
        The same place where there is no map, or where it does not reach.
    """
    here, fitted = np.asarray(place, dtype=np.float64), planes.found.fitted
    if fitted is None:
        return here
    sides = list(zip(to_world, (planes.source.pixel_um, planes.target.pixel_um), strict=True))
    (start, start_um), (end, end_um) = sides[::-1] if from_target else sides
    transform = fitted.transform
    back = np.asarray(np.linalg.inv(start), dtype=np.float64)
    try:
        way = transform.inverse() if from_target else transform
        mapped = way.map_points(lifted(applied(back, here[None]) * start_um))
    except InputError:
        return here
    return np.asarray(applied(end, mapped[:, 1:] / end_um)[0])


def affine_that_puts(layer: Layer, plane_wanted: Float64Array) -> Float64Array:
    """Return the affine that shows a layer's planes where they are wanted, depth as it was."""
    now = data_to_world(layer)
    wanted = now.copy()
    wanted[_plane_of(layer)] = plane_wanted
    # What the layer does before its affine stays.
    return np.asarray(wanted @ np.linalg.inv(now) @ layer.affine.affine_matrix)


def _plane_of(layer: Layer) -> tuple[npt.NDArray[np.intp], ...]:
    return np.ix_(*[[*range(layer.ndim - 2, layer.ndim), layer.ndim]] * 2)
