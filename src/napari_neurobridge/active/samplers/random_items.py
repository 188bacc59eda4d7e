"""Random sampling: what passive learning does, and every other sampler is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_neurobridge.active.samplers.pool import Pool, RowArray


def random_items(pool: Pool, count: int, rng: np.random.Generator) -> RowArray:
    """Return rows drawn at random without replacement; see `Sampler`."""
    pool.check_count(count)
    return np.asarray(rng.permutation(len(pool))[:count], dtype=np.intp)
