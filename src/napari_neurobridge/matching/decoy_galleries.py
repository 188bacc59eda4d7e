"""Galleries that hold no partner but lie as the true one does: in its plane, sheet or volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator

Float64Array = npt.NDArray[np.float64]

LayoutKind = Literal["plane", "sheet", "slab", "volume"]

# Somata whose surroundings are looked at, and how many neighbours make them.
_SAMPLE, _NEIGHBOURS = 400, 24
# Locally flat: the variance across is below this share of the second largest.
_FLAT = 0.1
# Bent: the standard deviation across the whole is so many times that across a neighbourhood.
_BENT = 1.5
SPACINGS = 3.0
"""A shift goes at least this many spacings of somata, or as far as no query reaches."""

_SHIFTS_UM = (40.0, 60.0)
# A field is thin across where it ends after so many shifts.
_THIN = 2.0
# A slab's direction across is uncertain: this near (cosine) to a coordinate it is that, so that
# the planes of a stack stay in each other.
_ALONG = np.cos(np.deg2rad(5.0))
# Successive shifts turn by the golden angle, so that no two go alike.
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
_COORDINATES = "zyx"


@dataclass(frozen=True, eq=False)
class SomataLayout:
    """In what the somata of a gallery lie, and how far apart.

    Attributes
    ----------
    points_um : ndarray, shape (M, 3)
        µm (z, y, x).
    kind : {"plane", "sheet", "slab", "volume"}
        A sheet is a curved plane; a slab is a volume too thin to be shifted across.
    axes : ndarray, shape (3, 3)
        Orthonormal rows, as near to the axes of the coordinates as the somata allow. Unless
        in a volume, the last one points across.
    spacing_um : float
        (count per area)^(-1/2) in a plane or sheet, (count per volume)^(-1/3) otherwise.
    """

    points_um: Float64Array
    kind: LayoutKind
    axes: Float64Array
    spacing_um: float
    _middle_um: Float64Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        own = self.points_um @ self.axes.T
        middle = (own.min(axis=0) + own.max(axis=0)) / 2 @ self.axes
        object.__setattr__(self, "_middle_um", middle)

    @classmethod
    def of(cls, points_um: Float64Array) -> SomataLayout:
        """Look at all somata (M, 3) together and at the surroundings of some."""
        deviation, directions = _principal(points_um[None])
        across, local_across, reach, count = directions[0, 0], *_surroundings(points_um)
        if local_across is not None:
            flat = deviation[0, 0] <= _BENT * local_across + 1e-6
            kind: LayoutKind = "plane" if flat else "sheet"
            spacing = np.sqrt(np.pi * reach**2 / count)
        else:
            spacing = np.cbrt(4 / 3 * np.pi * reach**3 / count)
            thin = np.ptp(points_um @ across) < _THIN * max(*_SHIFTS_UM, SPACINGS * spacing)
            kind = "slab" if thin else "volume"
            if np.abs(across).max() > _ALONG:
                across = np.eye(3)[np.abs(across).argmax()]
        axes = np.eye(3) if kind == "volume" else _axes_about(across)
        return cls(points_um, kind, axes, float(spacing))

    @property
    def rank(self) -> int:
        """How many dimensions the somata fill nearby: 2 in a plane or sheet, else 3."""
        return 2 if self.kind in ("plane", "sheet") else 3

    @property
    def within(self) -> str:
        """Words to say where something moves; empty in a volume."""
        return "" if self.kind == "volume" else f" within the {self.kind}"

    def axis_name(self, axis: int) -> str:
        """Return the coordinate that an axis mostly runs along."""
        return _COORDINATES[int(np.abs(self.axes[axis]).argmax())]

    def moved(self, linear: Float64Array, step_um: Float64Array) -> Float64Array:
        """Return all somata moved together, (M, 3), about the middle of the field.

        In a sheet each keeps its distance from the surface, however that bends.

        Parameters
        ----------
        linear : ndarray, shape (3,)
            Factor along each of the axes, 1 or -1.
        step_um : ndarray, shape (3,)
            Along each of the axes.
        """
        own = (self.points_um - self._middle_um) @ self.axes.T
        moved = own * linear + step_um
        if self.kind == "sheet":
            moved[:, 2] = _height(own, moved[:, :2]) + own[:, 2] - _height(own, own[:, :2])
        return np.asarray(self._middle_um + moved @ self.axes)


@dataclass(frozen=True, eq=False)
class DecoyGallery:
    """A gallery's somata in other places.

    Attributes
    ----------
    name : str
        What was done, such as "shifted 60 µm within the plane".
    moved_um : ndarray, shape (M, 3)
    distance_um : float
        A soma that moved less than this has not left its place.
    """

    name: str
    moved_um: Float64Array
    distance_um: float


def decoy_galleries(
    layout: SomataLayout, distance_um: float, reach_um: float, seed: int
) -> Iterator[DecoyGallery]:
    """Move a gallery within the manifold that its somata lie in: three shifts, two mirrors, a turn.

    Moved out of it, for instance a single plane upwards, it would hold no somata where
    any are expected, and nothing would be claimed for that reason alone.

    Parameters
    ----------
    layout : SomataLayout
    distance_um : float
        Shifts are as long as this, and 40 and 60 µm.
    reach_um : float
        Where 40 or 60 µm are shorter than this, the distance takes their place, in another
        direction.
    seed : int
        Draws the directions.
    """
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    lengths = [length if length >= reach_um else distance_um for length in _SHIFTS_UM]
    still = np.ones(3)
    for number, length in enumerate([distance_um, *lengths]):
        turned = angle + number * _GOLDEN_ANGLE
        step = np.array([np.cos(turned), np.sin(turned), 0.0])
        if layout.kind == "volume":
            step = rng.normal(size=3)
            step /= np.linalg.norm(step)
        name = f"shifted {length:.0f} µm{layout.within}"
        yield DecoyGallery(name, layout.moved(still, step * length), length)
    # Of a volume, the two longest axes.
    extent = np.ptp(layout.points_um @ layout.axes.T, axis=0)
    first, second = sorted(np.argsort(-extent)[:2]) if layout.kind == "volume" else (0, 1)
    for axes in ((first,), (second,), (first, second)):
        linear = still.copy()
        linear[list(axes)] = -1.0
        name = "turned by 180°" if len(axes) > 1 else f"mirrored in {layout.axis_name(axes[0])}"
        yield DecoyGallery(f"{name}{layout.within}", layout.moved(linear, np.zeros(3)), distance_um)


def _principal(groups_um: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return standard deviations (G, 3), rising, and directions (G, 3, 3), of groups (G, K, 3)."""
    offset = groups_um - groups_um.mean(axis=1, keepdims=True)
    covariance = offset.swapaxes(1, 2) @ offset / groups_um.shape[1]
    variance, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(variance, 0.0)), vectors.swapaxes(1, 2)


def _surroundings(points_um: Float64Array) -> tuple[float | None, float, int]:
    """Return the deviation across (None unless flat), the reach to neighbours, and their count."""
    step = max(1, len(points_um) // _SAMPLE)
    count = min(_NEIGHBOURS, len(points_um) - 1)
    distance, rows = cKDTree(points_um).query(points_um[::step], k=np.arange(1, count + 2))
    deviation, _ = _principal(points_um[np.asarray(rows)])
    ratio = (deviation[:, 0] / np.maximum(deviation[:, 1], 1e-9)) ** 2
    across = float(np.median(deviation[:, 0])) if np.median(ratio) < _FLAT else None
    # Several somata in one place have no finite density.
    return across, max(float(np.median(np.asarray(distance)[:, -1])), 1e-3), count


def _axes_about(across: Float64Array) -> Float64Array:
    """Return orthonormal rows, the last along ``across`` and the others near the coordinates'."""
    order = np.argsort(np.abs(across), kind="stable")
    first, second = sorted(order[:2].tolist())
    row = np.eye(3)[first] - across[first] * across
    row /= np.linalg.norm(row)
    other = np.cross(across, row)
    return np.stack([row, other * (1.0 if other[second] >= 0 else -1.0), across])


def _height(surface: Float64Array, places: Float64Array) -> Float64Array:
    """Return the third coordinate of a surface at places (N, 2) of the first two, (N,).

    A plane is fitted to the nearest of its points (M, 3) by weighted least squares (local linear
    regression; Cleveland, J. Am. Stat. Assoc. 1979).
    """
    count = min(_NEIGHBOURS, len(surface))
    distance, rows = cKDTree(surface[:, :2]).query(places, k=np.arange(1, count + 1))
    near = surface[np.asarray(rows)]
    distance = np.asarray(distance)
    reach = np.maximum(1.01 * distance[:, -1:], 1e-9)
    root = np.sqrt((1 - (distance / reach) ** 3) ** 3)[..., None]
    basis = np.concatenate([np.ones_like(root), near[..., :2] - places[:, None]], axis=2) * root
    fitted = np.linalg.pinv(basis) @ (near[..., 2:] * root)
    return np.asarray(fitted[:, 0, 0])
