"""Similarity of two crops in view of all others: each cell has one partner at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.types import FloatArray

TEMPERATURE = 0.03
"""Makes true partners of held-out simulated scenes most likely; see docs/benchmarks.md."""


def mutual_similarity(
    similarity: FloatArray,
    group: npt.NDArray[np.integer] | None = None,
    *,
    temperature: float = TEMPERATURE,
) -> FloatArray:
    """Return how likely two crops choose each other, on a log scale.

    A crop without features looks a little like everything, and a striking one like few.
    Softmax over all candidates of a query, and over all queries of a candidate, halves
    what such general likeness counts; the result is the mean of both logarithms (dual softmax:
    Rocco et al., NeurIPS 2018; Sun et al., "LoFTR", CVPR 2021, equation 2).

    Parameters
    ----------
    similarity : ndarray, shape (N, M)
        Cosine similarity of every query with every candidate.
    group : ndarray of int, shape (N,), optional
        Of a square matrix: only rows and columns of one group are candidates for each
        other. All are one group unless given.
    temperature : float
        Divides the similarities.

    Returns
    -------
    ndarray, shape (N, M)
        At most 0; ``-inf`` between groups.

    Raises
    ------
    InputError
        If groups are given for a matrix of another size.
    """
    logits = np.asarray(similarity, dtype=np.float64) / temperature
    if group is not None:
        if logits.shape != (len(group), len(group)):
            raise InputError(
                f"{len(group)} groups do not fit a matrix of shape {logits.shape}; "
                "give one for each of its rows, which are its columns"
            )
        logits = np.where(group[:, None] == group[None, :], logits, -np.inf)
    with np.errstate(invalid="ignore"):
        both: FloatArray = (log_softmax(logits, axis=1) + log_softmax(logits, axis=0)) / 2
    return both
