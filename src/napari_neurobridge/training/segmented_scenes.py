"""Simulated scenes with the true instance of every soma that is seen; cached."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_closing
from skimage.segmentation import expand_labels

from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.pyramid import downsample
from napari_neurobridge.simulation.cloud import Part
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.training.scene_volumes import STEP_UM, cached_scene, in_optical_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_neurobridge.simulation.specimen import Specimen
    from napari_neurobridge.simulation.tissue.tissue import Tissue
    from napari_neurobridge.training.scene_volumes import SceneVolumes
    from napari_neurobridge.types import Vec3

Float16Array = npt.NDArray[np.float16]
Float64Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint16]

VOXEL_UM = 2.0
"""Side of a voxel of the images and of the instances."""
_FACTORS = (1, 2, 2)
# Centre of the first voxel.
_ORIGIN_UM = np.array(
    [(factor - 1) / 2 * step for factor, step in zip(_FACTORS, STEP_UM, strict=True)]
)
# Share of a voxel that a soma fills, from which on the voxel is its.
_LEAST_SHARE = 0.35
# No soma is longer from its centre.
_REACH_UM = 20.0
_CELLS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class SegmentedSide:
    """What one microscope shows of a scene, in the frame of `SceneVolumes`.

    Attributes
    ----------
    image : ndarray of float16, shape (Z, Y, X)
        Voxels of ``VOXEL_UM``.
    somata : ndarray of uint16, shape (Z, Y, X)
        0, or the number of the soma that a voxel belongs to; only somata that the label shows.
    centers_um : ndarray, shape (N, 3)
        Centres of the somata that lie in the image, from the first voxel's centre.
    """

    image: Float16Array
    somata: Labels
    centers_um: Float64Array


@dataclass(frozen=True, eq=False)
class SegmentedScene:
    """One scene under both microscopes, with its somata."""

    two_photon: SegmentedSide
    fmost: SegmentedSide

    @classmethod
    def of(cls, volumes: SceneVolumes, seed: int, level: str, size_um: Vec3) -> SegmentedScene:
        """Grow the scene's somata once more, and fill their voxels.

        Parameters
        ----------
        volumes : SceneVolumes
            The images of the scene of this seed, level and size.
        seed : int
        level : str
        size_um : Vec3
        """
        difficulty = named_level(level)
        scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology, ()))

        def optical(points: Float64Array) -> Float64Array:
            return in_optical_frame(points, scene.orientation, scene.fmost.extent_um)

        sides = []
        for image, centers_um, shown, side, frame in (
            (
                volumes.two_photon,
                volumes.two_photon_um,
                volumes.in_two_photon,
                scene.sides[0],
                None,
            ),
            (volumes.fmost, volumes.fmost_um, volumes.in_fmost, scene.sides[1], optical),
        ):
            coarse = downsample(image, _FACTORS)
            somata = _rasterised(scene.tissue, side.specimen, centers_um, frame, coarse.shape)
            sides.append(SegmentedSide(coarse, somata, centers_um[shown] - _ORIGIN_UM))
        return cls(*sides)


def cached_segmented_scene(seed: int, level: str, size_um: Vec3, cache: Path) -> SegmentedScene:
    """Return a scene and its somata, made unless the cache holds them."""
    size = "x".join(f"{length:g}" for length in size_um)
    path = cache / f"segmented-{level}-{named_level(level).digest()}-{size}-{seed:06d}.npz"
    if not path.exists():
        scene = SegmentedScene.of(cached_scene(seed, level, size_um, cache), seed, level, size_um)
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(
                handle,
                **{
                    f"{side.name}-{part.name}": getattr(getattr(scene, side.name), part.name)
                    for side in fields(SegmentedScene)
                    for part in fields(SegmentedSide)
                },
            )
    with np.load(path) as held:
        return SegmentedScene(
            *(
                SegmentedSide(*(held[f"{side.name}-{part.name}"] for part in fields(SegmentedSide)))
                for side in fields(SegmentedScene)
            )
        )


def _rasterised(
    tissue: Tissue,
    specimen: Specimen[Any],
    centers_um: Float64Array,
    frame: Callable[[Float64Array], Float64Array] | None,
    shape: tuple[int, ...],
) -> Labels:
    """Return which cell, counted from 1, a voxel belongs to; 0 where no soma shines."""
    end = np.array(shape) * VOXEL_UM
    near = ((centers_um > -_REACH_UM) & (centers_um < end + _REACH_UM)).all(axis=1)
    wanted = torch.from_numpy(near) & specimen.label.visible.cpu()
    amount: npt.NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
    owner = np.zeros(shape, dtype=np.uint16)
    for some in torch.split(wanted.nonzero()[:, 0], _CELLS_AT_ONCE):
        grown = tissue.neurons.grow(some)
        body = grown.part == int(Part.SOMA)
        places = specimen.warp.map_points(grown.position_um[body].double().numpy())
        voxels = (places if frame is None else frame(places)) - _ORIGIN_UM
        voxels = np.rint(voxels / VOXEL_UM).astype(int)
        inside = ((voxels >= 0) & (voxels < shape)).all(axis=1)
        at = tuple(voxels[inside].T)
        np.add.at(amount, at, grown.volume_um3[body].numpy()[inside])
        owner[at] = grown.cell[body].numpy()[inside] + 1
    owner[amount < _LEAST_SHARE * VOXEL_UM**3] = 0
    # Points are spread unevenly enough to leave a hole here and there.
    whole = binary_closing(np.pad(owner > 0, 2, mode="edge"))[2:-2, 2:-2, 2:-2]
    return np.where(whole, expand_labels(owner, 2), 0).astype(np.uint16)
