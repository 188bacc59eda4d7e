"""How the tissue deforms between the two microscopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.displacement import (
    DisplacementParams,
    SmoothDisplacement,
    draw_displacement,
)
from napari_neurobridge.simulation.deformation.scan import ScanParams
from napari_neurobridge.simulation.deformation.tears import TearParams, Tears, draw_tears
from napari_neurobridge.simulation.deformation.warp import Stage, Warp
from napari_neurobridge.simulation.deformation.window import Window, WindowParams, draw_window
from napari_neurobridge.simulation.parameters import NonNegative, Parameters, Range
from napari_neurobridge.spaces.affine import Affine, as_points

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

Float64Array = npt.NDArray[np.float64]


class ResidualParams(Parameters):
    """The affine part of what a user-set orientation leaves between the two sides.

    Attributes
    ----------
    angle_deg : float
        Largest in-plane rotation, to either side.
    tilt_deg : float
        Standard deviation of each of the two tilts.
    scale : Range
        Length ex vivo for each µm in vivo, drawn for each axis, beyond the expansion
        that the user stated.
    """

    angle_deg: Annotated[float, Field(ge=0, le=180)] = 12.0
    tilt_deg: NonNegative = 3.0
    scale: Range = (0.8, 1.2)

    @field_validator("scale")
    @classmethod
    def _sensible(cls, scale: Range) -> Range:
        if not 0.1 <= scale[0] <= scale[1] <= 10:
            raise ValueError("Scales must lie between 0.1 and 10, the smaller one first.")
        return scale


class DeformationParams(ResidualParams, DisplacementParams, WindowParams, TearParams, ScanParams):
    """All that a user-set orientation leaves between the two sides, and the scan's errors.

    The parameters are those of the classes it derives from.
    """


@dataclass(frozen=True, eq=False)
class Deformation(Warp):
    """Tears, the window's push and a smooth displacement, and then an affine map.

    Each of the stages is one-to-one with a known inverse, and so is the whole; only what
    lies in the gap of a tear comes from nowhere, and is mapped back to the crack.

    Attributes
    ----------
    affine : Affine
        From ``source`` to ``target``.
    tears : Tears
        Applied first.
    window : Window
        Applied second.
    smooth : SmoothDisplacement
        Applied third.
    """

    affine: Affine
    tears: Tears
    window: Window
    smooth: SmoothDisplacement

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.affine.source

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.affine.target

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What comes before the affine map, in order."""
        return (self.tears, self.window, self.smooth)

    def displacement(self, points: npt.ArrayLike) -> Float64Array:
        """Return the exact displacement u of points (N, 3), so that they go to A(x + u).

        Parameters
        ----------
        points : array_like, shape (N, 3)
            µm (z, y, x) of the source space.

        Returns
        -------
        ndarray, shape (N, 3)
            µm of the source space.
        """
        positions = torch.from_numpy(as_points(points)).T
        return np.asarray((self._displaced(positions) - positions).T.numpy())

    def move(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N) from source to target."""
        matrix = coordinates.new_tensor(self.affine.matrix[:3].tolist())
        return torch.addmm(matrix[:, 3:], matrix[:, :3], self._displaced(coordinates))

    def undo(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N) from target back to source."""
        matrix = coordinates.new_tensor(self.affine.inverse().matrix[:3].tolist())
        coordinates = torch.addmm(matrix[:, 3:], matrix[:, :3], coordinates)
        for stage in reversed(self.stages):
            coordinates = stage.undo(coordinates)
        return coordinates

    def _displaced(self, coordinates: Tensor) -> Tensor:
        for stage in self.stages:
            coordinates = stage.move(coordinates)
        return coordinates


def residual_linear(params: ResidualParams, key: Key) -> Float64Array:
    """Draw what a user-set orientation leaves: rotation, tilts and a scale for each axis.

    Returns
    -------
    ndarray, shape (3, 3)
        Acts on offsets in the in-vivo frame: scales first, then turns in the plane, then
        tilts.
    """
    rng = key.rng()
    angle = np.deg2rad(rng.uniform(-params.angle_deg, params.angle_deg))
    tilts = np.deg2rad(params.tilt_deg * rng.standard_normal(2))
    in_plane = plane_rotation(1, 2, angle)
    tilted = plane_rotation(0, 1, tilts[0]) @ plane_rotation(0, 2, tilts[1])
    scale: Float64Array = np.diag(rng.uniform(*params.scale, 3))
    return tilted @ in_plane @ scale


def plane_rotation(first: int, second: int, angle: float) -> Float64Array:
    """Return the (3, 3) rotation by an angle in radians, of the first axis towards the second."""
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second] = -np.sin(angle)
    matrix[second, first] = np.sin(angle)
    return matrix


def draw_deformation(
    affine: Affine,
    params: DeformationParams,
    key: Key,
    low_um: Vec3,
    high_um: Vec3,
    top_um: float,
) -> Deformation:
    """Draw all that precedes an affine map.

    Parameters
    ----------
    affine : Affine
        From tissue to the ex-vivo space: orientation, `residual_linear` and shift.
    params : DeformationParams
        Sizes.
    key : Key
        Source of all randomness.
    low_um, high_um : Vec3
        Corners of the block of tissue that is ever shown: tears and the middle of the
        window's dimple lie in it.
    top_um : float
        The surface of the brain lies at z = -top_um.

    Raises
    ------
    InputError
        If the block is empty, the displacement could fold space, or the tears do not fit.
    """
    if not np.less(low_um, high_um).all():
        raise InputError("The block of tissue must have an extent along each axis.")
    return Deformation(
        affine,
        draw_tears(params, key.child("tears"), low_um, high_um),
        draw_window(params, key.child("window"), low_um, high_um, top_um),
        draw_displacement(params, key.child("smooth")),
    )
