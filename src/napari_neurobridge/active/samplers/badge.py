"""BADGE: Ash et al., Deep batch active learning by diverse, uncertain gradient lower bounds.

International Conference on Learning Representations (2020), algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.active.samplers.pool import Pool, RowArray


def badge(pool: Pool, count: int, rng: np.random.Generator) -> RowArray:
    """Return rows whose gradient embeddings are long and unlike each other; see `Sampler`.

    The rows are the seeds of k-means++: each is drawn with a probability proportional to the
    squared distance of its gradient from the nearest one that was chosen before. The first is
    the longest gradient, as in the authors' program. Where all gradients that are left coincide
    with chosen ones, rows are drawn evenly from what is left.

    Raises
    ------
    InputError
        As `Sampler` says, and if the pool has no gradients.
    """
    pool.check_count(count)
    if pool.gradients is None:
        raise InputError("BADGE needs the gradient embeddings of the pool.")
    gradients = pool.gradients.astype(np.float64)
    nearest = (gradients**2).sum(axis=1)
    chosen = [int(nearest.argmax())]
    nearest = np.full(len(pool), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((gradients - gradients[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(rng.choice(len(pool), p=_shares(nearest, chosen))))
    return np.array(chosen, dtype=np.intp)


def _shares(squared: npt.NDArray[np.float64], chosen: list[int]) -> npt.NDArray[np.float64]:
    """Return the probability of each row to be drawn next; 0 for those that are chosen."""
    if not squared.any():
        squared = np.ones(len(squared))
        squared[chosen] = 0.0
    return np.asarray(squared / squared.sum())
