"""How everything looks: colours safe for colour-blind eyes, sizes in µm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.theme import get_theme

from napari_neurobridge.project.painted import BACKGROUND, UNLABELLED

UNITS = ("micrometer", "micrometer", "micrometer")

SLAB_UM = 20
"""Thickness of tissue that a canvas projects at first; a soma and a little more."""

LEAST_SLAB_UM, MOST_SLAB_UM = 5, 60

SOMA_DIAMETER_UM = 16.0
"""Diameter of the circles; a little wider than a cell body, so that it stays visible."""

FIELD_UM = 260.0
"""Height of tissue that a canvas shows after it has moved to a cell."""


class Mark(StrEnum):
    """What a circle around a soma says."""

    PLAIN = "plain"
    QUERY = "query"
    CANDIDATE = "candidate"
    CHOSEN = "chosen"
    ACCEPTED = "accepted"
    DISPUTED = "disputed"
    NO_PARTNER = "no partner"
    CLAIMED = "claimed"
    UNMATCHED = "unmatched"
    LANDMARK = "landmark"


# Okabe and Ito's palette, legible on dark images in both of napari's themes.
MARK_COLORS = {
    Mark.PLAIN: "#56B4E9",
    Mark.CANDIDATE: "#F0E442",
    # The two somata that a verdict would be about wear one colour.
    Mark.QUERY: "#E69F00",
    Mark.CHOSEN: "#E69F00",
    Mark.ACCEPTED: "#009E73",
    Mark.DISPUTED: "#D55E00",
    Mark.NO_PARTNER: "#CC79A7",
    # The palette's light blue where a pair is sure; see `confidence_rgba`.
    Mark.CLAIMED: "#56B4E9",
    # Darker than every other mark: to most colour-blind eyes green and pink are grey.
    Mark.UNMATCHED: "#6E6E6E",
    Mark.LANDMARK: "#FFFFFF",
}

MARK_GROUND = "#1E1E1E"
"""Under marks outside of the canvases: their colours are made for dark images."""

CHANGED_FILL = (1.0, 1.0, 1.0, 0.5)
"""Inside of a circle whose most probable partner the latest verdict changed, RGBA."""

# The way from here to light blue keeps clear of the accepted pairs' green, for every eye.
_UNSURE_COLOR = "#4858F8"
_UNSURE, _SURE = 0.5, 1.0

_EXACT_COLOR, _VAGUE_COLOR = "#E2CCFF", "#5A30B5"
_VAGUE_UM = 20.0


def rgba(color: str, alpha: float = 1.0) -> tuple[float, float, float, float]:
    """Return ``#RRGGBB`` as four numbers in [0, 1]."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue, alpha


MARK_RGBA = {mark: rgba(color) for mark, color in MARK_COLORS.items()}


def confidence_rgba(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the colours of claimed pairs, from deep blue (half sure) to light blue (sure).

    They differ in lightness alone, which every eye sees, and neither end fades into a black or
    a white canvas.

    Parameters
    ----------
    probability : array_like, shape (N,)

    Returns
    -------
    ndarray, shape (N, 4)
        RGBA.
    """
    share = (np.asarray(probability, dtype=np.float64) - _UNSURE) / (_SURE - _UNSURE)
    share = np.clip(share, 0.0, 1.0)[:, None]
    return _between(_UNSURE_COLOR, MARK_COLORS[Mark.CLAIMED], share)


def sigma_rgba(sigma_um: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the colours of a mapped plane, from light (known exactly) to dark violet.

    They differ in lightness, which every eye sees; no mark is violet.

    Parameters
    ----------
    sigma_um : array_like, shape (N,)
        Standard deviation; what is beyond 20 µm looks alike.

    Returns
    -------
    ndarray, shape (N, 4)
        RGBA.
    """
    share = np.clip(np.asarray(sigma_um, dtype=np.float64) / _VAGUE_UM, 0.0, 1.0)[:, None]
    return _between(_EXACT_COLOR, _VAGUE_COLOR, share)


def _between(one: str, other: str, share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return colours between two, (N, 4), by shares (N, 1) of the other."""
    first, second = np.array(rgba(one)), np.array(rgba(other))
    return np.asarray(first + share * (second - first))


# WCAG 2.2 asks for 4.5; a little more, since Qt rounds.
_LEAST_CONTRAST = 4.7


def contrast(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return the contrast of two colours, RGB in [0, 1]: 1 to 21 (WCAG 2.2)."""
    low, high = sorted(_luminance(np.asarray(color)[:3]) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: npt.NDArray[np.float64]) -> float:
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def quiet_stylesheet(theme: str) -> str:
    """Return how disabled controls and the hints in empty fields look, legible in a theme.

    napari draws the former with a third of its text's opacity, and Qt the latter with half of it.
    """
    colors = get_theme(theme)
    text, *grounds = (
        np.array(color.as_rgb_tuple(alpha=False)) / 255
        for color in (colors.text, colors.background, colors.foreground, colors.primary)
    )
    quiet = text
    for share in np.linspace(0.0, 1.0, 41):
        fainter = text + share * (grounds[-1] - text)
        if min(contrast(fainter, ground) for ground in grounds) < _LEAST_CONTRAST:
            break
        quiet = fainter
    ink = "#" + "".join(f"{round(255 * part):02X}" for part in quiet)
    return f"*:disabled {{ color: {ink} }} QLineEdit {{ placeholder-text-color: {ink} }}"


def canvas_ink(theme: str) -> str:
    """Return the colour of what is written onto the bare canvas of a theme."""
    canvas = np.array(get_theme(theme).canvas.as_rgb_tuple(alpha=False)) / 255
    return max(("white", "black"), key=lambda ink: contrast(canvas, [float(ink == "white")] * 3))


def swatch(color: str, symbol: str) -> str:
    """Return a symbol in a mark's colour, as rich text that is seen in both themes."""
    return (
        f"<span style='color:{color}; background-color:{MARK_GROUND}'>&nbsp;{symbol}&nbsp;</span>"
    )


@dataclass(frozen=True)
class ImageStyle:
    """Look of an image layer."""

    colormap: str = "gray"
    gamma: float = 0.8

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Image`."""
        return {
            "colormap": self.colormap,
            "gamma": self.gamma,
            "projection_mode": "max",
            "units": UNITS,
        }


@dataclass(frozen=True)
class PaintStyle:
    """Look of what people paint over an image."""

    cell: str = "#F0E442"
    background: str = "#0072B2"
    opacity: float = 0.5

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Labels`."""
        clear = (0.0, 0.0, 0.0, 0.0)
        colors = {None: rgba(self.cell), UNLABELLED: clear, BACKGROUND: rgba(self.background)}
        return {
            "colormap": DirectLabelColormap(color_dict=colors),
            "opacity": self.opacity,
            "units": UNITS,
        }


@dataclass(frozen=True)
class OverlayStyle:
    """Look of the warped image over the other: green over magenta, white where they agree."""

    over: str = "green"
    under: str = "magenta"

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Image`."""
        return {
            "colormap": self.over,
            "blending": "additive",
            "contrast_limits": (0.0, 1.0),
            "gamma": ImageStyle().gamma,
            "interpolation2d": "linear",
            "units": UNITS,
        }


@dataclass(frozen=True)
class SomataStyle:
    """Look of the circles around somata."""

    size: float = SOMA_DIAMETER_UM
    border_width_um: float = 1.2
    label: str = "{label}"

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points`."""
        return {
            "size": self.size,
            "border_width": self.border_width_um,
            "border_width_is_relative": False,
            "projection_mode": "all",
            "units": UNITS,
            "text": {
                # Nothing, until there is something to write: writing takes napari a while.
                "string": {"constant": ""},
                "color": "white",
                "size": 11,
                "anchor": "upper_left",
            },
        }


@dataclass(frozen=True)
class AttentionStyle:
    """Look of what a channel of the encoder attends to, over a grey image."""

    name: str
    color: str
    opacity: float = 0.75

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Image`."""
        return {
            # From clear to the colour: additive light would drown in a bright fMOST image.
            "colormap": {
                "name": f"clear to {self.name}",
                "colors": [rgba(self.color, 0.0), rgba(self.color, 1.0)],
            },
            "opacity": self.opacity,
            "blending": "translucent_no_depth",
            "contrast_limits": (0.0, 1.0),
            "interpolation2d": "linear",
            "projection_mode": "max",
            "units": UNITS,
        }


@dataclass(frozen=True)
class NeighbourStyle:
    """Look of the numbered pairs around a query: accepted ones filled, claimed ones hollow.

    Each is a ring around its soma and a dark badge beside it, on which its number is legible
    whatever lies underneath.
    """

    ring_um: float = 1.35 * SOMA_DIAMETER_UM
    badge_px: float = 20.0
    border_width_um: float = 1.2
    fill: float = 0.4
    badge: tuple[float, float, float, float] = (0.08, 0.08, 0.08, 1.0)

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points`."""
        return {
            "border_width": self.border_width_um,
            "border_width_is_relative": False,
            "projection_mode": "all",
            "units": UNITS,
            "text": {"string": "{number}", "size": 9, "color": "white", "anchor": "center"},
        }


@dataclass(frozen=True)
class OutlineStyle:
    """Look of the outlines of imported regions: thin, and lighter than any mark."""

    color: str = "#DDDDDD"
    width_um: float = 0.6
    opacity: float = 0.7

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Vectors`."""
        return {
            "edge_color": self.color,
            "edge_width": self.width_um,
            "opacity": self.opacity,
            "vector_style": "line",
            "projection_mode": "all",
            "units": UNITS,
        }


@dataclass(frozen=True)
class PlaneStyle:
    """Look of the net of a mapped plane, and bolder of the line where it crosses the slice."""

    net_width_um: float = 0.9
    crossing_width_um: float = 3.0

    def as_kwargs(self, *, bold: bool) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Vectors`."""
        return {
            "edge_width": self.crossing_width_um if bold else self.net_width_um,
            "vector_style": "line",
            "projection_mode": "all",
            "units": UNITS,
        }


@dataclass(frozen=True)
class SheetStyle:
    """Look of a contact sheet: dark paper, and a frame that tells which side is on show."""

    paper: str = "#101010"
    ink: str = "#E6E6E6"
    two_photon: str = "#56B4E9"
    fmost: str = "#E69F00"
    rejected: str = "#D55E00"
    unsure: str = "#F0E442"
    cursor: str = "#FFFFFF"


@dataclass(frozen=True)
class ExpectedStyle:
    """Look of the ellipse around an expected place: a bright line with a dark seam."""

    colors: tuple[str, str] = ("black", "white")
    edge_widths_um: tuple[float, float] = (2.2, 1.0)

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Shapes`."""
        return {"face_color": "transparent", "units": UNITS}


@dataclass(frozen=True)
class LandmarkStyle:
    """Look of landmarks without a soma: diamonds, white around dark, seen on any canvas."""

    size_um: float = 11.0
    border_width_um: float = 1.6
    fill: str = "#141414B0"

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points`."""
        return {
            "symbol": "diamond",
            "size": self.size_um,
            "border_width": self.border_width_um,
            "border_width_is_relative": False,
            "border_color": MARK_COLORS[Mark.LANDMARK],
            "face_color": self.fill,
            "projection_mode": "all",
            "units": UNITS,
        }


@dataclass(frozen=True)
class GhostStyle:
    """Look of the ghost cursor: a cross and two dashed ellipses, seen on dark and on bright."""

    colors: tuple[tuple[float, float, float, float], ...] = (rgba("#000000"), rgba("#FFFFFF"))
    dash: int = 2
    width_px: float = 2.0
    arm_um: float = 4.0
