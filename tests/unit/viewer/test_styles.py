"""Colours that every eye can tell apart, on black canvases and on white ones."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.viewer.styles import MARK_RGBA, Mark, confidence_rgba, rgba


def _luminance(color: np.ndarray) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = np.where(color[:3] <= 0.04045, color[:3] / 12.92, ((color[:3] + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_confidence_rises_in_lightness_and_stays_off_both_canvases() -> None:
    colors = confidence_rgba(np.linspace(0.0, 1.0, 41))
    lightness = np.array([_luminance(color) for color in colors])
    assert (np.diff(lightness) >= 0).all()
    assert lightness[-1] > 2 * lightness[0], "told apart by lightness alone"
    against_black = (lightness + 0.05) / 0.05
    against_white = 1.05 / (lightness + 0.05)
    assert min(against_black.min(), against_white.min()) > 2


def test_a_sure_claim_wears_the_colour_of_the_legend() -> None:
    np.testing.assert_allclose(confidence_rgba([1.0])[0], MARK_RGBA[Mark.CLAIMED])
    assert rgba("#FF0080", 0.5) == (1.0, 0.0, 128 / 255, 0.5)
