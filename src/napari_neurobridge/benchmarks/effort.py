"""A simulated annotator: how many cells are matched rightly after how many questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.spatial import cKDTree

from napari_neurobridge.matching.propagate import MatchProblem, Propagation, match
from napari_neurobridge.spaces.gaussian_process import farthest_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.points import PointPairs
    from napari_neurobridge.types import Report

RowArray = npt.NDArray[np.intp]
QueueName = Literal["entropy", "random", "nearest", "spread"]

QUEUES: tuple[QueueName, ...] = ("entropy", "random", "nearest", "spread")
_FEWEST_LANDMARKS = 4
_NEIGHBOURS = 6


class EffortCurve(BaseModel, frozen=True):
    """What one queue achieves, averaged over the draws."""

    queue: str
    questions: tuple[int, ...]
    right: tuple[float, ...] = Field(
        description="Share of all matchable cells with the right partner first, asked or not."
    )
    questions_to_95: int | None = Field(description="Until 95 % are right; None if never.")


class EffortBenchmark(BaseModel, frozen=True):
    """Curves of all queues."""

    n_queries: int
    n_gallery: int
    draws: int
    error_rate: float
    results: tuple[EffortCurve, ...]


def benchmark_effort(
    pairs: PointPairs,
    *,
    questions: int = 25,
    draws: int = 5,
    error_rate: float = 0.05,
    queues: Sequence[QueueName] = QUEUES,
    seed: int = 0,
    report: Report | None = None,
) -> EffortBenchmark:
    """Ask a simulated annotator, who sometimes errs, what each queue wants to know.

    Parameters
    ----------
    pairs : PointPairs
    questions, draws : int
        Length of a curve, and annotators for each queue.
    error_rate : float
        Share of wrong answers; half of them name a neighbour, half any soma.
    queues : sequence of str
    seed : int
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    curves: list[EffortCurve] = []
    for queue in queues:
        runs = []
        for draw in range(draws):
            if report is not None:
                done = len(curves) * draws + draw
                report(done, len(queues) * draws, f"asking by {queue}")
            runs.append(
                _run(pairs, queue, questions, error_rate, np.random.default_rng([seed, draw]))
            )
        right = np.mean(runs, axis=0)
        enough = np.flatnonzero(right >= 0.95)
        curves.append(
            EffortCurve(
                queue=queue,
                questions=tuple(range(1, questions + 1)),
                right=tuple(right.tolist()),
                questions_to_95=int(enough[0]) + 1 if len(enough) else None,
            )
        )
    return EffortBenchmark(
        n_queries=len(pairs.queries_um),
        n_gallery=len(pairs.gallery_um),
        draws=draws,
        error_rate=error_rate,
        results=tuple(curves),
    )


def _run(
    pairs: PointPairs,
    queue: QueueName,
    questions: int,
    error_rate: float,
    rng: np.random.Generator,
) -> list[float]:
    """Return the share of right cells after each question."""
    tree = cKDTree(pairs.gallery_um)
    asked: list[int] = []
    answered: dict[int, int] = {}
    found: Propagation | None = None
    curve = []
    for _ in range(questions):
        query = _next(queue, pairs, asked, found, rng)
        asked.append(query)
        answer = _answer(pairs, tree, query, error_rate, rng)
        if answer >= 0 and answer not in answered.values():
            answered[query] = answer
        if len(answered) >= _FEWEST_LANDMARKS:
            landmarks = np.array(list(answered.items()), dtype=np.intp)
            problem = MatchProblem(pairs.queries_um, pairs.gallery_um, landmarks)
            found = match(problem)
        curve.append(_share_right(pairs, answered, found))
    return curve


def _share_right(pairs: PointPairs, answered: dict[int, int], found: Propagation | None) -> float:
    matchable = pairs.partner >= 0
    guess = np.full(len(pairs.partner), -2, dtype=np.intp)
    if found is not None:
        guess = found.posterior.best.copy()
    doubted = set()
    if found is not None:
        pairs_now = found.growth.world.problem.pairs
        wrong = found.wrong[: len(pairs_now)] > 0.5
        doubted = set(pairs_now[wrong, 0].tolist())
    for query, answer in answered.items():
        if query not in doubted:
            guess[query] = answer
    return float((guess == pairs.partner)[matchable].mean())


def _answer(
    pairs: PointPairs, tree: cKDTree, query: int, error_rate: float, rng: np.random.Generator
) -> int:
    right = int(pairs.partner[query])
    if right < 0 or rng.random() >= error_rate:
        return right
    if rng.random() < 0.5:
        return int(rng.integers(len(pairs.gallery_um)))
    near = np.asarray(tree.query(pairs.gallery_um[right], k=_NEIGHBOURS + 1)[1])
    return int(rng.choice(near[near != right]))


def _next(
    queue: QueueName,
    pairs: PointPairs,
    asked: list[int],
    found: Propagation | None,
    rng: np.random.Generator,
) -> int:
    """Return the query to ask about; before there is anything to go by, a spread one."""
    free = np.setdiff1d(np.arange(len(pairs.queries_um)), asked)
    if queue == "random":
        return int(rng.choice(free))
    if not asked:
        return int(rng.choice(free))
    points = pairs.queries_um
    if queue == "nearest":
        distance = np.linalg.norm(points[free] - points[asked[-1]], axis=1)
        return int(free[distance.argmin()])
    if queue == "spread" or found is None:
        leading = np.concatenate([points[asked], points[free]])
        row = farthest_points(leading, len(asked) + 1, len(asked))[-1]
        return int(free[max(int(row) - len(asked), 0)])
    return int(free[_entropy(found)[free].argmax()])


def _entropy(found: Propagation) -> npt.NDArray[np.float64]:
    """Return the entropy of each query's posterior, nats, (N,)."""
    posterior = found.posterior
    shares = np.column_stack([posterior.probability, posterior.none, posterior.beyond])
    return np.asarray(-(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1))
