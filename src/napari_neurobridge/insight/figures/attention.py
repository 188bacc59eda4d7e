"""Where each channel looks, over the crops that were compared."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from napari_neurobridge.insight.attention import AttentionMaps
    from napari_neurobridge.types import Float32Array

COLORMAP = "inferno"
"""Of maps over crops; ordered by lightness, so that it reads in grey and to any eye."""

_READABLE_SHARE = 0.15
"""Of the gate's bar, below which there is no room for words."""


def attention_figure(
    query: ArrayLike,
    candidate: ArrayLike,
    maps: AttentionMaps,
    *,
    names: tuple[str, str] = ("two-photon", "fMOST"),
    pixel_um: float | None = 0.8,
    title: str | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw two crops, each channel's map over them, and the gate's balance.

    Parameters
    ----------
    query, candidate : array_like, shape (P, P)
        Crops in [0, 1].
    maps : AttentionMaps
        Of these two crops.
    names : tuple of str
        What the crops are.
    pixel_um : float, optional
        Side of a pixel, for the scale bar; none without it.
    title : str, optional
        What is compared; the similarity unless given.
    theme : Theme
        Colours.

    Raises
    ------
    InputError
        If crops and maps differ in shape.
    """
    from matplotlib.figure import Figure

    rows = (
        (np.asarray(query), maps.query_local, maps.query_global, maps.query_gate),
        (np.asarray(candidate), maps.candidate_local, maps.candidate_global, maps.candidate_gate),
    )
    if any(crop.shape != local.shape for crop, local, _, _ in rows):
        raise InputError("Crops and maps of attention differ in size; make the maps again.")
    figure = Figure(figsize=(WIDTH_IN, 4.4), facecolor=theme.paper, layout="constrained")
    axes = figure.subplots(2, 4, width_ratios=(1, 1, 1, 0.4), squeeze=False)
    for row, (crop, local, context, gate) in enumerate(rows):
        for ax, field in zip(axes[row], (None, local, context), strict=False):
            dress(ax, theme)
            _show_crop(ax, crop, field)
        if maps.window is not None:
            _frame_window(axes[row, 1], maps.window, theme)
        axes[row, 0].set_ylabel(names[row])
        _show_gate(dress(axes[row, 3], theme), gate, theme)
    for ax, words in zip(axes[0], ("crop", "local channel", "global channel", "gate"), strict=True):
        ax.set_title(words)
    if pixel_um is not None:
        draw_scale_bar(axes[1, 0], pixel_um, 20.0)
    write_title(figure, theme, title or _usual_title(maps))
    return figure


def _usual_title(maps: AttentionMaps) -> str:
    known = "" if maps.similarity is None else f" · similarity {maps.similarity:.2f}"
    return f"Where each channel looks{known}"


def _show_crop(ax: Axes, crop: Float32Array, field: Float32Array | None) -> None:
    ax.imshow(crop, cmap="gray", vmin=0, vmax=1)
    bare(ax)
    if field is None:
        return
    # What does not speak for the similarity stays grey and visible.
    ax.imshow(field, cmap=COLORMAP, vmin=0, vmax=1, alpha=0.65 * np.clip(field * 1.5, 0, 1))


def _frame_window(ax: Axes, window: int, theme: Theme) -> None:
    """Draw what the local channel sees of a crop."""
    from matplotlib.patches import Rectangle

    # Pixels are centred on whole numbers, so their edges are halfway between.
    edge = (ax.get_images()[0].get_size()[0] - window) // 2 - 0.5
    ax.add_patch(
        Rectangle((edge, edge), window, window, fill=False, color=theme.lines[4], linestyle=":")
    )


def _show_gate(ax: Axes, gate: Float32Array, theme: Theme) -> None:
    below = 0.0
    for name, weight, color in zip(("local", "global"), gate, theme.lines[2:4], strict=True):
        ax.bar(0, weight, width=1, bottom=below, color=color)
        if weight > _READABLE_SHARE:
            ax.text(
                0,
                below + weight / 2,
                f"{name}\n{weight:.2f}",
                ha="center",
                va="center",
                fontsize=SMALL_FONT,
                color="#111111",
            )
        below += float(weight)
    bare(ax)
    ax.set_ylim(0, 1)
    ax.set_xlim(-0.5, 0.5)
