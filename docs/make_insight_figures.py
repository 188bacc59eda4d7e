"""Make the pictures of ``insight.md`` from held-out simulated scenes and the bundled model.

Run ``python docs/make_insight_figures.py``: some minutes on two cores, most of them for NMI and
SSIM. The numbers that the page quotes are printed.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_neurobridge.benchmarks.attention import benchmark_attention
from napari_neurobridge.insight import figures
from napari_neurobridge.insight.attention import attention_maps
from napari_neurobridge.insight.embedding_map import embedding_map
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.evaluation import evaluate_similarity, partner_ranks
from napari_neurobridge.training.plain_measures import PlainMeasure, plain_similarity
from napari_neurobridge.training.protocol import reference_similarity
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS, held_out_pairs
from napari_neurobridge.workflows.index import load_encoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Float32Array

IMAGES = Path(__file__).resolve().parent / "images" / "insight"
# The scenes that the model's card is about; see training/bundled_encoder.py.
SEEDS = tuple(range(100, 110))
# Part of a crop; noise has some black pixels, and what lies outside a volume has many.
_MOST_BLACK = 0.1
_DPI = 140


def main() -> None:
    """Make all figures."""
    arguments = _parse()
    encoder = load_encoder(None, arguments.model)
    pairs = PairSet.load(arguments.pairs) if arguments.pairs else held_out_pairs(SEEDS, "paper")
    similarity = encoder.embed(pairs.two_photon) @ encoder.embed(pairs.fmost).T
    _draw_classification(encoder.name, similarity, pairs)
    # One scene: 53 candidates, as in the paper.
    _draw_comparison(encoder.name, similarity, pairs.take(np.arange(EVALUATION_CELLS)))
    _draw_map(encoder, pairs.take(np.arange(EVALUATION_CELLS)))
    _draw_attention(encoder, similarity, pairs)
    for method in ("by-place", "averaged"):
        sanity = benchmark_attention(encoder, pairs, method=method)
        logging.info("attention: %s", sanity.model_dump_json(indent=2))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", help="name of a model, or its folder; the bundled one unless given"
    )
    parser.add_argument(
        "--pairs", type=Path, help="file of scenes 100 to 109, so as not to simulate them again"
    )
    return parser.parse_args()


def _draw_classification(model: str, similarity: Float32Array, pairs: PairSet) -> None:
    report = evaluate_similarity(similarity, pairs.scene, reference=reference_similarity(pairs))
    counts = report.confusion
    assert counts is not None
    _save(
        figures.confusion_figure(
            counts.true_positive,
            counts.false_positive,
            counts.false_negative,
            counts.true_negative,
            intervals=report.intervals,
            title=f"{model}: same neuron or not",
        ),
        "confusion",
    )
    logging.info("evaluation: %s", report.model_dump_json(indent=2))


def _draw_comparison(model: str, similarity: Float32Array, pairs: PairSet) -> None:
    compared = {model: similarity[: len(pairs), : len(pairs)]}
    for measure in PlainMeasure:
        compared[measure.value] = plain_similarity(measure, pairs.two_photon, pairs.fmost)
    ks = np.arange(1, len(pairs) + 1)
    curves = {
        name: np.mean(partner_ranks(matrix)[:, None] <= ks, axis=0)
        for name, matrix in compared.items()
    }
    samples = {name: figures.split_similarities(matrix) for name, matrix in compared.items()}
    _save(figures.top_k_curves(curves, n=len(pairs)), "top_k")
    _save(figures.similarity_heatmaps(compared), "heat_maps")
    _save(figures.similarity_densities(samples), "densities")
    _save(figures.similarity_boxes(samples), "boxes")


def _draw_map(encoder: Encoder, pairs: PairSet) -> None:
    plane = embedding_map(encoder.embed(pairs.two_photon), encoder.embed(pairs.fmost))
    _save(figures.embedding_figure(*plane), "map")


def _draw_attention(encoder: Encoder, similarity: Float32Array, pairs: PairSet) -> None:
    """Show one pair by both methods, and with a wrong candidate.

    It is that of median similarity among those whose crops lie wholly within the volumes.
    """
    outside = np.stack([(side == 0).mean(axis=(1, 2)) for side in (pairs.two_photon, pairs.fmost)])
    whole = np.flatnonzero(outside.max(axis=0) < _MOST_BLACK)
    row = int(whole[np.argsort(similarity[whole, whole])[len(whole) // 2]])
    query, candidate = pairs.two_photon[row], pairs.fmost[row]
    wrong = pairs.fmost[(row + 1) % len(pairs)]
    for name, other, method in (
        ("attention", candidate, "by-place"),
        ("attention_wrong", wrong, "by-place"),
        ("attention_averaged", candidate, "averaged"),
    ):
        maps = attention_maps(encoder, query, other, method=method)
        _save(figures.attention_figure(query, other, maps), name)


def _save(figure: Figure, name: str) -> None:
    """Write a PNG, without the transparency that nothing needs."""
    path = figures.save_figure(figure, IMAGES / f"{name}.png", dpi=_DPI)
    Image.open(path).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
