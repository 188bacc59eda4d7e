"""Whether one model is better than another on the same pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

_RESAMPLES = 2000
_CHANCE_PERCENT = 10


class Comparison(BaseModel, frozen=True):
    """Paired difference of two models, over the same pairs."""

    n: int = Field(description="Number of pairs.")
    gain: float = Field(
        description="Mean gain, over pairs, in the reciprocal rank of the partner in its scene."
    )
    interval: tuple[float, float] = Field(description="80 % bootstrap interval of the gain.")
    better: bool = Field(description="The whole interval is above zero.")


def compare_models(
    before: FloatArray, after: FloatArray, scene: npt.NDArray[np.integer], *, seed: int = 0
) -> Comparison:
    """Compare two similarity matrices of the same pairs, pair by pair.

    Differences within a pair vary far less than pairs do, so that a few dozen pairs can
    tell which of two models is better. A model is called better only if resampling the
    pairs would hardly ever (in one of ten cases) say otherwise.

    Parameters
    ----------
    before, after : ndarray, shape (N, N)
        Similarities by either model; row i and column i are partners.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    seed : int, default: 0
        Seed of the bootstrap.
    """
    gains = reciprocal_ranks(after, scene) - reciprocal_ranks(before, scene)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(gains), size=(_RESAMPLES, len(gains)))
    low, high = np.percentile(gains[drawn].mean(axis=1), [_CHANCE_PERCENT, 100 - _CHANCE_PERCENT])
    return Comparison(
        n=len(gains),
        gain=float(gains.mean()),
        interval=(float(low), float(high)),
        better=bool(low > 0),
    )


def reciprocal_ranks(
    similarity: FloatArray, scene: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Return one over the rank of the partner among its scene (N,), mean of both directions.

    Ties count against the partner.
    """
    own = np.where(scene[:, None] == scene[None, :], similarity, -np.inf)
    partner = np.diagonal(similarity)
    forward = (own >= partner[:, None]).sum(axis=1)
    backward = (own >= partner[None, :]).sum(axis=0)
    return np.asarray((1 / forward + 1 / backward) / 2, dtype=np.float64)
