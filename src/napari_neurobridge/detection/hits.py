"""Which detections are somata: each true soma counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    import numpy.typing as npt

SAME_SOMA_UM = 5.0


def count_hits(
    truth_um: npt.NDArray[np.float64],
    found_um: npt.NDArray[np.float64],
    *,
    within_um: float = SAME_SOMA_UM,
) -> int:
    """Return how many true somata were found, each by a detection of its own."""
    return int(find_hits(truth_um, found_um, within_um=within_um).sum())


def find_hits(
    truth_um: npt.NDArray[np.float64],
    found_um: npt.NDArray[np.float64],
    *,
    within_um: float = SAME_SOMA_UM,
) -> npt.NDArray[np.bool_]:
    """Return which detections (M,) are a true soma, each of its own.

    Parameters
    ----------
    truth_um, found_um : ndarray, shape (N, 3) and (M, 3)
        µm, (z, y, x).
    within_um : float
        Farthest that a detection may lie from its soma.
    """
    hit = np.zeros(len(found_um), dtype=np.bool_)
    if not len(truth_um) or not len(found_um):
        return hit
    distance = cdist(truth_um, found_um)
    # Too far costs more than all hits together, so the assignment makes hits first.
    far = within_um * (min(distance.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(distance <= within_um, distance, far))
    hit[columns] = distance[rows, columns] <= within_um
    return hit
