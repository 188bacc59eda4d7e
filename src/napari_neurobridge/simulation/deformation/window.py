"""What the cranial window does to the tissue below it: a dimple, and compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.parameters import NonNegative, Parameters, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

_NEWTON_ROUNDS = 20


class WindowParams(Parameters):
    """How a cranial window presses on the brain.

    Attributes
    ----------
    dimple_um : float
        Largest depth to which the surface is pushed in; drawn from 0 to this.
    dimple_radius_um : float
        Standard deviation of the dimple's Gaussian profile.
    compression : float
        Largest axial stretch of the tissue at the surface when the window is off; drawn
        from 0 to this.
    window_decay_um : float
        Depth over which both fall to 1/e.
    """

    dimple_um: NonNegative = 12.0
    dimple_radius_um: Positive = 600.0
    compression: Annotated[float, Field(ge=0, le=1)] = 0.05
    window_decay_um: Positive = 250.0


@dataclass(frozen=True)
class Window:
    r"""How the tissue rises when the window is off; a `warp.Stage`.

    At depth d = z + top below the surface of the brain a point moves along z only:

    .. math:: z \mapsto z - (D e^{-r^2 / 2 R^2} + \varepsilon L) e^{-\max(d, 0) / L}

    D is the depth of the dimple, r the distance from its axis, ε the stretch at the
    surface and L the decay. z rises faster than it did, so the map is one-to-one; its
    inverse is Lambert's W function.

    Attributes
    ----------
    top_um : float
        The surface of the brain lies at z = -top_um.
    center_um : tuple of float
        Axis of the dimple, (y, x).
    dimple_um, radius_um, compression, decay_um : float
        D, R, ε and L.

    Raises
    ------
    InputError
        If a length is not positive, or a size is negative.
    """

    top_um: float
    center_um: tuple[float, float]
    dimple_um: float
    radius_um: float
    compression: float
    decay_um: float

    def __post_init__(self) -> None:
        if min(self.radius_um, self.decay_um) <= 0 or min(self.dimple_um, self.compression) < 0:
            raise InputError(
                "A window needs a radius and a decay above 0 µm, and neither a negative "
                "dimple nor a negative compression."
            )

    def _rise(self, coordinates: Tensor) -> Tensor:
        """Return by how much the surface rises above each point, µm (N,)."""
        y, x = self.center_um
        away = (coordinates[1] - y).square() + (coordinates[2] - x).square()
        dimple = self.dimple_um * (away / (-2 * self.radius_um**2)).exp()
        return dimple + self.compression * self.decay_um

    def move(self, coordinates: Tensor) -> Tensor:
        """Return where points go."""
        depth = (coordinates[0] + self.top_um).clamp(min=0)
        moved = coordinates.clone()
        moved[0] -= self._rise(coordinates) * (-depth / self.decay_um).exp()
        return moved

    def undo(self, coordinates: Tensor) -> Tensor:
        """Return where points came from."""
        rise = self._rise(coordinates)
        depth = torch.maximum(coordinates[0] + self.top_um, -rise)
        moved = coordinates.clone()
        moved[0] += self.decay_um * _lambert_w(
            rise / self.decay_um * (-depth / self.decay_um).exp()
        )
        return moved


def _lambert_w(values: Tensor) -> Tensor:
    """Return w ≥ 0 with w·eʷ = values ≥ 0."""
    # From above, Newton's steps on this convex function never overshoot.
    found = values.log1p()
    for _ in range(_NEWTON_ROUNDS):
        grown = found.exp()
        found = found - (found * grown - values) / (grown * (1 + found))
    return found


def draw_window(
    params: WindowParams, key: Key, low_um: Vec3, high_um: Vec3, top_um: float
) -> Window:
    """Draw the push of a window whose dimple lies somewhere over a box.

    Parameters
    ----------
    params : WindowParams
        Largest sizes.
    key : Key
        Source of all randomness.
    low_um, high_um : Vec3
        Corners of the box, tissue space.
    top_um : float
        The surface of the brain lies at z = -top_um.
    """
    rng = key.rng()
    y, x = rng.uniform(low_um[1:], high_um[1:])
    return Window(
        top_um,
        (float(y), float(x)),
        float(rng.uniform(0, params.dimple_um)),
        params.dimple_radius_um,
        float(rng.uniform(0, params.compression)),
        params.window_decay_um,
    )
