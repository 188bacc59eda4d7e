"""Any map as an affine and displacements on a regular grid, as other programs can hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine, as_points
from napari_neurobridge.spaces.alignment import NotInvertibleError

if TYPE_CHECKING:
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

Float64Array = npt.NDArray[np.float64]

TOLERANCE_UM = 0.01
"""Largest error of the linear interpolation that a grid is laid out for."""
MOST_NODES = 1_000_000
"""A grid has no more nodes; it is coarser than its tolerance asks where that is not enough."""

# A map that a fitted affine reproduces so well is that affine.
_EXACT_UM = 5e-7
_LATTICE = 9
_N_CHECKED = 3000
_ROUNDS = 4
# Aimed at below the tolerance, since the error is measured at some places only.
_AIM = 0.5
_AT_ONCE = 50_000
_INVERSE_ROUNDS = 200
_INVERSE_TOLERANCE_UM = 1e-7


@dataclass(frozen=True, eq=False)
class DisplacementGrid:
    """Displacements on a grid, interpolated linearly, and then an affine; a `Transform`.

    A point p goes to affine(p + d(p)). Beyond half a step outside the grid d is zero, as in ITK's
    DisplacementFieldTransform.

    Parameters
    ----------
    displacement_um : ndarray, shape (Z, Y, X, 3)
        d at the nodes, µm (z, y, x) of the source.
    origin_um, step_um : ndarray, shape (3,)
        Place of the first node, and distance of neighbouring nodes, µm (z, y, x) of the source.
    affine : Affine
        Its source and target are the map's.
    error_um : float or None
        Largest distance from the map that was sampled, at places between the nodes; None where it
        was not measured.

    Raises
    ------
    InputError
        If the arrays do not fit, a step is not positive, or a number is not finite.
    """

    displacement_um: Float64Array
    origin_um: Float64Array
    step_um: Float64Array
    affine: Affine
    error_um: float | None = None

    def __post_init__(self) -> None:
        field = np.asarray(self.displacement_um, dtype=np.float64)
        if field.ndim != 4 or field.shape[3] != 3 or min(field.shape) < 1:
            raise InputError(
                f"A grid of displacements must have shape (Z, Y, X, 3), not {field.shape}."
            )
        origin, step = (np.asarray(v, dtype=np.float64) for v in (self.origin_um, self.step_um))
        if origin.shape != (3,) or step.shape != (3,):
            raise InputError("A grid of displacements needs an origin and a step in (z, y, x).")
        if not (np.isfinite(origin).all() and np.isfinite(step).all() and (step > 0).all()):
            raise InputError("The steps of a grid of displacements must be positive numbers of µm.")
        if not np.isfinite(field).all():
            raise InputError("A grid of displacements holds NaN or infinite numbers.")
        for name, value in (("displacement_um", field), ("origin_um", origin), ("step_um", step)):
            object.__setattr__(self, name, value)

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.affine.source

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.affine.target

    @property
    def corners_um(self) -> Float64Array:
        """First and last node, (2, 3) µm (z, y, x) of the source."""
        last = np.array(self.displacement_um.shape[:3]) - 1
        return np.stack([self.origin_um, self.origin_um + last * self.step_um])

    def displacements(self, points: npt.ArrayLike) -> Float64Array:
        """Return d at points (N, 3), µm (z, y, x) of the source."""
        index = (as_points(points) - self.origin_um) / self.step_um
        last = np.array(self.displacement_um.shape[:3]) - 1
        inside = np.asarray(((index >= -0.5) & (index <= last + 0.5)).all(axis=1))
        found = np.stack(
            [
                map_coordinates(self.displacement_um[..., axis], index.T, order=1, mode="nearest")
                for axis in range(3)
            ],
            axis=1,
        )
        return np.where(inside[:, None], found, 0.0)

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        here = as_points(points)
        return self.affine.map_points(here + self.displacements(here))

    def inverse(self) -> InverseDisplacementGrid:
        """Return the map back."""
        return InverseDisplacementGrid(self)


@dataclass(frozen=True, eq=False)
class InverseDisplacementGrid:
    """A grid of displacements followed backwards, by fixed-point iteration; a `Transform`.

    Newton's method (`inversion.follow_back`) would need a derivative, which linear interpolation
    has not at the nodes.

    Parameters
    ----------
    forward : DisplacementGrid
    """

    forward: DisplacementGrid

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.forward.target

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.forward.source

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target.

        Raises
        ------
        NotInvertibleError
            If the map folds there.
        """
        wanted = self.forward.affine.inverse().map_points(points)
        found = wanted
        for _ in range(_INVERSE_ROUNDS):
            moved = wanted - self.forward.displacements(found)
            if not moved.size or np.abs(moved - found).max() < _INVERSE_TOLERANCE_UM:
                return moved
            found = moved
        raise NotInvertibleError("This grid of displacements cannot be inverted there: it folds.")

    def inverse(self) -> DisplacementGrid:
        """Return the map back."""
        return self.forward


def as_affine(transform: Transform, corners_um: npt.ArrayLike) -> Affine | None:
    """Return the affine that a map is within a box, or None where it is none.

    Parameters
    ----------
    transform : Transform
    corners_um : array_like, shape (2, 3)
        Opposite corners, µm (z, y, x) of the map's source.
    """
    if isinstance(transform, Affine):
        return transform
    fitted, residual_um = _fit(transform, _checked_corners(corners_um))
    return fitted if residual_um <= _EXACT_UM else None


def sample_on_grid(
    transform: Transform,
    corners_um: npt.ArrayLike,
    *,
    tolerance_um: float = TOLERANCE_UM,
    step_um: float | None = None,
    most_nodes: int = MOST_NODES,
    report: Report | None = None,
) -> DisplacementGrid:
    """Sample a map on the coarsest grid whose linear interpolation is as exact as asked.

    Parameters
    ----------
    transform : Transform
    corners_um : array_like, shape (2, 3)
        Opposite corners of the box in which it is to hold, µm (z, y, x) of its source.
    tolerance_um : float
        Largest distance from the map, in its target. The linear interpolation error is at most
        h²/8 times the second derivative along each axis, which is measured first; the grid that
        follows is checked at cell centres and random places and refined where that is needed.
    step_um : float, optional
        Distance of the nodes along all axes, instead of what the tolerance asks.
    most_nodes : int
        Where more would be needed, the grid has this many, and ``error_um`` says what that costs.
    report : Report, optional

    Raises
    ------
    InputError
        If the box is empty, or a step or tolerance is not positive.
    NotInvertibleError
        If the map folds inside the box.
    """
    corners = _checked_corners(corners_um)
    for what, value in (("tolerance", tolerance_um), ("step", step_um)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"The {what} of a grid must be a positive number of µm, not {value}.")
    affine, _ = _fit(transform, corners)
    extent = corners[1] - corners[0]
    steps = (
        _steps(transform, corners, _AIM * tolerance_um) if step_um is None else np.full(3, step_um)
    )
    for _ in range(_ROUNDS):
        shape, fits = _shape(extent, steps, most_nodes)
        grid = _sample(transform, corners, shape, affine, report)
        if step_um is not None or not fits or (grid.error_um or 0.0) <= 0.8 * tolerance_um:
            break
        steps = steps * np.sqrt(_AIM * tolerance_um / (grid.error_um or 1.0))
    return grid


def _checked_corners(corners_um: npt.ArrayLike) -> Float64Array:
    corners = np.sort(as_points(corners_um), axis=0)
    if corners.shape != (2, 3) or (corners[1] <= corners[0]).any():
        raise InputError("A grid needs two opposite corners of a box, (z, y, x), of some extent.")
    return corners


def _lattice(corners: Float64Array, shape: npt.ArrayLike) -> Float64Array:
    """Return the nodes of a lattice that spans a box, (Z * Y * X, 3)."""
    axes = [
        np.linspace(corners[0, axis], corners[1, axis], int(n))
        for axis, n in enumerate(np.asarray(shape))
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _fit(transform: Transform, corners: Float64Array) -> tuple[Affine, float]:
    """Return the least-squares affine of a map in a box, and its largest residual."""
    random = np.random.default_rng(0).uniform(corners[0], corners[1], size=(100, 3))
    places = np.vstack([_lattice(corners, (5, 5, 5)), random])
    center = corners.mean(axis=0)
    mapped = transform.map_points(places)
    offsets = np.hstack([places - center, np.ones((len(places), 1))])
    solution = np.linalg.lstsq(offsets, mapped, rcond=None)[0]
    linear = solution[:3].T
    affine = Affine.from_linear(
        linear, solution[3] - linear @ center, source=transform.source, target=transform.target
    )
    return affine, float(np.linalg.norm(affine.map_points(places) - mapped, axis=1).max())


def _steps(transform: Transform, corners: Float64Array, aim_um: float) -> Float64Array:
    """Return the distance of nodes along each axis that the map's curvature asks for, (3,)."""
    n_fine = 2 * _LATTICE - 1
    fine = transform.map_points(_lattice(corners, [n_fine] * 3)).reshape(n_fine, n_fine, n_fine, 3)
    coarse_step = (corners[1] - corners[0]) / (_LATTICE - 1)
    steps = np.empty(3)
    for axis in range(3):
        along = np.moveaxis(fine, axis, 0)
        error = along[1:-1:2] - (along[:-2:2] + along[2::2]) / 2
        largest = max(float(np.linalg.norm(error, axis=-1).max()), 1e-12)
        steps[axis] = coarse_step[axis] * np.sqrt(aim_um / 3 / largest)
    return steps


def _shape(
    extent: Float64Array, steps: Float64Array, most_nodes: int
) -> tuple[tuple[int, int, int], bool]:
    """Return how many nodes lie along each axis, and whether they are as many as asked."""
    wanted = np.maximum(np.ceil(extent / steps), 1) + 1
    fits, shape = bool(wanted.prod() <= most_nodes), wanted
    factor = 1.0
    while shape.prod() > most_nodes:
        factor *= 0.98
        shape = np.maximum(np.floor(wanted * factor), 2)
        if (shape == 2).all():
            break
    z, y, x = (int(n) for n in shape)
    return (z, y, x), fits


def _sample(
    transform: Transform,
    corners: Float64Array,
    shape: tuple[int, int, int],
    affine: Affine,
    report: Report | None,
) -> DisplacementGrid:
    nodes = _lattice(corners, shape)
    displacement = np.empty_like(nodes)
    back = affine.inverse()
    for start in range(0, len(nodes), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        if report is not None:
            report(start, len(nodes), "sampling the map on a grid")
        displacement[rows] = back.map_points(transform.map_points(nodes[rows])) - nodes[rows]
    step = (corners[1] - corners[0]) / (np.array(shape) - 1)
    grid = DisplacementGrid(displacement.reshape(*shape, 3), corners[0], step, affine)
    random = np.random.default_rng(1)
    cells = random.integers(0, np.array(shape) - 1, size=(_N_CHECKED, 3))
    places = np.vstack(
        [
            corners[0] + (cells + 0.5) * step,
            random.uniform(corners[0], corners[1], size=(_N_CHECKED, 3)),
        ]
    )
    missed = np.linalg.norm(grid.map_points(places) - transform.map_points(places), axis=1)
    return DisplacementGrid(grid.displacement_um, corners[0], step, affine, float(missed.max()))
