"""Two fields seen along the optical axis: planes, sheets and stacks in comparable coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.affine_search import ScaledGallery

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

_DENSITY_NEIGHBOURS = 15
_SHEET_NEIGHBOURS = 12
# Of a soma's neighbours: standard deviation across the sheet by that along its shorter side. Somata
# of a volume have about 0.6.
_SHEET_THICKNESS = 0.3
# And of all somata, so that a shell is no sheet.
_SHEET_BEND = 0.3
# Depth is known half as exactly as the place in a plane, and a tilt adds to it: it counts half.
DEPTH_UNIT = 2.0
# What is farther from all somata than this many spacings lies outside the field.
_EDGE = 1.5
# The planes' normals should be about parallel; else the axes in the planes are arbitrary.
_PARALLEL = 0.1


def is_sheet(points_um: Float64Array) -> bool:
    """Return whether somata (N, 3) lie in a single plane, or a sheet that is little curved."""
    spread = np.linalg.svd(points_um - points_um.mean(axis=0), compute_uv=False)
    if spread[2] > _SHEET_BEND * spread[1]:
        return False
    count = min(_SHEET_NEIGHBOURS, len(points_um))
    near = points_um[np.asarray(cKDTree(points_um).query(points_um, k=count)[1])]
    sizes = np.linalg.svd(near - near.mean(axis=1, keepdims=True), compute_uv=False)
    return bool(np.median(sizes[:, 2] / np.maximum(sizes[:, 1], 1e-9)) < _SHEET_THICKNESS)


@dataclass(frozen=True, eq=False)
class FlatSpace:
    """Queries and gallery in axes of the gallery's plane, in units of its somata's spacing.

    The first two coordinates lie in the plane; where the gallery is a volume (D = 3), the third
    is the depth, in units twice as long.

    Attributes
    ----------
    queries : ndarray, shape (N, D)
        Turned as the orientation says and about their optical axis not at all.
    gallery : ScaledGallery
    unit_um : float
    query_axes, gallery_axes : ndarray, shape (3, 3)
        Rows are the axes of the plane and the depth, of the turned queries and of the gallery.
    orientation : ndarray, shape (3, 3)
        That was applied to the queries.
    flips : bool
        Whether a plane that is seen from its other side is mirrored by turning it over.
    """

    queries: Float64Array
    gallery: ScaledGallery
    unit_um: float
    query_axes: Float64Array
    gallery_axes: Float64Array
    orientation: Float64Array
    flips: bool

    @classmethod
    def of(
        cls, queries_um: Float64Array, gallery_um: Float64Array, orientation: FloatArray
    ) -> FlatSpace:
        """Find the planes and scale both sides.

        Raises
        ------
        InputError
            If most somata of a side coincide.
        """
        turned = queries_um @ np.asarray(orientation).T
        flat = is_sheet(queries_um), is_sheet(gallery_um)
        query_axes, gallery_axes = _axes(turned, gallery_um, flat, np.asarray(orientation))
        dimensions = 2 if flat[1] else 3
        depth = np.array([1.0, 1.0, 1 / DEPTH_UNIT])[:dimensions]
        sides = [
            (points @ axes.T)[:, :dimensions] * depth
            for points, axes in ((turned, query_axes), (gallery_um, gallery_axes))
        ]
        _, density = (local_density(points) for points in sides)
        unit = float(np.median(density) ** (-1 / dimensions))
        points = sides[1] / unit
        gallery = ScaledGallery(points, cKDTree(points), density * unit**dimensions, _EDGE)
        return cls(
            sides[0] / unit,
            gallery,
            unit,
            query_axes,
            gallery_axes,
            np.asarray(orientation, dtype=np.float64),
            flat[0],
        )

    @property
    def dimensions(self) -> int:
        """2 if the gallery is a plane, else 3."""
        return int(self.queries.shape[1])

    def linear(self, flat: Float64Array) -> Float64Array:
        """Return the linear part (3, 3), µm by µm, of a map (D, D) between these coordinates."""
        whole = np.eye(3)
        whole[: self.dimensions, : self.dimensions] = flat
        if self.dimensions == 2:
            determinant = float(np.linalg.det(flat))
            whole[2, 2] = np.sqrt(abs(determinant))
            # Turned over rather than mirrored: a plane does not tell, and tissue is not mirrored.
            whole[2, 2] *= np.sign(determinant) if self.flips else 1.0
        else:
            scale = np.array([1.0, 1.0, DEPTH_UNIT])
            whole = whole * scale[:, None] / scale[None]
            if self.flips and np.linalg.det(flat) < 0:
                whole[:, 2] *= -1.0
        return np.asarray(self.gallery_axes.T @ whole @ self.query_axes @ self.orientation)


def local_density(points: Float64Array) -> Float64Array:
    """Return the points (N, D) in a unit of volume about each of them, (N,).

    Raises
    ------
    InputError
        If most of them coincide.
    """
    count = min(_DENSITY_NEIGHBOURS, len(points) - 1)
    reach = np.asarray(cKDTree(points).query(points, k=[count + 1])[0])[:, 0]
    if np.median(reach) <= 0:
        raise InputError("Most somata lie in one place; remove duplicates.")
    dimensions = points.shape[1]
    ball = pi ** (dimensions / 2) / gamma(dimensions / 2 + 1)
    return np.asarray(count / (ball * np.maximum(reach, 1e-3 * np.median(reach)) ** dimensions))


def _axes(
    queries: Float64Array,
    gallery: Float64Array,
    flat: tuple[bool, bool],
    orientation: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Return the axes of either side, those of the queries turned as little as may be."""
    optical = orientation @ (1.0, 0.0, 0.0)
    optical = optical / np.linalg.norm(optical)
    query_normal = _towards(_normal(queries), optical) if flat[0] else optical
    if flat[1]:
        gallery_normal = _towards(_normal(gallery), query_normal)
        if not flat[0]:
            query_normal = gallery_normal
    else:
        gallery_normal = query_normal
    # Of the stored axes, that which lies most in the plane.
    first = np.eye(3)[2 - int(np.argmin(np.abs(gallery_normal[::-1])))]
    return _frame(query_normal, first), _frame(gallery_normal, first)


def _normal(points: Float64Array) -> Float64Array:
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][2])


def _towards(axis: Float64Array, other: Float64Array) -> Float64Array:
    return axis if axis @ other >= 0 else -axis


def _frame(normal: Float64Array, first: Float64Array) -> Float64Array:
    """Return rows u, v and the normal, right-handed, u nearest to an axis."""
    along = first - (first @ normal) * normal
    if np.linalg.norm(along) < _PARALLEL:
        along = np.eye(3)[int(np.argmin(np.abs(normal)))]
        along = along - (along @ normal) * normal
    along /= np.linalg.norm(along)
    return np.array([along, np.cross(normal, along), normal])
