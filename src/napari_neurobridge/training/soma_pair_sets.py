"""Pairs of somata of two simulated images: of one soma, and those that chance brings together.

What must be told apart are not any two somata, but those that a map brings together which a search
of the pattern takes for possible. So the wrong pairs come from that search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.spatial import cKDTree

from napari_neurobridge.matching.constellation.any_turn import propose_maps
from napari_neurobridge.matching.constellation.flat_space import FlatSpace
from napari_neurobridge.matching.constellation.local_poses import PoseParams
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.soma_pairs import CropSource, fitted_linear

if TYPE_CHECKING:
    from napari_neurobridge.registration.feature_points import FeatureExtractor
    from napari_neurobridge.registration.soma_pairs import SomaPairConfig
    from napari_neurobridge.training.image_tasks import ImageTask

Float64Array = npt.NDArray[np.float64]

MARGIN_PX = 4
"""By so much are stored crops wider at each side than what the network sees."""
_FEWEST_SOMATA, _FEWEST_PAIRS = 30, 8
# Of a pair that is right, and of one that is so in a map which is a little off.
_NEAR_UM, _NEARLY_UM = 5.0, 6.0


class SomaPairParams(BaseModel, frozen=True, extra="forbid"):
    """How pairs are drawn from two images.

    Attributes
    ----------
    least_probability : float
        Of the somata, as the feature network says.
    scale : tuple of float
        That the search of the pattern allows.
    maps : int
        So many of the search's best are used, right or wrong.
    whole : int
        All pairs of so many of these are taken,
    of_others : int
        and so many of each other one.
    linear_error : float
        Standard deviation of each entry of the linear part by which right pairs are laid on each
        other.
    """

    least_probability: float = 0.3
    scale: tuple[float, float] = (0.7, 1.4)
    maps: int = Field(24, gt=0)
    whole: int = Field(3, ge=0)
    of_others: int = Field(8, gt=0)
    linear_error: float = Field(0.06, ge=0)


@dataclass(frozen=True, eq=False)
class SomaPairSet:
    """Crops of K pairs, and whether each is one soma.

    Attributes
    ----------
    crops : ndarray of uint8, shape (K, 2, C, C)
        Source and target; 255 is 1 of the standardised image.
    same : ndarray of bool, shape (K,)
    """

    crops: npt.NDArray[np.uint8]
    same: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.same)


def draw_soma_pairs(
    drawn: ImageTask,
    extractor: FeatureExtractor,
    config: SomaPairConfig,
    params: SomaPairParams,
    rng: np.random.Generator,
) -> SomaPairSet:
    """Return pairs of the somata that the feature network finds in two images.

    Parameters
    ----------
    drawn : ImageTask
    extractor : FeatureExtractor
    config : SomaPairConfig
        Of the network that is to see them.
    params : SomaPairParams
    rng : numpy.random.Generator
    """
    images = PlanarImage.of(drawn.source, 1.0), PlanarImage.of(drawn.target, 1.0)
    here, there = (
        extractor.describe(one).somata(params.least_probability).positions_um for one in images
    )
    side = config.crop_px + 2 * MARGIN_PX
    nothing = SomaPairSet(np.empty((0, 2, side, side), np.uint8), np.empty(0, np.bool_))
    if min(len(here), len(there)) < _FEWEST_SOMATA:
        return nothing
    truth = drawn.map_points(here)
    sources = CropSource.of(images[0]), CropSource.of(images[1])
    sets = [nothing]
    for pairs, linear in _laid(here, there, truth, params, rng):
        seen = [
            sources[0].crops(here[pairs[:, 0]], side, config.pixel_um, np.linalg.inv(linear)),
            sources[1].crops(there[pairs[:, 1]], side, config.pixel_um),
        ]
        off = np.linalg.norm(truth[pairs[:, 0]] - there[pairs[:, 1]], axis=1)
        stored = np.rint(255 * np.stack(seen, axis=1)).clip(0, 255).astype(np.uint8)
        sets.append(SomaPairSet(stored, off < _NEARLY_UM))
    return joined(sets)


def joined(sets: list[SomaPairSet]) -> SomaPairSet:
    """Return the pairs of several sets, at least one, as one."""
    return SomaPairSet(
        np.concatenate([one.crops for one in sets]), np.concatenate([one.same for one in sets])
    )


def _laid(
    here: Float64Array,
    there: Float64Array,
    truth: Float64Array,
    params: SomaPairParams,
    rng: np.random.Generator,
) -> list[tuple[npt.NDArray[np.intp], Float64Array]]:
    """Return pairs of rows, and the linear parts of the maps that bring them together."""
    known = np.flatnonzero(np.isfinite(truth[:, 0]))
    laid = []
    if len(known):
        far, nearest = cKDTree(there).query(truth[known])
        right = np.column_stack([known, nearest])[np.asarray(far) < _NEAR_UM]
        linear = fitted_linear(here[right[:, 0]], there[right[:, 1]])
        if linear is not None and len(right) >= _FEWEST_PAIRS:
            error = np.eye(2) + rng.normal(0, params.linear_error, (2, 2))
            laid.append((right, linear @ error))
    space = FlatSpace.of(lifted(here), lifted(there), np.eye(3))
    maps = propose_maps(space, PoseParams(scale=params.scale))[: params.maps]
    for number, one in enumerate(maps):
        linear = fitted_linear(here[one.pairs[:, 0]], there[one.pairs[:, 1]])
        if linear is None or len(one.pairs) < _FEWEST_PAIRS:
            continue
        rows = rng.permutation(len(one.pairs))
        laid.append(
            (one.pairs[rows if number < params.whole else rows[: params.of_others]], linear)
        )
    return laid
