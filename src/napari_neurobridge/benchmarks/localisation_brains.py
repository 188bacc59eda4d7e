"""Simulated brains in which fields of view are looked for, and what detectors find in them.

The tissue and the two labels are the simulation's, at some 800 × 600 × 800 µm, with its
deformation; the volume is not imaged. What both detectors would find is drawn: the recall of the
plane by depth follows what the feature network finds in imaged scenes of the level `paper`; the
volume's recall, all false finds and all errors of place are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.localise import Localisation
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.registration.pair_looks import PairJudge
    from napari_neurobridge.types import Vec3

Float64Array = npt.NDArray[np.float64]

VOLUME_UM = (600.0, 770.0, 770.0)
FIELD_UM = 420.0
# Assumed.
_VOLUME_RECALL, _VOLUME_FALSE, _VOLUME_NOISE_UM = 0.9, 0.08, (2.5, 1.0, 1.0)
# As found on imaged scenes: somata that lie off the plane by up to the first number are shown with
# the second as probability.
_PLANE_SHOWS = ((5.0, 0.88), (9.0, 0.3), (13.0, 0.1))
_FIELD_FALSE, _PLANE_NOISE_UM = 0.25, 1.2
STACK_UM, _STACK_RECALL, _STACK_NOISE_UM = 80.0, 0.7, (3.0, 1.2, 1.2)
_GRID = 12


@dataclass(frozen=True, eq=False)
class FieldSite:
    """Somata of a field of view, turned by any angle, and where they are.

    Attributes
    ----------
    somata_um : ndarray, shape (N, 3)
        In the field's own space; a plane has depth 0.
    low_um : ndarray, shape (3,)
        Its first corner, before it was turned, in the two-photon space of the whole tissue.
    turn : ndarray, shape (2, 2)
        About its middle.
    image : PlanarImage or None
        Of a plane that was imaged.
    seconds : float
        That finding the somata took; 0 where they were drawn.
    """

    somata_um: Float64Array
    low_um: Float64Array
    turn: Float64Array
    image: PlanarImage | None = None
    seconds: float = 0.0

    def in_tissue(self, points_um: Float64Array) -> Float64Array:
        """Return where points (N, 3) of the field lie in the two-photon space."""
        middle = FIELD_UM / 2
        flat = (points_um[:, 1:] - middle) @ self.turn.T + middle
        return np.asarray(np.column_stack([points_um[:, 0], flat]) + self.low_um)


class SimulatedBrain:
    """A large block of tissue, and what a detector finds in its fMOST volume.

    Parameters
    ----------
    level : str
    seed : int
    size_um : Vec3
        Of the tissue as the two-photon microscope would see it.
    """

    def __init__(self, level: str, seed: int, size_um: Vec3 = VOLUME_UM) -> None:
        difficulty = named_level(level)
        self.seed = seed
        self.scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology, ()))
        self._truth = self.scene.truth()
        self._rng = np.random.default_rng(seed)
        # Place and angle are unknown, the axes and their expansion are stated.
        stated = self.scene.orientation.model_copy(update={"angle_deg": 0.0})
        self.orientation: Float64Array = stated.linear()
        self.gallery_um = self._detected()

    def draw_site(self, kind: str) -> FieldSite:
        """Draw a field of view at any depth and angle, and what a detector finds in it."""
        thick, low, turn = self._draw_place(kind)
        rng, middle = self._rng, FIELD_UM / 2
        cells = self._truth.two_photon_um[self._truth.in_two_photon] - low
        cells[:, 1:] = (cells[:, 1:] - middle) @ turn + middle
        held = ((cells[:, 1:] >= 0) & (cells[:, 1:] <= FIELD_UM)).all(axis=1)
        cells = cells[held & (rng.random(len(cells)) < _shown(cells[:, 0], thick))]
        noise = _STACK_NOISE_UM if thick else (0.0, _PLANE_NOISE_UM, _PLANE_NOISE_UM)
        found = cells * (thick > 0, 1, 1) + rng.standard_normal(cells.shape) * noise
        false = rng.random((int(_FIELD_FALSE * len(found)), 3)) * (thick, FIELD_UM, FIELD_UM)
        return FieldSite(np.concatenate([found, false]), low, turn)

    def _draw_place(
        self, kind: str, margin_um: float = 0.0
    ) -> tuple[float, Float64Array, Float64Array]:
        """Return a field's thickness, its corner at least so far from the border, and its turn."""
        rng, extent = self._rng, self.scene.two_photon.extent_um
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        thick = STACK_UM if kind == "stack" else 0.0
        room = extent - (thick, FIELD_UM, FIELD_UM)
        across = rng.uniform(margin_um, room[1:] - margin_um)
        return thick, np.array([rng.uniform(20, room[0] - 20), *across]), turn

    def judge(self, site: FieldSite) -> PairJudge | None:
        """Return what judges pairs of a field and the volume by their images, if there are any."""
        return None

    def error_um(self, site: FieldSite, found: Localisation) -> float | None:
        """Return the median error of a map over the field; None where there is none."""
        if found.choice is None:
            return None
        at = np.linspace(0, FIELD_UM, _GRID)
        nodes = np.stack(np.meshgrid([0.0], at, at, indexing="ij"), axis=-1).reshape(-1, 3)
        if found.source_um[:, 0].any():
            nodes[:, 0] = STACK_UM / 2
        true = self.scene.transform.map_points(site.in_tissue(nodes))
        off = found.choice.transform.map_points(nodes) - true
        return float(np.median(np.linalg.norm(off, axis=1)))

    def _detected(self) -> Float64Array:
        rng, truth = self._rng, self._truth
        cells = truth.fmost_um[truth.in_fmost]
        cells = cells[rng.random(len(cells)) < _VOLUME_RECALL]
        # Depth is the optical axis, along which slabs are joined.
        noise = np.abs(self.orientation / np.cbrt(np.linalg.det(self.orientation)))
        cells = cells + rng.standard_normal(cells.shape) * (noise @ _VOLUME_NOISE_UM)
        false = rng.random((int(_VOLUME_FALSE * len(cells)), 3)) * self.scene.fmost.extent_um
        return np.concatenate([cells, false])


def _shown(depth_um: Float64Array, thick_um: float) -> Float64Array:
    """Return how probably a cell at a depth is found in the field, (N,)."""
    if thick_um:
        return np.where((depth_um >= 0) & (depth_um <= thick_um), _STACK_RECALL, 0.0)
    chance = np.zeros(len(depth_um))
    for reach, share in reversed(_PLANE_SHOWS):
        chance[np.abs(depth_um) < reach] = share
    return chance
