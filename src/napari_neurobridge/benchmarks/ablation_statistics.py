"""Differences between conditions, against the scatter of training and of the queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Float64Array = npt.NDArray[np.float64]
# What each query (Q,) contributes to each figure of one trained encoder.
Scores: TypeAlias = dict[str, Float64Array]

_RESAMPLES = 2000
_LEVEL = 0.95


class AblationFigure(BaseModel, frozen=True):
    """One figure of one condition."""

    mean: float = Field(description="Over the initialisations.")
    runs: tuple[float, ...] = Field(description="Of each initialisation.")
    interval: tuple[float, float] = Field(
        description="95 % bootstrap interval of the mean, over the queries."
    )
    difference: float | None = Field(description="To the full simulation; None of itself.")
    difference_interval: tuple[float, float] | None = Field(
        description="95 % interval of the difference, over queries and initialisations; None "
        "of a single initialisation."
    )

    def text(self) -> str:
        """Return the difference with its interval; of what is compared with, the mean."""
        if self.difference is None:
            return f"{self.mean:.3f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"
        if self.difference_interval is None:
            return f"{self.difference:+.3f}"
        low, high = self.difference_interval
        return f"{self.difference:+.3f} ({low:+.3f} to {high:+.3f})"


class AblationRow(BaseModel, frozen=True):
    """All figures of one condition."""

    condition: str
    figures: dict[str, AblationFigure]


def ablation_rows(
    scores: Mapping[str, Sequence[Scores]], full: str, *, seed: int = 0
) -> tuple[AblationRow, ...]:
    """Return means, and differences to one condition with an interval.

    The variance of a difference has two parts. What first weights and batches do is shared by all
    conditions and cancels; what remains of it, the interaction of the two, is pooled over the
    conditions, since a few runs of each tell little alone. What the queries do is
    bootstrapped, the same queries of both conditions. What another draw of the training
    pairs would change is in neither.

    Parameters
    ----------
    scores : mapping of str to sequence of dict
        For each condition, what the queries contribute to the figures, one dictionary for
        each initialisation, in the same order.
    full : str
        The condition that the others are compared with.
    seed : int, default: 0
        Seed of the bootstrap.
    """
    rows: dict[str, dict[str, AblationFigure]] = {name: {} for name in scores}
    for figure in scores[full][0]:
        values = {name: np.stack([run[figure] for run in runs]) for name, runs in scores.items()}
        rng = np.random.default_rng(seed)
        n = values[full].shape[1]
        drawn = rng.integers(n, size=(_RESAMPLES, n))
        scatter = _Scatter(list(values.values()))
        for name, of_runs in values.items():
            per_query = of_runs.mean(axis=0)
            difference = per_query - values[full].mean(axis=0)
            low, high = np.percentile(per_query[drawn].mean(axis=1), [2.5, 97.5])
            rows[name][figure] = AblationFigure(
                mean=float(per_query.mean()),
                runs=tuple(of_runs.mean(axis=1).tolist()),
                interval=(float(low), float(high)),
                difference=None if name == full else float(difference.mean()),
                difference_interval=None
                if name == full
                else scatter.interval(difference, drawn, len(of_runs)),
            )
    return tuple(AblationRow(condition=name, figures=figures) for name, figures in rows.items())


class _Scatter:
    """How runs differ beyond what their condition and their initialisation explain.

    Parameters
    ----------
    values : sequence of ndarray, shape (R, Q)
        For each condition, runs by queries; the initialisations are the same for all.
    """

    def __init__(self, values: Sequence[Float64Array]) -> None:
        runs = np.stack([of_runs.mean(axis=1) for of_runs in values])
        self.freedom = (runs.shape[0] - 1) * (runs.shape[1] - 1)
        rest = runs - runs.mean(axis=0) - runs.mean(axis=1, keepdims=True) + runs.mean()
        self.variance = float((rest**2).sum()) / self.freedom if self.freedom else None

    def interval(
        self, difference: Float64Array, drawn: npt.NDArray[np.int64], runs: int
    ) -> tuple[float, float] | None:
        """Return the interval of a mean difference (Q,) between two conditions of some runs."""
        if self.variance is None:
            return None
        of_queries = float(difference[drawn].mean(axis=1).var())
        error = float(np.sqrt(of_queries + 2 * self.variance / runs))
        reach = float(stats.t.ppf((1 + _LEVEL) / 2, self.freedom)) * error
        middle = float(difference.mean())
        return middle - reach, middle + reach
