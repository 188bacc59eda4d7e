"""NeuroADDA's experiments: which source to start from, and which items to have labelled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.active.domain import symmetrised
from napari_neurobridge.active.domain_groups import grouping_test
from napari_neurobridge.active.segmentation import SegmentationParams
from napari_neurobridge.benchmarks.adaptation_artefacts import ArtefactTest, artefact_tests
from napari_neurobridge.benchmarks.adaptation_domains import read_domains, simulated_domains
from napari_neurobridge.benchmarks.adaptation_figures import (
    PAPER,
    WAYS,
    Cell,
    Regret,
    active_adds,
    cells,
    nearest_best,
    reductions,
    regret,
    sampler_efficacy,
)
from napari_neurobridge.benchmarks.adaptation_runs import (
    COMPARED,
    AdaptationGrid,
    do_runs,
    planned,
    thinned,
)
from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult
from napari_neurobridge.detection.unet import SegmenterConfig, load_segmenter
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.simulation.levels import DOMAIN_GROUPS
from napari_neurobridge.training.segmenter_draws import DrawParams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.active.tiles import Tiles
    from napari_neurobridge.types import Report

_HALVINGS = 3
_LEAST_DOMAINS = 3
_FILE = {"metavar": "FILE.toml"}


class AdaptationParameters(BenchmarkParameters):
    """Which domains, and how much is trained."""

    target: Literal["boundaries", "somata"] = Field(
        "boundaries", description="What the networks tell."
    )
    domains: Path | None = Field(
        None, description="Real sets, see the documentation.", json_schema_extra=dict(_FILE)
    )
    simulated: bool = Field(True, description="Of somata, also the six simulated domains.")
    cache: Path = Field(
        description="Folder of scenes, sources and runs; what it holds is not done again."
    )
    labels: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64), description="An annotation budget, A; repeat it for more."
    )
    compared: tuple[int, ...] = Field(
        (4,), description="A budget at which all samplers and sources are compared."
    )
    rounds: int = Field(4, ge=1, description="Rounds of asking at most, T.")
    steps: int = Field(10_000, ge=1, description="Gradient steps of a run, B.")
    source_steps: int = Field(10_000, ge=1, description="Gradient steps of a source.")
    seeds: int = Field(3, ge=1, description="Runs of each setting.")
    width: int = Field(16, ge=1, description="Channels of the networks at full resolution.")
    tile_px: int = Field(256, ge=16, description="Side of an item.")
    window_px: int = Field(128, ge=16, description="Side of a training window.")
    batch: int = Field(4, ge=1, description="Windows in a gradient step.")
    learning_rate: float = Field(2e-3, description="Highest, of runs.")
    source_learning_rate: float = Field(2e-3, description="Highest, of sources.")
    passes: int = Field(20, ge=1, description="Passes with dropout.")
    pool: int = Field(256, ge=2, description="Most items of a pool, drawn at random.")
    held_out: int = Field(64, ge=1, description="Most held-out items of a domain.")
    artefact_tiles: int = Field(64, ge=4, description="Tiles for the test of artefacts.")
    minutes: float | None = Field(
        None, gt=0, description="Begin no run after so long; a later call goes on."
    )


class Grouping(BaseModel, frozen=True):
    """Whether domains cluster as their groups were declared; see `grouping_test`."""

    clusters: dict[str, int] = Field(description="Of each domain.")
    fowlkes_mallows: float
    p_value: float
    floor: float = Field(description="The smallest p-value that there can be.")


class AdaptationBenchmark(BenchmarkResult):
    """Variation of information (VI) in bits on held-out tiles, and what follows from it."""

    target: str
    steps: int
    runs: int = Field(description="Runs that are done.")
    planned: int = Field(description="Runs of the whole grid.")
    tiles: dict[str, tuple[int, int]] = Field(description="Of the pool and held out, by domain.")
    mmd2: dict[str, dict[str, float]] = Field(
        description="Of each source by target domain, the nearest first."
    )
    zero_shot: dict[str, dict[str, float]] = Field(description="VI of each source without labels.")
    table: tuple[Cell, ...]
    reduction: dict[str, dict[str, float]] = Field(
        description="Share of scratch's VI that the active nearest source takes off, by labels and "
        "domain; 'mean' over domains."
    )
    regret: tuple[Regret, ...]
    nearest_best: float | None = Field(
        description="Share of settings where the nearest source is best of the four ways."
    )
    active_adds: float | None = Field(
        description="Share of those where the active way beats the passive one."
    )
    sampler_efficacy: dict[str, float] = Field(
        description="Share of settings where each sampler has the lowest mean VI."
    )
    artefacts: tuple[ArtefactTest, ...]
    grouping: Grouping | None = Field(
        description="Of the simulated domains, by the MMD² and its transpose in mean."
    )

    def summary(self) -> str:
        """Return the tables and the paper's quantities beside ours."""
        lines = [f"{self.runs} of {self.planned} runs, {self.steps} steps each"]
        budgets = sorted({cell.labels for cell in self.table})
        told = {(c.target, c.way, c.labels): c for c in self.table}
        ways = [*WAYS, *(f"sampler {name}" for name in COMPARED)]
        rows = [
            (target, way, *(_shown(told.get((target, way, budget))) for budget in budgets))
            for target in self.mmd2
            for way in ways
        ]
        lines.append(text_table(("target", "VI of", *map(str, budgets)), rows))
        for budget, shares in self.reduction.items():
            named = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
            lines.append(f"less VI than scratch at {budget} labels: {named}")
        for lost in self.regret:
            lines.append(
                f"regret at {lost.labels} labels: nearest {lost.nearest:.3f}, random source "
                f"{lost.random:.3f}, ratio {_number(lost.ratio)}, 95 % {lost.interval}"
            )
        lines.append(
            f"nearest best {_number(self.nearest_best)}, active adds "
            f"{_number(self.active_adds)}, samplers {self.sampler_efficacy}"
        )
        if self.grouping is not None:
            lines.append(
                f"declared groups: Fowlkes-Mallows {self.grouping.fowlkes_mallows:.2f}, "
                f"p {self.grouping.p_value:.3f} (at least {self.grouping.floor:.3f})"
            )
        lines.append(PAPER)
        tests = [test for test in self.artefacts if test.kind == "all"]
        lines += [
            f"{t.severity} artefacts in {t.target} by {t.source}: U {t.u:.0f}, p {t.p:.2g}, "
            f"AUC {t.auc:.2f}"
            for t in tests
        ]
        return "\n".join(lines)


def benchmark_adaptation(
    parameters: AdaptationParameters,
    tiles: dict[str, Tiles],
    *,
    report: Report | None = None,
) -> AdaptationBenchmark:
    """Train a source on each domain, and adapt the others' to it.

    Parameters
    ----------
    parameters : AdaptationParameters
    tiles : dict of str to Tiles
        By domain.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop, and a later call goes on.

    Raises
    ------
    InputError
        If there are fewer than three domains, or a budget at which to compare is not one to try.
    """
    if len(tiles) < _LEAST_DOMAINS:
        raise InputError("Leaving one domain out takes at least three, so that there is a choice.")
    if not set(parameters.compared) <= set(parameters.labels):
        raise InputError("Samplers and sources are compared at budgets among the labels alone.")
    until = None if parameters.minutes is None else time.monotonic() + 60 * parameters.minutes
    grid = _grid(parameters, tiles)
    grid.prepare(report)
    distances = {name: grid.distances(name) for name in grid.tiles}
    nearest = {target: next(iter(sources)) for target, sources in distances.items()}
    plan = list(
        planned(
            distances,
            labels=parameters.labels,
            compared=parameters.compared,
            rounds=parameters.rounds,
            seeds=parameters.seeds,
            sizes={name: len(one.pool) for name, one in grid.tiles.items()},
        )
    )
    values = do_runs(grid, plan, nearest, until=until, report=report)
    table = cells(values)
    return AdaptationBenchmark(
        target=parameters.target,
        steps=parameters.steps,
        runs=sum(map(len, values.values())),
        planned=len(plan),
        tiles={name: (len(one.pool), len(one.test)) for name, one in grid.tiles.items()},
        mmd2=distances,
        zero_shot={t: {s: grid.zero_shot(t, s) for s in row} for t, row in distances.items()},
        table=table,
        reduction=_reduction(table, parameters.labels),
        regret=tuple(
            found
            for budget in parameters.compared
            if (found := regret(table, nearest, budget)) is not None
        ),
        nearest_best=nearest_best(table),
        active_adds=active_adds(table),
        sampler_efficacy=sampler_efficacy(table, COMPARED),
        artefacts=tuple(_artefacts(grid, parameters, distances, report)),
        grouping=_grouping(distances, DOMAIN_GROUPS),
    )


def run(parameters: AdaptationParameters, *, report: Report | None = None) -> AdaptationBenchmark:
    """Answer the command line."""
    tiles: dict[str, Tiles] = {}
    size = {"tile_px": parameters.tile_px, "multiple": 2**_HALVINGS}
    if parameters.domains is not None:
        tiles |= read_domains(parameters.domains, **size)
    if parameters.simulated and parameters.target == "somata":
        tiles |= simulated_domains(parameters.cache / "scenes", **size, report=report)
    return benchmark_adaptation(parameters, tiles, report=report)


def _grid(parameters: AdaptationParameters, tiles: dict[str, Tiles]) -> AdaptationGrid:
    config = SegmenterConfig(
        name="scratch",
        target=parameters.target,
        width=parameters.width,
        halvings=_HALVINGS,
        planes=1,
        # Every set has its own; a network without a size of pixels of its own takes them as one.
        pixel_um=1.0,
    )
    params = SegmentationParams(
        draws=DrawParams(size_px=parameters.window_px, scale=(0.9, 1.1)),
        batch=parameters.batch,
        passes=parameters.passes,
        learning_rate=parameters.learning_rate,
    )
    some = {
        name: thinned(one, pool=parameters.pool, test=parameters.held_out)
        for name, one in tiles.items()
    }
    return AdaptationGrid(
        some,
        config,
        params,
        cache=parameters.cache,
        source_steps=parameters.source_steps,
        steps=parameters.steps,
        source_rate=parameters.source_learning_rate,
    )


def _grouping(
    distances: Mapping[str, Mapping[str, float]], groups: Mapping[str, str]
) -> Grouping | None:
    """Test the declared groups of domains; None where they do not cover all of them."""
    names = sorted(distances)
    declared = [groups.get(name, "") for name in names]
    if not all(declared) or not 1 < len(set(declared)) < len(names):
        return None
    matrix = np.array([[distances[a].get(b, 0.0) for b in names] for a in names])
    test = grouping_test(symmetrised(matrix), declared)
    return Grouping(
        clusters=dict(zip(names, test.clusters, strict=True)),
        fowlkes_mallows=test.index,
        p_value=test.p_value,
        floor=test.floor,
    )


def _reduction(table: tuple[Cell, ...], labels: tuple[int, ...]) -> dict[str, dict[str, float]]:
    found = {}
    for budget in labels:
        shares = reductions(table, budget)
        if shares:
            found[str(budget)] = {**shares, "mean": sum(shares.values()) / len(shares)}
    return found


def _artefacts(
    grid: AdaptationGrid,
    parameters: AdaptationParameters,
    distances: dict[str, dict[str, float]],
    report: Report | None,
) -> list[ArtefactTest]:
    """Test each domain by the network of the source nearest to it."""
    found = []
    for done, (target, sources) in enumerate(distances.items()):
        if report is not None:
            report(done, len(distances), f"artefacts in {target}")
        source = next(iter(sources))
        net = load_segmenter(grid.task(target, source).sources[source])
        found += artefact_tests(
            net,
            grid.tiles[target],
            grid.params,
            target=target,
            source=source,
            most=parameters.artefact_tiles,
        )
    return found


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.mean:.3f}" if cell.sd is None else f"{cell.mean:.3f} ± {cell.sd:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
