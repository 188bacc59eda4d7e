"""A block of tissue whose images lie upon each other, to show one effect at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_neurobridge.simulation.deformation.deformation import (
    Deformation,
    draw_deformation,
    residual_linear,
)
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.sources import GrownNeurons, neuron_factory
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.sides import ImagedSpecimen, ex_vivo_side, in_vivo_side
from napari_neurobridge.simulation.tissue.tissue import Tissue, make_tissue
from napari_neurobridge.simulation.tissue.vessels import VesselKind
from napari_neurobridge.spaces.affine import Affine

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.simulation.optics.labels import FmostLabel, TwoPhotonLabel
    from napari_neurobridge.types import Vec3

    AnySide = ImagedSpecimen[TwoPhotonLabel] | ImagedSpecimen[FmostLabel]

FloatImage = npt.NDArray[np.float32]

# Tissue around what is imaged, so that processes pass through.
_CONTEXT_UM = 40.0
_EDGE_UM = 50.0


@dataclass(frozen=True)
class Region:
    """What to image, µm (z, y, x), and along which axis to project it."""

    low_um: Vec3
    size_um: Vec3
    along: int = 0

    @property
    def field_um(self) -> tuple[float, float]:
        """Height and width of the projection."""
        height, width = (size for axis, size in enumerate(self.size_um) if axis != self.along)
        return height, width

    def box(self, voxel_um: Vec3) -> Box:
        """Return its voxels."""
        start = [round(low / step) for low, step in zip(self.low_um, voxel_um, strict=True)]
        count = [max(1, round(s / v)) for s, v in zip(self.size_um, voxel_um, strict=True)]
        return Box((start[0], start[1], start[2]), (count[0], count[1], count[2]), voxel_um)


class Block:
    """One block of tissue under both microscopes, in the same place for both.

    Parameters
    ----------
    difficulty : Difficulty
        Says what tissue there is; images may have other parameters.
    size_um : Vec3
        What can be imaged: from 0 to this.
    seed : int
        The same seed gives the same tissue, labels, microscopes and noise.
    """

    def __init__(self, difficulty: Difficulty, size_um: Vec3, seed: int) -> None:
        self._key = Key.of(seed)
        self.size_um = size_um
        z, y, x = size_um
        tissue = make_tissue(
            (-_CONTEXT_UM, -_CONTEXT_UM, -_CONTEXT_UM),
            (z + _CONTEXT_UM, y + _CONTEXT_UM, x + _CONTEXT_UM),
            difficulty.tissue,
            difficulty.vessels,
            neuron_factory(difficulty.morphology),
            self._key.child("tissue"),
        )
        self.tissue: Tissue = replace(tissue, neurons=GrownNeurons(tissue))

    def in_vivo(self, difficulty: Difficulty) -> ImagedSpecimen[TwoPhotonLabel]:
        """Return the block under a two-photon microscope."""
        return in_vivo_side(
            self.tissue,
            difficulty,
            self._key.child("animal"),
            self._key.child("in vivo"),
            ((0.0, 0.0, 0.0), self.size_um),
        )

    def ex_vivo(
        self, difficulty: Difficulty, deformation: Deformation | None = None
    ) -> ImagedSpecimen[FmostLabel]:
        """Return the block under an fMOST microscope, deformed as drawn unless given."""
        return ex_vivo_side(
            self.tissue,
            difficulty,
            self._key.child("animal"),
            self._key.child("ex vivo"),
            deformation or self.deformation(difficulty),
        )

    def deformation(self, difficulty: Difficulty) -> Deformation:
        """Draw what lies between the two sides, about the middle of the block."""
        key = self._key.child("misfit")
        linear = residual_linear(difficulty.misfit, key.child("linear"))
        middle = np.asarray(self.size_um) / 2
        affine = Affine.from_linear(
            linear, middle - linear @ middle, source="tissue", target="fmost"
        )
        tissue = self.tissue
        return draw_deformation(
            affine,
            difficulty.misfit,
            key.child("displacement"),
            tissue.low_um,
            tissue.high_um,
            tissue.top_um,
        )

    def region_around(self, place_um: Tensor, size_um: Vec3, along: int = 0) -> Region:
        """Return a region about a place, moved so far that it lies in the block."""
        low = [
            min(max(0.0, float(middle) - size / 2), whole - size)
            for middle, size, whole in zip(place_um, size_um, self.size_um, strict=True)
        ]
        return Region((low[0], low[1], low[2]), size_um, along)

    def inner_cell(self, eligible: Tensor) -> Tensor:
        """Return the place of the eligible cell (mask, (N,)) nearest the middle of the block."""
        center = self.tissue.somata.center_um
        away = (center - center.new_tensor(self.size_um) / 2).norm(dim=1)
        away[~eligible] = torch.inf
        return center[away.argmin()]

    def wide_vessel(self, kind: VesselKind) -> tuple[Tensor, Tensor]:
        """Return a place in the widest vessel of a kind well inside the field, and its direction.

        Only vessels of the surface may lie above the block.
        """
        vessels = self.tissue.vessels
        start, end = (vessels.node_um[vessels.segment[:, k]] for k in range(2))
        lateral = start.new_tensor(self.size_um[1:])
        inside = ((start[:, 1:] > _EDGE_UM) & (start[:, 1:] < lateral - _EDGE_UM)).all(dim=1)
        if kind != VesselKind.PIAL:
            inside &= (start[:, 0] > _EDGE_UM) & (start[:, 0] < self.size_um[0] - _EDGE_UM)
        inside &= vessels.kind == int(kind)
        widest = torch.where(inside, vessels.radius_um[:, 0], -1.0).argmax()
        return start[widest], (end - start)[widest]


def picture(side: AnySide, region: Region, *, mean: bool = False) -> FloatImage:
    """Return the maximum projection of a region, or its mean."""
    image = side.photograph(region.box(side.camera.voxel_um))
    flat = image.mean(dim=region.along) if mean else image.amax(dim=region.along)
    return np.asarray(flat.numpy())
