"""The reliability diagram."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.reliability import reliability_figure
from napari_neurobridge.insight.figures.style import DARK, LIGHT, save_figure
from napari_neurobridge.matching.calibration import reliability


def measured(n: int = 200):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, n)
    return reliability(confidence, rng.random(n) < confidence)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_it_is_drawn_in_every_theme(theme, tmp_path):
    figure = reliability_figure({"one": measured(), "two": measured(90)}, theme=theme)
    path = save_figure(figure, tmp_path / "figure.png", dpi=100)
    assert path.stat().st_size > 0
    assert "90 to 200 matches" in figure.get_suptitle()


def test_points_are_where_the_table_says():
    found = measured()
    ax = reliability_figure({"one": found}).axes[0]
    points = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(points, [(b.confidence, b.right) for b in found.bins])
    assert f"ECE {found.error:.3f}" in ax.get_title()


def test_nothing_is_no_diagram():
    with pytest.raises(InputError, match="audit"):
        reliability_figure({})
