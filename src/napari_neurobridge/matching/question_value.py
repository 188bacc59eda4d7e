"""What there is to learn from a person's answer about each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.posterior_reader import PosteriorReader
from napari_neurobridge.spaces.gaussian_process import farthest_points

if TYPE_CHECKING:
    from napari_neurobridge.matching.propagation.propagate import Propagation
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]


def question_value(found: Propagation) -> Float64Array:
    """Return the entropy of each query's posterior, candidates and none, (N,) nats.

    It is the information that a faultless answer is expected to bring. Queries that a
    person has paired have no more to tell: 0.
    """
    setup = found.state.setup
    bits = PosteriorReader(found.posterior, len(setup.gallery)).summary_of_queries().bits
    return np.where(setup.paired, 0.0, np.maximum(bits * np.log(2), 0.0))


def spread_query(points_um: FloatArray, asked: RowArray) -> int:
    """Return the query farthest from all that were asked: what to ask before any posterior.

    Parameters
    ----------
    points_um : ndarray, shape (N, 3)
        Of all queries.
    asked : ndarray of int, shape (A,)
        Rows that were asked; if there are none, the row nearest to the middle is returned.
    """
    if not len(asked):
        middle = points_um.mean(axis=0)
        return int(np.linalg.norm(points_um - middle, axis=1).argmin())
    free = np.setdiff1d(np.arange(len(points_um)), asked)
    leading = np.concatenate([points_um[asked], points_um[free]])
    row = int(farthest_points(leading, len(asked) + 1, len(asked))[-1])
    return int(free[max(row - len(asked), 0)])
