"""Median-uncertainty sampling, the default of NeuroADDA (section 4.3 and table 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_neurobridge.active.samplers.pool import Pool, RowArray


def median_uncertainty(pool: Pool, count: int, rng: np.random.Generator) -> RowArray:
    """Return the rows whose uncertainty is nearest to the pool's median; see `Sampler`.

    The nearest comes first. The paper does not say whether nearness is meant in uncertainty or
    in rank; here it is in uncertainty. Of equally near items the earlier comes first, and
    ``rng`` is not used.
    """
    pool.check_count(count)
    distance = np.abs(pool.uncertainty - np.median(pool.uncertainty))
    return np.argsort(distance, kind="stable")[:count]
