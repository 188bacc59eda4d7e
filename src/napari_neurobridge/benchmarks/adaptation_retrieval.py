"""Which queries of a new domain to have answered first: algorithm 1 for retrieval, by sampler."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge import __version__
from napari_neurobridge.active.adapt import AdaptParams, adapt
from napari_neurobridge.active.retrieval_task import (
    NONE,
    RetrievalPool,
    RetrievalTask,
    RetrievalTaskParams,
)
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.benchmarks.few_shot_data import few_shot_data
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.training.left_out import left_out_source, left_out_task, shrunk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_neurobridge.types import Report

_RESAMPLES = 2000


class AdaptationRetrievalParameters(BenchmarkParameters):
    """What is adapted, and how often."""

    domains: tuple[str, ...] = Field(
        ("domain-C", "domain-E", "domain-F"),
        description="A domain that the source never saw; repeat it for more.",
        json_schema_extra={"option": "domain"},
    )
    labels: int = Field(64, ge=1, le=190, description="Annotation budget, A.")
    rounds: int = Field(4, ge=1, description="Rounds, T.")
    steps: int = Field(160, ge=1, description="Gradient steps over all rounds, B.")
    seeds: int = Field(5, ge=1, description="Runs of each sampler.")
    splits: int = Field(3, ge=1, le=5, description="Pools of 190 queries, in turn.")
    missing: float = Field(0.2, ge=0, lt=1, description="Share of queries without a partner.")
    passes: int = Field(5, ge=1, description="Passes with dropout, K.")
    cache: Path | None = Field(
        None,
        description="Keep sources, pairs and results, so as to go on from them.",
        json_schema_extra={"metavar": "DIR"},
    )


class SamplerCurve(BaseModel, frozen=True):
    """What one sampler reaches on one domain, mean over the seeds."""

    domain: str
    sampler: SamplerName
    top1: tuple[float, ...] = Field(description="Top-1 among 53 after 0, A/T, ... A labels.")
    top1_sd: tuple[float, ...] = Field(description="Standard deviation over the seeds.")
    mrr: tuple[float, ...] = Field(description="One over the partner's rank.")


class LabelsNeeded(BaseModel, frozen=True):
    """Labels that reach random sampling's last figure, over its labels; mean over domains."""

    sampler: SamplerName
    figure: str = Field(description='Which figure: "top1" or "mrr".')
    ratio: float | None = Field(description="None where it is never reached, or nothing gained.")
    interval: tuple[float | None, float | None] = Field(
        description="95 % bootstrap over the seeds; None is not reached."
    )
    gain: float = Field(description="Last figure less that of random sampling.")
    gain_interval: tuple[float, float] = Field(description="95 % bootstrap over the seeds.")


class AdaptationRetrievalBenchmark(BenchmarkResult):
    """Curves by sampler, and how many labels each needs."""

    labels: tuple[int, ...] = Field(description="Labels at each point of the curves.")
    seeds: int
    curves: tuple[SamplerCurve, ...]
    needed: tuple[LabelsNeeded, ...]

    def summary(self) -> str:
        """Return top-1 by the labels, and the labels that each sampler needs."""
        head = ("domain", "sampler", *(str(n) for n in self.labels))
        rows = [(c.domain, c.sampler.value, *c.top1) for c in self.curves]
        needed = [
            (n.sampler.value, n.figure, _text(n.ratio), _text(n.interval[0]), _text(n.interval[1]))
            for n in self.needed
        ]
        table = text_table(("sampler", "figure", "labels needed", "from", "to"), needed)
        return "\n".join([text_table(head, rows), "", table])


def run(
    parameters: AdaptationRetrievalParameters, *, report: Report | None = None
) -> AdaptationRetrievalBenchmark:
    """Answer the command line."""
    return benchmark_adaptation_retrieval(parameters, report=report)


def benchmark_adaptation_retrieval(
    parameters: AdaptationRetrievalParameters,
    *,
    samplers: Sequence[SamplerName] = tuple(SamplerName),
    report: Report | None = None,
) -> AdaptationRetrievalBenchmark:
    """Adapt a source to each domain it never saw, by each sampler and seed.

    Parameters
    ----------
    parameters : AdaptationRetrievalParameters
    samplers : sequence of SamplerName
        Random among them.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.

    Raises
    ------
    InputError
        If a domain is unknown, or random sampling is not among the samplers.
    """
    if SamplerName.RANDOM not in samplers:
        raise InputError("Samplers are compared with random sampling; name it, too.")
    asked = [
        (d, s, n) for d in parameters.domains for n in range(parameters.seeds) for s in samplers
    ]
    found: dict[tuple[str, SamplerName], list[list[dict[str, float]]]] = {}
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as temporary:
        runs = _Runs(parameters, parameters.cache or Path(temporary))
        for done, (domain, sampler, seed) in enumerate(asked):
            if report is not None:
                report(done, len(asked), f"{domain}, {sampler.value}, seed {seed}")
            found.setdefault((domain, sampler), []).append(runs.curve(domain, sampler, seed))
    labels = [round(point["labels"]) for point in next(iter(found.values()))[0]]
    arrays = {
        figure: {
            key: np.array([[point[figure] for point in curve] for curve in curves])
            for key, curves in found.items()
        }
        for figure in ("top1", "mrr")
    }
    return AdaptationRetrievalBenchmark(
        labels=tuple(labels),
        seeds=parameters.seeds,
        curves=tuple(
            SamplerCurve(
                domain=domain,
                sampler=sampler,
                top1=tuple(top1.mean(axis=0).tolist()),
                top1_sd=tuple(top1.std(axis=0, ddof=min(1, len(top1) - 1)).tolist()),
                mrr=tuple(arrays["mrr"][domain, sampler].mean(axis=0).tolist()),
            )
            for (domain, sampler), top1 in arrays["top1"].items()
        ),
        needed=tuple(
            _needed(sampler, figure, labels, parameters.domains, values)
            for figure, values in arrays.items()
            for sampler in samplers
            if sampler is not SamplerName.RANDOM
        ),
    )


def labels_needed(
    labels: Sequence[int], curve: npt.NDArray[np.float64], goal: float
) -> float | None:
    """Return at how many labels a curve first reaches a goal, between points by a line.

    ``None`` where it never does; 0 where it begins there.
    """
    above = np.flatnonzero(curve >= goal)
    if not len(above):
        return None
    first = int(above[0])
    if first == 0:
        return float(labels[0])
    low, high = curve[first - 1], curve[first]
    share = (goal - low) / (high - low)
    return float(labels[first - 1] + share * (labels[first] - labels[first - 1]))


def pool_of(pairs: PairSet, missing: float, *, seed: int) -> tuple[RetrievalPool, list[int]]:
    """Return a pool of queries, and the row of each one's partner, or `NONE`.

    A share of the queries, drawn by the seed, loses its partner.
    """
    n = len(pairs)
    lost = np.random.default_rng(seed).permutation(n)[: round(missing * n)]
    kept = np.setdiff1d(np.arange(n), lost)
    partner = np.full(n, NONE)
    partner[kept] = np.arange(len(kept))
    pool = RetrievalPool(pairs.two_photon, pairs.fmost[kept], pairs.scene, pairs.scene[kept])
    return pool, partner.tolist()


class _Runs:
    """Runs algorithm 1, or reads what it found before."""

    def __init__(self, parameters: AdaptationRetrievalParameters, folder: Path) -> None:
        self._parameters, self._folder = parameters, folder
        self._tasks: dict[tuple[str, int], tuple[RetrievalTask, list[int]]] = {}
        for name in ("pairs", "models", "adaptation"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def curve(self, domain: str, sampler: SamplerName, seed: int) -> list[dict[str, float]]:
        """Return the figures after each round, the first before any label."""
        asked = self._parameters
        about = asked.model_dump(mode="json", exclude={"domains", "seeds", "splits", "cache"}) | {
            "of": [__version__, domain, sampler.value, seed, seed % asked.splits, asked.splits]
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        path = self._folder / "adaptation" / f"{domain}-{sampler.value}-{seed}-{digest}.json"
        if path.exists():
            known: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
            return known
        task, partner = self._task(domain, seed % asked.splits)
        adapted = adapt(
            task,
            domain,
            lambda items: [partner[item] for item in items],
            AdaptParams(
                labels=asked.labels,
                steps=asked.steps,
                rounds=asked.rounds,
                sampler=sampler,
                seed=seed,
            ),
        )
        curve = [{"labels": float(p.labels), **p.figures} for p in adapted.curve]
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(curve), encoding="utf-8")
        return curve

    def _task(self, domain: str, split: int) -> tuple[RetrievalTask, list[int]]:
        if (domain, split) not in self._tasks:
            folder, asked = self._folder, self._parameters
            config = left_out_task(domain)
            source = left_out_source(config, folder / "models", pairs=folder / "pairs")
            splits = [few_shot_data(s, domain, folder / "pairs") for s in range(asked.splits)]
            pool, partner = pool_of(shrunk(splits[split].train), asked.missing, seed=split)
            test = shrunk(PairSet.joined([data.test for data in splits]))
            task = RetrievalTask(
                {domain: source}, pool, test, RetrievalTaskParams(passes=asked.passes)
            )
            self._tasks[domain, split] = task, partner
        return self._tasks[domain, split]


def _needed(
    sampler: SamplerName,
    figure: str,
    labels: Sequence[int],
    domains: Sequence[str],
    values: Mapping[tuple[str, SamplerName], npt.NDArray[np.float64]],
) -> LabelsNeeded:
    """Compare with random sampling; seeds are drawn with replacement, the same for both."""
    own = [values[domain, sampler] for domain in domains]
    chance = [values[domain, SamplerName.RANDOM] for domain in domains]

    def ratio(rows: npt.NDArray[np.intp]) -> float:
        parts = []
        for mine, theirs in zip(own, chance, strict=True):
            passive = theirs[rows].mean(axis=0)
            found = labels_needed(labels, mine[rows].mean(axis=0), float(passive[-1]))
            gained = passive[-1] > passive[0]
            parts.append(np.inf if found is None or not gained else found / labels[-1])
        return float(np.mean(parts))

    def gain(rows: npt.NDArray[np.intp]) -> float:
        return float(np.mean([m[rows, -1] - t[rows, -1] for m, t in zip(own, chance, strict=True)]))

    n = len(own[0])
    rng = np.random.default_rng(0)
    drawn = [rng.integers(n, size=n) for _ in range(_RESAMPLES)]
    ratios = np.sort([ratio(rows) for rows in drawn])
    low, high = (ratios[round(share * (_RESAMPLES - 1))] for share in (0.025, 0.975))
    gains = np.percentile([gain(rows) for rows in drawn], (2.5, 97.5))
    everything = np.arange(n)
    return LabelsNeeded(
        sampler=sampler,
        figure=figure,
        ratio=_finite(ratio(everything)),
        interval=(_finite(float(low)), _finite(float(high))),
        gain=gain(everything),
        gain_interval=(float(gains[0]), float(gains[1])),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _text(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f}"
