"""The same neurons imaged again from elsewhere: turned, tilted, deeper, or stretched in depth.

Turning a finished crop leaves black corners and cannot tilt. Here the ex-vivo tissue itself is laid
otherwise before it is imaged and cropped, so that what comes into view is tissue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_neurobridge.io.crops import normalize_crops
from napari_neurobridge.simulation.deformation.deformation import Deformation, plane_rotation
from napari_neurobridge.simulation.pairs import BlockKeys, crop_side, image_block
from napari_neurobridge.spaces.affine import Affine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.simulation.optics.labels import FmostLabel
    from napari_neurobridge.simulation.pairs import ImagedBlock
    from napari_neurobridge.simulation.sides import ImagedSpecimen
    from napari_neurobridge.types import Float32Array, FloatArray

# Tissue is made for so many times the cells, of which the innermost are cropped: a crop that is
# turned or tilted reaches farther into the tissue.
_SPARE = 2


@dataclass(frozen=True)
class Viewpoint:
    """How the ex-vivo side is laid beside what the level leaves between the two sides.

    Attributes
    ----------
    angle_deg : float
        Turn in the image plane.
    tilt_deg : float
        Turn of the depth axis towards the rows.
    depth_um : float
        By how much a crop's slab lies deeper than its cell.
    axial_scale : float
        Stretch along the depth axis.
    """

    angle_deg: float = 0.0
    tilt_deg: float = 0.0
    depth_um: float = 0.0
    axial_scale: float = 1.0

    @property
    def linear(self) -> FloatArray:
        """The (3, 3) map of offsets in the ex-vivo space: stretch, then turn, then tilt."""
        turned = plane_rotation(1, 2, np.deg2rad(self.angle_deg))
        tilted = plane_rotation(0, 1, np.deg2rad(self.tilt_deg))
        stretched: FloatArray = tilted @ turned @ np.diag([self.axial_scale, 1.0, 1.0])
        return stretched


def crops_from(
    difficulty: Difficulty,
    cells: int,
    seed: int,
    viewpoints: Sequence[Viewpoint],
    *,
    tell: Callable[[int], None] | None = None,
) -> tuple[Float32Array, list[Float32Array]]:
    """Simulate a scene once in vivo, and ex vivo from several viewpoints.

    Tissue, labels, microscopes, errors of centring and borders are the same from everywhere.

    Parameters
    ----------
    difficulty : Difficulty
        All parameters.
    cells : int
        How many to crop; fewer if so many are not visible on both sides.
    seed : int
        The same seed gives the same scene.
    viewpoints : sequence of Viewpoint
        From where the ex-vivo side is imaged.
    tell : callable, optional
        Called with how many are done, before each; may raise to cancel.

    Returns
    -------
    two_photon : ndarray of float32, shape (N, 150, 150)
    fmost : list of ndarray of float32, shape (N, 150, 150)
        For each viewpoint; row i of all shows one cell.
    """
    keys = BlockKeys.of(seed, 0)
    block = image_block(difficulty, _SPARE * cells, keys, torch.device("cpu"))
    asked_um = block.asked_um[:cells]
    two_photon = normalize_crops(
        *crop_side(block.sides[0], asked_um, difficulty.crops, keys.in_vivo)
    )
    fmost = []
    for done, viewpoint in enumerate(viewpoints):
        if tell is not None:
            tell(done)
        side = laid_otherwise(block, viewpoint)
        centers_um = side.specimen.warp.map_tensor(asked_um)
        centers_um[:, 0] += viewpoint.depth_um
        deeper_um = side.specimen.warp.inverse().map_tensor(centers_um)
        fmost.append(normalize_crops(*crop_side(side, deeper_um, difficulty.crops, keys.ex_vivo)))
    return two_photon, fmost


def laid_otherwise(block: ImagedBlock, viewpoint: Viewpoint) -> ImagedSpecimen[FmostLabel]:
    """Return the ex-vivo side with its tissue laid otherwise about the middle of the cells."""
    side = block.sides[1]
    warp = side.specimen.warp
    if not isinstance(warp, Deformation):
        raise TypeError("the ex-vivo side of a block is laid by a deformation")
    middle = warp.map_tensor(block.asked_um).mean(dim=0).cpu().double().numpy()
    before, linear = warp.affine, viewpoint.linear
    own, shift = before.matrix[:3, :3], before.matrix[:3, 3]
    affine = Affine.from_linear(
        linear @ own,
        linear @ (shift - middle) + middle,
        source=before.source,
        target=before.target,
    )
    return replace(side, specimen=replace(side.specimen, warp=replace(warp, affine=affine)))
