"""How the in-vivo microscope misplaces what it sees: depth scale and scan distortion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.warp import Warp
from napari_neurobridge.simulation.parameters import NonNegative, Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

_NEWTON_ROUNDS = 6
_STEEPEST = 0.5


class ScanParams(Parameters):
    """Geometric errors of the in-vivo image.

    Attributes
    ----------
    axial_scale_error : float
        Largest error of the focus' step, as a share, to either side.
    scan_amplitude_um : float
        Largest misplacement along a line, to either side.
    """

    axial_scale_error: Annotated[float, Field(ge=0, lt=1)] = 0.1
    scan_amplitude_um: NonNegative = 2.0


@dataclass(frozen=True)
class ScanDistortion(Warp):
    r"""From where things are to where the in-vivo image shows them.

    A wrong step of the focus (or refractive index) scales depth about the first plane,
    z ↦ (1 + e) z. A resonant mirror moves sinusoidally along x; what remains of that
    after linearisation is odd about the middle of the line and vanishes there and at
    its ends. Its first harmonic is modelled:

    .. math:: x \mapsto x + A \sin(2 \pi (x - x_0) / W)

    Attributes
    ----------
    axial_error : float
        e.
    amplitude_um : float
        A.
    line_um : tuple of float
        Both ends of a line, µm of x: x₀ lies halfway, and W is their distance.

    Raises
    ------
    InputError
        If depth is turned over, or the distortion is too strong for the line.
    """

    axial_error: float
    amplitude_um: float
    line_um: tuple[float, float]

    def __post_init__(self) -> None:
        if self.axial_error <= -1:
            raise InputError("An axial error of -1 or less turns depth over; choose a smaller one.")
        if self.line_um[1] <= self.line_um[0]:
            raise InputError("A scan line must end beyond its start.")
        if abs(self.amplitude_um) * self._wavenumber > _STEEPEST:
            raise InputError(
                f"A scan distortion of {abs(self.amplitude_um):.3g} µm is too strong for this "
                "field of view; lower scan_amplitude_um."
            )

    @property
    def source(self) -> str:
        """Space that points come from."""
        return "tissue"

    @property
    def target(self) -> str:
        """Space that points go to."""
        return "two_photon"

    @property
    def _wavenumber(self) -> float:
        return 2 * math.pi / (self.line_um[1] - self.line_um[0])

    @property
    def _middle_um(self) -> float:
        return (self.line_um[0] + self.line_um[1]) / 2

    def move(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N) from tissue to two_photon."""
        moved = coordinates.clone()
        moved[0] *= 1 + self.axial_error
        phase = (coordinates[2] - self._middle_um).mul_(self._wavenumber)
        moved[2] += phase.sin_().mul_(self.amplitude_um)
        return moved

    def undo(self, coordinates: Tensor) -> Tensor:
        """Map coordinates of shape (3, N) back; Kepler's equation, by Newton's method."""
        steepness = self.amplitude_um * self._wavenumber
        shown = (coordinates[2] - self._middle_um) * self._wavenumber
        phase = shown
        for _ in range(_NEWTON_ROUNDS):
            excess = phase + steepness * phase.sin() - shown
            phase = phase - excess / (1 + steepness * phase.cos())
        moved = coordinates.clone()
        moved[0] /= 1 + self.axial_error
        moved[2] = phase / self._wavenumber + self._middle_um
        return moved


def draw_scan_distortion(
    params: ScanParams, key: Key, low_um: Vec3, high_um: Vec3
) -> ScanDistortion:
    """Draw the errors of one in-vivo image.

    Parameters
    ----------
    params : ScanParams
        Largest errors.
    key : Key
        Source of all randomness.
    low_um, high_um : Vec3
        Corners of the imaged field, tissue space; lines run along x.

    Raises
    ------
    InputError
        If the field is too narrow for the distortion.
    """
    rng = key.rng()
    return ScanDistortion(
        float(rng.uniform(-params.axial_scale_error, params.axial_scale_error)),
        float(rng.uniform(-params.scan_amplitude_um, params.scan_amplitude_um)),
        (low_um[2], high_um[2]),
    )
