"""What the runs of the benchmark of adaptation say, by the quantities of NeuroADDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

SCRATCH, PASSIVE, FARTHEST, NEAREST = "scratch", "passive", "active farthest", "active nearest"
WAYS = (SCRATCH, PASSIVE, FARTHEST, NEAREST)
"""The four of NeuroADDA's table 3."""
PAPER = (
    "NeuroADDA: nearest source best in 99.2 %, active adds in 83 %; best sampler: median 41.3 %, "
    "badge 25.4 %, clue 15.9 %, max 15.9 %, min 1.6 %; at 4 labels 25-67 % less VI than scratch."
)
_RESAMPLES = 10_000


class Cell(BaseModel):
    """Variation of information of one way of learning, over seeds."""

    model_config = ConfigDict(frozen=True)

    target: str
    way: str = Field(description="One of the four ways, 'sampler NAME', or 'source NAME'.")
    source: str | None
    labels: int
    n: int = Field(description="Runs.")
    mean: float
    sd: float | None = Field(description="Of the runs; null for one.")


class Regret(BaseModel):
    """Variation of information lost by a choice of source, mean over targets."""

    model_config = ConfigDict(frozen=True)

    labels: int
    targets: int
    nearest: float = Field(description="Of the source of smallest MMD² against the best one.")
    random: float = Field(description="Of a source drawn at random.")
    ratio: float | None = Field(description="Of both; null where every source is as good.")
    interval: tuple[float, float] | None = Field(
        description="95 %, over targets drawn with replacement."
    )


def cells(
    values: Mapping[tuple[str, str, str | None, int], Sequence[float]],
) -> tuple[Cell, ...]:
    """Return mean and standard deviation of the runs of each (target, way, source, labels)."""
    return tuple(
        Cell(
            target=target,
            way=way,
            source=source,
            labels=labels,
            n=len(runs),
            mean=float(np.mean(runs)),
            sd=float(np.std(runs, ddof=1)) if len(runs) > 1 else None,
        )
        for (target, way, source, labels), runs in values.items()
    )


def reductions(table: Sequence[Cell], labels: int) -> dict[str, float]:
    """Return by target the share of scratch's VI that the active nearest source takes off."""
    means = _means(table, labels)
    return {
        target: 1 - means[target, NEAREST] / means[target, SCRATCH]
        for target in _targets(table)
        if {(target, NEAREST), (target, SCRATCH)} <= means.keys()
    }


def nearest_best(table: Sequence[Cell]) -> float | None:
    """Return the share of (target, labels) where a way from the nearest source is best of four.

    Only where all four ways were tried; ``None`` where that is nowhere.
    """
    hits = [min(WAYS, key=lambda way: four[way]) in (PASSIVE, NEAREST) for four in _fours(table)]
    return float(np.mean(hits)) if hits else None


def active_adds(table: Sequence[Cell]) -> float | None:
    """Return in how many of those the active way is better than the passive one."""
    kept = [
        four for four in _fours(table) if min(WAYS, key=lambda way: four[way]) in (PASSIVE, NEAREST)
    ]
    return float(np.mean([four[NEAREST] < four[PASSIVE] for four in kept])) if kept else None


def sampler_efficacy(table: Sequence[Cell], samplers: Sequence[str]) -> dict[str, float]:
    """Return the share of (target, labels) where each sampler has the lowest mean (table 2)."""
    wins = dict.fromkeys(samplers, 0)
    settings = 0
    for labels in sorted({cell.labels for cell in table}):
        means = _means(table, labels)
        for target in _targets(table):
            told = {s: means.get((target, f"sampler {s}")) for s in samplers}
            known = {s: value for s, value in told.items() if value is not None}
            if len(known) == len(samplers):
                settings += 1
                wins[min(known, key=lambda s: known[s])] += 1
    return {name: count / settings for name, count in wins.items()} if settings else {}


def regret(
    table: Sequence[Cell], nearest: Mapping[str, str], labels: int, *, seed: int = 0
) -> Regret | None:
    """Return what choosing the nearest source loses, beside a source drawn at random.

    Parameters
    ----------
    table : sequence of Cell
        Those of ways 'source NAME' count.
    nearest : mapping of str to str
        The source of smallest MMD² by target.
    labels : int
    seed : int
        Of the resampling.
    """
    lost, drawn = [], []
    for target in _targets(table):
        told = {
            str(cell.source): cell.mean
            for cell in table
            if cell.target == target and cell.labels == labels and cell.way.startswith("source ")
        }
        if len(told) < 2 or nearest[target] not in told:
            continue
        best = min(told.values())
        lost.append(told[nearest[target]] - best)
        drawn.append(float(np.mean(list(told.values()))) - best)
    if not lost:
        return None
    return Regret(
        labels=labels,
        targets=len(lost),
        nearest=float(np.mean(lost)),
        random=float(np.mean(drawn)),
        ratio=_ratio(np.array(lost), np.array(drawn)),
        interval=_interval(np.array(lost), np.array(drawn), seed),
    )


def _interval(
    lost: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64], seed: int
) -> tuple[float, float] | None:
    if len(lost) < 2:
        return None
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(lost), size=(_RESAMPLES, len(lost)))
    above, below = lost[rows].sum(axis=1), drawn[rows].sum(axis=1)
    if not (below > 0).any():
        return None
    low, high = np.percentile(above[below > 0] / below[below > 0], [2.5, 97.5]).tolist()
    return low, high


def _ratio(lost: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64]) -> float | None:
    return float(lost.sum() / drawn.sum()) if drawn.sum() > 0 else None


def _means(table: Sequence[Cell], labels: int) -> dict[tuple[str, str], float]:
    return {(c.target, c.way): c.mean for c in table if c.labels == labels}


def _targets(table: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.target for cell in table))


def _fours(table: Sequence[Cell]) -> list[dict[str, float]]:
    """Return the means of the four ways wherever all are known."""
    found = []
    for labels in sorted({cell.labels for cell in table}):
        means = _means(table, labels)
        for target in _targets(table):
            four = {way: means[target, way] for way in WAYS if (target, way) in means}
            if len(four) == len(WAYS):
                found.append(four)
    return found
