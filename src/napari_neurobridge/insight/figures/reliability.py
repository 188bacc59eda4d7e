"""Whether probabilities mean what they say, as a diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.style import (
    LIGHT,
    SMALL_FONT,
    Theme,
    listed,
    new_panels,
    write_title,
)
from napari_neurobridge.matching.proportions import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_neurobridge.matching.calibration import Reliability

# Area of the marker of a bin that holds all claims, and of the smallest, in points².
_LARGEST, _SMALLEST = 160.0, 14.0


def reliability_figure(
    measured: Mapping[str, Reliability],
    *,
    title: str = "How often matches are right, and how sure the program is",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the share of right matches over their confidence.

    Parameters
    ----------
    measured : mapping of str to Reliability
        What to call each panel, and what it shows.
    title : str
        What is compared.
    theme : Theme
        Colours.

    Returns
    -------
    Figure
        Points on the diagonal mean what they say; above it the program is too modest.
        Bars are 95 % intervals (Wilson), and the larger a point, the more matches.

    Raises
    ------
    InputError
        If there is nothing to show.
    """
    if not measured:
        raise InputError("A reliability diagram needs outcomes; answer audit questions first.")
    figure, axes = new_panels(theme, len(measured), panel_in=(3.7, 3.1, 2.3), margin_in=0.9)
    for ax, (name, found) in zip(axes, measured.items(), strict=True):
        _draw(ax, found, theme)
        ax.set_title(f"{name}\nECE {found.error:.3f}", fontsize=SMALL_FONT)
    counts = listed([found.n for found in measured.values()], "match")
    write_title(figure, theme, f"{title}\n{counts}")
    return figure


def _draw(ax: Axes, found: Reliability, theme: Theme) -> None:
    confidence = np.array([b.confidence for b in found.bins])
    right = np.array([b.right for b in found.bins])
    share = np.array([b.n for b in found.bins]) / found.n
    low, high = np.array([wilson_interval(b.right, b.n) for b in found.bins]).T
    ax.plot([0, 1], [0, 1], linestyle=":", color=theme.ink, linewidth=1.0)
    ax.vlines(confidence, low, high, color=theme.same, linewidth=1.4)
    area = np.maximum(_LARGEST * share, _SMALLEST)
    ax.scatter(confidence, right, s=area, color=theme.same, zorder=3, clip_on=False)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share right")
    ax.set_xticks([0, 0.5, 1])
    ax.set_yticks([0, 0.5, 1])
    ax.set_aspect("equal")
