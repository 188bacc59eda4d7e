"""How often the partner is found: top-k curves, confusion matrix, training curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    FONT,
    LIGHT,
    Theme,
    display_name,
    line_style,
    new_figure,
    several,
    show_legend,
    write_title,
)
from napari_neurobridge.matching.proportions import (
    interval_in_percent,
    interval_in_words,
    wilson_interval,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def top_k_curves(
    curves: Mapping[str, ArrayLike],
    *,
    n: int | None = None,
    title: str = "Partner among the first k",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw how often the partner is among the first k candidates (paper 1, figure 4).

    Parameters
    ----------
    curves : mapping of str to array_like, shape (K,)
        Name of the model, and for k = 1 .. K the part of queries in [0, 1].
    n : int, optional
        Number of queries, for the title and for 95 % intervals (Wilson).
    title : str
        What the curves are about.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        The dotted line is chance.

    Raises
    ------
    InputError
        If there is no curve, or one is empty or leaves [0, 1].
    """
    values = {name: np.asarray(curve, dtype=float).ravel() for name, curve in curves.items()}
    if not values or any(not len(c) or not ((c >= 0) & (c <= 1)).all() for c in values.values()):
        raise InputError("A top-k curve needs values between 0 and 1, one for each k; give some.")
    figure, (ax,) = new_figure(theme)
    longest = max(map(len, values.values()))
    for index, (name, curve) in enumerate(values.items()):
        color, dashes = line_style(theme, index)
        ax.plot(
            np.arange(1, len(curve) + 1),
            100 * curve,
            linestyle=dashes,
            color=color,
            linewidth=2,
            marker="o" if longest <= 15 else None,
            markersize=4,
            label=f"{display_name(name)} ({_first(float(curve[0]), n)})",
        )
    ks = np.arange(1, longest + 1)
    ax.plot(ks, 100 * ks / longest, ":", color=theme.ink, linewidth=1, label="chance")
    ax.set_xlabel(f"k (of {several(longest, 'candidate')})")
    ax.set_ylabel("partner among the first k (%)")
    ax.set_xlim(min(1, longest - 1), longest)
    ax.set_ylim(0, 102)
    ax.grid(color=theme.faint, linewidth=0.6)
    show_legend(ax, theme, "lower right")
    write_title(figure, theme, title if n is None else f"{title} · {_queries(n)}")
    return figure


def confusion_figure(
    tp: int,
    fp: int,
    fn: int,
    tn: int,
    *,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    title: str = "Same neuron or not",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the counts of a classification of pairs (paper 1, figure 3 and table 1).

    Parameters
    ----------
    tp, fp, fn, tn : int
        True and false positives, false and true negatives.
    intervals : mapping, optional
        Bounds of ``"recall"`` and ``"specificity"``, to be written beside them.
    title : str
        What was classified.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Shade is the part of each row; rows are what the pairs are.

    Raises
    ------
    InputError
        If a count is negative, or all are zero.
    """
    counts = np.array([[tp, fn], [fp, tn]])
    if (counts < 0).any() or not counts.any():
        raise InputError("A confusion matrix needs counts that are not all zero; evaluate first.")
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (ax,) = new_figure(theme)
    ax.imshow(parts, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(2):
        for column in range(2):
            ax.text(
                column,
                row,
                f"{counts[row, column]:,}\n{100 * parts[row, column]:.1f} %",
                ha="center",
                va="center",
                fontsize=FONT + 4,
                # The shade is the same in both themes, so the text is as well.
                color="white" if parts[row, column] > 0.55 else "#222222",
            )
    ax.set_xticks([0, 1], ["called same", "called different"])
    ax.set_yticks([0, 1], ["same\nneuron", "different\nneurons"])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=FONT)
    ax.set_xlabel(
        _rate("recall", parts[0, 0], intervals)
        + "     "
        + _rate("specificity", parts[1, 1], intervals),
        labelpad=10,
    )
    write_title(figure, theme, f"{title} · {tp + fn:,} same, {fp + tn:,} different")
    return figure


def training_curve(
    steps: ArrayLike,
    losses: ArrayLike,
    *,
    validation_steps: ArrayLike | None = None,
    validation_scores: ArrayLike | None = None,
    score_name: str = "validation score",
    title: str = "Training",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the loss of a training run and, on an axis of its own, the validation score.

    Parameters
    ----------
    steps, losses : array_like, shape (S,)
        Updates done, and the mean loss up to there.
    validation_steps, validation_scores : array_like, shape (V,), optional
        When the model was validated, and its score; the best is marked.
    score_name : str
        What the score is.
    title : str
        What was trained.
    theme : Theme
        Colours.

    Raises
    ------
    InputError
        If steps and values differ in number, or there are none.
    """
    x, loss = np.asarray(steps, float).ravel(), np.asarray(losses, float).ravel()
    if len(x) != len(loss) or not len(x):
        raise InputError("A training curve needs one loss for each step, and at least one step.")
    figure, (ax,) = new_figure(theme)
    ax.plot(x, loss, color=theme.same, linewidth=1.8, marker="o" if len(x) == 1 else None)
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.yaxis.label.set_color(theme.same)
    ax.grid(color=theme.faint, linewidth=0.6)
    ax.set_ylim(bottom=min(0.0, float(loss.min())))
    if validation_steps is not None and validation_scores is not None:
        at = np.asarray(validation_steps, float).ravel()
        score = np.asarray(validation_scores, float).ravel()
        if len(at) != len(score):
            raise InputError("A training curve needs one validation score for each validation.")
        other = ax.twinx()
        other.tick_params(colors=theme.ink, labelsize=ax.yaxis.get_ticklabels()[0].get_fontsize())
        other.spines[:].set_visible(False)
        other.set_ylabel(score_name, color=theme.different, fontsize=FONT)
        other.plot(at, score, "--s", color=theme.different, linewidth=1.8, markersize=4)
        if len(score):
            best = int(np.argmax(score))
            other.plot(at[best], score[best], "*", color=theme.different, markersize=14)
            title = f"{title} · best {score_name} {score[best]:.3f} at step {at[best]:,.0f}"
    write_title(figure, theme, title)
    return figure


def _first(share: float, n: int | None) -> str:
    text = f"{100 * share:.0f} % first"
    return text if n is None else f"{text}, {interval_in_percent(wilson_interval(share, n))}"


def _queries(n: int) -> str:
    return f"{n:,} query" if n == 1 else f"{n:,} queries"


def _rate(name: str, value: float, intervals: Mapping[str, tuple[float, float]] | None) -> str:
    text = f"{name} {value:.3f}"
    bounds = (intervals or {}).get(name)
    return text if bounds is None else f"{text} ({interval_in_words(bounds)})"
