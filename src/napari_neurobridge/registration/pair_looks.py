"""What pairs of somata look like, as evidence that counts beside the evidence of their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

Looks: TypeAlias = Callable[[RowArray], Float64Array]
"""Takes rows of two sets of somata (K, 2) that one map brings together, and returns how much
likelier each two are one soma than two by what they look like: log likelihood ratios, (K,)."""
PairJudge: TypeAlias = Callable[[Float64Array, Float64Array], Float64Array]
"""The same of places on either side, each (K, D)."""

# A pair counts for at most this either way: few crops of which the judge is sure outweigh no
# pattern.
_MOST = 4.0


def looks_of(judge: PairJudge | None, here: Float64Array, there: Float64Array) -> Looks | None:
    """Return what a judge of places says of rows of two sets of somata; None without a judge."""
    if judge is None:
        return None
    return lambda rows: judge(here[rows[:, 0]], there[rows[:, 1]])


def bounded(log_ratios: Float64Array) -> Float64Array:
    """Return what each pair may count for."""
    return np.asarray(log_ratios.clip(-_MOST, _MOST))
