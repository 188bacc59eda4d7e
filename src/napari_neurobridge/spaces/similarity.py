"""Similarities between two sets of landmarks, with handedness and a rough orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.spaces.affine import Affine

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

    def to_affine(self, *, source: str, target: str) -> Affine:
        """Return it as a `Transform` between two named spaces."""
        shift = self.target_center_um - self.linear @ self.source_center_um
        return Affine.from_linear(self.linear, shift, source=source, target=target)


def span(points: FloatArray) -> int:
    """Return how many dimensions points (N, 3) span: 0, 1 (line), 2 (plane) or 3."""
    return len(spanned_axes(points))


def spanned_axes(points: FloatArray, weights: FloatArray | None = None) -> Float64Array:
    """Return unit vectors along which points (N, 3) extend, the longest first, (0 to 3, 3).

    Parameters
    ----------
    points : ndarray, shape (N, 3)
    weights : ndarray, shape (N,), optional
        How much each point counts; alike by default.
    """
    if len(points) < 2:
        return np.zeros((0, 3))
    share = np.ones(len(points)) if weights is None else np.asarray(weights)
    centered = points - np.average(points, axis=0, weights=share)
    _, extents, axes = np.linalg.svd(np.sqrt(share)[:, None] * centered, full_matrices=False)
    extents = np.pad(extents, (0, max(0, 3 - len(extents))))
    if extents[0] < 1e-9:
        return np.zeros((0, 3))
    if extents[1] < _FLAT * extents[0]:
        return np.asarray(axes[:1])
    return np.asarray(axes[:2] if extents[2] < _FLAT * extents[1] else axes)


def fit_similarity(
    source_um: FloatArray,
    target_um: FloatArray,
    *,
    mirrored: bool = False,
    orientation: FloatArray | None = None,
    spread_um: float = 10.0,
    weights: FloatArray | None = None,
) -> Similarity:
    """Return the similarity that maps landmarks best, by (weighted) least squares.

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
    weights : ndarray, shape (N,), optional
        How much each landmark counts, at least one above 0; alike by default.

    References
    ----------
    Umeyama, IEEE Transactions on Pattern Analysis and Machine Intelligence 13:376 (1991),
    equations 40 to 42, with the weights of Kabsch, Acta Crystallographica A32:922 (1976).
    """
    share = np.ones(len(source_um)) if weights is None else np.asarray(weights)
    source_center: Float64Array = np.average(source_um, axis=0, weights=share).astype(np.float64)
    target_center: Float64Array = np.average(target_um, axis=0, weights=share).astype(np.float64)
    source, target = source_um - source_center, target_um - target_center
    power = float(share @ (source**2).sum(axis=1))
    rough = np.diag((-1.0, 1.0, 1.0)) if mirrored else np.eye(3)
    size = 1.0
    # Without an orientation, the identity is only there to settle what is left open.
    weight = 1e-9 * max(power, 1.0)
    if orientation is not None:
        left, sizes, right = np.linalg.svd(orientation)
        rough, size = left @ right, float(np.exp(np.log(sizes).mean()))
        weight = spread_um**2 / (size * _ANGLE_SD**2)
    left, _, right = np.linalg.svd((target * share[:, None]).T @ source + weight * rough)
    hand = np.sign(np.linalg.det(left @ right)) * (-1.0 if mirrored else 1.0)
    rotation = left @ np.diag((1.0, 1.0, hand)) @ right
    along = float(share @ np.sum(target * (source @ rotation.T), axis=1))
    stiffness = 0.0 if orientation is None else spread_um**2 / (_SCALE_SD * size) ** 2
    if power + stiffness > 0 and len(spanned_axes(source_um, share)):
        size = (along + stiffness * size) / (power + stiffness)
    return Similarity(rotation, max(size, 1e-6), source_center, target_center)


def nearest_similarity(linear: FloatArray, around: Similarity) -> Similarity:
    """Return the similarity nearest to a linear map, with centres and handedness of another."""
    left, sizes, right = np.linalg.svd(linear)
    hand = np.sign(np.linalg.det(left @ right)) * (-1.0 if around.mirrored else 1.0)
    rotation = left @ np.diag((1.0, 1.0, hand)) @ right
    scale = float(np.exp(np.log(np.maximum(sizes, 1e-9)).mean()))
    return Similarity(rotation, scale, around.source_center_um, around.target_center_um)
