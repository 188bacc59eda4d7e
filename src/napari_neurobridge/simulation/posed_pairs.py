"""Pairs whose fMOST crops are turned, tilted and off in depth, cut from the volume as they lie.

A crop that is turned after it was cut has black corners and shows the same slab. Here each pose
cuts its own slab out of the imaged volume, as a wrong orientation of a project does. Imaging is
what takes the time, so several poses of a cell are cut from one image of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from pydantic import Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, normalize_crops
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.cutting import cut_crops, cut_posed_crops
from napari_neurobridge.simulation.deformation.deformation import plane_rotation
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.pairs import (
    BlockKeys,
    box_around,
    draw_borders,
    image_block,
)
from napari_neurobridge.simulation.parallel import Assembly, Check
from napari_neurobridge.simulation.parameters import NonNegative, Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.levels import CropParams
    from napari_neurobridge.simulation.optics.labels import Label
    from napari_neurobridge.simulation.sides import ImagedSpecimen
    from napari_neurobridge.types import Float32Array, FloatArray, Report

_SPEC = CropSpec()
_SPARE_UM = 4.0


class CropPoses(Parameters):
    """By how much an fMOST crop lies otherwise than the level's own misfit has it.

    Attributes
    ----------
    rotation_deg : float
        Largest rotation about the crop's depth axis, to either side.
    tilt_deg : float
        Largest tilt about an axis of random direction in the crop's plane.
    depth_um : float
        Largest error of the centre along the crop's depth axis.
    extremes : bool
        Take the largest values, of random sign, instead of drawing up to them: for tests.
    """

    rotation_deg: NonNegative = 45.0
    tilt_deg: NonNegative = Field(10.0, ge=0, le=45)
    depth_um: NonNegative = 10.0
    extremes: bool = False

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[FloatArray, npt.NDArray[np.float64]]:
        """Draw frames (N, 3, 3), each a rotation in (z, y, x), and errors of depth (N,) in µm."""
        unit = rng.uniform(-1, 1, (3, count))
        if self.extremes:
            unit = np.where(unit < 0, -1.0, 1.0)
        turn, tilt = np.deg2rad(self.rotation_deg) * unit[0], np.deg2rad(self.tilt_deg) * unit[1]
        towards = rng.uniform(0, 2 * np.pi, count)
        frames = np.stack(
            [
                plane_rotation(1, 2, a) @ plane_rotation(0, 2, t) @ plane_rotation(1, 2, angle - a)
                for a, t, angle in zip(towards, tilt, turn, strict=True)
            ]
        )
        return frames, self.depth_um * unit[2]

    def reach_um(self, spec: CropSpec) -> tuple[float, float, float]:
        """Return how far a posed crop can reach from its centre along z, y and x."""
        half, thick = spec.size_um / 2, spec.slab_um / 2 + self.depth_um
        turn = math.radians(min(45.0, self.rotation_deg))
        wide = half * (math.cos(turn) + math.sin(turn))
        tilt = math.radians(self.tilt_deg)
        # A tilt raises the farthest corner, and moves what is deep sidewards.
        across = wide + thick * math.sin(tilt)
        return thick + math.hypot(half, half) * math.sin(tilt), across, across


class _BlockViews(NamedTuple):
    """Normalised crops of the cells of one block: (views, N, P, P) each, and where they lie."""

    two_photon: Float32Array
    fmost: Float32Array
    center_um: FloatArray


def simulate_posed_pairs(
    n: int,
    *,
    seed: int,
    poses: Sequence[CropPoses | None],
    level: str | Difficulty = "paper",
    morphologies: Sequence[Reconstruction] = (),
    cells_per_scene: int = 64,
    device: torch.device | str = "cpu",
    report: Report | None = None,
) -> list[PairSet]:
    """Simulate pairs of crops of the same cells in several poses.

    Parameters
    ----------
    n : int
        How many pairs in each pose.
    seed : int
        The same seed gives the same pairs. The tissue is wider than that of
        :func:`napari_neurobridge.simulation.pairs.simulate_pairs`, since a turned crop reaches
        farther, so its cells are others.
    poses : sequence of CropPoses or None
        One set of pairs for each, ``None`` for crops that lie as the level has them.
    level, morphologies, cells_per_scene, device, report
        As for :func:`napari_neurobridge.simulation.pairs.simulate_pairs`.

    Returns
    -------
    list of PairSet
        Row i of all shows the same cell, centred anew in each.

    Raises
    ------
    InputError
        If a number is not positive, no pose is asked for, or the level is unknown.
    """
    if n < 1 or cells_per_scene < 1 or not poses:
        raise InputError(
            "The number of pairs, of cells in a scene and of poses must be at least 1."
        )
    difficulty = named_level(level) if isinstance(level, str) else level
    on = torch.device(device)

    def make(block: int, check: Check) -> _BlockViews:
        keys = BlockKeys.of(seed, block)
        return _block_views(difficulty, cells_per_scene, keys, on, poses, morphologies, check)

    def tell() -> None:
        if report is not None:
            report(min(len(scene), n), n, "simulating pairs")

    blocks: list[_BlockViews] = []
    scene: list[int] = []
    workers = torch.get_num_threads() if on.type == "cpu" else 1
    with Assembly(make, workers, tell) as assembly:
        while len(scene) < n:
            block = assembly.take(math.ceil((n - len(scene)) / cells_per_scene))
            scene += len(block.center_um) * [len(blocks)]
            blocks.append(block)
    tell()
    numbers = np.array(scene[:n], dtype=np.int64)
    center_um = np.concatenate([block.center_um for block in blocks])[:n]
    sides = [
        np.concatenate(part, axis=1)[:, :n]
        for part in (
            [block.two_photon for block in blocks],
            [block.fmost for block in blocks],
        )
    ]
    return [
        PairSet(two_photon, fmost, numbers, center_um)
        for two_photon, fmost in zip(*sides, strict=True)
    ]


def _block_views(
    difficulty: Difficulty,
    cells: int,
    keys: BlockKeys,
    device: torch.device,
    poses: Sequence[CropPoses | None],
    morphologies: Sequence[Reconstruction],
    check: Check,
) -> _BlockViews:
    reach = np.max([(pose or _AS_IT_LIES).reach_um(_SPEC) for pose in poses], axis=0) + _SPARE_UM
    wide = np.maximum(reach + difficulty.crops.centring_um + _SPARE_UM, _LEAST_CONTEXT_UM)
    z, y, x = wide.tolist()
    imaged = image_block(
        difficulty, cells, keys, device, morphologies=morphologies, context_um=(z, y, x)
    )
    in_vivo, ex_vivo = imaged.sides
    plain: list[CropPoses | None] = [None] * len(poses)
    crops = difficulty.crops
    two_photon = _cut_views(in_vivo, imaged.asked_um, crops, keys.in_vivo, plain, check)
    fmost = _cut_views(ex_vivo, imaged.asked_um, crops, keys.ex_vivo, poses, check)
    center_um = ex_vivo.specimen.warp.map_tensor(imaged.asked_um).cpu().double().numpy()
    return _BlockViews(two_photon, fmost, center_um)


def _cut_views(
    side: ImagedSpecimen[Label],
    asked_um: Tensor,
    params: CropParams,
    key: Key,
    poses: Sequence[CropPoses | None],
    check: Check,
) -> Float32Array:
    """Image one side once, and cut the normalised crops of each view, (views, N, P, P)."""
    there = side.specimen.warp.map_tensor(asked_um)
    reach = np.max([(pose or _AS_IT_LIES).reach_um(_SPEC) for pose in poses], axis=0)
    reach += params.centring_um + _SPARE_UM
    box = box_around(there, side.camera.voxel_um, reach)
    image = side.photograph(box, check)
    views = []
    for view, pose in enumerate(poses):
        check()
        rng = key.child(f"view {view}").rng()
        error = rng.uniform(-params.centring_um, params.centring_um, asked_um.shape)
        centers = there + torch.from_numpy(error).to(there)
        borders = draw_borders(len(asked_um), params, rng).to(there)
        if pose is None:
            crops, inside = cut_crops(image, box, centers, borders, _SPEC)
        else:
            frames, depth_um = pose.draw(len(asked_um), rng)
            turned = torch.from_numpy(frames).to(there)
            centers = centers + turned[:, :, 0] * torch.from_numpy(depth_um).to(there)[:, None]
            crops, inside = cut_posed_crops(image, box, centers, borders, _SPEC, turned)
        views.append(normalize_crops(crops.cpu().numpy(), inside.cpu().numpy()))
    return np.stack(views)


_AS_IT_LIES = CropPoses(rotation_deg=0.0, tilt_deg=0.0, depth_um=0.0)
_LEAST_CONTEXT_UM = (30.0, 70.0, 70.0)
