"""Adapting a model's vectors without training it: whitening of each side, and a ridge map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import unit_rows
from napari_neurobridge.training.validation import validation_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.types import FloatArray

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Whitening:
    """What gives vectors of one side mean 0 and equal, uncorrelated scatter.

    Attributes
    ----------
    mean : ndarray, shape (D,)
    matrix : ndarray, shape (D, D)
        Inverse root of the covariance.
    """

    mean: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64]

    def __call__(self, vectors: FloatArray) -> npt.NDArray[np.float64]:
        """Return vectors (N, D) whitened, of unit length."""
        return unit_rows((vectors - self.mean) @ self.matrix)


def whitening(vectors: FloatArray) -> Whitening:
    """Fit a whitening to the vectors (N, D) of one side; no labels are needed.

    The covariance is shrunk towards a multiple of the identity as far as so few vectors ask for
    (Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004).

    Raises
    ------
    InputError
        If there are fewer than two vectors.
    """
    from sklearn.covariance import ledoit_wolf

    if len(vectors) < 2:
        raise InputError(f"A whitening is fitted to at least two vectors, not {len(vectors)}.")
    covariance, _ = ledoit_wolf(np.asarray(vectors, dtype=np.float64))
    values, axes = np.linalg.eigh(covariance)
    root = axes / np.sqrt(np.maximum(values, 1e-12)) @ axes.T
    return Whitening(np.asarray(vectors, dtype=np.float64).mean(axis=0), root)


def ridge_map(
    two_photon: FloatArray, fmost: FloatArray, strength: float
) -> npt.NDArray[np.float64]:
    """Return the matrix (D, D) that brings two-photon vectors nearest to their partners'.

    The least squares solution of ``two_photon @ W = fmost`` with ``strength`` times the squared
    difference of W from the identity: the stronger, the less is changed.

    Parameters
    ----------
    two_photon, fmost : ndarray, shape (N, D)
        Row i of both is one neuron.
    strength : float
        Above 0.
    """
    identity = np.eye(two_photon.shape[1])
    own = np.asarray(two_photon, dtype=np.float64)
    gram = own.T @ own + strength * identity
    return np.asarray(np.linalg.solve(gram, own.T @ fmost + strength * identity))


def best_ridge_map(
    training: tuple[FloatArray, FloatArray],
    validation: tuple[FloatArray, FloatArray],
    scene: npt.NDArray[np.integer],
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> npt.NDArray[np.float64]:
    """Return the `ridge_map` of training pairs whose strength does best on validation pairs."""
    maps = [ridge_map(*training, strength) for strength in strengths]
    scores = [
        validation_score(unit_rows(validation[0] @ each) @ validation[1].T, scene) for each in maps
    ]
    return maps[int(np.argmax(scores))]
