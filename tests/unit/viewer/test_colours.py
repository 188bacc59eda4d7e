"""What colour-blind people see of the marks; the table of docs/benchmarks.md rests on this."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_neurobridge.viewer.styles import (
    MARK_RGBA,
    Mark,
    SheetStyle,
    confidence_rgba,
    rgba,
)

# Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15, 1291), table 1, severity 1; of linear RGB.
SIMULATIONS = {
    "protanopia": [
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ],
    "deuteranopia": [
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ],
    "tritanopia": [
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ],
    "none": np.eye(3).tolist(),
}
LEAST_DIFFERENCE = 10.0
"""CIEDE2000; below some 2 two colours side by side look alike."""

# The queried and the picked soma lie on different sides and mean the same; plain circles are
# drawn only where nothing is claimed.
MARKS = (
    Mark.QUERY,
    Mark.CANDIDATE,
    Mark.ACCEPTED,
    Mark.DISPUTED,
    Mark.NO_PARTNER,
    Mark.UNMATCHED,
    Mark.LANDMARK,
)
CONFIDENCES = np.linspace(0.5, 1.0, 11)


def linear(colors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return linear light of sRGB in [0, 1]."""
    low = colors <= 0.04045
    return np.where(low, colors / 12.92, ((np.maximum(colors, 0) + 0.055) / 1.055) ** 2.4)


def seen_as(colors: npt.NDArray[np.float64], kind: str) -> npt.NDArray[np.float64]:
    """Return CIELAB, (N, 3), of what an eye sees of sRGB colours, (N, 3)."""
    light = np.clip(linear(colors) @ np.array(SIMULATIONS[kind]).T, 0.0, 1.0)
    low = light <= 0.0031308
    srgb = np.where(low, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(srgb[None])[0])


def differences(kind: str) -> dict[tuple[str, str], float]:
    """Return CIEDE2000 between marks, of claimed pairs the smallest of all confidences."""
    colors = {str(mark): np.array([MARK_RGBA[mark][:3]]) for mark in MARKS}
    colors["claimed"] = confidence_rgba(CONFIDENCES)[:, :3]
    labs = {name: seen_as(color, kind) for name, color in colors.items()}
    return {
        (one, other): float(deltaE_ciede2000(labs[one][:, None], labs[other][None]).min())
        for one, other in combinations(labs, 2)
    }


@pytest.mark.parametrize("kind", SIMULATIONS)
def test_every_eye_tells_marks_of_different_meaning_apart(kind: str) -> None:
    found = differences(kind)
    assert len(found) == 28
    assert {pair: value for pair, value in found.items() if value < LEAST_DIFFERENCE} == {}


@pytest.mark.parametrize("kind", SIMULATIONS)
def test_every_eye_sees_how_sure_a_claim_is(kind: str) -> None:
    labs = seen_as(confidence_rgba([0.5, 1.0])[:, :3], kind)
    assert float(deltaE_ciede2000(labs[0], labs[1])) > 15.0
    assert labs[1][0] > labs[0][0], "a sure one is lighter"


@pytest.mark.parametrize("kind", SIMULATIONS)
def test_every_eye_tells_the_colours_of_a_contact_sheet_apart(kind: str) -> None:
    style = SheetStyle()
    names = (style.two_photon, style.fmost, style.rejected, style.unsure, style.cursor)
    labs = seen_as(np.array([rgba(color)[:3] for color in names]), kind)
    for one, other in combinations(range(len(names)), 2):
        assert float(deltaE_ciede2000(labs[one], labs[other])) > LEAST_DIFFERENCE
