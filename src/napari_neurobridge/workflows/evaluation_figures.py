"""The papers' figures of one model, from a user's own pairs, as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.insight import figures
from napari_neurobridge.insight.embedding_map import embedding_map
from napari_neurobridge.training.evaluation import evaluate_pairs
from napari_neurobridge.training.plain_measures import PlainMeasure, plain_similarity
from napari_neurobridge.training.protocol import PAPER_GALLERY, reference_similarity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.training.evaluation import EvaluationReport
    from napari_neurobridge.types import Float32Array, Report


def evaluate_and_draw(
    encoder: Encoder,
    pairs: PairSet,
    folder: Path,
    *,
    measures: tuple[PlainMeasure, ...] = (),
    report: Report | None = None,
) -> tuple[EvaluationReport, list[Path]]:
    """Evaluate a model on pairs and draw what it says of them, as PNG files.

    Parameters
    ----------
    encoder : Encoder
        The model.
    pairs : PairSet
        Crops of at least two pairs, for the figures.
    folder : Path
        Made if need be; files of the same names are replaced.
    measures : tuple of PlainMeasure
        To compare with in the figures of similarities, which takes up to a minute each.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.

    Returns
    -------
    report : EvaluationReport
        Of all pairs.
    files : list of Path
        The curve and the confusion matrix are of all pairs, similarities and t-SNE of up to
        53, as in paper 1.

    Raises
    ------
    InputError
        If there are too few pairs, or their crops have another size than the model's.
    """
    vectors = [encoder.embed(side, report=report) for side in (pairs.two_photon, pairs.fmost)]
    evaluation = evaluate_pairs(
        vectors[0],
        vectors[1],
        pairs.scene,
        reference=reference_similarity(pairs),
        center_um=pairs.center_um,
    )
    shown = _paper_gallery(pairs)
    two_photon, fmost = (side[shown] for side in vectors)
    matrices = {encoder.name: two_photon @ fmost.T}
    few = pairs.take(shown)
    for measure in measures:
        matrices[measure.value] = plain_similarity(
            measure, few.two_photon, few.fmost, report=report
        )
    drawn = _of_evaluation(encoder.name, evaluation) | _of_similarities(matrices)
    drawn["t-sne"] = figures.embedding_figure(*embedding_map(two_photon, fmost))
    return evaluation, [
        figures.save_figure(figure, folder / f"{name}.png") for name, figure in drawn.items()
    ]


def _paper_gallery(pairs: PairSet) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return up to 53 pairs of the largest scene, filled up from the others."""
    _, place, counts = np.unique(pairs.scene, return_inverse=True, return_counts=True)
    # Stable, so that the pairs of a scene stay together and in order.
    return np.sort(np.lexsort((place, -counts[place]))[:PAPER_GALLERY])


def _of_evaluation(name: str, evaluation: EvaluationReport) -> dict[str, Figure]:
    drawn = {"top-k": figures.top_k_curves({name: np.array(evaluation.curve)}, n=evaluation.n)}
    if (counts := evaluation.confusion) is not None:
        drawn["confusion"] = figures.confusion_figure(
            counts.true_positive,
            counts.false_positive,
            counts.false_negative,
            counts.true_negative,
            intervals=evaluation.intervals,
        )
    return drawn


def _of_similarities(matrices: Mapping[str, Float32Array]) -> dict[str, Figure]:
    samples = {name: figures.split_similarities(matrix) for name, matrix in matrices.items()}
    return {
        "heat-maps": figures.similarity_heatmaps(matrices),
        "densities": figures.similarity_densities(samples),
        "boxes": figures.similarity_boxes(samples),
    }
