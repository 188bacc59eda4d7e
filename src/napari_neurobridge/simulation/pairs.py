"""Pairs of crops of the same neurons, for training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, normalize_crops
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.simulation.levels import Difficulty
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.optics import (
    FmostCamera,
    TwoPhotonCamera,
    label_fmost,
    label_two_photon,
)
from napari_neurobridge.simulation.render import (
    Grid,
    PointCloud,
    Renderer,
    interpolation_matrix,
    transform_axes,
)
from napari_neurobridge.simulation.tissue import (
    Deformation,
    Tissue,
    draw_deformation,
    make_tissue,
    residual_linear,
    torch_generator,
)
from napari_neurobridge.spaces.affine import Affine

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.levels import MisfitParams
    from napari_neurobridge.simulation.optics import Camera
    from napari_neurobridge.types import Float32Array, Report, Vec3

_SPEC = CropSpec()
_CROPS_AT_ONCE = 16
# Depth of the layer that the cells of one scene come from.
_LAYER_UM = 80.0
# Tissue around that layer, so that crops have context and processes pass through them.
_CONTEXT_UM: Vec3 = (25.0, 68.0, 68.0)
# Finer voxels would not show in a crop, but cost time.
_FINEST_UM: Vec3 = (1.5, 0.8, 0.8)


@dataclass(frozen=True, eq=False)
class PairSet:
    """Crops of the same cells from both sides.

    Attributes
    ----------
    two_photon, fmost : ndarray of float32, shape (N, 150, 150)
        Normalised crops; row i of both shows the same cell.
    scene : ndarray of int64, shape (N,)
        Block of tissue that each pair comes from.
    """

    two_photon: Float32Array
    fmost: Float32Array
    scene: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scene)

    def save(self, path: str | Path) -> None:
        """Write ``two_photon``, ``fmost`` (8 bits a pixel) and ``scene`` to a compressed npz."""
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(
                handle,
                two_photon=np.round(self.two_photon * 255).astype(np.uint8),
                fmost=np.round(self.fmost * 255).astype(np.uint8),
                scene=self.scene,
            )

    @classmethod
    def load(cls, path: str | Path) -> PairSet:
        """Read what `save` wrote, or any npz with the same three arrays.

        Raises
        ------
        InputError
            If the file is missing, is no npz, or lacks or mis-shapes an array.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                two_photon, fmost, scene = (arrays[k] for k in ("two_photon", "fmost", "scene"))
        except FileNotFoundError:
            raise InputError(f"There is no file {path}.") from None
        except KeyError as error:
            raise InputError(
                f"{path} lacks an array; pairs need two_photon, fmost and scene: {error}."
            ) from None
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is not a readable npz file of pairs: {error}.") from None
        if two_photon.ndim != 3 or two_photon.shape != fmost.shape or len(scene) != len(fmost):
            raise InputError(
                f"{path} must hold two_photon and fmost of one shape (N, H, W) and scene (N,), "
                f"not {two_photon.shape}, {fmost.shape} and {scene.shape}."
            )
        return cls(_as_float(two_photon), _as_float(fmost), scene.astype(np.int64))


def _as_float(crops: npt.NDArray[np.generic]) -> Float32Array:
    floats = crops.astype(np.float32)
    return floats / np.float32(255) if crops.dtype == np.uint8 else floats


def simulate_pairs(
    n: int,
    *,
    seed: int,
    level: str | Difficulty = "paper",
    cells_per_scene: int = 64,
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
    cells_per_scene : int
        Pairs from one block of tissue; their crops overlap.
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
    blocks: list[tuple[Float32Array, Float32Array]] = []
    scene: list[int] = []
    while len(scene) < n:
        if report is not None:
            report(len(scene), n, "simulating pairs")
        source = np.random.SeedSequence([seed, len(blocks)])
        block = _simulate_block(difficulty, cells_per_scene, source)
        # A block may by chance hold fewer cells that both sides show.
        scene += len(block[0]) * [len(blocks)]
        blocks.append(block)
    if report is not None:
        report(n, n, "simulating pairs")
    two_photon, fmost = (np.concatenate(side)[:n] for side in zip(*blocks, strict=True))
    return PairSet(two_photon, fmost, np.array(scene[:n], dtype=np.int64))


def _simulate_block(
    difficulty: Difficulty, cells: int, source: np.random.SeedSequence
) -> tuple[Float32Array, Float32Array]:
    """Image ``cells`` neurons of one block of tissue on both sides."""
    # Every concern has its own stream: nothing of one side can be told from the other.
    tissue_rng, misfit_rng, in_vivo_rng, ex_vivo_rng = map(np.random.default_rng, source.spawn(4))
    tissue = _make_block(difficulty, cells, tissue_rng)
    in_vivo_generator, ex_vivo_generator = map(torch_generator, (in_vivo_rng, ex_vivo_rng))
    in_vivo = label_two_photon(tissue, difficulty.two_photon, in_vivo_generator)
    ex_vivo = label_fmost(tissue, difficulty.fmost, ex_vivo_generator)
    asked = _innermost(tissue, in_vivo.visible & ex_vivo.visible, cells)
    deformation = _draw_residual(tissue, difficulty, misfit_rng)

    z, y, x = ex_vivo_rng.permutation(3).tolist()
    in_vivo_camera = TwoPhotonCamera(
        tissue.low_um, tissue.high_um, difficulty.two_photon, in_vivo_generator
    )
    ex_vivo_camera = FmostCamera(difficulty.fmost, ex_vivo_generator, (z, y, x))
    positions = tissue.morphology.position_um
    centers = tissue.center_um[asked]
    two_photon = _image_side(
        PointCloud(positions, in_vivo.amount).lit(),
        centers,
        in_vivo_camera,
        difficulty.misfit,
        in_vivo_rng,
    )
    fmost = _image_side(
        PointCloud(positions, ex_vivo.amount).lit().mapped(deformation),
        torch.from_numpy(deformation.map_points(centers.numpy())).float(),
        ex_vivo_camera,
        difficulty.misfit,
        ex_vivo_rng,
    )
    return two_photon, fmost


def _make_block(difficulty: Difficulty, cells: int, rng: np.random.Generator) -> Tissue:
    """Make a block with about the tissue that ``cells`` cells seen on both sides need."""
    both = difficulty.two_photon.visible_fraction * difficulty.fmost.labelled_fraction
    volume_um3 = cells / max(both, 0.05) / (difficulty.tissue.density_per_mm3 * 1e-9)
    side = float(np.sqrt(volume_um3 / _LAYER_UM))
    high = (_LAYER_UM, side, side)
    size = tuple(h + 2 * c for h, c in zip(high, _CONTEXT_UM, strict=True))
    return make_tissue((0.0, 0.0, 0.0), (size[0], size[1], size[2]), difficulty.tissue, rng)


def _innermost(tissue: Tissue, eligible: Tensor, count: int) -> Tensor:
    """Return the indices of the ``count`` eligible cells nearest the middle of the block."""
    low, high = torch.tensor(tissue.low_um), torch.tensor(tissue.high_um)
    half = (high - low) / 2 - torch.tensor(_CONTEXT_UM)
    # Distance in a norm whose balls have the shape of the layer.
    distance = ((tissue.center_um - (low + high) / 2) / half).abs().amax(dim=1)
    if not eligible.any():
        raise InputError(
            "No cell is visible on both sides; raise visible_fraction or labelled_fraction."
        )
    distance[~eligible] = torch.inf
    return torch.argsort(distance)[: min(count, int(eligible.sum()))]


def _draw_residual(tissue: Tissue, difficulty: Difficulty, rng: np.random.Generator) -> Deformation:
    """Draw what a user-set orientation leaves, about the middle of the block."""
    middle = (np.asarray(tissue.low_um) + tissue.high_um) / 2
    residual = residual_linear(difficulty.misfit, rng)
    affine = Affine.from_linear(
        residual, middle - residual @ middle, source="two_photon", target="oriented_fmost"
    )
    return draw_deformation(affine, difficulty.misfit, rng)


def _image_side(
    cloud: PointCloud,
    centers_um: Tensor,
    camera: Camera,
    misfit: MisfitParams,
    rng: np.random.Generator,
) -> Float32Array:
    """Crop one side around slightly wrong centres, inside borders of its own."""
    error = rng.uniform(-misfit.centring_um, misfit.centring_um, centers_um.shape)
    borders = _draw_borders(len(centers_um), misfit, rng)
    reach = torch.tensor(_CONTEXT_UM)
    clutter = camera.clutter(centers_um.amin(dim=0) - reach, centers_um.amax(dim=0) + reach)
    renderer = Renderer(cloud.joined(clutter))
    around = centers_um + torch.from_numpy(error).float()
    crops, inside = zip(
        *(
            project_crops(renderer, some, camera, some_borders)
            for some, some_borders in zip(
                torch.split(around, _CROPS_AT_ONCE),
                torch.split(borders, _CROPS_AT_ONCE),
                strict=True,
            )
        ),
        strict=True,
    )
    return normalize_crops(torch.cat(crops).numpy(), torch.cat(inside).numpy())


def _draw_borders(count: int, misfit: MisfitParams, rng: np.random.Generator) -> Tensor:
    """Draw how far the imaged volume reaches from each crop's centre, (N, 2, 3) in µm."""
    reach = rng.uniform(*misfit.border_um, (count, 2, 3))
    reach[rng.random((count, 2, 3)) >= misfit.border_fraction] = np.inf
    return torch.from_numpy(reach).float()


def project_crops(
    renderer: Renderer,
    centers_um: Tensor,
    camera: Camera,
    reach_um: Tensor,
    spec: CropSpec = _SPEC,
) -> tuple[Tensor, Tensor]:
    """Image a slab around each centre at the camera's voxel size, and project it.

    The image is interpolated linearly to the crop's pixels and planes, as
    `io.crops.extract_crops` does with a stored volume.

    Parameters
    ----------
    renderer : Renderer
        What there is to see, in the frame of the crops.
    centers_um : Tensor, shape (B, 3)
        Centres of the crops.
    camera : Camera
        What the microscope makes of it.
    reach_um : Tensor, shape (B, 2, 3)
        How far the imaged volume reaches from each centre, downwards and upwards.
    spec : CropSpec
        Size of crop and slab.

    Returns
    -------
    crops : Tensor, shape (B, pixels, pixels)
        Largest intensity in the slab; arbitrary outside the borders.
    inside : Tensor of bool, shape (B, pixels, pixels)
        Pixels with at least one plane inside the borders.
    """
    offsets = (spec.depths_um(), spec.offsets_um(), spec.offsets_um())
    samples = [torch.from_numpy(axis).float() for axis in offsets]
    z, y, x = (max(step, finest) for step, finest in zip(camera.step_um, _FINEST_UM, strict=True))
    steps = torch.tensor((z, y, x))
    lengths = [int((s[-1] - s[0]) / d) + 3 for s, d in zip(samples, (z, y, x), strict=True)]
    grid = Grid((lengths[0], lengths[1], lengths[2]), (z, y, x))
    half_um = (torch.tensor(grid.shape) - 1) / 2 * steps
    origins = centers_um - half_um
    image = camera.expose(renderer.render(origins, grid, camera.sigma_um), origins, grid)
    matrices = [
        interpolation_matrix((sample + half) / step, length)
        for sample, half, step, length in zip(samples, half_um, steps, grid.shape, strict=True)
    ]
    sampled = transform_axes(image, (matrices[0], matrices[1], matrices[2]))
    in_z, in_y, in_x = (
        (sample >= -reach_um[:, 0, axis, None]) & (sample <= reach_um[:, 1, axis, None])
        for axis, sample in enumerate(samples)
    )
    sampled.masked_fill_(~in_z[:, :, None, None], 0.0)
    inside = in_z.any(dim=1)[:, None, None] & in_y[:, :, None] & in_x[:, None, :]
    return sampled.amax(dim=1), inside
