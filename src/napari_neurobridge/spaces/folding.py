"""Whether a map folds tissue, or changes its volume more than tissue does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.spaces.jacobian import jacobian_of

if TYPE_CHECKING:
    from napari_neurobridge.spaces.jacobian import MapsPoints

Float64Array = npt.NDArray[np.float64]

STEP_UM = 10.0
LARGEST_CHANGE = 3.0
# Beyond this many places the grid becomes coarser.
_MOST_PLACES = 20_000


@dataclass(frozen=True, eq=False)
class VolumeChange:
    """How a map changes volume on a grid of places, relative to its median there.

    Attributes
    ----------
    points_um : ndarray, shape (N, 3)
        The places, µm (z, y, x) of the map's source.
    factor : ndarray, shape (N,)
        Determinant of the derivative over its median: 1 for an affine map, 0 or less where the
        map folds.
    step_um : float
        Distance of neighbouring places, over which each derivative is a mean.
    """

    points_um: Float64Array
    factor: Float64Array
    step_um: float


def volume_change(
    transform: MapsPoints,
    low_um: npt.ArrayLike,
    high_um: npt.ArrayLike,
    *,
    step_um: float = STEP_UM,
) -> VolumeChange:
    """Return how a map changes volume within a box.

    Parameters
    ----------
    transform : MapsPoints
    low_um, high_um : array_like, shape (3,)
        Corners of the box, µm (z, y, x) of the map's source; a plane or a line where they agree.
    step_um : float
        Of the grid; more where it would have over 20,000 places.

    Raises
    ------
    InputError
        If the box or the step is none, or the map flattens the whole box.
    """
    low, high = as_points(low_um)[0], as_points(high_um)[0]
    if (high < low).any() or not (np.isfinite(step_um) and step_um > 0):
        raise InputError("A box needs a low and a high corner, and its grid a positive step in µm.")
    step = float(step_um)
    while np.prod(np.ceil((high - low) / step) + 1) > _MOST_PLACES:
        step *= 1.25
    counts = np.ceil((high - low) / step).astype(int) + 1
    along = [
        np.linspace(a, b, n) if n > 1 else np.array([a])
        for a, b, n in zip(low, high, counts, strict=True)
    ]
    points = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)
    determinant = np.linalg.det(jacobian_of(transform, points, step / 2))
    usual = float(np.median(determinant))
    if abs(usual) < 1e-12:
        raise InputError("The map flattens space, so that it has no inverse.")
    return VolumeChange(points, determinant / usual, step)


def require_no_folding(
    transform: MapsPoints,
    low_um: npt.ArrayLike,
    high_um: npt.ArrayLike,
    *,
    step_um: float = STEP_UM,
    largest_change: float = LARGEST_CHANGE,
) -> VolumeChange:
    """Return how a map changes volume within a box, and refuse one that folds or tears tissue.

    Parameters
    ----------
    transform, low_um, high_um, step_um
        See `volume_change`. A fold narrower than the step may be missed.
    largest_change : float
        By this factor a place may swell or shrink, relative to the median of all places.

    Raises
    ------
    NotInvertibleError
        If the determinant of the derivative changes its sign.
    InputError
        If a place swells or shrinks more than that.
    """
    change = volume_change(transform, low_um, high_um, step_um=step_um)
    folded = change.factor <= 0
    if folded.any():
        where = _place(change.points_um[change.factor.argmin()])
        raise NotInvertibleError(
            f"The map folds at {folded.mean():.1%} of the places tested, most at {where}, where "
            f"volumes change by {change.factor.min():.2f} times the median."
        )
    size = np.abs(np.log(change.factor))
    worst = int(size.argmax())
    if size[worst] > np.log(largest_change):
        does = "swells" if change.factor[worst] > 1 else "shrinks"
        raise InputError(
            f"The map {does} tissue {np.exp(size[worst]):.1f}-fold at "
            f"{_place(change.points_um[worst])}, relative to the median; up to "
            f"{largest_change:g}-fold is taken for tissue."
        )
    return change


def _place(point: Float64Array) -> str:
    z, y, x = point
    return f"z {z:.0f}, y {y:.0f}, x {x:.0f} µm"
