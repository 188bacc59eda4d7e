"""The figure of one pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures import Picture, pair_figure, save_figure
from napari_neurobridge.insight.figures.pair import round_length

CROP = np.random.default_rng(0).uniform(size=(150, 150)).astype(np.float32)
CANVAS = np.random.default_rng(1).integers(0, 255, (300, 400, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    ("most", "length"), [(36.0, 20.0), (1.0, 1.0), (0.4, 0.2), (50.0, 50.0), (999.0, 500.0)]
)
def test_a_bar_has_a_round_length_that_fits(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)


def test_each_picture_has_its_title_and_a_bar_of_the_length_it_says() -> None:
    crops = [Picture("tp-1", CROP, 0.8), Picture("fm-1", CROP, 0.8)]
    figure = pair_figure(crops, [Picture("two_photon", CANVAS, 0.5)], title="tp-1 and fm-1")
    axes = [ax for part in figure.subfigs for ax in part.axes]
    assert [ax.get_title() for ax in axes] == ["tp-1", "fm-1", "two_photon"]
    assert figure.get_suptitle() == "tp-1 and fm-1"
    for ax, um_per_pixel in zip(axes, (0.8, 0.8, 0.5), strict=True):
        (bar,), (text,) = ax.get_lines(), ax.texts
        start, end = bar.get_xdata()
        assert (end - start) * um_per_pixel == pytest.approx(float(text.get_text().split()[0]))
    assert axes[0].texts[0].get_text() == "20 µm"
    assert axes[2].texts[0].get_text() == "50 µm"


def test_a_picture_with_a_bar_of_its_own_gets_no_second_one() -> None:
    figure = pair_figure([Picture("two_photon", CANVAS, None)], title="a")
    (ax,) = (ax for part in figure.subfigs for ax in part.axes)
    assert not ax.get_lines()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_it_is_written_by_its_suffix_also_without_crops(tmp_path: Path, suffix: str) -> None:
    figure = pair_figure([], [Picture("two_photon", CANVAS, 0.5)], title="a place")
    path = save_figure(figure, tmp_path / f"pair.{suffix}")
    assert path.stat().st_size > 1000


def test_without_any_picture_it_is_refused() -> None:
    with pytest.raises(InputError, match="no picture"):
        pair_figure([], [], title="nothing")
