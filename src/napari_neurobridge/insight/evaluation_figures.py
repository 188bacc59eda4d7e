"""The papers' figures of one evaluation: for the dock, the report and as files."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from napari_neurobridge.insight import figures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_neurobridge.insight.evaluation import Evaluation


class EvaluationFigure(StrEnum):
    """What can be drawn of an evaluation; the value is the file's name."""

    TOP_K = "top-k"
    CONFUSION = "confusion"
    HEAT_MAPS = "heat-maps"
    DENSITIES = "densities"
    BOXES = "boxes"
    MAP = "t-sne"
    BEST_MATCHES = "best-matches"


def draw_evaluation(
    kind: EvaluationFigure,
    evaluation: Evaluation,
    *,
    theme: figures.Theme = figures.LIGHT,
    labels: Sequence[str] | None = None,
    selected: int | None = None,
    names: Sequence[tuple[str, str]] | None = None,
    hidden: int | None = None,
) -> Figure | None:
    """Draw one figure.

    Parameters
    ----------
    kind : EvaluationFigure
        The confusion matrix is of all pairs, the map of the ``mapped`` ones, the grid of best
        matches of the ``exampled`` ones, and the others are of the ``shown`` ones, as in
        paper 1.
    evaluation : Evaluation
    theme : Theme
        Colours.
    labels : sequence of str, optional
        Names of the ``mapped`` pairs, for the map.
    selected : int, optional
        Which of them to mark.
    names : sequence of (str, str), optional
        What the two cells of each pair are called, for the grid of best matches.
    hidden : int, optional
        A pair whose best matches must not be seen.

    Returns
    -------
    Figure or None
        ``None`` for a confusion matrix of fewer than four pairs, and where all is hidden.
    """
    report = evaluation.report
    if kind is EvaluationFigure.TOP_K:
        return figures.top_k_curves(evaluation.curves(), n=len(evaluation.shown), theme=theme)
    if kind is EvaluationFigure.CONFUSION:
        counts = report.confusion
        if counts is None:
            return None
        return figures.confusion_figure(
            counts.true_positive,
            counts.false_positive,
            counts.false_negative,
            counts.true_negative,
            intervals=report.intervals,
            theme=theme,
        )
    if kind is EvaluationFigure.HEAT_MAPS:
        return figures.similarity_heatmaps(evaluation.compared, theme=theme)
    if kind is EvaluationFigure.BEST_MATCHES:
        return _draw_best_matches(evaluation, names, hidden, theme)
    if kind is EvaluationFigure.MAP:
        return figures.embedding_figure(
            *evaluation.map, labels=labels, selected=selected, theme=theme
        )
    samples = {
        name: figures.split_similarities(matrix) for name, matrix in evaluation.compared.items()
    }
    if kind is EvaluationFigure.BOXES:
        return figures.similarity_boxes(samples, theme=theme)
    known = {} if report.threshold is None else {evaluation.model: report.threshold}
    return figures.similarity_densities(samples, thresholds=known, theme=theme)


def _draw_best_matches(
    evaluation: Evaluation,
    names: Sequence[tuple[str, str]] | None,
    hidden: int | None,
    theme: figures.Theme,
) -> Figure | None:
    rows = [row for row in evaluation.exampled.tolist() if row != hidden]
    if not rows:
        return None
    called = names or [("", "")] * len(evaluation)
    pairs = evaluation.pairs

    def of(row: int) -> figures.QueryMatches:
        found = evaluation.best_matches(row).tolist()
        matches = tuple(
            figures.MatchCrop(
                pairs.fmost[column],
                rank if column != row else int(evaluation.ranks[row]),
                float(evaluation.similarity[row, column]),
                column == row,
                called[column][1],
            )
            for rank, column in enumerate(found, start=1)
        )
        return figures.QueryMatches(pairs.two_photon[row], matches, called[row][0])

    title = f"Best matches · {len(rows)} of {figures.several(len(evaluation), 'pair')}"
    return figures.best_matches_figure([of(row) for row in rows], title=title, theme=theme)


def save_evaluation_figures(
    evaluation: Evaluation,
    folder: Path,
    *,
    names: Sequence[tuple[str, str]] | None = None,
    suffix: str = ".png",
) -> list[Path]:
    """Draw all figures as files; those of the same names are replaced.

    Parameters
    ----------
    evaluation : Evaluation
    folder : Path
        Made if need be.
    names : sequence of (str, str), optional
        What the two cells of each pair are called.
    suffix : str
        ``.png``, ``.pdf`` or ``.svg``.
    """
    drawn = ((kind, draw_evaluation(kind, evaluation, names=names)) for kind in EvaluationFigure)
    return [
        figures.save_figure(figure, folder / f"{kind}{suffix}")
        for kind, figure in drawn
        if figure is not None
    ]
