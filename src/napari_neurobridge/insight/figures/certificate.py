"""What a random check certifies, as a page for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from napari_neurobridge.insight.figures.style import FONT, LIGHT, SMALL_FONT, WIDTH_IN, Theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_LARGE_CHARACTERS, _LINE_CHARACTERS, _SMALL_CHARACTERS = 56, 72, 80
_LINE_IN = 0.21
_MARGIN_IN = 0.35


def certificate_figure(
    sentence: str, facts: Sequence[tuple[str, str]], limits: str, *, theme: Theme = LIGHT
) -> Figure:
    """Write what is certified, what it rests on, and what it does not say.

    Parameters
    ----------
    sentence : str
        What is certified.
    facts : sequence of (str, str)
        Names and values, a line each.
    limits : str
        What it does not say.
    theme : Theme
        Colours.
    """
    from matplotlib.figure import Figure

    blocks = [
        (textwrap.fill(sentence, _LARGE_CHARACTERS), FONT + 3, theme.ink),
        ("\n".join(_line(name, value) for name, value in facts), FONT, theme.ink),
        (textwrap.fill(limits, _SMALL_CHARACTERS), SMALL_FONT, theme.ink),
    ]
    lines = sum(text.count("\n") + 2 for text, _, _ in blocks)
    height = lines * _LINE_IN + 2 * _MARGIN_IN
    figure = Figure(figsize=(WIDTH_IN, height), facecolor=theme.paper)
    top = height - _MARGIN_IN
    for text, size, color in blocks:
        figure.text(_MARGIN_IN / WIDTH_IN, top / height, text, va="top", fontsize=size, color=color)
        top -= (text.count("\n") + 2) * _LINE_IN
    return figure


def _line(name: str, value: str) -> str:
    return textwrap.fill(f"{name}: {value}", _LINE_CHARACTERS, subsequent_indent="    ")
