"""How everything looks: colours safe for colour-blind eyes, sizes in µm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

UNITS = ("micrometer", "micrometer", "micrometer")

SLAB_UM = 20.0
"""Thickness of tissue that a canvas projects; a soma and a little more."""

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
}

MARK_RGBA = {
    mark: (*(int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)), 1.0)
    for mark, color in MARK_COLORS.items()
}


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
class SomataStyle:
    """Look of the circles around somata."""

    size: float = SOMA_DIAMETER_UM
    border_width_um: float = 1.2

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points`."""
        return {
            "size": self.size,
            "face_color": "transparent",
            "border_width": self.border_width_um,
            "border_width_is_relative": False,
            "projection_mode": "all",
            "units": UNITS,
            "text": {
                "string": "{label}",
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
        red, green, blue = (int(self.color[start : start + 2], 16) / 255 for start in (1, 3, 5))
        return {
            # From clear to the colour: additive light would drown in a bright fMOST image.
            "colormap": {
                "name": f"clear to {self.name}",
                "colors": [[red, green, blue, 0.0], [red, green, blue, 1.0]],
            },
            "opacity": self.opacity,
            "blending": "translucent_no_depth",
            "contrast_limits": (0.0, 1.0),
            "interpolation2d": "linear",
            "projection_mode": "max",
            "units": UNITS,
        }
