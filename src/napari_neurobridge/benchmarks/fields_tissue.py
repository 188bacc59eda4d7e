"""Where somata lie in the tissue of a generated field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Float64Array = npt.NDArray[np.float64]

HARD_CORE_UM = 8.0
"""Least distance of two somata, unless they cluster."""

CLUSTERED_HARD_CORE_UM = 5.0
"""The same in clusters, where bodies touch."""

# How many more somata are drawn than are asked for, since some lie too close to others.
_SURPLUS = 1.6


@dataclass(frozen=True)
class SomaLayout:
    """A box of somata, or several thin ones on top of each other.

    Attributes
    ----------
    box_um : tuple of float
        Edges (z, y, x) of the box around the origin; with `layers_um`, of each layer.
    n_somata : int
        In all layers together.
    layers_um : tuple of float
        z of the middle of each layer.
    clustered : bool
        Somata gather in clusters of some 10, of a standard deviation of 12 µm (a Thomas process).
    """

    box_um: tuple[float, float, float]
    n_somata: int
    layers_um: tuple[float, ...] = (0.0,)
    clustered: bool = False

    def draw(self, rng: np.random.Generator) -> Float64Array:
        """Return the somata, shape (n_somata, 3), µm (z, y, x)."""
        counts = np.diff(np.linspace(0, self.n_somata, len(self.layers_um) + 1).round()).astype(int)
        layers = []
        for middle, count in zip(self.layers_um, counts.tolist(), strict=True):
            if self.clustered:
                somata = _thomas(self.box_um, count, rng)
            else:
                somata = rng.uniform(-0.5, 0.5, (int(count * _SURPLUS) + 1, 3)) * self.box_um
            closest = CLUSTERED_HARD_CORE_UM if self.clustered else HARD_CORE_UM
            layers.append(_spaced(somata, closest)[:count] + np.array([middle, 0.0, 0.0]))
        return np.vstack(layers)


def _spaced(points: Float64Array, closest_um: float) -> Float64Array:
    """Drop each point that is too close to an earlier one that stays (sequential inhibition)."""
    keep = np.ones(len(points), dtype=np.bool_)
    close = cKDTree(points).query_pairs(closest_um, output_type="ndarray")
    # By the later point, so that the fate of the earlier one is known.
    for first, second in close[np.lexsort((close[:, 0], close[:, 1]))].tolist():
        keep[second] &= not keep[first]
    return points[keep]


def _thomas(
    box_um: tuple[float, float, float],
    count: int,
    rng: np.random.Generator,
    *,
    size: float = 10.0,
    sd_um: float = 12.0,
) -> Float64Array:
    """Return clusters of normally distributed points, in random order (Thomas 1949)."""
    edges = np.asarray(box_um)
    # Parents beyond the box as well, lest its borders be sparse.
    wider = edges + 4 * sd_um
    share = float(np.prod(edges / wider))
    parents = rng.uniform(-0.5, 0.5, (int(_SURPLUS * count / size / share) + 1, 3)) * wider
    points = np.repeat(parents, rng.poisson(size, len(parents)), axis=0)
    points = points + rng.normal(0, sd_um, points.shape)
    inside = (np.abs(points) <= edges / 2).all(axis=1)
    return np.asarray(rng.permutation(points[inside]))
