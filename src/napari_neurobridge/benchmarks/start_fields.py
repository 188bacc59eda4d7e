"""Fields to start from without any landmark: planes, a plane in a volume, stacks; any angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Float64Array = npt.NDArray[np.float64]

FieldKind = Literal["plane in plane", "plane in volume", "stack in stack"]
FIELD_KINDS: tuple[FieldKind, ...] = ("plane in plane", "plane in volume", "stack in stack")

# Of the tissue, µm (z, y, x).
_TISSUE_UM = {
    "plane in plane": (12.0, 900.0, 900.0),
    "plane in volume": (420.0, 1000.0, 1000.0),
    "stack in stack": (220.0, 600.0, 600.0),
}
_SOMATA_PER_MM3 = {"plane in plane": 9e4, "plane in volume": 5e4, "stack in stack": 4e4}
# What either side sees of it, as shares of the tissue's extent.
_PLANE_UM = 12.0
_QUERY_SHARE = {"plane in plane": 0.55, "plane in volume": 0.6, "stack in stack": 0.6}
_SHIFT = {"plane in plane": 0.15, "plane in volume": 0.2, "stack in stack": 0.15}
_GALLERY_SHARE = {"plane in plane": 0.7, "plane in volume": 1.0, "stack in stack": 0.8}
# Two somata are no nearer than this.
_SOMA_UM = 9.0
_WAVES = 6


@dataclass(frozen=True)
class StartFieldParams:
    """What lies between the two sides.

    Attributes
    ----------
    missing : float
        Share of the tissue's cells that either side lacks.
    noise_um : float
        Standard deviation of each component of a soma's place, on either side.
    bend_um, wavelength_um : float
        Root mean square of the waves that displace the gallery, and the shortest of them.
    tilt_deg : float
        Largest tilt of a plane or stack against the other side.
    scale : tuple of float
        Smallest and largest length in the gallery for each of the queries.
    per_axis : bool
        Whether the scales of the queries' two axes are drawn apart.
    turn : bool
        Whether the queries are turned by any angle about the optical axis.
    """

    missing: float = 0.3
    noise_um: float = 1.5
    bend_um: float = 8.0
    wavelength_um: float = 250.0
    tilt_deg: float = 6.0
    scale: tuple[float, float] = (0.7, 1.5)
    per_axis: bool = False
    turn: bool = True


@dataclass(frozen=True, eq=False)
class StartField:
    """Two sides of one tissue and which soma is which.

    Attributes
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        µm (z, y, x), each in its own space.
    partner : ndarray of int, shape (N,)
        Row of the gallery, or -1.
    linear : ndarray, shape (3, 3)
        Linear part of the map from queries to gallery.
    """

    queries_um: Float64Array
    gallery_um: Float64Array
    partner: npt.NDArray[np.intp]
    linear: Float64Array


def draw_start_field(kind: FieldKind, params: StartFieldParams, seed: int) -> StartField:
    """Draw a field; the same seed gives the same field.

    The queries are seen in the tissue's own frame and then turned and scaled; the gallery is
    displaced by waves of random directions, so that neither is a draw of what the matching
    believes of a deformation.
    """
    rng = np.random.default_rng([seed, FIELD_KINDS.index(kind)])
    extent = np.array(_TISSUE_UM[kind])
    tissue = _somata(extent, _SOMATA_PER_MM3[kind], rng)
    moved = tissue + _waves(tissue, params, rng)
    shift = rng.uniform(-1, 1, 3) * _SHIFT[kind] * extent / 2
    half = _QUERY_SHARE[kind] * extent / 2
    if kind == "plane in volume":
        half[0] = _PLANE_UM / 2
    tilted = (tissue - shift) @ _tilt(params.tilt_deg if extent[0] > _PLANE_UM else 0.0, rng)
    here = np.abs(tilted) <= half
    there = np.abs(moved) <= _GALLERY_SHARE[kind] * extent / 2
    if kind == "plane in plane":
        here[:, 0] = there[:, 0] = True
    seen = [
        side.all(axis=1) & (rng.random(len(tissue)) >= params.missing) for side in (here, there)
    ]
    linear = draw_pose(params, rng)
    own = np.linalg.inv(linear)
    queries, gallery = tilted[seen[0]], moved[seen[1]]
    if kind == "plane in plane":
        queries, gallery = queries * [0, 1, 1], gallery * [0, 1, 1]
    if kind == "plane in volume":
        queries = queries * [0, 1, 1]
    flat = np.array([0.0 if kind != "stack in stack" else 1.0, 1.0, 1.0])
    queries = queries + rng.normal(0, params.noise_um, queries.shape) * flat
    flat[0] = 0.0 if kind == "plane in plane" else 1.0
    gallery = gallery + rng.normal(0, params.noise_um, gallery.shape) * flat
    order = rng.permutation(len(gallery))
    row = np.full(len(tissue), -1, dtype=np.intp)
    row[np.flatnonzero(seen[1])[order]] = np.arange(len(order))
    return StartField(queries @ own.T, gallery[order], row[seen[0]], linear)


def _somata(extent: Float64Array, per_mm3: float, rng: np.random.Generator) -> Float64Array:
    """Return somata (N, 3) about 0 that keep their distance."""
    count = int(per_mm3 * 1e-9 * extent.prod())
    points = rng.uniform(-0.5, 0.5, (2 * count, 3)) * extent
    close = cKDTree(points).query_pairs(_SOMA_UM, output_type="ndarray")
    keep = np.ones(len(points), dtype=np.bool_)
    for first, second in close[np.argsort(close.max(axis=1))].tolist():
        if keep[first] and keep[second]:
            keep[max(first, second)] = False
    return points[keep][:count]


def _waves(
    points: Float64Array, params: StartFieldParams, rng: np.random.Generator
) -> Float64Array:
    """Return displacements (N, 3), each component of the stated root mean square."""
    total = np.zeros_like(points)
    for _ in range(_WAVES):
        direction = rng.normal(size=3) * (0.3, 1, 1)
        direction *= 2 * np.pi / np.linalg.norm(direction)
        phase = rng.uniform(0, 2 * np.pi, 3)
        along = points @ direction / (params.wavelength_um * rng.uniform(1, 3))
        total += np.sin(along[:, None] + phase)
    return np.asarray(total * params.bend_um * np.sqrt(2 / _WAVES))


def _tilt(angle_deg: float, rng: np.random.Generator) -> Float64Array:
    """Return a turn (3, 3) about a random axis in the plane."""
    angle, about = np.deg2rad(rng.uniform(0, angle_deg)), rng.uniform(0, 2 * np.pi)
    axis = np.array([0.0, np.cos(about), np.sin(about)])
    cross = np.cross(np.eye(3), axis)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def draw_pose(params: StartFieldParams, rng: np.random.Generator) -> Float64Array:
    """Return the linear part (3, 3) of the map from queries to gallery: a turn of a stretch."""
    angle = rng.uniform(0, 2 * np.pi) if params.turn else 0.0
    low, high = params.scale
    scale = np.full(3, np.exp(rng.uniform(np.log(low), np.log(high))))
    if params.per_axis:
        scale = np.exp(rng.uniform(np.log(low), np.log(high), 3))
        scale[0] = np.sqrt(scale[1] * scale[2])
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ np.diag(scale)
