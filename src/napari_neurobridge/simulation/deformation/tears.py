"""Local tears: cracks whose two sides have moved apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import model_validator

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.parameters import NonNegative, Parameters, Positive

if TYPE_CHECKING:
    from typing import Self

    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

_PLACING_ROUNDS = 1000
_SPREAD = (0.5, 1.5)


class TearParams(Parameters):
    """How often and how far the tissue tears.

    Attributes
    ----------
    tears_per_mm3 : float
        Mean number; the number itself is a Poisson draw.
    tear_opening_um : float
        Mean opening in the middle of a tear; 0.5 to 1.5 times that for each.
    tear_radius_um : float
        Mean radius; 0.5 to 1.5 times that for each.
    """

    tears_per_mm3: NonNegative = 20.0
    tear_opening_um: NonNegative = 4.0
    tear_radius_um: Positive = 60.0

    @model_validator(mode="after")
    def _narrow(self) -> Self:
        if self.tear_opening_um * _SPREAD[1] >= self.tear_radius_um * _SPREAD[0]:
            raise ValueError("tear_radius_um must be more than three times tear_opening_um.")
        return self


@dataclass(frozen=True, eq=False)
class Tears:
    r"""Disc-shaped cracks, each in a part of space of its own; a `warp.Stage`.

    With s the distance from the plane of a crack of radius R and opening w, along its
    normal, and ρ the distance from its axis, a point moves along the normal only:

    .. math::

        s \mapsto s + \mathrm{sign}(s) \, h \, (1 - |s| / R)^2, \qquad
        h = \tfrac{w}{2} (1 - \rho^2 / R^2)^2

    for ``|s| < R`` and ``ρ < R``. So the two sides are w apart in the middle, and nothing moves
    at the rim and beyond. Each half is increasing in s while w < R and is inverted by a
    quadratic equation; what lies in the gap, ``|s| < h``, comes from nowhere and is put on
    the crack. Tears do not overlap, so that their order means nothing.

    Attributes
    ----------
    center_um, normal : Tensor of float64, shape (T, 3)
        Middle of each crack, and the unit normal of its plane.
    opening_um, radius_um : Tensor of float64, shape (T,)
        w and R.

    Raises
    ------
    InputError
        If a tear is as wide as its radius, or two could overlap.
    """

    center_um: Tensor
    normal: Tensor
    opening_um: Tensor
    radius_um: Tensor

    def __post_init__(self) -> None:
        if (self.opening_um >= self.radius_um).any() or (self.opening_um < 0).any():
            raise InputError("A tear must be narrower than its radius, and not negative.")
        apart = (self.center_um[:, None] - self.center_um).norm(dim=2)
        touching = apart < self.reach_um[:, None] + self.reach_um
        if touching.triu(diagonal=1).any():
            raise InputError("Two tears overlap; lower their number or their radius.")

    def __len__(self) -> int:
        return len(self.center_um)

    @cached_property
    def reach_um(self) -> Tensor:
        """Distance from the middle of each tear beyond which nothing moves, (T,)."""
        return self.radius_um * math.sqrt(2)

    def move(self, coordinates: Tensor) -> Tensor:
        """Return where points go."""
        for tear in self._near(coordinates):
            normal, along, half, radius = self._about(tear, coordinates)
            shift = half * (1 - along.abs() / radius).clamp_(min=0).square_()
            coordinates = coordinates + normal * shift.copysign_(along)
        return coordinates

    def undo(self, coordinates: Tensor) -> Tensor:
        """Return where points came from."""
        for tear in self._near(coordinates):
            normal, along, half, radius = self._about(tear, coordinates)
            rest = (radius - torch.maximum(along.abs(), half)).clamp_(min=0)
            share = 2 * rest / (radius + (radius**2 - 4 * half * rest).clamp_(min=0).sqrt_())
            before = (radius * (1 - share)).copysign_(along)
            inside = (half > 0) & (along.abs() < radius)
            coordinates = coordinates + normal * torch.where(inside, before - along, 0.0)
        return coordinates

    def _near(self, coordinates: Tensor) -> list[int]:
        """Return the tears that could move any of the points."""
        if len(self) == 0 or coordinates.shape[1] == 0:
            return []
        low, high = coordinates.amin(dim=1).cpu(), coordinates.amax(dim=1).cpu()
        reach = self.reach_um[:, None]
        near = (self.center_um + reach >= low) & (self.center_um - reach <= high)
        return torch.nonzero(near.all(dim=1))[:, 0].tolist()

    def _about(self, tear: int, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return a tear's normal (3, 1), the points' s and h, (N,) each, and R."""
        normal = self.normal[tear].to(coordinates)
        radius = float(self.radius_um[tear])
        offset = coordinates - self.center_um[tear].to(coordinates)[:, None]
        along = normal @ offset
        aside = offset.square_().sum(dim=0).sub_(along.square())
        profile = (1 - aside.div_(radius**2)).clamp_(min=0).square_()
        return normal[:, None], along, profile.mul_(float(self.opening_um[tear]) / 2), radius


def draw_tears(params: TearParams, key: Key, low_um: Vec3, high_um: Vec3) -> Tears:
    """Draw tears in a box, none so near to another that they could overlap.

    Parameters
    ----------
    params : TearParams
        Number and sizes.
    key : Key
        Source of all randomness.
    low_um, high_um : Vec3
        Corners of the box that holds the tears' middles, tissue space.

    Raises
    ------
    InputError
        If the box has no room for so many.
    """
    rng = key.rng()
    volume_um3 = float(np.prod(np.subtract(high_um, low_um)))
    count = int(rng.poisson(params.tears_per_mm3 * volume_um3 * 1e-9))
    radius = params.tear_radius_um * rng.uniform(*_SPREAD, count)
    opening = params.tear_opening_um * rng.uniform(*_SPREAD, count)
    normal = rng.standard_normal((count, 3))
    return Tears(
        torch.from_numpy(_place(rng, low_um, high_um, math.sqrt(2) * radius)),
        torch.from_numpy(normal / np.linalg.norm(normal, axis=1, keepdims=True)),
        torch.from_numpy(opening),
        torch.from_numpy(radius),
    )


def _place(
    rng: np.random.Generator, low_um: Vec3, high_um: Vec3, reach_um: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return middles, (T, 3), of balls that do not touch."""
    placed = np.empty((len(reach_um), 3))
    for tear, reach in enumerate(reach_um):
        for _ in range(_PLACING_ROUNDS):
            candidate = rng.uniform(low_um, high_um)
            apart = np.linalg.norm(placed[:tear] - candidate, axis=1)
            if (apart > reach_um[:tear] + reach).all():
                break
        else:
            raise InputError(
                f"There is no room for {len(reach_um)} tears in this block; lower "
                "tears_per_mm3 or tear_radius_um."
            )
        placed[tear] = candidate
    return placed
