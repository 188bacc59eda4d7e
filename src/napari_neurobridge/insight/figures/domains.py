"""Distances between imaging domains, and how they group (NeuroADDA, figure 3A)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.active.domain_groups import dendrogram
from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    LIGHT,
    SMALL_FONT,
    Theme,
    bare,
    new_figure,
    several,
    write_title,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_neurobridge.active.domain_groups import GroupingTest


def domain_figure(
    names: Sequence[str],
    distances: npt.NDArray[np.float64],
    *,
    test: GroupingTest | None = None,
    title: str = "MMD² between imaging domains",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the average-linkage dendrogram of domains, and their distances in its order.

    Parameters
    ----------
    names : sequence of str, length K
    distances : ndarray, shape (K, K)
        Symmetric.
    test : GroupingTest, optional
        Whether the domains group as declared; told in the title.
    title : str
        What is compared.
    theme : Theme
        Colours.

    Raises
    ------
    InputError
        If there are fewer than two domains, the matrix is not symmetric, or names are missing.
    """
    if len(names) != len(distances):
        raise InputError(f"{len(distances)} domains need a name each, not {len(names)}.")
    tree = dendrogram(distances)
    figure, (left, right) = new_figure(theme, columns=2, height_in=1.4 + 0.4 * len(names))
    order = _draw_tree(left, tree, names, theme)
    _draw_distances(right, [names[row] for row in order], distances[np.ix_(order, order)], theme)
    words = [title, f"{several(len(names), 'domain')}, average linkage"]
    if test is not None:
        words.append(
            f"{several(len(set(test.clusters)), 'cluster')} against the declared groups:\n"
            f"Fowlkes–Mallows {test.index:.2f}, p = {test.p_value:.3f} (at least {test.floor:.3f})"
        )
    write_title(figure, theme, "\n".join(words))
    return figure


def _draw_tree(
    ax: Axes, tree: npt.NDArray[np.float64], names: Sequence[str], theme: Theme
) -> list[int]:
    """Draw the dendrogram, its leaves to the right; return their rows from below."""
    from scipy.cluster.hierarchy import dendrogram as draw

    drawn = draw(
        tree,
        ax=ax,
        orientation="left",
        labels=list(names),
        color_threshold=0,
        above_threshold_color=theme.ink,
        leaf_font_size=SMALL_FONT,
    )
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.tick_params(axis="y", length=0, colors=theme.ink)
    ax.set_xlabel("MMD² at which clusters join")
    return [int(row) for row in drawn["leaves"] or ()]


def _draw_distances(
    ax: Axes, names: Sequence[str], distances: npt.NDArray[np.float64], theme: Theme
) -> None:
    apart = distances[~np.eye(len(names), dtype=bool)]
    high = max(float(apart.max()), 1e-9)
    ax.imshow(distances, cmap="viridis", vmin=0, vmax=high, origin="lower", aspect="auto")
    bare(ax)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=SMALL_FONT)
    ax.tick_params(length=0)
    for row, column in np.ndindex(distances.shape):
        if row != column:
            value = distances[row, column]
            ink = "white" if value < 0.6 * high else "black"
            ax.text(
                column, row, f"{value:.2g}", ha="center", va="center", color=ink,
                fontsize=SMALL_FONT - 1,
            )  # fmt: skip
