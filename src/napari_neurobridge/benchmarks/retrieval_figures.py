"""The figures of paper 1 from what the methods say: curves, confusion, similarities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.benchmarks.few_shot import FULL_METHOD, GENERIC, ZERO_SHOT
from napari_neurobridge.insight.figures import (
    confusion_figure,
    save_figure,
    similarity_boxes,
    similarity_densities,
    similarity_heatmaps,
    split_similarities,
    top_k_curves,
)
from napari_neurobridge.training.plain_measures import PlainMeasure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_neurobridge.benchmarks.few_shot import Compared
    from napari_neurobridge.benchmarks.retrieval_rows import MethodResult
    from napari_neurobridge.training.protocol import IntArray

_GROUPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "strategies",
        (ZERO_SHOT, "linear", "partial", "lora-16", "full", FULL_METHOD, GENERIC),
        "strategies",
    ),
    (
        "ablations",
        (FULL_METHOD, "no-miner", "triplet", "local-only", "global-only"),
        "ablations",
    ),
    (
        "measures",
        (FULL_METHOD, ZERO_SHOT, *(measure.value for measure in PlainMeasure)),
        "models and plain measures",
    ),
)
"""Name, methods and title of the figures that compare: paper 1, figures 4, 5, 6 and 9."""


def draw_figures(
    folder: Path,
    results: Sequence[MethodResult],
    compared: Mapping[str, Compared],
    scene: IntArray,
) -> list[Path]:
    """Draw what the methods that ran allow, as PNG files.

    Parameters
    ----------
    folder : Path
        Made if need be; files of the same names are replaced.
    results : sequence of MethodResult
        Means over all splits: for the curves and the confusion matrix.
    compared : mapping of str to Compared
        What each method says of one split: for the similarities.
    scene : ndarray of int, shape (N,)
        Scenes of that split's test pairs.

    Returns
    -------
    list of Path
        The files.
    """
    rows = {row.method: row for row in results}
    figures: dict[str, Figure] = {}
    for name, methods, about in _GROUPS:
        if chosen := [method for method in methods if method in rows]:
            curves = {method: np.array(rows[method].curve) for method in chosen}
            counts = rows[chosen[0]].confusion
            figures[f"top-k-{name}"] = top_k_curves(
                curves,
                n=counts.true_positive + counts.false_negative,
                title=f"Partner among the first k: {about}",
            )
            matrices = {method: compared[method].test for method in chosen}
            samples = {key: split_similarities(each, scene) for key, each in matrices.items()}
            title = f"{about.capitalize()}, one split"
            figures[f"heat-maps-{name}"] = similarity_heatmaps(matrices, title=title)
            figures[f"densities-{name}"] = similarity_densities(samples, title=title)
            figures[f"boxes-{name}"] = similarity_boxes(samples, title=title)
    if judged := rows.get(FULL_METHOD) or rows.get(ZERO_SHOT):
        counts = judged.confusion
        figures["confusion"] = confusion_figure(
            counts.true_positive,
            counts.false_positive,
            counts.false_negative,
            counts.true_negative,
            title=f"Same neuron or not, {judged.method}, all splits",
        )
    return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]
