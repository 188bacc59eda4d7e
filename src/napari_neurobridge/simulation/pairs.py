"""Pairs of crops of the same neurons, for training and evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, normalize_crops
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.cutting import crop_reach_um, cut_crops
from napari_neurobridge.simulation.deformation.deformation import (
    Deformation,
    draw_deformation,
    residual_linear,
)
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import GrownNeurons, neuron_factory
from napari_neurobridge.simulation.parallel import Assembly, Check, go_on
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.sides import ex_vivo_side, in_vivo_side
from napari_neurobridge.simulation.tissue.tissue import Tissue, make_tissue
from napari_neurobridge.spaces.affine import Affine

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.simulation.levels import CropParams
    from napari_neurobridge.simulation.optics.labels import FmostLabel, Label, TwoPhotonLabel
    from napari_neurobridge.simulation.sides import ImagedSpecimen
    from napari_neurobridge.simulation.tissue.tissue import NeuronFactory
    from napari_neurobridge.types import Float32Array, FloatArray, Report, Vec3

_SPEC = CropSpec()
# Depth of the layer that the cells of one scene come from.
_LAYER_UM = 90.0
# Tissue around that layer, so that crops have context and processes pass through them.
_CONTEXT_UM: Vec3 = (30.0, 70.0, 70.0)
# An image reaches this far beyond the crops that are cut out of it.
_SPARE_UM = 4.0


@dataclass(frozen=True)
class BlockKeys:
    """Where the randomness of one block of tissue and its two images comes from.

    Nothing of one side can be told from the other but the tissue itself.

    Attributes
    ----------
    tissue, misfit : Key
        Cells and vessels; what remains between the two sides.
    in_vivo, ex_vivo : Key
        Label, microscope, noise, centring and borders of either side.
    """

    tissue: Key
    misfit: Key
    in_vivo: Key
    ex_vivo: Key

    @classmethod
    def of(cls, seed: int, block: int) -> BlockKeys:
        """Return the keys of a numbered block."""
        key = Key.of(seed, block)
        return cls(*(key.child(name) for name in ("tissue", "misfit", "in vivo", "ex vivo")))


class BlockCrops(NamedTuple):
    """Crops of the same cells of one block of tissue.

    Attributes
    ----------
    two_photon, fmost : ndarray of float32, shape (N, 150, 150)
        Normalised crops; row i of both shows the same cell.
    center_um : ndarray of float64, shape (N, 3)
        Where the cells lie in the oriented fMOST frame, (z, y, x).
    """

    two_photon: Float32Array
    fmost: Float32Array
    center_um: FloatArray


def simulate_pairs(
    n: int,
    *,
    seed: int,
    level: str | Difficulty = "paper",
    morphologies: Sequence[Reconstruction] = (),
    cells_per_scene: int = 64,
    device: torch.device | str = "cpu",
    report: Report | None = None,
) -> PairSet:
    """Simulate pairs of crops.

    Parameters
    ----------
    n : int
        How many pairs.
    seed : int
        The same seed gives the same pairs; a larger ``n`` only adds more.
    level : str or Difficulty
        Name of a difficulty, or a set of parameters.
    morphologies : sequence of Reconstruction
        Real neurons to fill the tissue with; procedural ones unless given.
    cells_per_scene : int
        Pairs from one block of tissue; their crops overlap.
    device : torch.device or str
        Where to compute.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If a number is not positive, the level is unknown, or its parameters leave no
        cell that both sides show.
    """
    if n < 1 or cells_per_scene < 1:
        raise InputError("The number of pairs and of cells in a scene must be at least 1.")
    difficulty = named_level(level) if isinstance(level, str) else level
    on = torch.device(device)

    def make(block: int, check: Check) -> BlockCrops:
        keys = BlockKeys.of(seed, block)
        return simulate_block(
            difficulty, cells_per_scene, keys, on, morphologies=morphologies, check=check
        )

    def tell() -> None:
        if report is not None:
            report(min(len(scene), n), n, "simulating pairs")

    blocks: list[BlockCrops] = []
    scene: list[int] = []
    workers = torch.get_num_threads() if on.type == "cpu" else 1
    with Assembly(make, workers, tell) as assembly:
        while len(scene) < n:
            block = assembly.take(math.ceil((n - len(scene)) / cells_per_scene))
            # A block may by chance hold fewer cells that both sides show.
            scene += len(block.two_photon) * [len(blocks)]
            blocks.append(block)
    tell()
    two_photon, fmost, center_um = (np.concatenate(part)[:n] for part in zip(*blocks, strict=True))
    return PairSet(two_photon, fmost, np.array(scene[:n], dtype=np.int64), center_um)


def simulate_block(
    difficulty: Difficulty,
    cells: int,
    keys: BlockKeys,
    device: torch.device,
    *,
    morphologies: Sequence[Reconstruction] = (),
    check: Check = go_on,
) -> BlockCrops:
    """Image neurons of one block of tissue on both sides.

    Parameters
    ----------
    difficulty : Difficulty
        All parameters.
    cells : int
        How many cells to crop.
    keys : BlockKeys
        Source of all randomness.
    device : torch.device
        Where to compute.
    morphologies : sequence of Reconstruction
        Real neurons to fill the tissue with; procedural ones unless given.
    check : callable
        Called between the steps; may raise to cancel.

    Returns
    -------
    BlockCrops
        At most so many cells: fewer may be visible on both sides.
    """
    imaged = image_block(difficulty, cells, keys, device, morphologies=morphologies)
    two_photon, fmost = (
        normalize_crops(*crop_side(side, imaged.asked_um, difficulty.crops, key, check=check))
        for side, key in zip(imaged.sides, (keys.in_vivo, keys.ex_vivo), strict=True)
    )
    center_um = imaged.sides[1].specimen.warp.map_tensor(imaged.asked_um).cpu().double().numpy()
    return BlockCrops(two_photon, fmost, center_um)


class ImagedBlock(NamedTuple):
    """One block of tissue under both microscopes, and the cells to crop.

    Attributes
    ----------
    sides : tuple of ImagedSpecimen
        In vivo and ex vivo.
    asked_um : Tensor, shape (N, 3)
        Where the cells lie in the tissue, (z, y, x).
    """

    sides: tuple[ImagedSpecimen[TwoPhotonLabel], ImagedSpecimen[FmostLabel]]
    asked_um: Tensor


def image_block(
    difficulty: Difficulty,
    cells: int,
    keys: BlockKeys,
    device: torch.device,
    *,
    morphologies: Sequence[Reconstruction] = (),
    context_um: Vec3 = _CONTEXT_UM,
) -> ImagedBlock:
    """Lay one block of tissue under both microscopes; for parameters see `simulate_block`.

    ``context_um`` is how much tissue lies around the layer of the cells.
    """
    neurons = neuron_factory(difficulty.morphology, morphologies)
    tissue = _make_block(difficulty, cells, neurons, keys.tissue, device, context_um)
    animal = keys.tissue.child("animal")
    own_axes = keys.ex_vivo.child("axes").rng().permutation(3).tolist()
    sides = (
        in_vivo_side(tissue, difficulty, animal, keys.in_vivo, (tissue.low_um, tissue.high_um)),
        ex_vivo_side(
            tissue,
            difficulty,
            animal,
            keys.ex_vivo,
            _draw_residual(tissue, difficulty, keys.misfit),
            (own_axes[0], own_axes[1], own_axes[2]),
        ),
    )
    seen = sides[0].specimen.label.visible & sides[1].specimen.label.visible
    chosen = _innermost(tissue, seen, cells, context_um)
    return ImagedBlock(sides, tissue.somata.center_um[chosen])


def _make_block(
    difficulty: Difficulty,
    cells: int,
    neurons: NeuronFactory,
    key: Key,
    device: torch.device,
    context_um: Vec3,
) -> Tissue:
    """Make a block with about the tissue that ``cells`` cells seen on both sides need."""
    both = difficulty.two_photon_label.visible_fraction * difficulty.fmost_label.labelled_fraction
    volume_um3 = cells / max(both, 0.05) / (difficulty.tissue.density_per_mm3 * 1e-9)
    side = float(np.sqrt(volume_um3 / _LAYER_UM))
    z, y, x = (
        size + 2 * context
        for size, context in zip((_LAYER_UM, side, side), context_um, strict=True)
    )
    tissue = make_tissue(
        (0.0, 0.0, 0.0),
        (z, y, x),
        difficulty.tissue,
        difficulty.vessels,
        neurons,
        key,
        device=device,
    )
    # Both sides show the same cells, so it pays to grow them once.
    return replace(tissue, neurons=GrownNeurons(tissue))


def _innermost(tissue: Tissue, eligible: Tensor, count: int, context_um: Vec3) -> Tensor:
    """Return the indices of the ``count`` eligible cells nearest the middle of the block."""
    center = tissue.somata.center_um
    low, high = center.new_tensor(tissue.low_um), center.new_tensor(tissue.high_um)
    half = (high - low) / 2 - center.new_tensor(context_um)
    # Distance in a norm whose balls have the shape of the layer.
    distance = ((center - (low + high) / 2) / half).abs().amax(dim=1)
    if not eligible.any():
        raise InputError(
            "No cell is visible on both sides; raise visible_fraction or labelled_fraction."
        )
    distance[~eligible] = torch.inf
    return torch.argsort(distance)[: min(count, int(eligible.sum()))]


def _draw_residual(tissue: Tissue, difficulty: Difficulty, key: Key) -> Deformation:
    """Draw what a user-set orientation leaves, about the middle of the block."""
    middle = (np.asarray(tissue.low_um) + tissue.high_um) / 2
    residual = residual_linear(difficulty.misfit, key.child("linear"))
    affine = Affine.from_linear(
        residual, middle - residual @ middle, source="tissue", target="oriented_fmost"
    )
    return draw_deformation(
        affine,
        difficulty.misfit,
        key.child("displacement"),
        tissue.low_um,
        tissue.high_um,
        tissue.top_um,
    )


def crop_side(
    side: ImagedSpecimen[Label],
    asked_um: Tensor,
    params: CropParams,
    key: Key,
    *,
    spec: CropSpec = _SPEC,
    check: Check = go_on,
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Crop one side around slightly wrong centres, inside borders of its own.

    Parameters
    ----------
    side : ImagedSpecimen
        What is imaged, and how.
    asked_um : Tensor, shape (N, 3)
        Cells in the tissue.
    params : CropParams
        How wrong the centres are, and how near the borders.
    key : Key
        Of the side.
    spec : CropSpec
        Size of the crops.
    check : callable
        Called between the steps; may raise to cancel.

    Returns
    -------
    crops : ndarray of float32, shape (N, pixels, pixels)
        Intensities, not normalised.
    inside : ndarray of bool, shape (N, pixels, pixels)
        Pixels inside the borders.
    """
    rng = key.child("crops").rng()
    error = rng.uniform(-params.centring_um, params.centring_um, asked_um.shape)
    borders = draw_borders(len(asked_um), params, rng).to(asked_um)
    centers = side.specimen.warp.map_tensor(asked_um) + torch.from_numpy(error).to(asked_um)
    box = box_around(centers, side.camera.voxel_um, np.add(crop_reach_um(spec), _SPARE_UM))
    image = side.photograph(box, check)
    crops, inside = cut_crops(image, box, centers, borders, spec)
    return crops.cpu().numpy(), inside.cpu().numpy()


def box_around(centers_um: Tensor, voxel_um: Vec3, reach: FloatArray) -> Box:
    """Return the voxels up to ``reach`` (3,), µm, from any of some centres (N, 3)."""
    voxel = np.array(voxel_um)
    low, high = (bound.cpu().double().numpy() for bound in centers_um.aminmax(dim=0))
    z, y, x = np.floor((low - reach) / voxel).astype(int).tolist()
    d, h, w = (np.ceil((high + reach) / voxel).astype(int) + 1 - (z, y, x)).tolist()
    return Box((z, y, x), (d, h, w), voxel_um)


def draw_borders(count: int, params: CropParams, rng: np.random.Generator) -> Tensor:
    """Draw how far the imaged volume reaches from each crop's centre, (N, 2, 3) in µm."""
    reach = rng.uniform(*params.border_um, (count, 2, 3))
    reach[rng.random((count, 2, 3)) >= params.border_fraction] = np.inf
    return torch.from_numpy(reach)
