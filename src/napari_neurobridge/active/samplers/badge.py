"""BADGE: Ash et al., Deep batch active learning by diverse, uncertain gradient lower bounds.

International Conference on Learning Representations (2020), algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.active.samplers.pool import Pool, RowArray


def badge(
    pool: Pool, count: int, rng: np.random.Generator, *, after: Sequence[int] = ()
) -> RowArray:
    """Return rows whose gradient embeddings are long and unlike each other; see `Sampler`.

    The rows are the seeds of k-means++: each is drawn with a probability proportional to the
    squared distance of its gradient from the nearest one that was chosen before. The first is
    the longest gradient, as in the authors' program. Where all gradients that are left coincide
    with chosen ones, rows are drawn evenly from what is left.

    Rows ``after`` which the others are drawn, such as those that are answered already, are not
    returned; with any of them the first is drawn as all others are.

    Raises
    ------
    InputError
        As `Sampler` says, and if the pool has no gradients.
    """
    pool.check_count(count + len(after))
    if pool.gradients is None:
        raise InputError("BADGE needs the gradient embeddings of the pool.")
    gradients = pool.gradients.astype(np.float64)
    chosen = list(after) or [int((gradients**2).sum(axis=1).argmax())]
    nearest = np.full(len(pool), np.inf)
    if len(after) > 1:
        nearest = np.asarray(cKDTree(gradients[chosen]).query(gradients)[0]) ** 2
    while len(chosen) < count + len(after):
        nearest = np.minimum(nearest, _squared(gradients, chosen[-1]))
        chosen.append(int(rng.choice(len(pool), p=_shares(nearest, chosen))))
    return np.array(chosen[len(after) :], dtype=np.intp)


def _squared(gradients: npt.NDArray[np.float64], row: int) -> npt.NDArray[np.float64]:
    """Return the squared distance of each gradient from that of one row."""
    return np.asarray(((gradients - gradients[row]) ** 2).sum(axis=1))


def _shares(squared: npt.NDArray[np.float64], chosen: list[int]) -> npt.NDArray[np.float64]:
    """Return the probability of each row to be drawn next; 0 for those that are chosen."""
    if not squared.any():
        squared = np.ones(len(squared))
        squared[chosen] = 0.0
    return np.asarray(squared / squared.sum())
