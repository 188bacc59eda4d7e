"""Embeddings of both sides in one plane, by t-SNE (paper 1, figure 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.manifold import TSNE

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.types import Float32Array, FloatArray

_USUAL_PERPLEXITY = 30.0


def embedding_map(
    two_photon: FloatArray, fmost: FloatArray, *, seed: int = 0
) -> tuple[Float32Array, Float32Array]:
    """Lay the embeddings of both sides out in one plane.

    Distances in the plane mean little but for near neighbours, and which neighbours are
    near depends on the seed; figures of merit come from the vectors themselves.

    Parameters
    ----------
    two_photon, fmost : ndarray, shape (N, D)
        Unit vectors; row i of both is one neuron.
    seed : int, default: 0
        The same seed gives the same map on the same machine.

    Returns
    -------
    two_photon_xy, fmost_xy : ndarray of float32, shape (N, 2)
        Places in the plane, without unit.

    Raises
    ------
    InputError
        If there are fewer than two pairs, the sides differ in shape, or a vector is not
        finite.
    """
    if np.shape(two_photon) != np.shape(fmost) or np.ndim(two_photon) != 2:
        raise InputError(
            "The map of embeddings needs one vector of each side for each pair, not shapes "
            f"{np.shape(two_photon)} and {np.shape(fmost)}."
        )
    if len(two_photon) < 2:
        raise InputError(
            f"The map of embeddings needs at least two pairs, not {len(two_photon)}; accept more."
        )
    vectors = np.concatenate((two_photon, fmost)).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise InputError("An embedding holds NaN or infinite values; embed the crops again.")
    # Three times the perplexity in neighbours is what t-SNE looks at; few points have fewer.
    perplexity = min(_USUAL_PERPLEXITY, max((len(vectors) - 1) / 3, 1.0))
    model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    plane = np.asarray(model.fit_transform(vectors), dtype=np.float32)
    return plane[: len(two_photon)], plane[len(two_photon) :]
