"""Whether maps of attention say something: three tests that an ornament would fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field
from scipy import ndimage, stats

from napari_neurobridge.benchmarks.contract import (
    BenchmarkResult,
    Level,
    ModelParameters,
    Seeds,
)
from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.attention import attention_maps
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.training.simulated_data import held_out_pairs

if TYPE_CHECKING:
    from napari_neurobridge.insight.attention import AttentionMaps, AttentionMethod
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.types import Float32Array, Report

_HIDDEN_PART = 0.2
_PATCH_PX = 8.0


class ChannelSanity(BaseModel, frozen=True):
    """What the tests say of one channel's maps; rank correlations are Spearman's."""

    random_weights: float = Field(
        description="Mean rank correlation with the map of a model of random weights."
    )
    other_candidate: float = Field(
        description="Mean rank correlation of a query's map with its map for another candidate."
    )
    hidden_brightest: float = Field(
        description="Mean fall of similarity when the brightest fifth of the query's map is hidden."
    )
    hidden_random: float = Field(description="The same for a fifth in random patches.")
    hidden_darkest: float = Field(description="The same for the darkest fifth.")


class AttentionParameters(ModelParameters):
    """Pairs to look at."""

    level: Level = "paper"
    seeds: Seeds = TEST_SEEDS
    examples: int = Field(40, ge=1, description="Pairs to look at.")


class AttentionBenchmark(BenchmarkResult):
    """The tests on both channels."""

    model: str
    method: str
    n: int = Field(description="Pairs that were looked at.")
    similarity: float = Field(description="Mean similarity of the pairs, with nothing hidden.")
    local: ChannelSanity
    context: ChannelSanity = Field(description="Of the global channel.")

    def summary(self) -> str:
        """Return a table, a column for each channel."""
        rows = [
            (name.replace("_", " "), getattr(self.local, name), getattr(self.context, name))
            for name in ChannelSanity.model_fields
        ]
        return text_table(("test", "local", "global"), rows)


def benchmark_attention(
    encoder: Encoder,
    pairs: PairSet,
    *,
    examples: int = 40,
    method: AttentionMethod = "by-place",
    seed: int = 0,
    report: Report | None = None,
) -> AttentionBenchmark:
    """Test maps of attention (Adebayo et al. 2018; deletion after Petsiuk et al. 2018).

    A map that is about the model changes when its weights are random; one that is about a
    similarity changes with the candidate; and what is bright in it matters: hiding it, by
    the crop's median, costs more similarity than hiding as much elsewhere. For the local
    channel, only the soma window is looked at and hidden.

    Parameters
    ----------
    encoder : Encoder
        The model.
    pairs : PairSet
        Of at least two cells.
    examples : int, default: 40
        Pairs to look at, drawn at random.
    method : AttentionMethod
        Of `attention_maps`.
    seed : int, default: 0
        Of the draw, the random weights and the random patches.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If there are fewer than two pairs.
    """
    if len(pairs) < 2:
        raise InputError("The test of attention needs at least two pairs; give more.")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(pairs))[:examples]
    strangers = np.roll(rows, 1)
    untrained = _with_random_weights(encoder, seed)
    found: list[tuple[AttentionMaps, AttentionMaps, AttentionMaps]] = []
    for row, stranger in zip(rows, strangers, strict=True):
        query, partner = pairs.two_photon[row], pairs.fmost[row]
        other = pairs.fmost[stranger]
        found.append(
            (
                attention_maps(encoder, query, partner, method=method),
                attention_maps(untrained, query, partner, method=method),
                attention_maps(encoder, query, other, method=method),
            )
        )
        if report is not None:
            report(len(found), len(rows), "looking at pairs")
    queries, partners = pairs.two_photon[rows], encoder.embed(pairs.fmost[rows])
    return AttentionBenchmark(
        model=encoder.name,
        method=method,
        n=len(rows),
        similarity=float((encoder.embed(queries) * partners).sum(axis=1).mean()),
        local=_judge("local", encoder, queries, partners, found, rng),
        context=_judge("global", encoder, queries, partners, found, rng),
    )


def run(parameters: AttentionParameters, *, report: Report | None = None) -> AttentionBenchmark:
    """Answer the command line."""
    pairs = held_out_pairs(parameters.seeds, parameters.level)
    return benchmark_attention(
        parameters.encoder(), pairs, examples=parameters.examples, report=report
    )


def _judge(
    channel: str,
    encoder: Encoder,
    queries: Float32Array,
    partners: Float32Array,
    found: list[tuple[AttentionMaps, AttentionMaps, AttentionMaps]],
    rng: np.random.Generator,
) -> ChannelSanity:
    pixels = encoder.config.crop_pixels
    window = encoder.config.local_channel.window if channel == "local" else pixels
    top = (pixels - window) // 2
    region = (slice(top, top + window),) * 2
    maps = [getattr(own, f"query_{channel}")[region] for own, _, _ in found]
    strange = [getattr(other, f"query_{channel}")[region] for _, _, other in found]
    untrained = [getattr(model, f"query_{channel}")[region] for _, model, _ in found]
    noise = rng.standard_normal((len(maps), window, window), dtype=np.float32)
    patches = [ndimage.gaussian_filter(field, _PATCH_PX) for field in noise]
    before = (encoder.embed(queries) * partners).sum(axis=1)

    def fall(fields: list[Float32Array]) -> float:
        hidden = np.stack(
            [_hide(query, field, region) for query, field in zip(queries, fields, strict=True)]
        )
        return float((before - (encoder.embed(hidden) * partners).sum(axis=1)).mean())

    return ChannelSanity(
        random_weights=_mean_correlation(maps, untrained),
        other_candidate=_mean_correlation(maps, strange),
        hidden_brightest=fall(maps),
        hidden_random=fall(patches),
        hidden_darkest=fall([-field for field in maps]),
    )


def _hide(crop: Float32Array, field: Float32Array, region: tuple[slice, slice]) -> Float32Array:
    """Replace the fifth of a region where ``field`` is highest by the crop's median."""
    count = round(_HIDDEN_PART * field.size)
    # By order rather than by a threshold, since many places may be equal.
    chosen = np.argsort(-field, axis=None, kind="stable")[:count]
    inside = crop[region].copy()
    inside.flat[chosen] = np.median(crop)
    hidden = crop.copy()
    hidden[region] = inside
    return hidden


def _mean_correlation(first: list[Float32Array], second: list[Float32Array]) -> float:
    """Return the mean rank correlation; a map without contrast has none and counts as 0."""
    values = [
        0.0
        if np.ptp(one) == 0 or np.ptp(other) == 0
        else float(stats.spearmanr(one.ravel(), other.ravel()).statistic)
        for one, other in zip(first, second, strict=True)
    ]
    return float(np.mean(values))


def _with_random_weights(encoder: Encoder, seed: int) -> Encoder:
    context = encoder.config.global_channel.model_copy(update={"pretrained": False})
    config = encoder.config.model_copy(update={"global_channel": context})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(DualChannelEncoder(config), "")
