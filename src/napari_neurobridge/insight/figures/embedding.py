"""Embeddings of both sides in one plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

TWO_PHOTON_GID = "two_photon"
FMOST_GID = "fmost"
"""Names (``gid``) of the two collections of points, which a canvas may pick from."""


def embedding_figure(
    two_photon_xy: ArrayLike,
    fmost_xy: ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    selected: int | None = None,
    title: str = "t-SNE of both sides",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw embeddings in a plane, partners joined by lines (paper 1, figure 8).

    Parameters
    ----------
    two_photon_xy, fmost_xy : array_like, shape (N, 2)
        Places in the plane; row i of both is one neuron.
    labels : sequence of str, optional
        Words beside the two-photon points, for at most about 30 pairs.
    selected : int, optional
        Pair to draw a ring around.
    title : str
        What is shown.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Filled marks are two-photon neurons, hollow ones fMOST neurons. The point
        collections answer to picking and have ``gid`` "two_photon" and "fmost".

    Raises
    ------
    InputError
        If the sides differ in number, or there are none.
    """
    first, second = np.asarray(two_photon_xy, float), np.asarray(fmost_xy, float)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 2 or not len(first):
        raise InputError(
            "The map of embeddings needs as many two-photon as fMOST points, each with two "
            f"coordinates, not shapes {first.shape} and {second.shape}."
        )
    from matplotlib.collections import LineCollection

    count = len(first)
    figure, (ax,) = new_figure(theme, height_in=5.4)
    size = float(np.clip(3000 / count, 12, 60))
    colors = [theme.lines[index % len(theme.lines)] for index in range(count)]
    segments = np.stack((first, second), axis=1)
    ax.add_collection(LineCollection(list(segments), colors=colors, linewidths=1.0, alpha=0.6))
    filled = ax.scatter(first[:, 0], first[:, 1], s=size, c=colors, edgecolors="none", zorder=3)
    hollow = ax.scatter(
        second[:, 0],
        second[:, 1],
        s=size,
        facecolors=theme.paper,
        edgecolors=colors,
        linewidths=1.4,
        zorder=3,
    )
    for points, gid in ((filled, TWO_PHOTON_GID), (hollow, FMOST_GID)):
        points.set_gid(gid)
        points.set_picker(True)
        points.set_pickradius(5)
    for label, place in zip(labels or (), first, strict=False):
        ax.annotate(
            label, place, (4, 4), textcoords="offset points", color=theme.ink, fontsize=SMALL_FONT
        )
    if selected is not None:
        x, y = segments[selected].T
        ax.scatter(x, y, s=4 * size, facecolors="none", edgecolors=theme.ink, zorder=4)
    bare(ax)
    ax.set_aspect("equal", adjustable="datalim")
    ax.autoscale_view()
    _name_marks(figure, theme)
    write_title(figure, theme, f"{title} · {several(count, 'pair')}")
    return figure


def _name_marks(figure: Figure, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    style: Any = {"linestyle": "none", "color": theme.ink, "markersize": 7}
    figure.legend(
        handles=[
            Line2D([], [], marker="o", label="two-photon", **style),
            Line2D([], [], marker="o", markerfacecolor=theme.paper, label="fMOST", **style),
            Line2D([], [], color=theme.ink, linewidth=1, label="the same neuron"),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=SMALL_FONT,
    )
