"""The grid of the benchmark of adaptation: its sources and its runs, each kept when it is done."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.active.adapt import AdaptParams, adapt, source_distances
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.active.segmentation import SegmentationTask
from napari_neurobridge.active.segmentation_source import train_source
from napari_neurobridge.benchmarks.adaptation_figures import FARTHEST, NEAREST, PASSIVE, SCRATCH
from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.active.segmentation import SegmentationParams
    from napari_neurobridge.active.tiles import Tiles
    from napari_neurobridge.detection.unet import SegmenterConfig
    from napari_neurobridge.types import Report

MEDIAN = SamplerName.MEDIAN
COMPARED = (SamplerName.MIN, SamplerName.MEDIAN, SamplerName.MAX, SamplerName.BADGE,
            SamplerName.CLUE)  # fmt: skip
"""The five of NeuroADDA's table 2."""


@dataclass(frozen=True)
class AdaptationRun:
    """One adaptation.

    Attributes
    ----------
    target : str
    source : str or None
        ``None`` is from scratch.
    sampler : SamplerName
    labels : int
    rounds : int
        At most.
    seed : int
    """

    target: str
    source: str | None
    sampler: SamplerName
    labels: int
    rounds: int
    seed: int


@dataclass(frozen=True)
class AdaptationGrid:
    """What is trained, of which tiles, and where it is kept.

    Attributes
    ----------
    tiles : mapping of str to Tiles
        By domain, all of one kind.
    config : SegmenterConfig
    params : SegmentationParams
    cache : Path
    source_steps, steps : int
        Of a source, and of a run (B).
    source_rate : float
        Learning rate of a source; that of a run is in the parameters.
    """

    tiles: Mapping[str, Tiles]
    config: SegmenterConfig
    params: SegmentationParams
    cache: Path
    source_steps: int
    steps: int
    source_rate: float

    def prepare(self, report: Report | None = None) -> None:
        """Train the sources that the cache does not hold."""
        for name in self.tiles:
            if self._folder(name).exists():
                continue
            folder = self._folder(name)
            checkpoint = folder.with_name(folder.name + "-training.safetensors")
            train_source(
                self._own(name),
                folder,
                steps=self.source_steps,
                checkpoint=checkpoint,
                report=_prefixed(report, f"source {name}: "),
            )
            checkpoint.unlink(missing_ok=True)

    def task(self, target: str, source: str, *, seed: int = 0) -> SegmentationTask:
        """Return the task of a target, with network and watershed of a source."""
        sources = {name: self._folder(name) for name in self.tiles if name != target}
        task = SegmentationTask(self.tiles[target], self.config, sources, self.params, seed)
        return task.like(source)

    def distances(self, target: str) -> dict[str, float]:
        """Return the MMD² of each source, the nearest first."""
        others = [name for name in self.tiles if name != target]
        found = source_distances(self.task(target, others[0]), others, permutations=1)
        return {name: distance.mmd2 for name, distance in found.items()}

    def value(self, run: AdaptationRun, nearest: str, report: Report | None = None) -> float:
        """Return the variation of information after a run; from the cache if it is there."""
        task, params, path = self._asked(run, nearest)
        if path.exists():
            return float(json.loads(path.read_text(encoding="utf-8"))["vi"])
        folder = path.with_suffix("")
        found = adapt(
            task,
            run.source,
            task.tiles.annotate,
            params,
            folder=folder,
            evaluate_rounds=False,
            report=report,
        )
        _write(path, {**found.curve[-1].figures, "run": repr(run)})
        shutil.rmtree(folder, ignore_errors=True)
        return found.curve[-1].figures["vi"]

    def is_done(self, run: AdaptationRun, nearest: str) -> bool:
        """Return whether the cache holds a run."""
        return self._asked(run, nearest)[2].exists()

    def zero_shot(self, target: str, source: str) -> float:
        """Return the variation of information of a source without any label."""
        task = self.task(target, source)
        path = self.cache / "zero-shot" / f"{_digest([task.identity, target, source])}.json"
        if not path.exists():
            _write(path, dict(task.evaluate(task.start(source))))
        return float(json.loads(path.read_text(encoding="utf-8"))["vi"])

    def _asked(
        self, run: AdaptationRun, nearest: str
    ) -> tuple[SegmentationTask, AdaptParams, Path]:
        """Return the task and the settings of a run, and where its figures are kept."""
        task = self.task(run.target, run.source or nearest, seed=run.seed)
        params = AdaptParams(
            labels=run.labels,
            steps=self.steps,
            rounds=run.rounds,
            sampler=run.sampler,
            seed=run.seed,
        )
        key = [task.identity, run.target, run.source, params.model_dump(mode="json")]
        return task, params, self.cache / "runs" / f"{_digest(key)}.json"

    def _own(self, name: str) -> SegmentationTask:
        config = self.config.model_copy(update={"name": name})
        params = self.params.model_copy(update={"learning_rate": self.source_rate})
        return SegmentationTask(self.tiles[name], config, {}, params)

    def _folder(self, name: str) -> Path:
        key = _digest([self._own(name).identity, self.source_steps])
        return self.cache / "sources" / f"{name}-{key}"


def planned(
    distances: Mapping[str, Mapping[str, float]],
    *,
    labels: Sequence[int],
    compared: Sequence[int],
    rounds: int,
    seeds: int,
    sizes: Mapping[str, int],
) -> Iterator[tuple[str, AdaptationRun]]:
    """Yield runs by the way of learning that they are of; the same run may serve several.

    First the four ways and the sources at the budgets where these are compared, with one seed after
    the other, then the samplers there, then the four ways at the other budgets. Scratch and
    passive train in one round: where items are random, waiting for labels is of no use. Budgets
    larger than a pool are left out.

    Parameters
    ----------
    distances : mapping of str to mapping of str to float
        MMD² of the sources by target, the nearest first.
    labels, compared : sequence of int
        Annotation budgets, and those of them where samplers and sources are compared.
    rounds, seeds : int
    sizes : mapping of str to int
        Items in the pool by target.
    """
    ordered = [*compared, *(budget for budget in labels if budget not in compared)]
    later: list[tuple[str, AdaptationRun]] = []
    for budget in ordered:
        for seed in range(seeds):
            for target, sources in distances.items():
                if budget > sizes[target]:
                    continue
                nearest, *_, farthest = sources
                base = AdaptationRun(target, nearest, MEDIAN, budget, rounds, seed)
                random = replace(base, sampler=SamplerName.RANDOM, rounds=1)
                yield SCRATCH, replace(random, source=None)
                yield PASSIVE, random
                yield FARTHEST, replace(base, source=farthest)
                yield NEAREST, base
                if budget in compared:
                    for source in sources:
                        yield f"source {source}", replace(base, source=source)
                    later += [(f"sampler {name}", replace(base, sampler=name)) for name in COMPARED]
        yield from later
        later.clear()


def do_runs(
    grid: AdaptationGrid,
    plan: Sequence[tuple[str, AdaptationRun]],
    nearest: Mapping[str, str],
    *,
    until: float | None = None,
    report: Report | None = None,
) -> dict[tuple[str, str, str | None, int], list[float]]:
    """Return the runs' variation of information by (target, way, source, labels).

    Parameters
    ----------
    grid : AdaptationGrid
    plan : sequence of (way, AdaptationRun)
        Of `planned`.
    nearest : mapping of str to str
        By target.
    until : float, optional
        `time.monotonic` from which on no run is begun; those in the cache still count.
    report : callable, optional
    """
    known: dict[AdaptationRun, float] = {}
    found: dict[tuple[str, str, str | None, int], list[float]] = {}
    for done, (way, run) in enumerate(plan):
        if run not in known:
            near = nearest[run.target]
            late = until is not None and time.monotonic() >= until
            if late and not grid.is_done(run, near):
                continue
            text = f"{run.target}, {way}, {run.labels} labels, seed {run.seed}: "
            known[run] = grid.value(run, near, _at(report, done, len(plan), text))
        found.setdefault((run.target, way, run.source, run.labels), []).append(known[run])
    return found


def _at(report: Report | None, done: int, total: int, text: str) -> Report | None:
    if report is None:
        return None
    return lambda _done, _total, more: report(done, total, text + more)


def _prefixed(report: Report | None, text: str) -> Report | None:
    if report is None:
        return None
    return lambda done, total, more: report(done, total, text + more)


def _write(path: Path, values: Mapping[str, object]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values), encoding="utf-8")


def _digest(key: object) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def thinned(tiles: Tiles, *, pool: int, test: int, seed: int = 0) -> Tiles:
    """Return tiles with at most so many in the pool and held out, drawn at random."""
    rng = np.random.default_rng(seed)

    def some(
        corners: Sequence[tuple[int, int, int]], most: int
    ) -> tuple[tuple[int, int, int], ...]:
        rows = np.sort(rng.permutation(len(corners))[:most])
        return tuple(corners[row] for row in rows.tolist())

    return replace(tiles, pool=some(tiles.pool, pool), test=some(tiles.test, test))
