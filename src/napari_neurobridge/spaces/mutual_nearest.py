"""Points of two sets that are each other's nearest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree


def mutual_nearest(
    first_um: npt.NDArray[np.float64], second_um: npt.NDArray[np.float64], reach_um: float
) -> npt.NDArray[np.intp]:
    """Return the pairs of rows (K, 2) that are each other's nearest, no farther than a reach.

    Parameters
    ----------
    first_um, second_um : ndarray, shape (N, D) and (M, D)
    reach_um : float
    """
    if not len(first_um) or not len(second_um):
        return np.empty((0, 2), dtype=np.intp)
    away, there = (np.asarray(one) for one in cKDTree(second_um).query(first_um))
    back = np.asarray(cKDTree(first_um).query(second_um)[1])
    rows = np.flatnonzero((back[there] == np.arange(len(first_um))) & (away <= reach_um))
    return np.column_stack([rows, there[rows]]).astype(np.intp)
