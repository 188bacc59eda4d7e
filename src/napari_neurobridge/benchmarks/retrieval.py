"""The bundled model against plain image similarities, on held-out simulated scenes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.pair_set import PairSet
from napari_neurobridge.training.evaluation import partner_ranks, top_k
from napari_neurobridge.training.plain_measures import PlainMeasure, PoseSearch, plain_similarity
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS, held_out_pairs
from napari_neurobridge.types import Float32Array, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder

Compare: TypeAlias = Callable[[PairSet, Report], Float32Array]
"""Takes the pairs of one scene and returns their similarity matrix (N, N)."""

TEST_SEEDS = tuple(range(100, 110))
"""Scenes that no bundled model was trained or tuned on."""


class MethodResult(BaseModel, frozen=True):
    """One row of the table."""

    method: str = Field(description="Name of the model or measure.")
    topk: dict[str, float] = Field(description='Top "1", "5", "10" within the own scene.')
    seconds: float = Field(description="Time for all scenes.")


class RetrievalBenchmark(BaseModel, frozen=True):
    """Top-k of an encoder and of plain measures on the same crops."""

    model: str = Field(description="Name and hash of the encoder.")
    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="One scene each.")
    candidates: int = Field(description="Cells per scene.")
    n_queries: int
    search: PoseSearch = Field(description="Poses that the plain measures may try.")
    results: tuple[MethodResult, ...] = Field(description="The encoder first.")
    ratio: float | None = Field(
        description="Top-1 of the encoder over that of the best plain measure, if that is not 0."
    )

    def table(self) -> str:
        """Return the results as a Markdown table."""
        lines = ["| method | top-1 | top-5 | top-10 | seconds |", "|---|---|---|---|---|"]
        for row in self.results:
            figures = " | ".join(f"{row.topk[k]:.3f}" for k in ("1", "5", "10"))
            lines.append(f"| {row.method} | {figures} | {row.seconds:.1f} |")
        return "\n".join(lines)


def benchmark_retrieval(
    encoder: Encoder,
    *,
    seeds: Sequence[int] = TEST_SEEDS,
    level: str = "paper",
    measures: Sequence[PlainMeasure] = tuple(PlainMeasure),
    search: PoseSearch | None = None,
    report: Report | None = None,
) -> RetrievalBenchmark:
    """Rank the 53 cells of each held-out scene, by the encoder and by plain measures.

    Parameters
    ----------
    encoder : Encoder
        The model to test.
    seeds : sequence of int
        Scenes to simulate, one per seed.
    level : str, default: "paper"
        Difficulty of the simulation.
    measures : sequence of PlainMeasure
        Plain measures to compare with; all by default.
    search : PoseSearch, optional
        Poses that the plain measures may try: ±15° and ±5 px by default.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Returns
    -------
    RetrievalBenchmark
        The table, and the ratio to the best plain measure.

    Raises
    ------
    InputError
        If no seed is given.
    """
    if not seeds:
        raise InputError("the benchmark needs at least one scene; give at least one seed")
    search = search or PoseSearch()
    pairs = held_out_pairs(seeds, level)

    def learned(scene: PairSet, _: Report) -> Float32Array:
        vectors = encoder.embed(scene.two_photon), encoder.embed(scene.fmost)
        similarity: Float32Array = vectors[0] @ vectors[1].T
        return similarity

    methods: dict[str, Compare] = {f"{encoder.name} (ours)": learned}
    for measure in measures:
        methods[measure.value] = _plain(measure, search)
    total = len(methods) * len(pairs)
    results = []
    for index, (name, compare) in enumerate(methods.items()):
        results.append(_run(name, compare, pairs, _offset(report, index * len(pairs), total)))
    best = max((row.topk["1"] for row in results[1:]), default=0.0)
    return RetrievalBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        level=level,
        seeds=tuple(seeds),
        candidates=EVALUATION_CELLS,
        n_queries=len(pairs),
        search=search,
        results=tuple(results),
        ratio=results[0].topk["1"] / best if best > 0 else None,
    )


def _plain(measure: PlainMeasure, search: PoseSearch) -> Compare:
    def compare(scene: PairSet, report: Report) -> Float32Array:
        return plain_similarity(
            measure, scene.two_photon, scene.fmost, search=search, report=report
        )

    return compare


def _run(
    name: str,
    compare: Compare,
    pairs: PairSet,
    report: Report,
) -> MethodResult:
    """Rank within each scene by one method."""
    began = time.monotonic()
    ranks = []
    done = 0
    for scene in np.unique(pairs.scene):
        chosen = pairs.scene == scene
        own = PairSet(pairs.two_photon[chosen], pairs.fmost[chosen], pairs.scene[chosen])
        ranks.append(partner_ranks(compare(own, _offset(report, done, len(pairs)))))
        done += len(own)
        report(done, len(pairs), f"ranking by {name}")
    topk = top_k(np.concatenate(ranks))
    return MethodResult(method=name, topk=topk, seconds=time.monotonic() - began)


def _offset(report: Report | None, done: int, total: int) -> Report:
    """Return a report whose count starts at ``done`` of ``total``."""

    def shifted(part: int, _: int, text: str) -> None:
        if report is not None:
            report(done + part, total, text)

    return shifted
