"""How the tissue of a generated field is deformed: none of it is a Gaussian process.

Each part is drawn once for a field and then gives a displacement (N, 3) in µm, (z, y, x), at any
points (N, 3) of the tissue. Displacements of several parts add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Displacement = Callable[[Float64Array], Float64Array]

# SomaLayout is not turned inside out: a draw with less volume left than this anywhere is repeated.
_LEAST_VOLUME, _TRIES = 0.1, 200


class DeformationPart(Protocol):
    """A kind of deformation, of which a field draws one."""

    def draw(self, rng: np.random.Generator, somata_um: Float64Array) -> Displacement:
        """Return a displacement.

        Parameters
        ----------
        rng : numpy.random.Generator
        somata_um : ndarray, shape (N, 3)
            Those of the field, for which stated sizes hold.
        """
        ...


@dataclass(frozen=True)
class Waves:
    """A sum of shear waves of one wavelength in random directions.

    Attributes
    ----------
    rms_um : float
        Root mean square length of the displacement about its mean, over the field's somata.
    wavelength_um : float
    flat : bool
        Waves run in the plane, and displace within it.
    count : int
    """

    rms_um: float
    wavelength_um: float
    flat: bool = False
    count: int = 6

    def draw(self, rng: np.random.Generator, somata_um: Float64Array) -> Displacement:
        """Return a displacement that folds the field nowhere."""
        for _ in range(_TRIES):
            wave, push = self._directions(rng)
            phase = rng.uniform(0, 2 * np.pi, self.count)
            number = wave * (2 * np.pi / self.wavelength_um)
            raw = np.sin(somata_um @ number.T + phase) @ push
            mean = raw.mean(axis=0)
            scale = self.rms_um / np.sqrt(((raw - mean) ** 2).sum(axis=1).mean())
            slope = np.cos(somata_um @ number.T + phase) * scale
            jacobian = np.eye(3) + np.einsum("nw,wi,wj->nij", slope, push, number)
            if np.linalg.det(jacobian).min() > _LEAST_VOLUME:
                break
        else:
            raise ValueError(
                f"Waves of {self.rms_um:g} µm rms fold tissue in each of {_TRIES} draws."
            )

        def displacement(points: Float64Array) -> Float64Array:
            return np.asarray((np.sin(points @ number.T + phase) @ push - mean) * scale)

        return displacement

    def _directions(self, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
        """Return where waves run and where they push, at right angles to it, (W, 3) each."""
        wave, other = rng.normal(size=(2, self.count, 3))
        if self.flat:
            wave[:, 0] = 0.0
            wave /= np.linalg.norm(wave, axis=1, keepdims=True)
            return wave, wave[:, [0, 2, 1]] * (1.0, 1.0, -1.0)
        wave /= np.linalg.norm(wave, axis=1, keepdims=True)
        push = np.cross(wave, other)
        return wave, push / np.linalg.norm(push, axis=1, keepdims=True)


@dataclass(frozen=True)
class Sheet:
    """Waves along z that run in the plane: what was a plane is a curved sheet.

    Attributes
    ----------
    rms_um : float
        Of the displacement about its mean, over the field's somata.
    wavelength_um : float
    count : int
    """

    rms_um: float
    wavelength_um: float
    count: int = 3

    def draw(self, rng: np.random.Generator, somata_um: Float64Array) -> Displacement:
        """Return a displacement along z."""
        angle = rng.uniform(0, 2 * np.pi, self.count)
        number = np.column_stack([np.sin(angle), np.cos(angle)]) * (2 * np.pi / self.wavelength_um)
        phase = rng.uniform(0, 2 * np.pi, self.count)

        def height(points: Float64Array) -> Float64Array:
            return np.asarray(np.sin(points[:, 1:] @ number.T + phase).sum(axis=1))

        raw = height(somata_um)
        mean, scale = raw.mean(), self.rms_um / raw.std()

        def displacement(points: Float64Array) -> Float64Array:
            zero = np.zeros(len(points))
            return np.column_stack([(height(points) - mean) * scale, zero, zero])

        return displacement


@dataclass(frozen=True)
class ShearBands:
    """Bands across which the tissue has slid along itself.

    Attributes
    ----------
    slip_um : float
        How far one side of a band has slid against the other.
    width_um : float
        Of a band, in which 3/4 of the slip happens.
    count : int
    """

    slip_um: float
    width_um: float
    count: int = 2

    def draw(self, rng: np.random.Generator, somata_um: Float64Array) -> Displacement:
        """Return the slip of all bands."""
        normal, other = rng.normal(size=(2, self.count, 3))
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        slip = np.cross(normal, other)
        slip /= np.linalg.norm(slip, axis=1, keepdims=True)
        # Through the middle half of the field.
        along = somata_um @ normal.T
        middle = np.array(
            [rng.uniform(*np.quantile(side, (0.25, 0.75))) for side in along.T.tolist()]
        )

        def displacement(points: Float64Array) -> Float64Array:
            profile = np.tanh((points @ normal.T - middle) * (2 / self.width_um))
            return np.asarray(profile @ slip * (self.slip_um / 2))

        return displacement


@dataclass(frozen=True)
class Tear:
    """A jump of the displacement across a curved surface through the field.

    Attributes
    ----------
    jump_um : float
        Length of the jump, half of it opening the tear and half along it (45°).
    bulge_um : float
        By how much the surface curves away from a plane, 200 µm from its middle.
    """

    jump_um: float
    bulge_um: float = 40.0

    def draw(self, rng: np.random.Generator, somata_um: Float64Array) -> Displacement:
        """Return half of the jump to either side."""
        # Steep: as a blade or a meninge tears, with both sides in any field, thin ones too.
        angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
        normal = np.array(
            [np.sin(tilt), *(np.cos(tilt) * np.array([np.sin(angle), np.cos(angle)]))]
        )
        tangent = np.linalg.svd(normal[None])[2][1:]
        turn = rng.uniform(0, 2 * np.pi)
        jump = normal + np.cos(turn) * tangent[0] + np.sin(turn) * tangent[1]
        jump *= self.jump_um / np.linalg.norm(jump)
        middle = rng.uniform(*np.quantile(somata_um @ normal, (0.35, 0.65)))
        bulge = self.bulge_um * rng.choice([-1.0, 1.0]) / 200.0**2

        def displacement(points: Float64Array) -> Float64Array:
            surface = middle + bulge * ((points @ tangent.T) ** 2).sum(axis=1)
            return np.asarray(np.where((points @ normal > surface)[:, None], jump / 2, -jump / 2))

        return displacement


@dataclass(frozen=True)
class WindowCompression:
    """The cranial window presses the brain: axial strain that fades with depth.

    Attributes
    ----------
    strain : float
        Axial compression at the top of the field.
    depth_um : float
        At which it has fallen to 1 / e.
    """

    strain: float
    depth_um: float

    def draw(self, rng: np.random.Generator, somata_um: Float64Array) -> Displacement:
        """Return the displacement along z; nothing of it is random."""
        top = somata_um[:, 0].min()

        def displacement(points: Float64Array) -> Float64Array:
            # Linear above the field, where an exponential would explode.
            depth = points[:, 0] - top
            below = self.depth_um * -np.expm1(-np.maximum(depth, 0) / self.depth_um)
            zero = np.zeros(len(points))
            return np.column_stack([-self.strain * (below + np.minimum(depth, 0)), zero, zero])

        return displacement
