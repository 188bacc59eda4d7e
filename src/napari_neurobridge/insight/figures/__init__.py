"""The papers' figures as pure functions from arrays to matplotlib figures.

Nothing here keeps state or knows pyplot, so the functions may run in any thread, and the
figures may go into a file or onto a Qt canvas.
"""

from napari_neurobridge.insight.figures.attention import attention_figure
from napari_neurobridge.insight.figures.best_matches import (
    MatchCrop,
    QueryMatches,
    best_matches_figure,
)
from napari_neurobridge.insight.figures.certificate import certificate_figure
from napari_neurobridge.insight.figures.domains import domain_figure
from napari_neurobridge.insight.figures.embedding import embedding_figure
from napari_neurobridge.insight.figures.pair import Picture, pair_figure
from napari_neurobridge.insight.figures.reliability import reliability_figure
from napari_neurobridge.insight.figures.retrieval import (
    confusion_figure,
    top_k_curves,
    training_curve,
)
from napari_neurobridge.insight.figures.similarity import (
    similarity_boxes,
    similarity_densities,
    similarity_heatmaps,
    split_similarities,
)
from napari_neurobridge.insight.figures.style import DARK, LIGHT, Theme, save_figure, several

__all__ = [
    "DARK",
    "LIGHT",
    "MatchCrop",
    "Picture",
    "QueryMatches",
    "Theme",
    "attention_figure",
    "best_matches_figure",
    "certificate_figure",
    "confusion_figure",
    "domain_figure",
    "embedding_figure",
    "pair_figure",
    "reliability_figure",
    "save_figure",
    "several",
    "similarity_boxes",
    "similarity_densities",
    "similarity_heatmaps",
    "split_similarities",
    "top_k_curves",
    "training_curve",
]
