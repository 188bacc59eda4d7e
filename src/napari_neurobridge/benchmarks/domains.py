"""How far apart the simulated imaging domains are, against the scatter within each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from napari_neurobridge.active.domain import distance_matrix, half_split_mmd2
from napari_neurobridge.benchmarks.contract import BenchmarkResult, ModelParameters
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.models.fingerprint import median_distance, unit_rows
from napari_neurobridge.simulation.levels import DOMAINS
from napari_neurobridge.simulation.pairs import simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import FloatArray, Report

_SPLITS = 100


class DomainsParameters(ModelParameters):
    """Whose features to compare, and of how many crops."""

    pairs: int = Field(256, description="Pairs of each domain.")
    seed: int = Field(0, description="Draws scenes and halves.")
    figure: Path | None = Field(
        None,
        description="Draw the distances and their dendrogram into it (PNG, SVG or PDF).",
        json_schema_extra={"metavar": "FILE"},
    )


class DomainsBenchmark(BenchmarkResult):
    """MMD² between domains, and between random halves of each."""

    model: str = Field(description="Whose trunk's features were compared.")
    domains: tuple[str, ...]
    pairs: int = Field(description="Pairs of crops of each domain.")
    mmd2: tuple[tuple[float, ...], ...] = Field(description="Between domains, symmetric.")
    within: tuple[float, ...] = Field(
        description="95th percentile of |MMD²| between 100 random halves of each domain."
    )
    smallest_ratio: float = Field(
        description="Smallest MMD² of two domains over the larger of their own scatters."
    )
    figure: str | None = Field(None, description="Path of the figure drawn.")

    def summary(self) -> str:
        """Return MMD² between domains, and the scatter within each."""
        rows = [
            (name, *row, scatter)
            for name, row, scatter in zip(self.domains, self.mmd2, self.within, strict=True)
        ]
        ratio = f"smallest distance of two domains over their scatter: {self.smallest_ratio:.1f}"
        table = text_table(("MMD²", *self.domains, "within"), rows)
        return "\n".join([table, ratio, *([self.figure] if self.figure else [])])


def benchmark_domains(
    encoder: Encoder,
    parameters: DomainsParameters | None = None,
    *,
    names: Sequence[str] = DOMAINS,
    report: Report | None = None,
) -> DomainsBenchmark:
    """Compare simulated domains by the encoder's max-pooled features of both sides.

    Parameters
    ----------
    encoder : Encoder
        Whose features to compare.
    parameters : DomainsParameters, optional
    names : sequence of str
        Levels of the simulation, at least two.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Raises
    ------
    InputError
        If fewer than two domains are named, or one is unknown.
    """
    parameters = parameters or DomainsParameters()
    pairs, seed = parameters.pairs, parameters.seed
    if len(names) < 2:
        raise InputError("Name at least two domains to compare.")
    features = []
    for done, name in enumerate(names):
        if report is not None:
            report(done, len(names), f"simulating {name}")
        features.append(_features(encoder, name, pairs, seed))
    bandwidth = median_distance(*features)
    matrix = distance_matrix(features, bandwidth=bandwidth)
    rng = np.random.default_rng(seed)
    within = [
        float(np.percentile(np.abs(values), 95))
        for values in (
            half_split_mmd2(rows, bandwidth=bandwidth, splits=_SPLITS, rng=rng) for rows in features
        )
    ]
    if parameters.figure is not None:
        from napari_neurobridge.insight.figures import domain_figure, save_figure

        title = f"MMD² between simulated domains, features of {encoder.name}"
        save_figure(domain_figure(names, matrix, title=title), parameters.figure)
    ratios = [matrix[i, j] / max(within[i], within[j]) for i in range(len(names)) for j in range(i)]
    return DomainsBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        domains=tuple(names),
        pairs=pairs,
        mmd2=tuple(tuple(row) for row in matrix.tolist()),
        within=tuple(within),
        smallest_ratio=float(min(ratios)),
        figure=None if parameters.figure is None else str(parameters.figure),
    )


def run(parameters: DomainsParameters, *, report: Report | None = None) -> DomainsBenchmark:
    """Answer the command line."""
    return benchmark_domains(parameters.encoder(), parameters, report=report)


def _features(encoder: Encoder, name: str, count: int, seed: int) -> FloatArray:
    """Return features of both sides of each pair, (N, F), each side of unit length."""
    pairs = simulate_pairs(count, seed=seed, level=name)
    sides = (pairs.two_photon, pairs.fmost)
    return np.concatenate([unit_rows(encoder.trunk_features(side)) for side in sides], axis=1)
