"""A scene: one block of tissue, where both volumes lie in it, and what is true of each cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.deformation import draw_deformation, residual_linear
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.sources import GrownNeurons
from napari_neurobridge.simulation.sides import ImagedSpecimen, ex_vivo_side, in_vivo_side
from napari_neurobridge.simulation.tissue.tissue import NeuronFactory, Tissue, make_tissue
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.chain import Chain
from napari_neurobridge.spaces.orientation import Orientation

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from napari_neurobridge.simulation.deformation.deformation import Deformation
    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.simulation.optics.labels import FmostLabel, TwoPhotonLabel
    from napari_neurobridge.types import Vec3

_SMALLEST_UM = 30.0
_LARGEST_UM = 2000.0
# The ex-vivo block reaches beyond the field by this much, give or take the shift.
_MARGIN_UM = 15.0
_SHIFT_UM = 8.0
# Somata beyond both volumes, whose processes reach into them.
_CONTEXT_UM = 30.0
# Fewer cells than this are grown once and kept, about 100 kB each.
_KEPT_CELLS = 4000


@dataclass(frozen=True)
class ImageExtent:
    """Where a side's image lies in its own space: ``shape`` voxels from 0.

    Attributes
    ----------
    shape : tuple of int
        Voxels along z, y and x.
    voxel_um : Vec3
        Their size.
    """

    shape: tuple[int, int, int]
    voxel_um: Vec3

    @classmethod
    def of_size(cls, size_um: npt.ArrayLike, voxel_um: Vec3) -> ImageExtent:
        """Return the volume of about a size."""
        z, y, x = (max(1, round(s / v)) for s, v in zip(np.array(size_um), voxel_um, strict=True))
        return cls((z, y, x), voxel_um)

    @property
    def extent_um(self) -> npt.NDArray[np.float64]:
        """Distance from the centre of the first voxel to that of the last, (3,)."""
        return np.asarray((np.array(self.shape) - 1) * np.array(self.voxel_um))

    def holds(self, positions_um: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which positions (N, 3) lie in the image."""
        outside = (positions_um < 0) | (positions_um > self.extent_um)
        return np.asarray(~outside.any(axis=1))

    def corners(self) -> npt.NDArray[np.float64]:
        """Return the eight corners, (8, 3)."""
        unit = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1)
        return unit.reshape(-1, 3) * self.extent_um


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of each cell of a scene, N rows.

    Attributes
    ----------
    two_photon_um, fmost_um : ndarray, shape (N, 3)
        Where its soma is in the space of either side's volume, inside it or not.
    in_two_photon, in_fmost : ndarray of bool, shape (N,)
        Whether it can be seen in the volume of that side.
    only_when_active : ndarray of bool, shape (N,)
        Whether it lies in the two-photon volume, dark at rest, and lights up in a recording.
    """

    two_photon_um: npt.NDArray[np.float64]
    fmost_um: npt.NDArray[np.float64]
    in_two_photon: npt.NDArray[np.bool_]
    in_fmost: npt.NDArray[np.bool_]
    only_when_active: npt.NDArray[np.bool_]


class Scene:
    """One block of tissue under both microscopes, before it is imaged.

    Parameters
    ----------
    difficulty : Difficulty
        All parameters.
    size_um : Vec3
        Size of the two-photon volume; the fMOST volume is a little larger.
    seed : int
        The same seed gives the same scene.
    neurons : callable
        Makes the shapes of cells.
    device : torch.device or str
        Where to compute.

    Attributes
    ----------
    key : Key
        Of the seed; what belongs to the scene takes its randomness from a child of it.
    difficulty : Difficulty
        All parameters.
    two_photon, fmost : ImageExtent
        Where either image lies.
    orientation : Orientation
        How a user would place the fMOST volume: exact axes and handedness, a rough angle.
    transform : Chain
        The true map from ``two_photon`` to ``fmost``, at any point.
    tissue : Tissue
        What is imaged.
    sides : tuple of ImagedSpecimen
        In vivo and ex vivo.

    Raises
    ------
    InputError
        If the size makes no sense, or the block is too small for so many cells.
    """

    def __init__(
        self,
        difficulty: Difficulty,
        size_um: Vec3,
        seed: int,
        neurons: NeuronFactory,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(size_um) != 3 or not all(_SMALLEST_UM <= s <= _LARGEST_UM for s in size_um):
            raise InputError(
                f"A scene needs three sizes of {_SMALLEST_UM:g} to {_LARGEST_UM:g} µm (z y x), "
                f"not {size_um}."
            )
        self.key = Key.of(seed)
        self.difficulty = difficulty
        self.two_photon = ImageExtent.of_size(size_um, difficulty.two_photon.voxel_um)
        self.orientation = _draw_orientation(difficulty, self.key.child("orientation"))
        swapped = np.abs(self.orientation.model_copy(update={"angle_deg": 0.0}).linear())
        self.fmost = ImageExtent.of_size(
            swapped @ np.array(size_um) + 2 * _MARGIN_UM, difficulty.fmost.voxel_um
        )
        affine = self._draw_affine(self.key.child("misfit"))
        self.tissue = self._make_tissue(affine, neurons, device)
        deformation = self._deformation(affine)
        animal, extent = self.key.child("animal"), self.two_photon.extent_um.tolist()
        self.sides: tuple[ImagedSpecimen[TwoPhotonLabel], ImagedSpecimen[FmostLabel]] = (
            in_vivo_side(
                self.tissue,
                difficulty,
                animal,
                self.key.child("in vivo"),
                ((0.0, 0.0, 0.0), (extent[0], extent[1], extent[2])),
            ),
            ex_vivo_side(self.tissue, difficulty, animal, self.key.child("ex vivo"), deformation),
        )
        self.transform = Chain((self.sides[0].specimen.warp.inverse(), deformation))

    def truth(self) -> Truth:
        """Return where all cells of the tissue are, and which can be seen where."""
        tissue_um = self.tissue.somata.center_um.cpu().double().numpy()
        positions = [side.specimen.warp.map_points(tissue_um) for side in self.sides]
        inside = [
            volume.holds(where)
            for volume, where in zip((self.two_photon, self.fmost), positions, strict=True)
        ]
        visible = [side.specimen.label.visible.cpu().numpy() for side in self.sides]
        active = self.sides[0].specimen.label.active_only.cpu().numpy()
        return Truth(
            positions[0],
            positions[1],
            inside[0] & visible[0],
            inside[1] & visible[1],
            inside[0] & active,
        )

    def branch_points_um(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the vessels' branch points that lie in both volumes, (B, 3) on either side."""
        points = self.tissue.vessels.branch_points_um.cpu().double().numpy()
        in_vivo, ex_vivo = (side.specimen.warp.map_points(points) for side in self.sides)
        both = self.two_photon.holds(in_vivo) & self.fmost.holds(ex_vivo)
        return in_vivo[both], ex_vivo[both]

    def _draw_affine(self, key: Key) -> Affine:
        """Lay the centres of both volumes nearly on each other, turned as the user says."""
        linear = self.orientation.linear() @ residual_linear(
            self.difficulty.misfit, key.child("linear")
        )
        shift = key.child("shift").rng().uniform(-_SHIFT_UM, _SHIFT_UM, 3)
        translation = self.fmost.extent_um / 2 + shift - linear @ (self.two_photon.extent_um / 2)
        return Affine.from_linear(linear, translation, source="tissue", target="fmost")

    def _make_tissue(
        self, affine: Affine, neurons: NeuronFactory, device: torch.device | str
    ) -> Tissue:
        """Fill all that either volume shows, and a little more."""
        corners = self.two_photon.corners()
        # The image may claim less depth than it shows.
        corners[:, 0] /= 1 - self.difficulty.misfit.axial_scale_error
        seen = np.concatenate([corners, affine.inverse().map_points(self.fmost.corners())])
        low, high = seen.min(axis=0) - _CONTEXT_UM, seen.max(axis=0) + _CONTEXT_UM
        tissue = make_tissue(
            (low[0], low[1], low[2]),
            (high[0], high[1], high[2]),
            self.difficulty.tissue,
            self.difficulty.vessels,
            neurons,
            self.key.child("tissue"),
            device=device,
        )
        if len(tissue.somata) <= _KEPT_CELLS:
            return replace(tissue, neurons=GrownNeurons(tissue))
        return replace(tissue, tight=True)

    def _deformation(self, affine: Affine) -> Deformation:
        tissue = self.tissue
        return draw_deformation(
            affine,
            self.difficulty.misfit,
            self.key.child("misfit").child("displacement"),
            tissue.low_um,
            tissue.high_um,
            tissue.top_um,
        )


def _draw_orientation(difficulty: Difficulty, key: Key) -> Orientation:
    """Draw how a user would place a brain that was not cut along the optical axis."""
    rng = key.rng()
    names = rng.permutation(["z", "y", "x"]).tolist()
    if names[0] == "z":
        names = names[1:] + names[:1]
    angle, expansion = difficulty.placing.angle_deg, difficulty.placing.expansion
    return Orientation(
        axes="".join(str(rng.choice(["+", "-"])) + name for name in names),
        angle_deg=round(float(rng.uniform(-angle, angle)), 1),
        expansion=round(float(rng.uniform(*expansion)), 2),
    )
