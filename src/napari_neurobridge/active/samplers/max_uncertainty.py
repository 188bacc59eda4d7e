"""Maximum-uncertainty sampling (NeuroADDA, table 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_neurobridge.active.samplers.pool import Pool, RowArray


def max_uncertainty(pool: Pool, count: int, rng: np.random.Generator) -> RowArray:
    """Return the rows that the model is least sure of, the least sure first; see `Sampler`.

    Of equally uncertain items the earlier comes first, and ``rng`` is not used. Items of the
    highest uncertainty are often artefacts (NeuroADDA, section 4.2).
    """
    pool.check_count(count)
    return np.argsort(-pool.uncertainty, kind="stable")[:count]
