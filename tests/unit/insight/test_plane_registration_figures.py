"""Figures of two registered planes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures.plane_registration import (
    CoverageCells,
    checkerboard,
    coverage_figure,
    magenta_green,
    residual_histogram,
)
from napari_neurobridge.insight.figures.style import DARK, LIGHT, save_figure


def test_what_one_plane_shows_is_magenta_the_other_green_and_both_white() -> None:
    first = np.array([[1.0, 0.0, 1.0, 0.0]])
    second = np.array([[0.0, 1.0, 1.0, 0.0]])
    expected = [[[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]]]
    np.testing.assert_array_equal(magenta_green(first, second), expected)


def test_squares_show_one_plane_and_the_other_in_turn() -> None:
    board = checkerboard(np.full((6, 6), 1.0), np.zeros((6, 6)), 2)
    shown = board.max(axis=-1)
    assert shown[:2, :2].min() == 1
    assert shown[:2, 2:4].max() == 0
    assert shown[2:4, 2:4].min() == 1
    assert shown.mean() == pytest.approx(5 / 9)


def test_equal_planes_keep_their_brightness_in_the_checkerboard() -> None:
    plane = np.random.default_rng(0).random((20, 30))
    board = checkerboard(plane, plane, 7)
    np.testing.assert_allclose(board.max(axis=-1), np.sqrt(plane), rtol=1e-6)


@pytest.mark.parametrize("draw", [magenta_green, lambda a, b: checkerboard(a, b, 2)])
def test_planes_of_different_shapes_are_refused(draw) -> None:
    with pytest.raises(InputError, match="cannot be laid on each other"):
        draw(np.zeros((4, 4)), np.zeros((4, 5)))


def test_squares_without_a_side_are_refused() -> None:
    with pytest.raises(InputError, match="side of 1 or more"):
        checkerboard(np.zeros((4, 4)), np.zeros((4, 4)), 0)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_a_histogram_counts_every_residual(theme, tmp_path) -> None:
    residuals = np.random.default_rng(0).gamma(2, 1, 137)
    figure = residual_histogram(residuals, theme=theme)
    (ax,) = figure.axes
    assert sum(bar.get_height() for bar in ax.patches) == 137
    median, upper = (line.get_xdata()[0] for line in ax.get_lines())
    assert (median, upper) == pytest.approx(np.percentile(residuals, [50, 90]))
    assert save_figure(figure, tmp_path / "figure.png", dpi=60).stat().st_size > 0


def test_no_residual_is_no_histogram() -> None:
    with pytest.raises(InputError, match="no residuals"):
        residual_histogram([])


def test_the_share_counts_cells_of_the_overlap_only() -> None:
    cells = CoverageCells(np.array([[3, 0], [1, 2]]), np.array([[True, True], [True, False]]))
    assert cells.share == pytest.approx(2 / 3)
    assert CoverageCells(np.zeros((2, 2), int), np.zeros((2, 2), bool)).share == 0


def test_matches_are_drawn_where_they_lie(tmp_path) -> None:
    cells = CoverageCells(np.array([[1, 0], [0, 0]]), np.array([[True, True], [True, False]]))
    agreeing, others = np.array([[10.0, 20.0]]), np.array([[30.0, 40.0], [35.0, 45.0]])
    figure = coverage_figure(np.zeros((50, 80)), (100.0, 160.0), cells, agreeing, others)
    (ax,) = figure.axes
    points, crosses = ax.collections[:2]
    np.testing.assert_array_equal(points.get_offsets(), [[20, 10]])
    assert len(crosses.get_offsets()) == 2
    assert "33%" in figure.get_suptitle()
    # One cell without a match, one more, and one outside.
    assert len(ax.patches) == 3
    assert save_figure(figure, tmp_path / "figure.png", dpi=60).stat().st_size > 0
