"""Simulated scenes as two volumes in one frame, with the true map between them; cached."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import map_coordinates
from torch.nn import functional

from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.simulation.scene import ImageExtent
    from napari_neurobridge.simulation.sides import ImagedSpecimen
    from napari_neurobridge.spaces.orientation import Orientation
    from napari_neurobridge.types import FloatArray, Vec3

Float16Array = npt.NDArray[np.float16]
Float64Array = npt.NDArray[np.float64]

STEP_UM: Vec3 = (2.0, 1.0, 1.0)
"""Voxels of both volumes (z, y, x)."""
_TRUTH_STEP_UM = 8.0
_SLAB_VOXELS = 6_000_000


@dataclass(frozen=True, eq=False)
class SceneVolumes:
    """One scene under both microscopes, in frames whose z is the two-photon optical axis.

    The frame of the fMOST volume is its own space with the axes renamed and reversed as the
    scene's orientation says; the in-plane angle, the scale and the deformation are left.

    Attributes
    ----------
    two_photon, fmost : ndarray of float16, shape (Z, Y, X)
        Intensity, 1 for a median soma; voxels of ``STEP_UM``.
    truth_um : ndarray of float32, shape (A, B, C, 3)
        Where the nodes of a lattice over the two-photon volume lie in the fMOST frame, µm.
    truth_step_um : ndarray, shape (3,)
        Step of that lattice.
    two_photon_um, fmost_um : ndarray, shape (N, 3)
        Where the somata of the tissue lie in either frame, inside the volume or not.
    in_two_photon, in_fmost : ndarray of bool, shape (N,)
        Whether either volume shows them.
    """

    two_photon: Float16Array
    fmost: Float16Array
    truth_um: npt.NDArray[np.float32]
    truth_step_um: Float64Array
    two_photon_um: Float64Array
    fmost_um: Float64Array
    in_two_photon: npt.NDArray[np.bool_]
    in_fmost: npt.NDArray[np.bool_]

    @classmethod
    def simulate(cls, seed: int, level: str, size_um: Vec3) -> SceneVolumes:
        """Image a scene with both microscopes; see `simulation.scene.Scene`."""
        difficulty = named_level(level)
        scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology, ()))
        axes = scene.orientation
        two_photon = _resampled(
            _imaged(scene.sides[0], scene.two_photon), scene.two_photon.voxel_um
        )
        voxel = np.array(scene.fmost.voxel_um)[list(axes.axis_order)]
        seen = _imaged(scene.sides[1], scene.fmost).permute(axes.axis_order)
        seen = seen.flip([axis for axis, sign in enumerate(axes.axes[::2]) if sign == "-"])
        fmost = _resampled(seen, (voxel[0], voxel[1], voxel[2]))
        extent = scene.two_photon.extent_um
        counts = np.ceil(extent / _TRUTH_STEP_UM).astype(int) + 1
        step = extent / (counts - 1)
        nodes = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1) * step
        truth = in_optical_frame(
            scene.transform.map_points(nodes.reshape(-1, 3)), axes, scene.fmost.extent_um
        )
        cells = scene.truth()
        return cls(
            two_photon,
            fmost,
            truth.reshape(nodes.shape).astype(np.float32),
            step,
            cells.two_photon_um,
            in_optical_frame(cells.fmost_um, axes, scene.fmost.extent_um),
            cells.in_two_photon,
            cells.in_fmost,
        )

    def to_fmost(self, points_um: FloatArray) -> Float64Array:
        """Return where points (N, 3) of the two-photon volume lie in the fMOST frame."""
        at = (np.asarray(points_um) / self.truth_step_um).T
        return np.stack(
            [map_coordinates(self.truth_um[..., k], at, order=1, mode="nearest") for k in range(3)],
            axis=1,
        ).astype(np.float64)

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` file."""
        with atomic_write(path) as temporary:
            np.savez(temporary, **{part.name: getattr(self, part.name) for part in fields(self)})

    @classmethod
    def load(cls, path: Path) -> SceneVolumes:
        """Read what `save` wrote."""
        with np.load(path) as content:
            return cls(**{part.name: content[part.name] for part in fields(cls)})


def cached_scene(seed: int, level: str, size_um: Vec3, cache: Path) -> SceneVolumes:
    """Return a scene, simulated unless the cache holds it."""
    size = "x".join(f"{length:g}" for length in size_um)
    path = cache / f"scene-{level}-{named_level(level).digest()}-{size}-{seed:06d}.npz"
    if not path.exists():
        SceneVolumes.simulate(seed, level, size_um).save(path)
    return SceneVolumes.load(path)


def in_optical_frame(
    points_um: Float64Array, orientation: Orientation, extent_um: Float64Array
) -> Float64Array:
    """Rename and reverse the axes of fMOST points (N, 3) as the orientation says."""
    renamed = points_um[:, list(orientation.axis_order)]
    lengths = extent_um[list(orientation.axis_order)]
    reversed_ = np.array([sign == "-" for sign in orientation.axes[::2]])
    return np.where(reversed_, lengths - renamed, renamed)


def _imaged(side: ImagedSpecimen[Any], extent: ImageExtent) -> torch.Tensor:
    """Image a whole volume, slab by slab."""
    depth, height, width = extent.shape
    thickness = max(1, _SLAB_VOXELS // (height * width))
    slabs = [
        side.photograph(
            Box((start, 0, 0), (min(thickness, depth - start), height, width), extent.voxel_um)
        )
        for start in range(0, depth, thickness)
    ]
    return torch.cat(slabs)


def _resampled(volume: torch.Tensor, voxel_um: Vec3) -> Float16Array:
    """Bring a volume to ``STEP_UM``; the first voxel's centre stays at 0."""
    extent = [(n - 1) * v for n, v in zip(volume.shape, voxel_um, strict=True)]
    shape = [int(length / step) + 1 for length, step in zip(extent, STEP_UM, strict=True)]
    for axis, (old, new) in enumerate(zip(voxel_um, STEP_UM, strict=True)):
        volume = _along(volume, axis, shape[axis], new / old)
    return volume.numpy().astype(np.float16)


def _along(volume: torch.Tensor, axis: int, count: int, ratio: float) -> torch.Tensor:
    """Resample one axis at k × ratio, with a triangle as wide as the coarser of both steps."""
    if ratio == 1:
        return volume
    moved = volume.movedim(axis, -1)
    at = torch.arange(count) * ratio
    width = max(ratio, 1.0)
    distance = (torch.arange(moved.shape[-1])[:, None] - at[None]).abs() / width
    weights = functional.relu(1 - distance)
    weights /= weights.sum(dim=0)
    return (moved @ weights).movedim(-1, axis)
