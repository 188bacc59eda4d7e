"""A gallery's somata as points, and how often one of them lies somewhere by chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_NEIGHBOURS = 40
_FEWEST = 2
_SMALLEST_REACH_UM = 1e-3
# Coincidences are counted at so many places, each displaced from a soma by the difference of two of
# its neighbours of these ranks, at scales that are these shares of the reach.
_PLACES, _RANKS = 6000, (4, 14)
_SCALES = np.geomspace(0.012, 0.35, 12)
_PRIOR_COINCIDENCES = 10.0
# Somata of a plane are given to 0.001 µm.
_FLAT_UM = 2e-3


class CandidateField:
    """A gallery's somata as points, with the density of chance coincidences.

    A soma within σ of a place says the less, the more often one is there by chance. In a
    volume that is as often as the density of somata says. In a plane it is far more often: all
    of them are at the right depth, and σ is small against the ball that a density is counted
    in. So the density depends on the scale: it is the expected value of a Gaussian of
    that width, summed over all somata, at a place that is chosen as places of cells are and
    not as those of the gallery's own somata. Such places are had by displacing somata by
    differences of their neighbours, which lie within the same plane, sheet, stack or volume,
    whatever its dimension.

    Parameters
    ----------
    points_um : array_like, shape (M, 3)
        µm (z, y, x).
    neighbours : int
        The density at a soma is that of the ball that reaches to so many neighbours.

    Attributes
    ----------
    points_um : ndarray, shape (M, 3)
    density : ndarray, shape (M,)
        Somata in each µm³ of that ball.
    dimensions : int
        2 if all somata lie in one plane, else 3.
    tree : scipy.spatial.cKDTree
    """

    def __init__(self, points_um: npt.ArrayLike, *, neighbours: int = _NEIGHBOURS) -> None:
        self.points_um = as_points(points_um)
        if len(self.points_um) < _FEWEST:
            raise InputError("A gallery needs at least two somata.")
        self.tree = cKDTree(self.points_um)
        self._neighbours = min(neighbours, len(self.points_um) - 1)
        # Several somata in one place have no finite density.
        reach = self.tree.query(self.points_um, k=[self._neighbours + 1])[0]
        self._reach = np.maximum(np.asarray(reach)[:, 0], _SMALLEST_REACH_UM)
        self.density = self._ball_density(self._reach)
        extents = np.linalg.svd(self.points_um - self.points_um.mean(axis=0), compute_uv=False)
        thickness = np.pad(extents, (0, 3))[2] / np.sqrt(len(self.points_um))
        self.dimensions = 2 if thickness < _FLAT_UM else 3
        self._log_excess = self._measured_excess(np.random.default_rng(0))

    def __len__(self) -> int:
        return len(self.points_um)

    def nearest(self, places_um: Float64Array, count: int) -> tuple[Float64Array, RowArray]:
        """Return distances and rows of the nearest somata of places (N, 3), (N, count)."""
        distance, rows = self.tree.query(places_um, k=np.arange(1, min(count, len(self)) + 1))
        return np.asarray(distance), np.asarray(rows)

    @property
    def typical_density(self) -> float:
        """Median density at the somata, in each µm³."""
        return float(np.median(self.density))

    def coincidence_density(self, rows: RowArray, variance_um2: Float64Array) -> Float64Array:
        """Return the density of chance coincidences at somata, in each µm³, (N, K).

        Parameters
        ----------
        rows : ndarray of int, shape (N, K)
        variance_um2 : ndarray, shape (N,)
            Of each component of a Gaussian about the place.
        """
        relative = 0.5 * np.log(variance_um2)[:, None] - np.log(self._reach[rows])
        return np.asarray(self.density[rows] * self._excess(relative))

    def expected_coincidences(self, variance_um2: Float64Array) -> Float64Array:
        """Return how many somata are expected within typical places by chance, (N,).

        Parameters
        ----------
        variance_um2 : ndarray, shape (N,)
            Of each component of a Gaussian about the place, whose volume is (2π)^3/2 σ³.
        """
        relative = 0.5 * np.log(variance_um2) - np.log(np.median(self._reach))
        density = self.typical_density * self._excess(relative)
        return np.asarray(density * (2 * np.pi * variance_um2) ** 1.5)

    def _excess(self, log_relative_scale: Float64Array) -> Float64Array:
        """Return by how much coincidences exceed those of a volume of the ball's density."""
        return np.exp(np.interp(log_relative_scale, np.log(_SCALES), self._log_excess))

    def _ball_density(self, reach_um: Float64Array) -> Float64Array:
        return np.asarray(self._neighbours / (4 / 3 * np.pi * reach_um**3))

    def _measured_excess(self, rng: np.random.Generator) -> Float64Array:
        """Count coincidences about displaced places; return the log excess at each scale."""
        first, last = _RANKS
        last = min(last, len(self) - 1)
        if last - first < 2:
            return np.zeros(len(_SCALES))
        soma = rng.integers(len(self), size=_PLACES)
        near = np.asarray(self.tree.query(self.points_um[soma], k=np.arange(first, last) + 1)[1])
        # Two different ones of them.
        one = rng.integers(near.shape[1], size=_PLACES)
        other = (one + rng.integers(1, near.shape[1], size=_PLACES)) % near.shape[1]
        each = np.arange(_PLACES)
        step = self.points_um[near[each, one]] - self.points_um[near[each, other]]
        distance, _ = self.nearest(self.points_um[soma] + step, self._neighbours)
        reach = np.maximum(distance[:, -1], _SMALLEST_REACH_UM)
        ball = self._ball_density(reach)
        log_excess, larger = np.zeros(len(_SCALES)), 1.0
        for number in range(len(_SCALES) - 1, -1, -1):
            sigma = _SCALES[number] * reach
            hits = np.exp(-0.5 * (distance / sigma[:, None]) ** 2).sum()
            expected = (ball * (2 * np.pi * sigma**2) ** 1.5).sum()
            # Where hardly anything coincides, what the next larger scale says counts as well.
            larger = (hits + _PRIOR_COINCIDENCES) / (expected + _PRIOR_COINCIDENCES / larger)
            log_excess[number] = np.log(larger)
        return log_excess
