"""A block of tissue full of neurons, and how it deforms between the two microscopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from napari_neurobridge.simulation.morphology import Morphology, grow_neurons
from napari_neurobridge.spaces.affine import Affine, as_points

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.levels import MisfitParams, TissueParams
    from napari_neurobridge.types import Vec3

_PLACING_ROUNDS = 50
_INVERSE_ROUNDS = 60
_WAVES = 12
_WAVE_CHUNK = 1 << 14

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tissue:
    """Neurons in a box, in the two-photon frame (µm, z is depth).

    Attributes
    ----------
    low_um, high_um : Vec3
        Corners of the box that holds the somata.
    center_um : Tensor, shape (N, 3)
        Centres of the somata.
    morphology : Morphology
        All points of all neurons.
    """

    low_um: Vec3
    high_um: Vec3
    center_um: Tensor
    morphology: Morphology


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """Return a torch generator seeded from a NumPy one."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def place_somata(
    low_um: Vec3, high_um: Vec3, *, count: int, min_distance_um: float, rng: np.random.Generator
) -> Float64Array:
    """Draw positions uniformly in a box, none nearer to another than a distance.

    Of two that are too near the later one is drawn again; those that still clash after
    some rounds, in a box that is too full, are left out.

    Returns
    -------
    ndarray, shape (<= count, 3)
        µm (z, y, x).
    """
    positions = rng.uniform(low_um, high_um, size=(count, 3))
    for _ in range(_PLACING_ROUNDS):
        clashing = _clashing(positions, min_distance_um)
        if clashing.size == 0:
            return positions
        positions[clashing] = rng.uniform(low_um, high_um, size=(len(clashing), 3))
    return np.delete(positions, _clashing(positions, min_distance_um), axis=0)


def _clashing(positions: Float64Array, distance: float) -> npt.NDArray[np.intp]:
    pairs = cKDTree(positions).query_pairs(distance, output_type="ndarray")
    return np.unique(pairs.max(axis=1)) if len(pairs) else np.empty(0, np.intp)


def make_tissue(
    low_um: Vec3, high_um: Vec3, params: TissueParams, rng: np.random.Generator
) -> Tissue:
    """Fill a box with neurons.

    Parameters
    ----------
    low_um, high_um : Vec3
        Corners of the box, µm (z, y, x). Processes may leave it.
    params : TissueParams
        Density and shapes.
    rng : numpy.random.Generator
        Source of all randomness.
    """
    volume_um3 = float(np.prod(np.subtract(high_um, low_um)))
    positions = place_somata(
        low_um,
        high_um,
        count=max(1, round(params.density_per_mm3 * volume_um3 * 1e-9)),
        min_distance_um=params.min_distance_um,
        rng=rng,
    )
    center = torch.from_numpy(positions).float()
    radius = torch.from_numpy(rng.uniform(*params.soma_radius_um, len(center))).float()
    pyramidal = torch.from_numpy(rng.random(len(center)) >= params.interneuron_fraction)
    morphology = grow_neurons(
        center,
        radius,
        pyramidal,
        ellipticity=params.soma_ellipticity,
        generator=torch_generator(rng),
    )
    return Tissue(low_um, high_um, center, morphology)


@dataclass(frozen=True, eq=False)
class Deformation:
    """An affine map preceded by a smooth displacement: x ↦ A(x + u(x)).

    The displacement u is a sum of plane waves, so it is known at every point. The waves
    are long and low enough for x + u(x) to be a contraction away from the identity,
    and the inverse is found by iterating that.

    Attributes
    ----------
    affine : Affine
        From ``source`` to ``target``.
    wave_vectors : ndarray, shape (K, 3)
        Radians per µm.
    phases : ndarray, shape (K,)
    amplitudes : ndarray, shape (K, 3)
        µm.
    """

    affine: Affine
    wave_vectors: Float64Array
    phases: Float64Array
    amplitudes: Float64Array

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.affine.source

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.affine.target

    def displacement(self, points: npt.ArrayLike) -> Float64Array:
        """Return u at points of shape (N, 3), µm of the source space."""
        positions = torch.from_numpy(as_points(points))
        waves, phases, amplitudes = map(
            torch.from_numpy, (self.wave_vectors.T.copy(), self.phases, self.amplitudes)
        )
        chunks = [
            torch.cos(torch.addmm(phases, chunk, waves)) @ amplitudes
            for chunk in torch.split(positions, _WAVE_CHUNK)
        ]
        return torch.cat(chunks).numpy()

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        positions = as_points(points)
        return self.affine.map_points(positions + self.displacement(positions))

    def inverse(self) -> InverseDeformation:
        """Return the map from target back to source."""
        return InverseDeformation(self)


@dataclass(frozen=True, eq=False)
class InverseDeformation:
    """The way back through a `Deformation`."""

    forward: Deformation

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.forward.target

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.forward.source

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        moved = self.forward.affine.inverse().map_points(points)
        positions = moved.copy()
        for _ in range(_INVERSE_ROUNDS):
            previous = positions
            positions = moved - self.forward.displacement(positions)
            if np.abs(positions - previous).max(initial=0.0) < 1e-9:
                break
        return positions

    def inverse(self) -> Deformation:
        """Return the map it inverts."""
        return self.forward


def residual_linear(params: MisfitParams, rng: np.random.Generator) -> Float64Array:
    """Draw what a user-set orientation leaves: rotation, tilts and a scale for each axis.

    Returns
    -------
    ndarray, shape (3, 3)
        Acts on offsets in the two-photon frame.
    """
    angle = np.deg2rad(rng.uniform(-params.angle_deg, params.angle_deg))
    tilts = np.deg2rad(params.tilt_deg * rng.standard_normal(2))
    in_plane = _rotation(1, 2, angle)
    tilted = _rotation(0, 1, tilts[0]) @ _rotation(0, 2, tilts[1])
    scale: Float64Array = np.diag(rng.uniform(*params.scale, 3))
    return tilted @ in_plane @ scale


def _rotation(first: int, second: int, angle: float) -> Float64Array:
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second] = -np.sin(angle)
    matrix[second, first] = np.sin(angle)
    return matrix


def draw_deformation(affine: Affine, params: MisfitParams, rng: np.random.Generator) -> Deformation:
    """Draw a smooth displacement before an affine map.

    Parameters
    ----------
    affine : Affine
        Map that the displacement precedes.
    params : MisfitParams
        Size and wavelengths of the displacement.
    rng : numpy.random.Generator
        Source of all randomness.
    """
    wavelengths = rng.uniform(*params.nonrigid_wavelength_um, (_WAVES, 1))
    directions = rng.standard_normal((_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # The variance of a cosine is one half, and that of K independent ones adds up.
    amplitude = params.nonrigid_um * np.sqrt(2 / _WAVES)
    return Deformation(
        affine,
        2 * np.pi / wavelengths * directions,
        rng.uniform(0, 2 * np.pi, _WAVES),
        amplitude * rng.standard_normal((_WAVES, 3)),
    )
