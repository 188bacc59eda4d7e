"""CLUE: Prabhu et al., Active domain adaptation via clustering uncertainty-weighted embeddings.

IEEE/CVF International Conference on Computer Vision (2021), pages 8505-8514.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.active.samplers.pool import Pool, RowArray

RESTARTS = 10
"""Beginnings of k-means, of which the best counts; what scikit-learn did when CLUE was made."""


def clue(pool: Pool, count: int, rng: np.random.Generator) -> RowArray:
    """Return the rows nearest to the centres of uncertainty-weighted clusters; see `Sampler`.

    k-means makes as many clusters of the features as there are items to choose, each item
    weighing as much as it is uncertain, or all alike where none is uncertain. Each centre takes
    the nearest row that no earlier one has taken. What stands for the most uncertainty is asked
    first.

    Raises
    ------
    InputError
        As `Sampler` says, and if the pool has no features.
    """
    from sklearn.cluster import KMeans

    pool.check_count(count)
    if pool.features is None:
        raise InputError("CLUE needs the features of the pool.")
    weights = pool.uncertainty if pool.uncertainty.any() else np.ones(len(pool))
    clusters = KMeans(count, n_init=RESTARTS, random_state=int(rng.integers(2**31)))
    distance = clusters.fit_transform(pool.features, sample_weight=weights)
    chosen: list[int] = []
    for centre in range(count):
        distance[chosen, centre] = np.inf
        chosen.append(int(distance[:, centre].argmin()))
    stands_for = np.bincount(clusters.labels_, weights=weights, minlength=count)
    return np.array(chosen, dtype=np.intp)[np.argsort(-stands_for, kind="stable")]
