"""The pages of the Insight dock, and the canvas that shows their figures.

matplotlib is imported when the first figure is drawn: a dock must open at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QWidget

from napari_neurobridge.insight import figures
from napari_neurobridge.insight.evaluation_figures import EvaluationFigure, draw_evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_neurobridge.insight.evaluation import Evaluation
    from napari_neurobridge.workbench.insight_steps import Attention
    from napari_neurobridge.workbench.insights import Insights

_PICK_RADIUS_PX = 14.0
_MOST_LABELS = 20
_SMALLEST_PX = (340, 320)
_SCREEN_DPI = 80
"""Makes a figure's text as large as napari's."""


class Page(StrEnum):
    """What the dock can show; the value is the button's label."""

    TOP_K = "Top-k"
    BEST_MATCHES = "Best matches"
    CONFUSION = "Confusion"
    HEAT_MAPS = "Heat maps"
    DENSITIES = "Densities"
    BOXES = "Box plots"
    MAP = "t-SNE"
    RELIABILITY = "Reliability"
    ATTENTION = "Grad-CAM"


@dataclass(frozen=True)
class Words:
    """What a page says about itself.

    Attributes
    ----------
    tip : str
        What the page shows.
    hint : str
        How to read it, above the figure.
    """

    tip: str
    hint: str


WORDS = {
    Page.TOP_K: Words(
        "How often the true partner is among the first k candidates",
        "A curve that is high on the left is better: you check fewer candidates. "
        "Candidates are the accepted fMOST cells only.",
    ),
    Page.BEST_MATCHES: Words(
        "Two-photon cells beside the five fMOST cells that the model finds most similar",
        "Above each candidate: rank and similarity. The partner has a frame and a tick; where it "
        "is not among the first five it stands last. The cells are drawn at random.",
    ),
    Page.CONFUSION: Words(
        "How often the model tells the same cell from another one",
        "Half of the negative pairs are the most similar wrong combinations. The threshold is "
        "set on one half of the pairs, and the other half is counted.",
    ),
    Page.HEAT_MAPS: Words(
        "Similarity of every two-photon cell with every fMOST cell",
        "A bright diagonal means that partners are similar. Click a row to ask about its cell.",
    ),
    Page.DENSITIES: Words(
        "Distribution of the similarities of same and of different cells",
        "The less the two curves overlap, the better the model separates them.",
    ),
    Page.BOXES: Words(
        "The same distributions as box plots, side by side for each measure",
        "Boxes that do not overlap mean a good separation. Compare with plain measures for more.",
    ),
    Page.MAP: Words(
        "All cells in one plane, similar ones close together",
        "Click a mark to ask about its cell. A short line is a pair that the model finds similar; "
        "long distances mean little.",
    ),
    Page.RELIABILITY: Words(
        "How often the first candidate is correct, compared with its probability",
        "From audit questions only, with the probability before you answered. On the diagonal "
        "the probabilities are correct; below it the program is too certain.",
    ),
    Page.ATTENTION: Words(
        "Where each channel of the network looks, for the picked candidate",
        "Bright places raise the similarity. The gate is the weight of each channel.",
    ),
}


def theme_of(name: str) -> figures.Theme:
    """Return the colours of a figure that stands in one of napari's themes."""
    colors = get_theme(name)
    base = figures.DARK if _is_dark(colors.background) else figures.LIGHT
    return replace(
        base,
        paper=colors.background.as_hex(),
        ink=colors.text.as_hex(),
        faint=colors.primary.as_hex(),
    )


def _is_dark(color: Any) -> bool:
    return bool(sum(color.as_rgb_tuple(alpha=False)) < 3 * 128)


def draw(page: Page, insights: Insights, theme: figures.Theme) -> Figure | None:
    """Return a page's figure; None while there is nothing to draw.

    Parameters
    ----------
    page : Page
    insights : Insights
        What is known.
    theme : Theme
        Colours; `figures.LIGHT` for files.
    """
    if page is Page.ATTENTION:
        return None if insights.attention is None else _draw_attention(insights.attention, theme)
    if page is Page.RELIABILITY:
        measured = insights.reliability
        if measured is None:
            return None
        return figures.reliability_figure({"audits": measured}, theme=theme)
    evaluation = insights.evaluation
    return None if evaluation is None else _draw_evaluation(page, evaluation, insights, theme)


def _draw_attention(attention: Attention, theme: figures.Theme) -> Figure:
    from napari_neurobridge.io.crops import CropSpec  # torch, which made the maps

    query, candidate = attention.query.uid or "a place", attention.candidate.uid
    return figures.attention_figure(
        attention.query_crop,
        attention.candidate_crop,
        attention.maps,
        names=(query, candidate),
        pixel_um=CropSpec().pixel_um,
        theme=theme,
    )


def _draw_evaluation(
    page: Page, evaluation: Evaluation, insights: Insights, theme: figures.Theme
) -> Figure | None:
    kind = EvaluationFigure[page.name]
    if page is Page.BEST_MATCHES:
        return draw_evaluation(
            kind, evaluation, theme=theme, names=_names(insights), hidden=insights.hidden_row
        )
    if page is not Page.MAP:
        return draw_evaluation(kind, evaluation, theme=theme)
    selected = np.flatnonzero(evaluation.mapped == insights.selected_row)
    return draw_evaluation(
        kind,
        evaluation,
        theme=theme,
        labels=_labels(evaluation, insights),
        selected=int(selected[0]) if len(selected) else None,
    )


def _names(insights: Insights) -> list[tuple[str, str]] | None:
    if insights.subject is None:
        return None
    return [(one.uid, other.uid) for one, other in insights.subject.pairs]


def _labels(evaluation: Evaluation, insights: Insights) -> list[str] | None:
    """Return the two-photon uids, while there is room for them."""
    if len(evaluation) > _MOST_LABELS or insights.subject is None:
        return None
    return [insights.subject.pairs[row][0].uid for row in evaluation.mapped.tolist()]


def cell_at(page: Page, evaluation: Evaluation, event: Any) -> tuple[int, bool] | None:
    """Return which cell lies under a mouse event on a page's figure.

    Parameters
    ----------
    event : matplotlib.backend_bases.MouseEvent

    Returns
    -------
    row : int
        Which pair.
    fmost : bool
        Whether it is the pair's fMOST cell.
    """
    axes = event.inaxes
    if axes is None:
        return None
    if page is Page.HEAT_MAPS and axes.get_images():
        row = round(event.ydata)
        return (int(evaluation.shown[row]), False) if 0 <= row < len(evaluation.shown) else None
    if page is not Page.MAP:
        return None
    sides = np.stack(evaluation.map)
    places = axes.transData.transform(sides.reshape(-1, 2)).reshape(sides.shape)
    distances = np.linalg.norm(places - (event.x, event.y), axis=2)
    side, row = np.unravel_index(distances.argmin(), distances.shape)
    pair = int(evaluation.mapped[row])
    return (pair, bool(side)) if distances[side, row] <= _PICK_RADIUS_PX else None


class FigureView(QWidget):
    """Shows one matplotlib figure and says where it is clicked.

    Signals
    -------
    clicked, hovered
        With matplotlib's mouse event.
    """

    clicked = Signal(object)
    hovered = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(*_SMALLEST_PX)
        self.canvas: Any = None
        self._aspect = 1.0

    @property
    def figure(self) -> Figure | None:
        """The figure that is shown."""
        return None if self.canvas is None else self.canvas.figure

    def show_figure(self, figure: Figure | None) -> None:
        """Show a figure, or nothing."""
        if self.canvas is not None:
            self.canvas.hide()
            self.canvas.deleteLater()
            self.canvas = None
        if figure is None:
            return
        # Its Qt binding is the one that is imported already, which is qtpy's.
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

        width, height = figure.get_size_inches()
        self._aspect = height / width
        figure.set_dpi(_SCREEN_DPI)
        self.canvas = FigureCanvasQTAgg(figure)
        self.canvas.setObjectName("insight_canvas")
        self.canvas.mpl_connect("button_press_event", self.clicked.emit)
        self.canvas.mpl_connect("motion_notify_event", self.hovered.emit)
        self.canvas.setParent(self)
        self._fit()
        self.canvas.show()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Keep the figure's shape, from the top: a tall dock must not tear it apart."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self.canvas is not None:
            height = min(self.height(), max(round(self.width() * self._aspect), _SMALLEST_PX[1]))
            self.canvas.setGeometry(0, 0, self.width(), height)
