"""A simulated annotator: how many cells are matched rightly after how many questions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.likelihood import appearance_of
from napari_neurobridge.matching.propagation.propagate import (
    Propagation,
    PropagationProblem,
    run_propagation,
)
from napari_neurobridge.matching.question_value import question_value, spread_query
from napari_neurobridge.models.model_folder import ModelCalibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.points import PointPairs
    from napari_neurobridge.matching.appearance.likelihood import Margins
    from napari_neurobridge.types import Report

RowArray = npt.NDArray[np.intp]

QUEUES = ("entropy", "random", "nearest", "spread")
_FEWEST_LANDMARKS = 4
_NEIGHBOURS = 6
_ENOUGH = 0.95


class EffortCurve(BaseModel, frozen=True):
    """What one queue achieves, averaged over the draws."""

    queue: str
    questions: tuple[int, ...]
    right: tuple[float, ...] = Field(
        description="Share of all matchable cells with the right partner first, asked or not."
    )
    worst: tuple[float, ...] = Field(description="The same in the worst draw of each moment.")
    questions_to_95: int | None = Field(description="Until 95 % are right; None if never.")
    seconds_per_question: float


class EffortBenchmark(BaseModel, frozen=True):
    """Curves of all queues."""

    n_queries: int
    n_gallery: int
    draws: int
    error_rate: float
    images: bool = Field(description="Whether crops were looked at, too.")
    results: tuple[EffortCurve, ...]


def benchmark_effort(
    pairs: PointPairs,
    *,
    questions: int = 25,
    draws: int = 5,
    error_rate: float = 0.05,
    queues: Sequence[str] = QUEUES,
    margins: Margins | None = None,
    calibration: ModelCalibration | None = None,
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
    margins : Margins, optional
        What the cells look like; coordinates alone unless given.
    calibration : ModelCalibration, optional
        What the model says of those margins.
    seed : int
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there is no such queue, or too many or too few questions.
    """
    unknown = [name for name in queues if name not in QUEUES]
    if unknown or not queues:
        raise InputError(f"There is no queue {unknown}; choose {', '.join(QUEUES)}.")
    if not (1 <= questions <= len(pairs.queries_um) and draws >= 1 and 0 <= error_rate <= 1):
        raise InputError(
            "There must be draws, questions (no more than cells) and a share of errors."
        )
    curves: list[EffortCurve] = []
    for queue in queues:
        runs, started = [], time.perf_counter()
        for draw in range(draws):
            if report is not None:
                done = len(curves) * draws + draw
                report(done, len(queues) * draws, f"asking by {queue}")
            rng = np.random.default_rng([seed, draw])
            known = calibration or ModelCalibration()
            session = _Session(pairs, rng, error_rate, margins, known)
            runs.append([session.ask(queue) for _ in range(questions)])
        seconds = (time.perf_counter() - started) / (draws * questions)
        right = np.mean(runs, axis=0)
        enough = np.flatnonzero(right >= _ENOUGH)
        curves.append(
            EffortCurve(
                queue=queue,
                questions=tuple(range(1, questions + 1)),
                right=tuple(right.tolist()),
                worst=tuple(np.min(runs, axis=0).tolist()),
                questions_to_95=int(enough[0]) + 1 if len(enough) else None,
                seconds_per_question=seconds,
            )
        )
    return EffortBenchmark(
        n_queries=len(pairs.queries_um),
        n_gallery=len(pairs.gallery_um),
        draws=draws,
        error_rate=error_rate,
        images=margins is not None,
        results=tuple(curves),
    )


@dataclass
class _Session:
    """One annotator at work."""

    pairs: PointPairs
    rng: np.random.Generator
    error_rate: float
    margins: Margins | None = None
    calibration: ModelCalibration = field(default_factory=ModelCalibration)
    asked: list[int] = field(default_factory=list)
    answered: dict[int, int] = field(default_factory=dict)
    found: Propagation | None = None

    def ask(self, queue: str) -> float:
        """Ask one question, match anew, and return the share of right cells."""
        query = self._next(queue)
        self.asked.append(query)
        self.answered[query] = self._answer(query)
        pairs = np.array([pair for pair in self.answered.items() if pair[1] >= 0], dtype=np.intp)
        if len(pairs) >= _FEWEST_LANDMARKS:
            chance = np.ones(len(self.pairs.queries_um))
            chance[[query for query, answer in self.answered.items() if answer < 0]] = 0.0
            looks = None
            if self.margins is not None:
                looks = appearance_of(self.margins, pairs, self.calibration)
            problem = PropagationProblem(
                self.pairs.queries_um,
                self.pairs.gallery_um,
                pairs,
                p_detected=chance,
                log_ratio=None if looks is None else looks.log_ratio,
            )
            self.found = run_propagation(problem, start=self.found)
        return self._share_right()

    def _share_right(self) -> float:
        partner = self.pairs.partner
        guess = np.full(len(partner), -2, dtype=np.intp)
        believed = dict(self.answered)
        if self.found is not None:
            guess = self.found.posterior.best.copy()
            paired = self.found.state.setup.problem.pairs
            for query in paired[self.found.wrong[: len(paired)] > 0.5, 0].tolist():
                del believed[query]
        guess[list(believed)] = list(believed.values())
        return float((guess == partner)[partner >= 0].mean())

    def _answer(self, query: int) -> int:
        right, somata = int(self.pairs.partner[query]), self.pairs.gallery_um
        if right < 0 or self.rng.random() >= self.error_rate:
            return right
        if self.rng.random() < 0.5:
            return int(self.rng.integers(len(somata)))
        distance = np.linalg.norm(somata - somata[right], axis=1)
        return int(self.rng.choice(distance.argsort()[1 : _NEIGHBOURS + 1]))

    def _next(self, queue: str) -> int:
        """Return the query to ask; before there is anything to go by, a spread one."""
        points = self.pairs.queries_um
        free = np.setdiff1d(np.arange(len(points)), self.asked)
        if queue == "random" or not self.asked:
            return int(self.rng.choice(free))
        if queue == "nearest":
            distance = np.linalg.norm(points[free] - points[self.asked[-1]], axis=1)
            return int(free[distance.argmin()])
        if queue == "spread" or self.found is None:
            return spread_query(points, np.array(self.asked))
        return int(free[question_value(self.found)[free].argmax()])
