"""How alike the same and different neurons look: heat maps, densities, boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    FONT,
    LIGHT,
    SMALL_FONT,
    Theme,
    display_name,
    listed,
    new_figure,
    new_panels,
    write_title,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from napari_neurobridge.types import FloatArray

Samples: TypeAlias = "tuple[ArrayLike, ArrayLike]"
"""Similarities of the same neuron, and of different neurons."""

_GRID_POINTS = 256


def split_similarities(
    matrix: ArrayLike, scene: NDArray[np.integer] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Split a similarity matrix into same and different neurons.

    Parameters
    ----------
    matrix : array_like, shape (N, N)
        Similarity of two-photon neuron i and fMOST neuron j; partners share an index.
    scene : ndarray of int, shape (N,), optional
        With it, only different neurons of one scene are counted.

    Returns
    -------
    same : ndarray, shape (N,)
        The diagonal.
    different : ndarray
        The rest.
    """
    values = _square(matrix)
    wrong = ~np.eye(len(values), dtype=bool)
    if scene is not None:
        wrong &= np.asarray(scene)[:, None] == np.asarray(scene)[None, :]
    return np.diagonal(values).copy(), values[wrong]


def similarity_heatmaps(
    matrices: Mapping[str, ArrayLike],
    *,
    title: str = "Similarity of every neuron with every other",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw similarity matrices side by side; partners are on the diagonal (paper 1, figure 9).

    Parameters
    ----------
    matrices : mapping of str to array_like, shape (N, N)
        Name of the model or measure; rows are two-photon neurons, columns fMOST neurons.
    title : str
        What is compared.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Every panel has a colour scale of its own, from the 1st percentile to the
        99.5th, since measures have different ranges.

    Raises
    ------
    InputError
        If there is no matrix, or one is not square or not finite.
    """
    squares = {name: _square(matrix) for name, matrix in matrices.items()}
    if not squares:
        raise InputError("Heat maps need at least one similarity matrix; evaluate first.")
    figure, axes = new_panels(theme, len(squares), panel_in=(4.2, 3.0, 2.3), margin_in=0.8)
    for ax, (name, values) in zip(axes, squares.items(), strict=True):
        low, high = np.percentile(values, (1, 99.5))
        image = ax.imshow(
            values, cmap="viridis", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest"
        )
        ax.set_title(display_name(name))
        ax.set_xticks([0, len(values) - 1], ["1", str(len(values))])
        ax.set_yticks([0, len(values) - 1], ["1", str(len(values))])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=ax, orientation="horizontal", fraction=0.06, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_ticks([low, high], labels=[f"{low:.2g}", f"{high:.2g}"])
        bar.ax.tick_params(colors=theme.ink, labelsize=SMALL_FONT, length=0)
    words = "rows: two-photon neurons, columns: fMOST neurons"
    write_title(figure, theme, f"{title}\n{listed(_lengths(squares), 'pair')} · {words}")
    return figure


def similarity_densities(
    samples: Mapping[str, Samples],
    *,
    thresholds: Mapping[str, float] | None = None,
    title: str = "Similarity of the same and of different neurons",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw kernel density estimates of both kinds of pairs (paper 1, figure 9).

    Parameters
    ----------
    samples : mapping of str to (same, different)
        Name of the model or measure, and its similarities.
    thresholds : mapping of str to float, optional
        Similarity from which on a model calls a pair the same; a vertical line.
    title : str
        What is compared.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Bandwidth by Scott's rule; each curve has area one, however many pairs it has.

    Raises
    ------
    InputError
        If a sample is empty or not finite.
    """
    checked = _checked(samples)
    figure, axes = new_panels(theme, len(checked), panel_in=(3.2, 2.4, 1.95), margin_in=1.0)
    for ax, (name, (same, different)) in zip(axes, checked.items(), strict=True):
        _draw_densities(ax, same, different, theme)
        if thresholds is not None and name in thresholds:
            ax.axvline(thresholds[name], color=theme.ink, linestyle=":", linewidth=1.2)
        ax.set_title(f"{display_name(name)}\n{_separation(same, different)}")
        ax.set_ylim(bottom=0)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("similarity")
    _name_both(figure, theme)
    write_title(figure, theme, f"{title}\n{_counts(checked)}")
    return figure


def similarity_boxes(
    samples: Mapping[str, Samples],
    *,
    title: str = "Similarity of the same and of different neurons",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw box plots of both kinds of pairs for each model (paper 1, figure 6).

    Parameters
    ----------
    samples : mapping of str to (same, different)
        Name of the model or measure, and its similarities.
    title : str
        What is compared.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Box: quartiles; whiskers: 5th and 95th percentile; bar: median. Similarities are
        shown in standard deviations of each model's different neurons, because measures
        have different ranges and boxes of one model could not be compared with another's.

    Raises
    ------
    InputError
        If a sample is empty or not finite.
    """
    checked = _checked(samples)
    figure, (ax,) = new_figure(theme, height_in=1.9 + 0.5 * len(checked))
    for index, (same, different) in enumerate(checked.values()):
        center, spread = float(different.mean()), max(float(different.std()), 1e-12)
        for values, offset, color in (
            (same, -0.19, theme.same),
            (different, 0.19, theme.different),
        ):
            ax.boxplot(
                (values - center) / spread,
                positions=[index + offset],
                widths=0.3,
                orientation="horizontal",
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": color, "edgecolor": theme.ink, "alpha": 0.85},
                medianprops={"color": theme.paper, "linewidth": 2},
                whiskerprops={"color": theme.ink},
                capprops={"color": theme.ink},
            )
    ax.axvline(0, color=theme.faint, linewidth=1, zorder=0)
    ax.set_yticks(range(len(checked)), [display_name(name) for name in checked])
    ax.tick_params(axis="y", labelsize=FONT)
    ax.set_ylim(len(checked) - 0.5, -0.5)
    ax.set_xlabel("similarity, in standard deviations of different neurons")
    _name_both(figure, theme)
    write_title(figure, theme, f"{title}\n{_counts(checked)}")
    return figure


def _draw_densities(ax: Axes, same: FloatArray, different: FloatArray, theme: Theme) -> None:
    both = np.concatenate((same, different))
    margin = 0.08 * max(float(np.ptp(both)), 1e-6)
    grid = np.linspace(both.min() - margin, both.max() + margin, _GRID_POINTS)
    for values, color, dashes in ((same, theme.same, "-"), (different, theme.different, "--")):
        density = _density(values, grid)
        ax.plot(grid, density, dashes, color=color, linewidth=1.8)
        ax.fill_between(grid, density, color=color, alpha=0.25, linewidth=0)


def _density(values: FloatArray, grid: FloatArray) -> FloatArray:
    """Return a kernel density estimate; of a single value, a narrow bump."""
    from scipy.stats import gaussian_kde, norm

    spread = float(values.std())
    if len(values) < 2 or spread < 1e-9:
        width = max(float(np.ptp(grid)) / 50, 1e-9)
        return np.asarray(norm.pdf(grid, values.mean(), width))
    return np.asarray(gaussian_kde(values)(grid))


def _separation(same: FloatArray, different: FloatArray) -> str:
    """Return how often a same pair is more alike than a different one."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate((same, different)))[: len(same)]
    wins = ranks.sum() - len(same) * (len(same) + 1) / 2
    return f"AUC {wins / (len(same) * len(different)):.3f}"


def _name_both(figure: Figure, theme: Theme) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(facecolor=theme.same, label="same neuron"),
            Patch(facecolor=theme.different, label="different neurons"),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=SMALL_FONT,
    )


def _square(matrix: ArrayLike) -> FloatArray:
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        raise InputError(
            f"A similarity matrix needs as many rows as columns, not the shape {values.shape}; "
            "row i and column i must be the same neuron."
        )
    if not np.isfinite(values).all():
        raise InputError("A similarity matrix holds NaN or infinite values; compute it again.")
    return values


def _checked(samples: Mapping[str, Samples]) -> dict[str, tuple[FloatArray, FloatArray]]:
    checked = {
        name: (np.asarray(same, float).ravel(), np.asarray(different, float).ravel())
        for name, (same, different) in samples.items()
    }
    if not checked:
        raise InputError("There are no similarities to show; evaluate first.")
    for name, both in checked.items():
        if not all(len(values) and np.isfinite(values).all() for values in both):
            raise InputError(
                f"'{name}' needs similarities of the same and of different neurons, all finite; "
                "evaluate at least two pairs."
            )
    return checked


def _counts(checked: Mapping[str, tuple[FloatArray, FloatArray]]) -> str:
    same = listed([len(same) for same, _ in checked.values()], "same pair")
    return f"{same}, {listed([len(other) for _, other in checked.values()], 'different pair')}"


def _lengths(squares: Mapping[str, FloatArray]) -> list[int]:
    return [len(values) for values in squares.values()]
