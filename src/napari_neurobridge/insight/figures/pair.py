"""One query and one candidate: their crops, and what the canvases show around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    LIGHT,
    SMALL_FONT,
    WIDTH_IN,
    Theme,
    bare,
    draw_scale_bar,
    dress,
    write_title,
)
from napari_neurobridge.io.grey import brightness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_BAR_SHARE = 0.3
"""A scale bar is no longer than this share of its picture."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One panel.

    Attributes
    ----------
    title : str
    pixels : array_like, shape (rows, columns) or (rows, columns, 3 or 4)
        Grey in [0, 1], or colours.
    um_per_pixel : float or None
        For the scale bar; ``None`` where the picture has one already.
    """

    title: str
    pixels: ArrayLike
    um_per_pixel: float | None


def pair_figure(
    crops: Sequence[Picture],
    canvases: Sequence[Picture] = (),
    *,
    title: str,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw crops in one row and canvases in another, each with a scale bar.

    Parameters
    ----------
    crops, canvases : sequence of Picture
        Two-photon first; either may be missing, not both.
    title : str
    theme : Theme

    Raises
    ------
    InputError
        If there is no picture at all.
    """
    from matplotlib.figure import Figure

    rows = [row for row in (crops, canvases) if row]
    if not rows:
        raise InputError("There is no picture to draw.")
    heights = [max(_height_in(picture, len(row)) for picture in row) for row in rows]
    figure = Figure(
        figsize=(WIDTH_IN, sum(heights) + 0.35 * len(rows) + 0.4),
        facecolor=theme.paper,
        layout="constrained",
    )
    parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        part.set_facecolor(theme.paper)
        for ax, picture in zip(part.subplots(1, len(row), squeeze=False)[0], row, strict=True):
            _show(dress(ax, theme), picture, theme)
    write_title(figure, theme, title)
    return figure


def round_length(most_um: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20, … µm that is not above ``most_um``."""
    power: float = 10.0 ** math.floor(math.log10(most_um))
    return max(step * power for step in (1, 2, 5) if step * power <= most_um * (1 + 1e-9))


def _height_in(picture: Picture, n_columns: int) -> float:
    rows, columns = np.shape(picture.pixels)[:2]
    return float(WIDTH_IN / n_columns * rows / columns)


def _show(ax: Axes, picture: Picture, theme: Theme) -> None:
    pixels = np.asarray(picture.pixels)
    if pixels.ndim == 2:
        ax.imshow(brightness(pixels), cmap="gray", vmin=0, vmax=1)
    else:
        ax.imshow(pixels)
    bare(ax)
    ax.set_title(picture.title, color=theme.ink, fontsize=SMALL_FONT)
    if picture.um_per_pixel is None:
        return
    most_um = _BAR_SHARE * pixels.shape[1] * picture.um_per_pixel
    draw_scale_bar(ax, picture.um_per_pixel, round_length(most_um))
