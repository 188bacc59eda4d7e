"""A simulated annotator: how many cells are matched rightly after how many questions."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.active.queue import QueueStrategy
from napari_neurobridge.benchmarks.contract import (
    BenchmarkParameters,
    BenchmarkResult,
    ModelParameters,
)
from napari_neurobridge.benchmarks.effort_projects import TableField, scene_field
from napari_neurobridge.benchmarks.points import read_point_pairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.matching.sides import Side
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.workflows.match import has_landmarks, questions_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.active.queue import QueueItem
    from napari_neurobridge.benchmarks.effort_projects import EffortField, KnownProject
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.types import Report

DEFAULT_QUEUE = "default"
"""What the plugin asks by: the strategy changes as pairs are accepted, every fifth is an audit."""

BASELINES = ("random", "nearest")
"""Not in the program: any cell, and the one nearest to the last."""

QUEUES = (DEFAULT_QUEUE, *(strategy.value for strategy in QueueStrategy), *BASELINES)
COMPARED_QUEUES = (DEFAULT_QUEUE, "spread", *BASELINES)

_NEIGHBOURS = 6
_ENOUGH = 0.95


class EffortParameters(BenchmarkParameters):
    """How many questions are asked by which queues, and of whom."""

    queues: tuple[str, ...] = Field(
        COMPARED_QUEUES,
        description="Ways to choose the next question: default is what the plugin asks by, "
        "entropy, spread and clearest are its strategies; random and nearest are baselines.",
        json_schema_extra={"metavar": "NAME,NAME"},
    )
    questions: int = Field(25, description="How many are asked.")
    draws: int = Field(5, description="Annotators for each queue.")
    errors: float = Field(
        0.05,
        description="Share of wrong answers; half of them name a neighbour, half any soma.",
    )
    seed: int = Field(0, description="Draws landmarks and errors.")


class EffortRequest(EffortParameters, ModelParameters):
    """What the command line asks for."""

    queries: Path | None = Field(
        None, description="Cells to ask.", json_schema_extra={"metavar": "CSV"}
    )
    gallery: Path | None = Field(
        None, description="Cells to choose from.", json_schema_extra={"metavar": "CSV"}
    )
    pairs: Path | None = Field(
        None, description="The truth, two columns of uids.", json_schema_extra={"metavar": "CSV"}
    )
    scene: int | None = Field(
        None,
        description="Instead of tables, the somata that are detected in a simulated scene.",
        json_schema_extra={"metavar": "SEED"},
    )
    images: bool = Field(False, description="Look at the scene's crops, too.")
    cache: Path | None = Field(
        None, description="Keep the scene for later runs.", json_schema_extra={"metavar": "DIR"}
    )


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


class EffortBenchmark(BenchmarkResult):
    """Curves of all queues."""

    n_queries: int
    n_gallery: int
    draws: int
    error_rate: float
    images: bool = Field(description="Whether crops were looked at, too.")
    results: tuple[EffortCurve, ...]

    def summary(self) -> str:
        """Return a table, a column for every fifth question."""
        asked = self.results[0].questions if self.results else ()
        shown = [place for place, count in enumerate(asked) if count % 5 == 0]
        header = ("queue", *(f"after {asked[place]}" for place in shown), "questions to 95 %")
        rows = [
            (row.queue, *(row.right[place] for place in shown), row.questions_to_95)
            for row in self.results
        ]
        return (
            f"{text_table(header, rows)}\n{self.draws} draws, {self.error_rate:.0%} wrong answers"
        )


def benchmark_effort(
    field: EffortField,
    parameters: EffortParameters | None = None,
    *,
    encoder: Encoder | None = None,
    report: Report | None = None,
) -> EffortBenchmark:
    """Ask a simulated annotator, who sometimes errs, what each queue wants to know.

    Every annotator works on a project, through the plugin's own queue and matching.

    Parameters
    ----------
    field : EffortField
        What there is to match.
    parameters : EffortParameters, optional
    encoder : Encoder, optional
        Whose index tells what cells look like; coordinates alone unless given.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there is no such queue, or too many or too few questions.
    """
    asked = parameters or EffortParameters()
    _check(asked)
    curves: list[EffortCurve] = []
    sizes = (0, 0)
    for queue in asked.queues:
        runs, seconds = [], 0.0
        for draw in range(asked.draws):
            if report is not None:
                done = len(curves) * asked.draws + draw
                report(done, len(asked.queues) * asked.draws, f"asking by {queue}")
            rng = np.random.default_rng([asked.seed, draw])
            with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
                known = field.begin(Path(folder), rng)
                annotator = _Annotator(known, encoder, rng, asked.errors)
                sizes = annotator.sizes
                if asked.questions > sizes[0]:
                    raise InputError(f"There are {sizes[0]} cells to ask, not {asked.questions}.")
                started = time.perf_counter()
                runs.append([annotator.ask(queue) for _ in range(asked.questions)])
                seconds += time.perf_counter() - started
                known.project.close()
        curves.append(_curve(queue, np.array(runs), seconds))
    return EffortBenchmark(
        n_queries=sizes[0],
        n_gallery=sizes[1],
        draws=asked.draws,
        error_rate=asked.errors,
        images=encoder is not None,
        results=tuple(curves),
    )


def run(parameters: EffortRequest, *, report: Report | None = None) -> EffortBenchmark:
    """Answer the command line.

    Raises
    ------
    InputError
        If there are neither three tables nor a scene, or images are wanted of tables.
    """
    tables = (parameters.queries, parameters.gallery, parameters.pairs)
    encoder = parameters.encoder() if parameters.images else None
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        field: EffortField
        if parameters.scene is not None:
            kept = parameters.cache or Path(folder)
            field = scene_field(parameters.scene, kept, encoder, report=report)
        elif None not in tables and encoder is None:
            field = TableField(read_point_pairs(*(path for path in tables if path is not None)))
        else:
            raise InputError(
                "The cells come from three tables (queries, gallery, pairs) or from a scene; "
                "images need a scene."
            )
        return benchmark_effort(field, parameters, encoder=encoder, report=report)


def _check(asked: EffortParameters) -> None:
    unknown = [name for name in asked.queues if name not in QUEUES]
    if unknown or not asked.queues:
        raise InputError(
            f"There is no queue {', '.join(unknown)}; choose among {', '.join(QUEUES)}."
        )
    if not (asked.questions >= 1 and asked.draws >= 1 and 0 <= asked.errors <= 1):
        raise InputError("There must be draws, questions and a share of errors.")


def _curve(queue: str, runs: npt.NDArray[np.float64], seconds: float) -> EffortCurve:
    right = runs.mean(axis=0)
    enough = np.flatnonzero(right >= _ENOUGH)
    return EffortCurve(
        queue=queue,
        questions=tuple(range(1, runs.shape[1] + 1)),
        right=tuple(right.tolist()),
        worst=tuple(runs.min(axis=0).tolist()),
        questions_to_95=int(enough[0]) + 1 if len(enough) else None,
        seconds_per_question=seconds / runs.size,
    )


class _Annotator:
    """One annotator at work on a project."""

    def __init__(
        self,
        known: KnownProject,
        encoder: Encoder | None,
        rng: np.random.Generator,
        error_rate: float,
    ) -> None:
        self.project = known.project
        self._partner = known.partner
        self._encoder = encoder
        self._rng = rng
        self._error_rate = error_rate
        self._match: Match | None = None
        self._asked: list[str] = []
        somata = self.project.state().somata
        self._cells = Side.of(self.project.in_vivo(), somata[self.project.in_vivo()])
        self._gallery = Side.of(self.project.ex_vivo(), somata[self.project.ex_vivo()])

    @property
    def sizes(self) -> tuple[int, int]:
        """Somata of both sides."""
        return len(self._cells), len(self._gallery)

    def ask(self, queue: str) -> float:
        """Ask one question, match anew, and return the share of right cells."""
        item = self._next(queue)
        self._asked.append(item.uid)
        self._record(item, self._answer(item.uid))
        if has_landmarks(self.project):
            self._match = match_datasets(self.project, self._encoder, start=self._match)
        return self._share_right()

    def _next(self, queue: str) -> QueueItem:
        """Return the question of one of the program's strategies, or of a baseline."""
        if queue in BASELINES:
            waiting = questions_of(self.project, self._match, QueueStrategy.CLEAREST)
            if queue == "random" or not self._asked:
                return waiting[int(self._rng.integers(len(waiting)))]
            points, rows = self._cells.centers_um, self._cells.rows
            free = points[[rows[item.uid] for item in waiting]]
            distance = np.linalg.norm(free - points[rows[self._asked[-1]]], axis=1)
            return waiting[int(distance.argmin())]
        strategy = None if queue == DEFAULT_QUEUE else QueueStrategy(queue)
        return questions_of(self.project, self._match, strategy)[0]

    def _answer(self, uid: str) -> str | None:
        """Return whom the annotator takes for the partner of a cell; None for nobody."""
        right, somata = self._partner.get(uid), self._gallery
        if right is None or self._rng.random() >= self._error_rate:
            return right
        # Who errs does not insist against the program, which refuses to pair a soma twice.
        taken = self.project.state().pairs.values()
        free = np.array([row for name, row in somata.rows.items() if name not in taken])
        if self._rng.random() < 0.5:
            return somata.uids[int(self._rng.choice(free))]
        centers, place = somata.centers_um[free], somata.centers_um[somata.rows[right]]
        near = free[np.linalg.norm(centers - place, axis=1).argsort()]
        return somata.uids[int(self._rng.choice(near[near != somata.rows[right]][:_NEIGHBOURS]))]

    def _record(self, item: QueueItem, partner: str | None) -> None:
        first = mass_above = None
        if self._match is not None:
            first = self._match.first_uncalibrated(item.uid)
            mass_above = self._match.mass_above(item.uid, partner)
        evidence = VerdictEvidence(
            audit=item.audit,
            first_uid=first[0] if first else None,
            first_probability=first[1] if first else None,
            mass_above=mass_above,
        )
        if partner is None:
            annotate.none(self.project, item.uid, evidence=evidence)
        else:
            annotate.accept(self.project, item.uid, partner, force=True, evidence=evidence)

    def _share_right(self) -> float:
        """Return for how many cells with a partner the program would name it."""
        accepted = self.project.state().pairs
        doubtful: set[str] = set()
        if self._match is not None:
            doubtful = {p.in_vivo_uid for p in self._match.review() if p.p_wrong > 0.5}
        right = 0
        for uid, partner in self._partner.items():
            if uid in accepted and uid not in doubtful:
                right += accepted[uid] == partner
            elif self._match is not None:
                judged = self._match.judge(uid).rows[:1].tolist()
                right += [self._match.others(uid).uids[row] for row in judged] == [partner]
        return right / max(len(self._partner), 1)
