"""A plane as it looks when it is turned, mirrored, or laid on another one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from napari_neurobridge.registration.keypoints import BACKGROUND_UM, PlanarImage

if TYPE_CHECKING:
    from typing import Self

    from napari_neurobridge.spaces.affine import Affine

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlaneGrid:
    """A grid of pixels laid on a plane.

    Attributes
    ----------
    linear : ndarray, shape (2, 2)
        Takes offsets on the grid to offsets on the plane, µm (y, x).
    origin_um : ndarray, shape (2,)
        Where the grid's first pixel lies on the plane.
    shape : tuple of int
        Pixels of the grid along y and x.
    pixel_um : float
        Their side.
    """

    linear: Float64Array
    origin_um: Float64Array
    shape: tuple[int, int]
    pixel_um: float

    @classmethod
    def turned(cls, plane: PlanarImage, angle_deg: float, *, mirrored: bool = False) -> Self:
        """Show the whole of a plane turned by an angle about its middle.

        Parameters
        ----------
        plane : PlanarImage
        angle_deg : float
            Positive turns its y axis towards its x axis.
        mirrored : bool
            Whether its x axis is reversed first.
        """
        cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
        forward = np.array([[cos, -sin], [sin, cos]]) @ np.diag((1.0, -1.0 if mirrored else 1.0))
        middle = last_um(plane) / 2
        reach = np.abs(forward) @ middle
        # Rounding must not ask for one more row where the angle is a right one.
        counts = np.ceil(2 * reach / plane.pixel_um - 1e-6).astype(int) + 1
        back = np.linalg.inv(forward)
        origin = middle - back @ ((counts - 1) / 2 * plane.pixel_um)
        return cls(back, origin, (int(counts[0]), int(counts[1])), plane.pixel_um)

    def image_of(self, plane: PlanarImage) -> PlanarImage:
        """Return what the grid shows of a plane, interpolated linearly.

        Beyond the plane's borders its mirror image fades into its median, so that there is no
        edge that could be taken for something seen.
        """
        rows, columns = (np.arange(count) * self.pixel_um for count in self.shape)
        grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
        places = self.to_plane(grid.reshape(-1, 2)) / plane.pixel_um
        values = map_coordinates(plane.values, places.T, order=1, mode="reflect")
        beyond = np.maximum(-places, places - (np.array(plane.values.shape) - 1)).max(axis=1)
        fading = np.clip(beyond * plane.pixel_um / (2 * BACKGROUND_UM), 0, 1)
        values += fading * (np.median(plane.values) - values)
        return PlanarImage(values.reshape(self.shape).astype(np.float32), self.pixel_um)

    def to_plane(self, points_um: Float64Array) -> Float64Array:
        """Return where places on the grid, (N, 2) µm, lie on the plane."""
        return np.asarray(points_um @ self.linear.T + self.origin_um)


def grids_onto(
    affine: Affine, source: PlanarImage, target: PlanarImage, margin_um: float
) -> tuple[PlaneGrid, PlaneGrid] | None:
    """Return grids that show the source on the target, and that part of the target.

    Parameters
    ----------
    affine : Affine
        From the source to the target, at depth 0.
    source, target : PlanarImage
    margin_um : float
        So far the part extends beyond where the affine puts the source.

    Returns
    -------
    tuple of PlaneGrid, or None
        Laid on the source and on the target, with the same pixels; None where the two do not
        overlap.
    """
    linear, shift = affine.linear[1:, 1:], affine.translation[1:]
    corners = np.array(list(product((0.0, 1.0), repeat=2))) * last_um(source)
    mapped = corners @ linear.T + shift
    pixel = target.pixel_um
    low = np.maximum(np.floor((mapped.min(axis=0) - margin_um) / pixel), 0).astype(int)
    stop = np.minimum(
        np.ceil((mapped.max(axis=0) + margin_um) / pixel).astype(int) + 1, target.values.shape
    )
    if (stop - low < 2).any():
        return None
    shape = (int(stop[0] - low[0]), int(stop[1] - low[1]))
    back = np.linalg.inv(linear)
    origin = np.asarray(low * pixel, dtype=np.float64)
    on_source = PlaneGrid(back, back @ (origin - shift), shape, pixel)
    return on_source, PlaneGrid(np.eye(2), origin, shape, pixel)


def last_um(plane: PlanarImage) -> Float64Array:
    """Return where a plane's last pixel lies, (y, x) µm from its first."""
    return (np.array(plane.values.shape) - 1) * plane.pixel_um


def lies_on(plane: PlanarImage, points_um: Float64Array) -> npt.NDArray[np.bool_]:
    """Return which places, (N, 2) µm, lie on a plane's pixels."""
    half = plane.pixel_um / 2
    inside = (points_um >= -half) & (points_um <= last_um(plane) + half)
    return np.asarray(inside.all(axis=1))
