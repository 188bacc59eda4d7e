"""A volume re-sliced along the two-photon optical axis, as a two-photon plane would show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.warp import WarpedView
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.chain import Chain

if TYPE_CHECKING:
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import FloatArray, Vec3

Float64Array = npt.NDArray[np.float64]

THICKNESS_UM = 12.0
"""Of a slab that shows what a two-photon plane does: its somata and those cut by it."""
_STEP_UM = 2.0


def resliced(
    volume: Volume,
    transform: Transform,
    plane: PlanarImage,
    *,
    depth_um: float = 0.0,
    thickness_um: float = THICKNESS_UM,
) -> PlanarImage:
    """Return what a volume shows where a map puts a plane, on the plane's own pixels.

    The brightest voxel of a slab counts, as thick along the plane's optical axis as is asked, bent
    and tilted as the map says.

    Parameters
    ----------
    volume : Volume
    transform : Transform
        From the plane's space to the volume's, µm (z, y, x).
    plane : PlanarImage
        Of which only the pixels count.
    depth_um : float
        At which it lies in its own space.
    thickness_um : float
        In µm of the plane's space.

    Returns
    -------
    PlanarImage
        Where the volume shows nothing, it has the median of what it shows.

    Raises
    ------
    InputError
        If the map puts the plane beside the volume, the thickness is no positive number, or the
        volume is damaged or without contrast there.
    """
    if not np.isfinite(thickness_um) or thickness_um <= 0:
        raise InputError(f"The thickness of a slab must be positive µm, not {thickness_um}.")
    count = int(thickness_um / _STEP_UM) + 1
    first = (depth_um - (count - 1) / 2 * _STEP_UM, 0.0, 0.0)
    to_plane = Affine.from_linear(np.eye(3), first, source="slab", target=transform.source)
    height, width = plane.values.shape
    view = WarpedView(
        volume,
        Chain((to_plane, transform)),
        shape=(count, height, width),
        voxel_size_um=(_STEP_UM, plane.pixel_um, plane.pixel_um),
        fill=-np.inf,
    )
    values = np.full((height, width), -np.inf, dtype=np.float32)
    for depth in range(count):
        np.maximum(values, view[depth], out=values)
    seen = np.isfinite(values)
    if not seen.any():
        raise InputError("The map puts the plane beside the volume, which shows nothing there.")
    values[~seen] = np.median(values[seen])
    return PlanarImage.of(values, plane.pixel_um)


def optical_pose(
    orientation: FloatArray,
    source_um: Vec3,
    target_um: Vec3,
    *,
    angle_deg: float = 0.0,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    names: tuple[str, str] = ("source", "target"),
) -> Affine:
    """Return the map of a candidate pose, to re-slice a volume by.

    Parameters
    ----------
    orientation : ndarray, shape (3, 3)
        Linear part of the map before it is turned; see `Orientation.linear`.
    source_um, target_um : Vec3
        A place of the field, and where it lies in the volume.
    angle_deg : float
        About the optical axis; positive turns the source's y axis towards its x axis.
    tilt_deg : tuple of float
        By which the plane deepens along its y and its x axis, before it is turned.
    names : tuple of str
        Of the two spaces.

    Raises
    ------
    InputError
        If the orientation has another shape, or a number is not finite.
    """
    linear = np.asarray(orientation, dtype=np.float64)
    numbers = [*source_um, *target_um, angle_deg, *tilt_deg]
    if linear.shape != (3, 3) or not np.isfinite([*linear.ravel(), *numbers]).all():
        raise InputError("A pose needs a (3, 3) orientation and finite places and angles.")
    turned = _turning(angle_deg, 1, 2) @ _turning(-tilt_deg[1], 0, 2) @ _turning(-tilt_deg[0], 0, 1)
    linear = linear @ turned
    shift = np.asarray(target_um) - linear @ np.asarray(source_um)
    return Affine.from_linear(linear, shift, source=names[0], target=names[1])


def _turning(angle_deg: float, first: int, second: int) -> Float64Array:
    """Return the rotation (3, 3) that turns one axis towards another."""
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix
