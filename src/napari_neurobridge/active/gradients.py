"""Gradient embeddings: how a model would change if its own best guess about an item were right.

Ash et al. (BADGE), International Conference on Learning Representations (2020), equation 1: the
gradient of the cross-entropy with the most probable class as label. Where the guess is sure it is
short; where two guesses would change the model alike, two gradients are alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.types import FloatArray


def class_gradients(probability: FloatArray, features: FloatArray) -> npt.NDArray[np.float64]:
    """Return the gradients of a last linear layer's weights.

    Parameters
    ----------
    probability : ndarray, shape (N, C) or (N, C, ...)
        Of each class, at each place of the item if it has places, such as the (y, x) of a
        segmentation.
    features : ndarray, shape (N, F) or (N, F, ...)
        What that layer reads, at the same places.

    Returns
    -------
    ndarray, shape (N, C * F)
        Class by class; of an item with places the mean over them, as its loss is.

    Raises
    ------
    InputError
        If items or places differ.
    """
    if (len(probability), probability.shape[2:]) != (len(features), features.shape[2:]):
        raise InputError(
            f"Probabilities of shape {probability.shape} and features of shape {features.shape} "
            "are not of the same items and places."
        )
    n, classes = probability.shape[:2]
    residual = _residual(probability.reshape(n, classes, -1))
    flat = features.reshape(n, features.shape[1], -1)
    gradients = residual @ flat.swapaxes(1, 2) / residual.shape[2]
    return np.asarray(gradients.reshape(n, -1), dtype=np.float64)


def retrieval_gradients(probability: FloatArray, candidates: FloatArray) -> npt.NDArray[np.float64]:
    """Return the gradients of queries' vectors, over their candidates and none.

    The classes of a query are its own candidates and "none of them"; a candidate's logit is
    proportional to the dot product of its vector with the query's, that of none is a constant.
    Unlike the weights of a last layer, which have no meaning in common for queries with different
    candidates, the vector is what every query has.

    Parameters
    ----------
    probability : ndarray, shape (N, K + 1)
        Of each candidate, then of none.
    candidates : ndarray, shape (N, K, D)
        Their vectors.

    Returns
    -------
    ndarray, shape (N, D)
        Mean vector of the candidates, weighted by their probability, less that of the most
        probable one, or less nothing where that is none.

    Raises
    ------
    InputError
        If the numbers of queries or candidates do not fit.
    """
    n, k = candidates.shape[:2]
    if probability.shape != (n, k + 1):
        raise InputError(
            f"{n} queries with {k} candidates have {k + 1} probabilities each, not an array of "
            f"shape {probability.shape}."
        )
    residual = _residual(probability)[:, :-1]
    return np.asarray(np.einsum("nk,nkd->nd", residual, candidates), dtype=np.float64)


def _residual(probability: FloatArray) -> npt.NDArray[np.float64]:
    """Return probabilities (N, C, ...) less one at the most probable class."""
    residual = np.array(probability, dtype=np.float64)
    best = residual.argmax(axis=1, keepdims=True)
    np.put_along_axis(residual, best, np.take_along_axis(residual, best, axis=1) - 1, axis=1)
    return residual
