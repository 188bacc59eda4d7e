"""Similarities between two sets of landmarks, with handedness and a rough orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

# A user's rough orientation is right to about 15 degrees and 15 % of the size.
_ANGLE_SD = np.deg2rad(15.0)
_SCALE_SD = 0.15
# Landmarks whose third extent is below this fraction of the second lie in a plane.
_FLAT = 0.05


@dataclass(frozen=True, eq=False)
class Similarity:
    """A rotation (or rotated mirror), one scale, and the centres it maps on each other.

    Attributes
    ----------
    rotation : ndarray, shape (3, 3)
        Orthogonal; its determinant is -1 if the two spaces have opposite handedness.
    scale : float
        Length in the target for each µm of the source.
    source_center_um, target_center_um : ndarray, shape (3,)
        The first is mapped to the second.
    """

    rotation: Float64Array
    scale: float
    source_center_um: Float64Array
    target_center_um: Float64Array

    @property
    def linear(self) -> Float64Array:
        """The (3, 3) linear part."""
        return self.scale * self.rotation

    @property
    def mirrored(self) -> bool:
        """Whether the two spaces have opposite handedness."""
        return bool(np.linalg.det(self.rotation) < 0)

    def offsets(self, points: FloatArray) -> Float64Array:
        """Return where points (N, 3) of the source go, from ``target_center_um``."""
        return np.asarray((points - self.source_center_um) @ self.linear.T)


def span(points: FloatArray) -> int:
    """Return how many dimensions points (N, 3) span: 0, 1 (line), 2 (plane) or 3."""
    if len(points) < 2:
        return 0
    extents = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    extents = np.pad(extents, (0, max(0, 3 - len(extents))))
    if extents[0] < 1e-9:
        return 0
    if extents[1] < _FLAT * extents[0]:
        return 1
    return 2 if extents[2] < _FLAT * extents[1] else 3


def fit_similarity(
    source_um: FloatArray,
    target_um: FloatArray,
    *,
    mirrored: bool = False,
    orientation: FloatArray | None = None,
    spread_um: float = 10.0,
) -> Similarity:
    """Return the similarity that maps landmarks best.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (N, 3)
        At least one landmark.
    mirrored : bool
        Handedness of the result.
    orientation : ndarray, shape (3, 3), optional
        Rough linear part; what the landmarks leave open is taken from it, or from the
        identity.
    spread_um : float
        Standard deviation of a landmark about a similarity.
    """
    source_center, target_center = source_um.mean(axis=0), target_um.mean(axis=0)
    source, target = source_um - source_center, target_um - target_center
    rough = np.diag((-1.0, 1.0, 1.0)) if mirrored else np.eye(3)
    size = 1.0
    # Without an orientation, the identity is only there to settle what is left open.
    weight = 1e-9 * max(float((source**2).sum()), 1.0)
    if orientation is not None:
        left, sizes, right = np.linalg.svd(orientation)
        rough, size = left @ right, float(np.exp(np.log(sizes).mean()))
        weight = spread_um**2 / (size * _ANGLE_SD**2)
    left, _, right = np.linalg.svd(target.T @ source + weight * rough)
    hand = np.sign(np.linalg.det(left @ right)) * (-1.0 if mirrored else 1.0)
    rotation = left @ np.diag((1.0, 1.0, hand)) @ right
    along = float(np.sum(target * (source @ rotation.T)))
    power = float((source**2).sum())
    stiffness = 0.0 if orientation is None else spread_um**2 / (_SCALE_SD * size) ** 2
    if power + stiffness > 0 and span(source_um) > 0:
        size = (along + stiffness * size) / (power + stiffness)
    return Similarity(rotation, max(size, 1e-6), source_center, target_center)


def nearest_similarity(linear: FloatArray, around: Similarity) -> Similarity:
    """Return the similarity nearest to a linear map, with centres and handedness of another."""
    left, sizes, right = np.linalg.svd(linear)
    hand = np.sign(np.linalg.det(left @ right)) * (-1.0 if around.mirrored else 1.0)
    rotation = left @ np.diag((1.0, 1.0, hand)) @ right
    scale = float(np.exp(np.log(np.maximum(sizes, 1e-9)).mean()))
    return Similarity(rotation, scale, around.source_center_um, around.target_center_um)
