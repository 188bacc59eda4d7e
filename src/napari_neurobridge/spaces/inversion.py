"""Finding the places that a smooth map takes to given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.spaces.jacobian import jacobian_of

if TYPE_CHECKING:
    from napari_neurobridge.spaces.jacobian import MapsPoints

Float64Array = npt.NDArray[np.float64]

INVERSE_TOLERANCE_UM = 1e-5

_ROUNDS = 60
_HALVINGS = 12
_STEP_UM = 0.01


def follow_back(
    forward: MapsPoints,
    wanted_um: Float64Array,
    start_um: Float64Array,
    *,
    hand: float,
    tolerance_um: float = INVERSE_TOLERANCE_UM,
) -> Float64Array:
    """Return the places that a map takes to given ones, by Newton's method with halved steps.

    Parameters
    ----------
    forward : MapsPoints
        With a derivative.
    wanted_um : ndarray, shape (N, 3)
        µm (z, y, x) of its target.
    start_um : ndarray, shape (N, 3)
        First guesses, µm of its source.
    hand : float
        Has the sign of the map's determinant where it does not fold.
    tolerance_um : float
        By how much the places found, mapped forwards, may miss.

    Raises
    ------
    NotInvertibleError
        That names the first point for which no place is found, or one within a fold.
    """
    found = np.array(start_um, dtype=np.float64)
    miss = wanted_um - forward.map_points(found)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(np.linalg.norm(miss, axis=1) > tolerance_um)
        if not len(rows):
            break
        step = np.linalg.pinv(jacobian_of(forward, found[rows], _STEP_UM)) @ miss[rows, :, None]
        if not _advance(forward, wanted_um, found, miss, rows, step[..., 0]):
            break
    missed = np.linalg.norm(miss, axis=1) > tolerance_um
    folded = np.linalg.det(jacobian_of(forward, found, _STEP_UM)) * hand <= 0
    if (missed | folded).any():
        z, y, x = wanted_um[np.flatnonzero(missed | folded)[0]]
        raise NotInvertibleError(
            f"The map cannot be inverted at z {z:.0f}, y {y:.0f}, x {x:.0f} µm: it folds there."
        )
    return found


def _advance(
    forward: MapsPoints,
    wanted: Float64Array,
    found: Float64Array,
    miss: Float64Array,
    rows: npt.NDArray[np.intp],
    step: Float64Array,
) -> bool:
    """Move rows by as much of their steps as brings them nearer; return whether any moved."""
    moved, share = False, 1.0
    for _ in range(_HALVINGS):
        there = found[rows] + share * step
        rest = wanted[rows] - forward.map_points(there)
        nearer = np.linalg.norm(rest, axis=1) < np.linalg.norm(miss[rows], axis=1)
        found[rows[nearer]], miss[rows[nearer]] = there[nearer], rest[nearer]
        moved |= bool(nearer.any())
        rows, step, share = rows[~nearer], step[~nearer], share / 2
        if not len(rows):
            break
    return moved
