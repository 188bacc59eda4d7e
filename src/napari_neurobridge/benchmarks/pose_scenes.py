"""Held-out scenes whose two-photon side can be turned, with the true angle of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_neurobridge.io.crops import CropSpec, normalize_crops
from napari_neurobridge.matching.appearance.pose_search import quarter_turned
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.pairs import BlockKeys, ImagedBlock, crop_side, image_block
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Float32Array, FloatArray

_SPEC = CropSpec()
# A turned crop reaches into the corners of a square √2 times as wide; two pixels to spare, and
# an even number, so that a crop that is not turned has the pixels of the usual one.
_WIDE_PIXELS = 2 * math.ceil(_SPEC.pixels / math.sqrt(2)) + 4
_RING_POINTS = 12
_WIDE = CropSpec(size_um=_WIDE_PIXELS * _SPEC.pixel_um, pixels=_WIDE_PIXELS)


@dataclass(frozen=True, eq=False)
class PoseScene:
    """Crops of one scene's cells; row i of both sides shows the same cell.

    Attributes
    ----------
    two_photon, inside : ndarray, shape (N, 218, 218)
        Intensities, wide enough to be turned, and the pixels inside the borders.
    fmost : ndarray, shape (N, 150, 150)
        Normalised crops.
    angle_deg : float
        By which the scene's own misfit turns the field; see `field_angle`.
    """

    two_photon: Float32Array
    inside: npt.NDArray[np.bool_]
    fmost: Float32Array
    angle_deg: float

    @classmethod
    def simulate(cls, seed: int, level: str, cells: int = EVALUATION_CELLS) -> PoseScene:
        """Simulate the scene that `held_out_pairs` crops, with wider two-photon crops."""
        difficulty, keys = named_level(level), BlockKeys.of(seed, 0)
        imaged = image_block(difficulty, cells, keys, torch.device("cpu"))
        in_vivo, ex_vivo = imaged.sides
        two_photon, inside = crop_side(
            in_vivo, imaged.asked_um, difficulty.crops, keys.in_vivo, spec=_WIDE
        )
        fmost = crop_side(ex_vivo, imaged.asked_um, difficulty.crops, keys.ex_vivo)
        return cls(two_photon, inside, normalize_crops(*fmost), misfit_angle(imaged))

    def turned(self, angle_deg: float) -> Float32Array:
        """Return normalised two-photon crops (N, 150, 150), turned about their centres."""
        angle, share = math.radians(angle_deg), _SPEC.pixels / _WIDE_PIXELS
        cos, sin = share * math.cos(angle), share * math.sin(angle)
        theta = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(self.fmost), 2, 3)
        size = [len(self.fmost), 1, _SPEC.pixels, _SPEC.pixels]
        grid = functional.affine_grid(theta, size, align_corners=False)
        crops, inside = (
            functional.grid_sample(
                torch.from_numpy(images.astype(np.float32))[:, None], grid, align_corners=False
            )[:, 0].numpy()
            for images in (self.two_photon, self.inside)
        )
        return normalize_crops(crops, inside > 0.5)


def misfit_angle(imaged: ImagedBlock) -> float:
    """Return the `field_angle` of a block's cells."""
    around = surroundings(imaged.asked_um.cpu().double().numpy())
    points = torch.from_numpy(around.reshape(-1, 3)).to(imaged.asked_um)
    sides = (side.specimen.warp.map_tensor(points).cpu().double().numpy() for side in imaged.sides)
    in_vivo, ex_vivo = (side.reshape(around.shape) for side in sides)
    return field_angle(in_vivo, ex_vivo)


def surroundings(centers_um: FloatArray) -> FloatArray:
    """Return points around each of N cells at the edge of a crop, in the plane, (N, 12, 3)."""
    turns = np.linspace(0, 2 * np.pi, _RING_POINTS, endpoint=False)
    ring = np.stack((np.zeros_like(turns), np.sin(turns), np.cos(turns)), axis=1)
    return np.asarray(centers_um)[:, None] + ring * _SPEC.size_um / 2


def field_angle(in_vivo_um: FloatArray, ex_vivo_um: FloatArray) -> float:
    """Return by how much the surroundings of the cells are turned in the plane, on average.

    Of the surroundings, since that is what crops show: the places of the cells alone would
    also count a tilt, which shifts deep cells against shallow ones.

    Parameters
    ----------
    in_vivo_um, ex_vivo_um : ndarray, shape (N, K, 3)
        The same K points around each of N cells, in axes of the same order and sense.

    Returns
    -------
    float
        Degrees, as `Orientation.angle_deg`: from rows towards columns. The mean over the
        cells of the rotation that lays one side best on the other (Kabsch, Acta
        Crystallographica A32, 1976, in two dimensions).
    """
    first, second = (
        (side - side.mean(axis=1, keepdims=True))[..., 1:]
        for side in (np.asarray(in_vivo_um), np.asarray(ex_vivo_um))
    )
    product = np.einsum("nki,nkj->nij", first, second)
    sine = product[:, 0, 1] - product[:, 1, 0]
    cosine = product[:, 0, 0] + product[:, 1, 1]
    length = np.hypot(sine, cosine)
    return math.degrees(math.atan2((sine / length).sum(), (cosine / length).sum()))


class TurnedEmbeddings:
    """The embeddings of a scene's two-photon crops at any angle; each is made once.

    Parameters
    ----------
    scene : PoseScene
    encoder : Encoder
    """

    def __init__(self, scene: PoseScene, encoder: Encoder) -> None:
        self._scene, self._encoder = scene, encoder
        self._period = 90.0 if encoder.config.views == 4 else 360.0
        self._made: dict[float, Float32Array] = {}

    def at(self, angle_deg: float) -> Float32Array:
        """Return the unit vectors (N, dim) of the crops turned by an angle."""
        quarters, angle = divmod(round(angle_deg, 3), self._period)
        if angle not in self._made:
            self._made[angle] = self._encoder.embed(self._scene.turned(angle))
        vectors = self._made[angle]
        return quarter_turned(vectors, int(quarters)) if self._period == 90.0 else vectors
