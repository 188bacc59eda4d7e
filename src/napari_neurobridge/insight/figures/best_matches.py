"""Each query beside its most similar candidates, as crops (paper 1, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    LIGHT,
    SMALL_FONT,
    WIDTH_IN,
    Theme,
    bare,
    dress,
    write_title,
)
from napari_neurobridge.io.grey import brightness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_neurobridge.types import Float32Array

_ROW_IN, _MARGIN_IN = 1.12, 0.75
_TINY_FONT = SMALL_FONT - 1.5


@dataclass(frozen=True, eq=False)
class MatchCrop:
    """One candidate of a query.

    Attributes
    ----------
    crop : ndarray of float32, shape (pixels, pixels)
        In [0, 1].
    rank : int
        From 1.
    similarity : float
    correct : bool
        Whether it is the query's partner.
    name : str
        What it is called; empty if nothing.
    """

    crop: Float32Array
    rank: int
    similarity: float
    correct: bool
    name: str = ""


@dataclass(frozen=True, eq=False)
class QueryMatches:
    """One query and what was found for it, the most similar first.

    Attributes
    ----------
    crop : ndarray of float32, shape (pixels, pixels)
        In [0, 1].
    matches : tuple of MatchCrop
        The partner comes last where it is not among the first ones.
    name : str
        What the query is called; empty if nothing.
    """

    crop: Float32Array
    matches: tuple[MatchCrop, ...]
    name: str = ""


def best_matches_figure(
    queries: Sequence[QueryMatches],
    *,
    title: str = "Best matches",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw a row of crops for each query: itself, then its candidates.

    Parameters
    ----------
    queries : sequence of QueryMatches
        Those with fewer candidates leave places empty.
    title : str
        What is shown.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Above each candidate are rank and similarity; the partner has a frame and a tick.

    Raises
    ------
    InputError
        If there is no query, or one without a candidate.
    """
    if not queries or not all(query.matches for query in queries):
        raise InputError("A grid of matches needs queries with at least one candidate each.")
    from matplotlib.figure import Figure

    columns = 1 + max(len(query.matches) for query in queries)
    figure = Figure(
        figsize=(WIDTH_IN, len(queries) * _ROW_IN + _MARGIN_IN),
        facecolor=theme.paper,
        layout="constrained",
    )
    axes = figure.subplots(len(queries), columns, squeeze=False)
    for row, query in zip(axes, queries, strict=True):
        for ax in row:
            bare(dress(ax, theme))
        _show(row[0], query.crop, "query", query.name)
        for ax, match in zip(row[1:], query.matches, strict=False):
            tick = " ✓" if match.correct else ""
            _show(ax, match.crop, f"{match.rank} · {match.similarity:.2f}{tick}", match.name)
            if match.correct:
                _frame(ax, theme)
        for ax in row[1 + len(query.matches) :]:
            ax.set_visible(False)
    write_title(figure, theme, title)
    return figure


def _show(ax: Axes, crop: Float32Array, words: str, name: str) -> None:
    ax.imshow(brightness(crop), cmap="gray", vmin=0, vmax=1)
    ax.set_title(words, fontsize=_TINY_FONT, pad=2)
    if name:
        ax.set_xlabel(name, fontsize=_TINY_FONT, labelpad=1)


def _frame(ax: Axes, theme: Theme) -> None:
    ax.spines[:].set(visible=True, color=theme.same, linewidth=2.5)
