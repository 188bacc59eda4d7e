"""How the figures look: two themes, colours safe for colour-blind eyes, sizes for 600 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_neurobridge.io.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 6.0
"""Width of a figure; at 100 dots per inch it is 600 pixels wide."""

FONT = 10.0
SMALL_FONT = 9.0


@dataclass(frozen=True)
class Theme:
    """Colours of a figure.

    Attributes
    ----------
    paper, ink, faint : str
        Background; lines and text; grid and lines that guide the eye.
    same, different : str
        Pairs of the same neuron, and of different neurons.
    lines : tuple of str
        Colours of curves in order, Okabe and Ito's palette.
    """

    paper: str
    ink: str
    faint: str
    same: str
    different: str
    lines: tuple[str, ...]


LIGHT = Theme(
    paper="#FFFFFF",
    ink="#222222",
    faint="#D5D5D5",
    same="#0072B2",
    different="#D55E00",
    lines=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555"),
)
DARK = Theme(
    paper="#262930",
    ink="#F0F1F2",
    faint="#50555F",
    same="#56B4E9",
    different="#E69F00",
    lines=("#56B4E9", "#E69F00", "#00B386", "#E08FBC", "#F0E442", "#F0733A", "#BBBBBB"),
)

# Colours run out after seven curves; the dashes then tell them apart, in grey print too.
DASHES = ("-", "--", "-.", ":")

_MEASURES = {"nmi": "NMI", "ssim": "SSIM", "pearson": "Pearson", "mse": "−MSE"}
"""The plain measures are values of an enumeration, in lower case."""


def new_figure(
    theme: Theme, *, rows: int = 1, columns: int = 1, height_in: float = 4.2
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its axes, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), facecolor=theme.paper, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [dress(ax, theme) for ax in axes.flat]


def new_panels(
    theme: Theme, count: int, *, panel_in: tuple[float, float, float], margin_in: float
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with ``count`` axes, row by row; places left over stay empty.

    Parameters
    ----------
    theme : Theme
    count : int
    panel_in : tuple of float
        Height of a row of one, two and three panels, in inches.
    margin_in : float
        Height for everything around them.
    """
    columns = panel_columns(count)
    rows = -(-count // columns)
    height = rows * panel_in[columns - 1] + margin_in
    figure, axes = new_figure(theme, rows=rows, columns=columns, height_in=height)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def dress(ax: Axes, theme: Theme) -> Axes:
    """Give axes a theme's colours and a frame of two sides."""
    ax.set_facecolor(theme.paper)
    ax.tick_params(colors=theme.ink, labelsize=SMALL_FONT)
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(theme.ink)
    ax.xaxis.label.set_color(theme.ink)
    ax.yaxis.label.set_color(theme.ink)
    ax.title.set_color(theme.ink)
    ax.xaxis.label.set_fontsize(FONT)
    ax.yaxis.label.set_fontsize(FONT)
    ax.title.set_fontsize(FONT)
    return ax


def write_title(figure: Figure, theme: Theme, text: str) -> None:
    """Write a figure's title; it says what is shown and how much of it."""
    figure.suptitle(text, color=theme.ink, fontsize=FONT + 1)


def show_legend(ax: Axes, theme: Theme, where: Literal["best", "lower right"] = "best") -> None:
    """Name what was labelled."""
    ax.legend(loc=where, frameon=False, labelcolor=theme.ink, fontsize=SMALL_FONT)


def bare(ax: Axes) -> None:
    """Take ticks and frame off."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def draw_scale_bar(ax: Axes, pixel_um: float, length_um: float) -> None:
    """Draw a bar of some length over the picture in axes, at its lower left."""
    from matplotlib.patheffects import withStroke

    # Outlined, since what lies beneath may be bright.
    outline = [withStroke(linewidth=2, foreground="black")]
    rows, columns = ax.get_images()[0].get_size()
    start, length = 0.06 * columns, length_um / pixel_um
    ax.plot(
        [start, start + length],
        [0.94 * rows] * 2,
        color="white",
        linewidth=2.5,
        path_effects=[withStroke(linewidth=4, foreground="black")],
    )
    ax.text(
        start,
        0.91 * rows,
        f"{length_um:g} µm",
        color="white",
        fontsize=SMALL_FONT - 1,
        path_effects=outline,
    )


def line_style(theme: Theme, index: int) -> tuple[str, str]:
    """Return colour and dashes of the curve with this index."""
    return theme.lines[index % len(theme.lines)], DASHES[index // len(theme.lines) % len(DASHES)]


def display_name(name: str) -> str:
    """Return how a model or a measure is called in a figure."""
    return _MEASURES.get(name, name)


def panel_columns(count: int) -> int:
    """Return how many panels stand side by side, so that few places stay empty."""
    return {1: 1, 2: 2, 4: 2}.get(count, 3)


def several(count: int, noun: str) -> str:
    """Return ``"1 pair"`` or ``"53 pairs"``."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}" + ("" if count == 1 else plural)


def listed(numbers: Sequence[int], noun: str) -> str:
    """Return how many there are in each part: ``"53 pairs"`` or ``"40 to 53 pairs"``."""
    low, high = min(numbers), max(numbers)
    return several(high, noun) if low == high else f"{low:,} to {several(high, noun)}"


def save_figure(figure: Figure, path: Path, *, dpi: int = 200) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix of the path, and return the path."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=figure.get_facecolor())
    return path
