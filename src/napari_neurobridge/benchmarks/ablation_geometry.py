"""How far a part of the deformation moves what a crop shows against its cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.simulation.deformation.deformation import Deformation, draw_deformation
from napari_neurobridge.simulation.pairs import BlockKeys
from napari_neurobridge.spaces.affine import Affine

if TYPE_CHECKING:
    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.types import FloatArray, Vec3

# A block of tissue as training scenes have it, and where cells lie that are cropped.
_BLOCK_UM: Vec3 = (150.0, 310.0, 310.0)
_MARGIN_UM: Vec3 = (30.0, 70.0, 70.0)
_BLOCKS, _CELLS, _POINTS = 24, 64, 200
_MUCH_UM = 1.0


class CropMotion(BaseModel, frozen=True):
    """What leaving a part out changes of where things lie in a crop."""

    rms_um: float = Field(description="Of a point of the crop against the crop's cell.")
    share: float = Field(description="Crops whose points move by more than 1 µm (rms).")


def crop_motion(full: Difficulty, ablated: Difficulty, *, seed: int) -> CropMotion:
    """Measure how differently two levels move the surroundings of cells against the cells.

    Parameters
    ----------
    full, ablated : Difficulty
        The levels; what both draw alike cancels.
    seed : int
        Of the blocks, 24 of 64 cells, and of the points within the crops, 200 each.
    """
    rng = np.random.default_rng(seed)
    spec = CropSpec()
    half_um = np.array([spec.slab_um, spec.size_um, spec.size_um]) / 2
    rms = []
    for block in range(_BLOCKS):
        top_um = float(rng.uniform(*full.tissue.top_um))
        maps = [_deformation(level, BlockKeys.of(seed, block), top_um) for level in (full, ablated)]
        low = np.array(_MARGIN_UM)
        cells = rng.uniform(low, np.array(_BLOCK_UM) - low, (_CELLS, 1, 3))
        points = cells + rng.uniform(-half_um, half_um, (_CELLS, _POINTS, 3))
        apart = _displaced(maps[0], points) - _displaced(maps[1], points)
        of_cell = _displaced(maps[0], cells) - _displaced(maps[1], cells)
        rms.append(np.sqrt(((apart - of_cell) ** 2).sum(axis=-1).mean(axis=1)))
    moved = np.concatenate(rms)
    return CropMotion(
        rms_um=float(np.sqrt((moved**2).mean())), share=float((moved > _MUCH_UM).mean())
    )


def _deformation(level: Difficulty, keys: BlockKeys, top_um: float) -> Deformation:
    nothing = Affine.from_linear(np.eye(3), np.zeros(3), source="tissue", target="oriented_fmost")
    key = keys.misfit.child("displacement")
    return draw_deformation(nothing, level.misfit, key, (0.0, 0.0, 0.0), _BLOCK_UM, top_um)


def _displaced(deformation: Deformation, points: FloatArray) -> FloatArray:
    moved: FloatArray = deformation.displacement(points.reshape(-1, 3)).reshape(points.shape)
    return moved
