"""What all pictures of the simulation page have in common: look, scale bars, small files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    Pair = tuple[Axes, Axes]


# The palette of Okabe and Ito, which readers with any colour vision can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#777777",
)
DPI = 110
_BETWEEN = 0.05
LARGEST_BYTES = 300_000
# Noise costs a bit for each doubling of the grey levels, and the eye tells few apart.
_GREYS, _COLOURS = 40, 64
# Difference between a pixel's red, green and blue from which on it is no grey.
_COLOURED = 12

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def apply_style() -> None:
    """Set the look of all figures made from now on."""
    mpl.rcParams.update(_STYLE)


def bare(ax: Axes) -> None:
    """Take ticks and frame off."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def panels(
    rows: int, columns: int, size: tuple[float, float], **layout: float
) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure of ``size`` inches, and its axes (rows, columns) without ticks.

    ``layout`` is passed on to `Figure.subplots_adjust`.
    """
    figure = Figure(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        **{"left": 0.01, "right": 0.99, "bottom": 0.01, "wspace": 0.04, "hspace": 0.2} | layout
    )
    for ax in axes.flat:
        bare(ax)
    return figure, axes


def pairs_of_panels(
    count: int, panel_inches: float = 1.72, per_row: int = 2
) -> tuple[Figure, list[Pair]]:
    """Return a figure with pairs of square panels, with room for words above each pair."""
    rows = -(-count // per_row)
    gap, words, edge = 0.24, 0.44, 0.06
    width = per_row * (2 * panel_inches + _BETWEEN + gap) - gap + 2 * edge
    height = rows * (panel_inches + words) + edge
    figure = Figure(figsize=(width, height))
    pairs = []
    for number in range(count):
        row, column = divmod(number, per_row)
        top = height - row * (panel_inches + words) - words
        left = edge + column * (2 * panel_inches + _BETWEEN + gap)
        axes = [
            figure.add_axes(
                (
                    (left + k * (panel_inches + _BETWEEN)) / width,
                    (top - panel_inches) / height,
                    panel_inches / width,
                    panel_inches / height,
                )
            )
            for k in range(2)
        ]
        for ax in axes:
            bare(ax)
        pairs.append((axes[0], axes[1]))
    return figure, pairs


def head(pair: Pair, title: str, hint: str) -> None:
    """Write what a pair of panels shows above it: a bold title, and what to see."""
    left = pair[0]
    left.annotate(
        title, (0, 1), (0, 15), textcoords="offset points", xycoords="axes fraction",
        fontweight="bold", annotation_clip=False,
    )  # fmt: skip
    left.annotate(
        hint, (0, 1), (0, 4), textcoords="offset points", xycoords="axes fraction",
        fontsize=8, color="#333333", annotation_clip=False,
    )  # fmt: skip


def show(
    ax: Axes,
    image: npt.ArrayLike,
    field_um: tuple[float, float],
    *,
    bounds: tuple[float, float] | None = None,
    bar_um: float | None = None,
    title: str = "",
) -> None:
    """Show a grey image.

    Parameters
    ----------
    ax : Axes
    image : array_like, shape (H, W)
    field_um : tuple of float
        Its height and width.
    bounds : tuple of float, optional
        What is black and what is white; the 0.5th and 99.7th percentile unless given.
    bar_um : float, optional
        Length of a scale bar.
    title : str
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = grey_bounds(values) if bounds is None else bounds
    height, width = field_um
    ax.imshow(
        values,
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=(0, width, height, 0),
        interpolation="antialiased",
    )
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    if title:
        ax.set_title(title)
    if bar_um:
        scale_bar(ax, bar_um, field_um)


def grey_bounds(values: npt.ArrayLike, high: float = 99.7) -> tuple[float, float]:
    """Return the 0.5th and a high percentile."""
    black, white = np.percentile(np.asarray(values), (0.5, high))
    return float(black), float(max(white, black + 1e-9))


def scale_bar(ax: Axes, bar_um: float, field_um: tuple[float, float]) -> None:
    """Draw a white bar with its length into the lower left corner."""
    height, width = field_um
    size = min(height, width)
    left, bottom = 0.06 * width, height - 0.06 * size
    thick = 0.022 * size
    ax.add_patch(
        Rectangle(
            (left, bottom - thick), bar_um, thick, facecolor="white", edgecolor="black", lw=0.4
        )
    )
    ax.text(
        left,
        bottom - 1.6 * thick,
        f"{bar_um:g} µm",
        color="white",
        fontsize=7,
        ha="left",
        va="bottom",
        path_effects=_outlined(),
    )


def note(ax: Axes, text: str) -> None:
    """Write white words into the upper left corner of an image."""
    ax.text(
        0.03,
        0.97,
        text,
        color="white",
        fontsize=7.5,
        va="top",
        transform=ax.transAxes,
        path_effects=_outlined(),
    )


def _outlined() -> list[AbstractPathEffect]:
    return [withStroke(linewidth=1.6, foreground="black")]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG with a palette of greys, and of the colours that there are.

    Raises
    ------
    ValueError
        If it takes more than 300 kB.
    """
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI)
    full = Image.open(raw).convert("RGB")
    picture = full.quantize(palette=_palette(full), dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"{path.name} takes {path.stat().st_size} bytes; make it smaller.")


def _palette(picture: Image.Image) -> Image.Image:
    """Return an image with the palette for a picture: evenly spaced greys, and its colours."""
    greys = np.repeat(np.linspace(0, 255, _GREYS).round().astype(np.uint8)[:, None], 3, axis=1)
    pixels = np.asarray(picture).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels.astype(int), axis=1) > _COLOURED]
    entries = greys
    if len(coloured):
        few = Image.fromarray(coloured[None]).quantize(_COLOURS)
        chosen = np.array(few.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[:_COLOURS]
        entries = np.concatenate([greys, chosen])
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries.tobytes())
    return palette
