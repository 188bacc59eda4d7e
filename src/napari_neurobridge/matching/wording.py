"""How what a match knows is written for a person."""

from __future__ import annotations

UNLIKELY = 0.01
"""Below this a probability is written "< 1 %", and to accept such a pair asks first."""


def percent(probability: float) -> str:
    """Return a probability as "81 %"; never 0 % or 100 %, because nothing is that certain."""
    if probability < UNLIKELY:
        return "< 1 %"
    if probability > 0.99:
        return "> 99 %"
    return f"{100 * probability:.0f} %"


def not_indexed(count: int) -> str:
    """Return what somata without an embedding cost, as "1 cell not indexed: judged by ..."."""
    return f"{count} {'cell' if count == 1 else 'cells'} not indexed: judged by place only"
