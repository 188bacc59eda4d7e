"""Matches between two sides of one tissue, right ones and wrong ones, as coordinates alone.

The geometry that the consistency module learns from: thin-plate deformations on top of a
similarity, and mistakes as matchers make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from napari_neurobridge.simulation.parameters import Parameters, Positive, Range

if TYPE_CHECKING:
    from napari_neurobridge.simulation.keyed import Key

Float64Array = npt.NDArray[np.float64]

RIGHT_WITHIN_UM = 5.0
"""A match is right if it ends within so many µm of the truth."""

# Displacement over correlation length: more, and thin plates fold.
_STEEPEST = 0.2
# The near misses of a match choose among so many of its neighbours.
_NEAR = 3


class MatchSetParams(Parameters):
    """What is drawn anew for each set of matches, uniformly within its range.

    Attributes
    ----------
    size_um : Range
        Side of the field, each axis.
    depth_um : Range
        Extent along z of a field in three dimensions.
    angle_deg : float
        Largest rotation: in the plane, or about any axis.
    scale : Range
        Length on the second side for each µm of the first.
    displacement_um : Range
        Root mean square length of the thin-plate displacement, at most a fifth of its length.
    length_um : Range
        Distance of the thin plate's control points: its correlation length.
    noise_um : Range
        Standard deviation of each component of the localisation error between the sides.
    wrong : Range
        Share of the matches that are mistakes.
    near_um : Range
        How far a near miss lies from the right place, if no neighbour is taken.
    patch_um, patch_shift_um : Range
        Radius of a patch whose mistakes are all shifted by one vector, and its length.
    right_within_um : float
        A match is right if it ends within so many µm of the truth.
    """

    size_um: Range = (250.0, 700.0)
    depth_um: Range = (60.0, 250.0)
    angle_deg: Annotated[float, Field(ge=0, le=180)] = 30.0
    scale: Range = (0.8, 1.25)
    displacement_um: Range = (1.0, 25.0)
    length_um: Range = (60.0, 150.0)
    noise_um: Range = (0.5, 2.0)
    wrong: Range = (0.1, 0.88)
    near_um: Range = (8.0, 30.0)
    patch_um: Range = (40.0, 120.0)
    patch_shift_um: Range = (10.0, 40.0)
    right_within_um: Positive = RIGHT_WITHIN_UM


@dataclass(frozen=True, eq=False)
class MatchSet:
    """Matches and the truth.

    Attributes
    ----------
    source_um, target_um : ndarray, shape (N, D)
        The two places of each match, µm, (y, x) or (z, y, x).
    true_um : ndarray, shape (N, D)
        Where each source place really is on the second side.
    right : ndarray of bool, shape (N,)
        Whether a match ends within ``right_within_um`` of the truth.
    """

    source_um: Float64Array
    target_um: Float64Array
    true_um: Float64Array
    right: npt.NDArray[np.bool_]


def draw_match_set(count: int, dims: int, params: MatchSetParams, key: Key) -> MatchSet:
    """Draw one set of matches; the same key gives the same set.

    Parameters
    ----------
    count : int
        N, the matches.
    dims : int
        2 or 3.
    params : MatchSetParams
    key : Key
        Source of all randomness.
    """
    rng = key.rng()
    extent = rng.uniform(*params.size_um, dims)
    if dims == 3:
        extent[0] = rng.uniform(*params.depth_um)
    source = rng.uniform(-extent / 2, extent / 2, (count, dims))
    moved = source + thin_plate_displacement(source, extent, params, rng)
    true = rng.uniform(*params.scale) * moved @ _rotation(dims, params.angle_deg, rng).T
    return spoil_matches(source, true, params, rng)


def spoil_matches(
    source_um: Float64Array, true_um: Float64Array, params: MatchSetParams, rng: np.random.Generator
) -> MatchSet:
    """Locate true matches with an error, and put mistakes among them.

    Mistakes are of three kinds, in shares that are drawn: anywhere in the field; near misses,
    which end where a neighbour's match ends or are off by a step; and patches in which all
    mistakes are off by one vector, so that they agree with each other.
    """
    count, dims = true_um.shape
    target = true_um + rng.normal(0, rng.uniform(*params.noise_um), true_um.shape)
    wrong = rng.permutation(count)[: round(rng.uniform(*params.wrong) * count)]
    cuts = np.sort(rng.integers(0, len(wrong) + 1, 2))
    anywhere, near, _ = np.split(wrong, cuts)
    target[anywhere] = rng.uniform(true_um.min(axis=0), true_um.max(axis=0), (len(anywhere), dims))
    target[near] = _near_misses(target, true_um, near, params, rng)
    _shift_patches(target, true_um, wrong[cuts[1] :], params, rng)
    right = np.linalg.norm(target - true_um, axis=1) <= params.right_within_um
    return MatchSet(source_um, target, true_um, right)


def _near_misses(
    target: Float64Array,
    true: Float64Array,
    rows: npt.NDArray[np.intp],
    params: MatchSetParams,
    rng: np.random.Generator,
) -> Float64Array:
    """Return where near misses end: half with a neighbour's match, half off by a step."""
    neighbours = np.asarray(cKDTree(true).query(true[rows], k=_NEAR + 1)[1])[:, 1:]
    taken = neighbours[np.arange(len(rows)), rng.integers(0, _NEAR, len(rows))]
    step = (
        _directions(len(rows), true.shape[1], rng)
        * rng.uniform(*params.near_um, len(rows))[:, None]
    )
    use = rng.random(len(rows)) < 0.5
    return np.where(use[:, None], target[taken], target[rows] + step)


def _shift_patches(
    target: Float64Array,
    true: Float64Array,
    rows: npt.NDArray[np.intp],
    params: MatchSetParams,
    rng: np.random.Generator,
) -> None:
    """Shift mistakes in place, patch by patch, until each has been shifted once."""
    left = rows
    while len(left):
        middle = true[left[0]]
        inside = np.linalg.norm(true[left] - middle, axis=1) < rng.uniform(*params.patch_um)
        shift = _directions(1, true.shape[1], rng)[0] * rng.uniform(*params.patch_shift_um)
        target[left[inside]] += shift
        left = left[~inside]


def _directions(count: int, dims: int, rng: np.random.Generator) -> Float64Array:
    vectors = rng.standard_normal((count, dims))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def thin_plate_displacement(
    points: Float64Array, extent: Float64Array, params: MatchSetParams, rng: np.random.Generator
) -> Float64Array:
    """Return a smooth displacement (N, D) that is random at control points."""
    length = rng.uniform(*params.length_um)
    low, high = params.displacement_um
    size = rng.uniform(low, max(low, min(high, _STEEPEST * length)))
    axes = [np.arange(-0.5 * e - length, 0.5 * e + 2 * length, length) for e in extent]
    control = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(extent))
    control = control + rng.uniform(-0.25, 0.25, control.shape) * length
    pushed = rng.standard_normal(control.shape)
    # In space, the polyharmonic spline of the same bending energy is linear in the distance.
    kernel: Literal["thin_plate_spline", "linear"]
    kernel = "thin_plate_spline" if len(extent) == 2 else "linear"
    moved = RBFInterpolator(control, pushed, kernel=kernel)(points)
    moved -= moved.mean(axis=0)
    return np.asarray(moved * size / np.sqrt((moved**2).sum(axis=1).mean()))


def _rotation(dims: int, angle_deg: float, rng: np.random.Generator) -> Float64Array:
    angle = np.deg2rad(rng.uniform(-angle_deg, angle_deg))
    if dims == 2:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(Rotation.from_rotvec(_directions(1, 3, rng)[0] * angle).as_matrix())
