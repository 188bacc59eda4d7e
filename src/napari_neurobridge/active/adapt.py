"""NeuroADDA: start from the nearest source, ask about a few items, train, and ask again.

Sawmya et al., NeuroADDA, section 4.3, algorithm 1. What is learned is a task's business, see
`AdaptationTask`; who answers is an `Annotator`'s: truth in a benchmark, labels that a person
painted elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_neurobridge.active.samplers.by_name import SAMPLERS, SamplerName
from napari_neurobridge.active.sources import distance_to_source
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_neurobridge.active.samplers.pool import Pool, RowArray
    from napari_neurobridge.active.sources import SourceDistance
    from napari_neurobridge.models.fingerprint import FeatureSample
    from napari_neurobridge.types import FloatArray, Report

LabelT = TypeVar("LabelT")
LabelInT = TypeVar("LabelInT", contravariant=True)

Weights: TypeAlias = "Mapping[str, Tensor]"
"""The state of a model: all that its next training and its evaluation need."""

Annotator: TypeAlias = "Callable[[Sequence[int]], Sequence[LabelT]]"
"""Return the labels of items of the pool, in their order. A run that resumes asks once more about
the items of rounds that are done; the answers have to be the same. It may raise (`InputError`
where labels are not there yet, `Cancelled`): a later run goes on where it stopped."""

_STATE = "state.safetensors"
_TRAINING = "training-{:03d}.safetensors"


class AdaptationTask(Protocol[LabelInT]):
    """What algorithm 1 adapts: a pool of items, sources to start from, training and evaluation.

    Items are numbers from 0 to ``len(task) - 1``. Every method is a pure function of its
    arguments and leaves what it is given alone; that is what makes a killed run resume to the
    same bits.
    """

    @property
    def identity(self) -> str:
        """What the data and the settings are, as text; a run of another one is not resumed."""
        ...

    def __len__(self) -> int:
        """Return the number of items in the pool, all unlabelled."""
        ...

    def fingerprint(self, source: str) -> Mapping[str, FeatureSample]:
        """Return, by side, what a source's own network makes of its own data.

        As `napari_neurobridge.models.fingerprint.read_fingerprint` returns it.
        """
        ...

    def pool_features(self, source: str) -> Mapping[str, FloatArray]:
        """Return, by side, what a source's own network makes of the pool, each (N, F)."""
        ...

    def start(self, source: str | None) -> Weights:
        """Return the weights of a source, or those of an untrained network for ``None``."""
        ...

    def pool(self, weights: Weights, items: RowArray, sampler: SamplerName, *, seed: int) -> Pool:
        """Return some items (M,) as a model sees them: row i of the pool is ``items[i]``.

        Whatever a sampler does not read may be left out (gradients but for BADGE, features but for
        CLUE; for random items the uncertainty may be zeros). ``seed`` is that of the dropout.
        """
        ...

    def train(
        self,
        weights: Weights,
        labels: Mapping[int, LabelInT],
        steps: int,
        *,
        seed: int,
        checkpoint: Path | None = None,
        report: Report | None = None,
    ) -> Weights:
        """Return weights after so many more gradient steps on all labelled items.

        Parameters
        ----------
        weights : mapping of str to Tensor
        labels : mapping of int to label
            By item; at least one.
        steps : int
        seed : int
            Of everything that is drawn.
        checkpoint : Path, optional
            File to resume from if it exists, and to write to, as `training.loop.train` does.
        report : callable, optional
            Called as ``report(done, total, text)``; may raise to stop.

        Raises
        ------
        InputError
            If nothing can be learned from the labels, such as of one class alone.
        """
        ...

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        """Return figures by name, on data that is not in the pool."""
        ...


class AdaptParams(BaseModel, frozen=True, extra="forbid"):
    """The constraints of algorithm 1."""

    labels: int = Field(4, ge=1, description="Annotation budget, A.")
    steps: int = Field(10_000, ge=1, description="Gradient steps over all rounds, B.")
    rounds: int = Field(4, ge=1, description="Rounds at most, T; never more than labels.")
    sampler: SamplerName = Field(SamplerName.MEDIAN, description="Chooses what is annotated.")
    seed: int = Field(0, ge=0)


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What one round may spend."""

    labels: int
    steps: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Where a run stands after a round.

    Attributes
    ----------
    labels, steps : int
        Spent until now.
    items : tuple of int
        Annotated in this round, in the order of asking.
    figures : mapping of str to float
        Of `AdaptationTask.evaluate`; empty where that was left out.
    """

    labels: int
    steps: int
    items: tuple[int, ...]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Adapted:
    """The model after the last round, and how it got there.

    Attributes
    ----------
    weights : mapping of str to Tensor
    curve : tuple of CurvePoint
        The first one before any label.
    """

    weights: Weights
    curve: tuple[CurvePoint, ...]


def schedule(labels: int, steps: int, rounds: int) -> list[RoundPlan]:
    """Return what each round may spend: A/T labels and B/T steps, T being at most A.

    What is left by the division goes to the first rounds, one each: all of A and B is spent,
    so that B is constant over A.

    Raises
    ------
    InputError
        If a number is less than one, or there are fewer steps than rounds.
    """
    if min(labels, steps, rounds) < 1:
        raise InputError("Adapting takes at least one label, one gradient step and one round.")
    count = min(rounds, labels)
    if steps < count:
        raise InputError(f"{steps} gradient steps cannot be spread over {count} rounds.")
    return [
        RoundPlan(labels // count + (t < labels % count), steps // count + (t < steps % count))
        for t in range(count)
    ]


def check_budget(task: AdaptationTask[LabelT], params: AdaptParams) -> None:
    """Raise `InputError` where the pool is empty or smaller than the annotation budget."""
    if not len(task):
        raise InputError("The pool holds no item to annotate.")
    if params.labels > len(task):
        raise InputError(
            f"{params.labels} labels are more than the pool has items: it holds {len(task)}."
        )


def source_distances(
    task: AdaptationTask[LabelT], sources: Sequence[str], *, permutations: int = 99
) -> dict[str, SourceDistance]:
    """Return how far each source is from the pool, the nearest first (algorithm 1, line 1).

    Raises
    ------
    InputError
        If there is no source, one comes twice, or the pool holds fewer than two items.
    """
    if not sources:
        raise InputError("There is no source to start from.")
    if len(set(sources)) < len(sources):
        raise InputError("A source is named twice.")
    if len(task) < 2:
        raise InputError(
            f"The pool holds {'one item' if len(task) else 'no item'}; comparing it with the "
            "sources takes at least two."
        )
    found = {
        source: distance_to_source(
            task.fingerprint(source), task.pool_features(source), permutations=permutations
        )
        for source in sources
    }
    # Of equally near sources the one that was named first.
    return dict(sorted(found.items(), key=lambda entry: entry[1].mmd2))


def adapt(
    task: AdaptationTask[LabelT],
    source: str | None,
    annotate: Annotator[LabelT],
    params: AdaptParams | None = None,
    *,
    folder: Path | None = None,
    evaluate_rounds: bool = True,
    report: Report | None = None,
) -> Adapted:
    """Run algorithm 1 from one source, lines 2 to 17.

    Parameters
    ----------
    task : AdaptationTask
    source : str or None
        To start from, such as the first of `source_distances`; ``None`` is from scratch.
    annotate : callable
        See `Annotator`.
    params : AdaptParams, optional
    folder : Path, optional
        Keeps what is done, after each round and within it. A run that was killed goes on from
        there and ends with the same bits.
    evaluate_rounds : bool
        Whether the model is evaluated at the start and after each round, or at the end alone.
    report : callable, optional
        Called as ``report(done, total, text)`` with gradient steps; may raise to stop.

    Raises
    ------
    InputError
        If the pool is empty or smaller than the number of labels, the annotator does not answer
        for each item, the folder holds another run, or as the task and `schedule` say.
    """
    params = params or AdaptParams()
    check_budget(task, params)
    plan = schedule(params.labels, params.steps, params.rounds)
    run = _Adaptation(task, source, params, folder, evaluate_rounds)
    weights, curve = run.resumed()
    if not curve:
        weights = task.start(source)
        figures = task.evaluate(weights) if evaluate_rounds else {}
        curve = [CurvePoint(0, 0, (), figures)]
        run.keep(weights, curve)
    labels: dict[int, LabelT] = {}
    for point in curve:
        labels |= _answers(annotate, point.items)
    for number, spend in enumerate(plan[len(curve) - 1 :], start=len(curve)):
        weights, point = _round(run, number, spend, weights, curve[-1], labels, annotate, report)
        curve.append(point)
        run.keep(weights, curve)
    if not curve[-1].figures:
        last = curve[-1]
        curve[-1] = CurvePoint(last.labels, last.steps, last.items, task.evaluate(weights))
        run.keep(weights, curve)
    return Adapted(weights, tuple(curve))


@dataclass(frozen=True)
class _Adaptation(Generic[LabelT]):
    """A run, and where it is kept."""

    task: AdaptationTask[LabelT]
    source: str | None
    params: AdaptParams
    folder: Path | None
    evaluate_rounds: bool

    @property
    def identity(self) -> str:
        return json.dumps([self.task.identity, self.source, self.params.model_dump(mode="json")])

    def seed(self, number: int, what: int) -> int:
        """Return the seed of one use in one round."""
        drawn = np.random.SeedSequence([self.params.seed, number, what]).generate_state(1)
        return int(drawn[0] % 2**31)

    def training_file(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / _TRAINING.format(number)

    def keep(self, weights: Weights, curve: Sequence[CurvePoint]) -> None:
        """Write where the run stands; the checkpoints within rounds that are done go."""
        if self.folder is None:
            return
        points = [[p.labels, p.steps, list(p.items), dict(p.figures)] for p in curve]
        metadata = {"identity": self.identity, "curve": json.dumps(points)}
        tensors = {name: value.contiguous() for name, value in weights.items()}
        with atomic_write(self.folder / _STATE) as temporary:
            save_file(tensors, temporary, metadata=metadata)
        for number in range(1, len(curve)):
            (self.folder / _TRAINING.format(number)).unlink(missing_ok=True)

    def resumed(self) -> tuple[Weights, list[CurvePoint]]:
        """Return where an earlier run stopped; an empty curve where there was none."""
        if self.folder is None or not (self.folder / _STATE).exists():
            return {}, []
        path = self.folder / _STATE
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            points = json.loads(metadata.get("curve", ""))
            curve = [CurvePoint(a, b, tuple(items), told) for a, b, items, told in points]
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise InputError(f"The state {path} is damaged; delete it to start anew.") from error
        if metadata.get("identity") != self.identity:
            raise InputError(
                f"The folder {self.folder} holds a run of other data or settings; name another "
                "folder, or delete it to start anew."
            )
        return weights, curve


def _round(
    run: _Adaptation[LabelT],
    number: int,
    spend: RoundPlan,
    weights: Weights,
    before: CurvePoint,
    labels: dict[int, LabelT],
    annotate: Annotator[LabelT],
    report: Report | None,
) -> tuple[Weights, CurvePoint]:
    """Choose, ask and train once (lines 7 to 15); ``labels`` takes the answers."""
    task, params = run.task, run.params
    left = np.array([item for item in range(len(task)) if item not in labels], dtype=np.intp)
    pool = task.pool(weights, left, params.sampler, seed=run.seed(number, 0))
    rng = np.random.default_rng(run.seed(number, 1))
    chosen = left[SAMPLERS[params.sampler](pool, spend.labels, rng)].tolist()
    labels |= _answers(annotate, chosen)

    def told(done: int, _total: int, text: str) -> None:
        if report is not None:
            report(before.steps + done, params.steps, f"round {number}: {text}")

    weights = task.train(
        weights,
        labels,
        spend.steps,
        seed=run.seed(number, 2),
        checkpoint=run.training_file(number),
        report=told,
    )
    figures = task.evaluate(weights) if run.evaluate_rounds else {}
    spent = (before.labels + spend.labels, before.steps + spend.steps)
    return weights, CurvePoint(*spent, tuple(chosen), figures)


def _answers(annotate: Annotator[LabelT], items: Sequence[int]) -> dict[int, LabelT]:
    if not items:
        return {}
    answers = annotate(items)
    if len(answers) != len(items):
        raise InputError(f"{len(items)} items were asked about, and {len(answers)} answered.")
    return dict(zip(items, answers, strict=True))
