"""Noise with a memory, row by row in time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def leaky_sum_(values: Tensor, keep: float) -> Tensor:
    """Add to each row (T, ...) ``keep`` times the row before, which holds its own sum; in place.

    Element by element, so that a column comes out the same beside whichever others.
    """
    for before, row in pairwise(values.unbind()):
        row.add_(before, alpha=keep)
    return values


def wander_(innovation: Tensor, step: float) -> Tensor:
    """Turn white noise into an Ornstein-Uhlenbeck process of unit variance, in place.

    Parameters
    ----------
    innovation : Tensor, shape (T, ...)
        Standard normal numbers.
    step : float
        Time between two rows, in correlation times.
    """
    keep = math.exp(-step)
    innovation[1:] *= math.sqrt(1 - keep**2)
    return leaky_sum_(innovation, keep)
