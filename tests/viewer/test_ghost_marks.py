"""The ghost cursor: a real mouse over one canvas, and what the other shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari._qt.utils import QImg2array
from qtpy.QtCore import QEvent, QPoint
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from fixtures.projects import accept_true_pairs
from fixtures.viewers import handle_events
from napari_neurobridge.types import Expected
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.canvases import cursor_um, look_at
from napari_neurobridge.viewer.ghost_marks import ghost_lines
from napari_neurobridge.viewer.hints import FAR_ALPHA
from window_user import pixel_of

LANDMARKS = (0, 9, 18, 27, 36, 45)


@given(
    root=st.lists(st.floats(-20, 20), min_size=9, max_size=9),
    axes=st.sampled_from([(1, 2), (0, 2), (2, 1)]),
)
def test_the_rings_lie_at_one_and_two_standard_deviations(
    root: list[float], axes: tuple[int, int]
) -> None:
    factor = np.array(root).reshape(3, 3)
    covariance = factor @ factor.T + np.eye(3)
    where = Expected((10.0, 20.0, 30.0), tuple(map(tuple, covariance.tolist())))
    lines = ghost_lines(where, axes)
    shown = list(axes)
    inverse = np.linalg.inv(covariance[np.ix_(shown, shown)])
    away = lines - np.array(where.center_um)[shown]
    distance = np.sqrt(np.einsum("nei,ij,nej->ne", away, inverse, away))
    rings = distance[:-2]
    np.testing.assert_allclose(rings[:72], 1.0, rtol=1e-6)
    np.testing.assert_allclose(rings[72:], 2.0, rtol=1e-6)
    # Each line begins where the one before it ends, and the last ends where the first begins.
    for ring in (lines[:72], lines[72:144]):
        np.testing.assert_allclose(np.roll(ring[:, 1], 1, axis=0), ring[:, 0])
    np.testing.assert_allclose(
        lines[-2:].mean(axis=1), np.tile(away[0, 0] * 0 + [*_at(where, axes)], (2, 1))
    )


def _at(where: Expected, axes: tuple[int, int]) -> tuple[float, float]:
    return where.center_um[axes[0]], where.center_um[axes[1]]


@pytest.fixture
def matched(opened_points: ViewerBinding, qtbot: Any) -> ViewerBinding:
    """A viewer with an alignment between its canvases."""
    button = opened_points.second.header.findChild(QPushButton, "pointer_button")
    assert not button.isEnabled()
    assert "Accept a pair" in button.toolTip()
    accept_true_pairs(opened_points.workbench.project, LANDMARKS)
    opened_points.workbench.session.verdicts_changed.emit()
    qtbot.waitUntil(button.isEnabled, timeout=30_000)
    return opened_points


def _hover(qtbot: Any, qt_viewer: Any, model: Any, at: tuple[float, float]) -> np.ndarray:
    """Move the mouse to a share of a canvas, and return where that is, µm."""
    native = qt_viewer.canvas.native
    pixel = QPoint(int(native.width() * at[0]), int(native.height() * at[1]))
    QTest.mouseMove(native, QPoint(3, 3))
    QTest.mouseMove(native, pixel)
    handle_events(qtbot)
    place = cursor_um(model)
    assert place is not None
    return np.array(place)


def _pixels(qt_viewer: Any) -> np.ndarray:
    return QImg2array(qt_viewer.canvas.screenshot())[..., :3].astype(float)


def _drawn_um(binding: ViewerBinding, number: int, model: Any) -> np.ndarray:
    """Return the middle of the drawn cross, µm (z, y, x) of the canvas."""
    line = binding._ghost.line(number)
    assert line.visible
    place = np.array(model.dims.point, dtype=float)
    place[list(model.dims.order[1:])] = line.pos[-4:, ::-1].mean(axis=0)
    return place


def _expected(binding: ViewerBinding, here: Any, source: str, target: str) -> np.ndarray:
    return binding.workbench.project.alignment(source, target).expect([here])[0][0]


def test_the_pointer_is_shown_where_it_is_expected(matched: ViewerBinding, qtbot: Any) -> None:
    main, second = matched.viewer, matched.second
    other, main_qt = second.model, main.window._qt_viewer
    ghost, header = matched.workbench.ghost, second.header
    layers = [len(main.layers), len(other.layers)]

    # Two-photon to fMOST, and it follows.
    for at in ((0.5, 0.5), (0.4, 0.6)):
        here = _hover(qtbot, main_qt, main, at)
        there = _expected(matched, here, "two_photon", "fmost")
        shown = list(other.dims.order[1:])
        np.testing.assert_allclose(_drawn_um(matched, 1, other)[shown], there[shown], atol=1e-3)
        assert f"y {there[1]:.1f}" in header.place.text()
    assert not matched._ghost.line(0).visible

    # On the screen, not only in numbers: what changes is about the expected place.
    look_at(other, tuple(there))
    handle_events(qtbot)
    with_it = _pixels(second.qt_viewer)
    button = header.findChild(QPushButton, "pointer_button")
    button.click()
    handle_events(qtbot)
    assert not matched._ghost.line(1).visible
    assert header.place.text() == ""
    changed = np.abs(_pixels(second.qt_viewer) - with_it).sum(axis=-1) > 30
    rows, columns = np.nonzero(changed)
    pixel = pixel_of(second.qt_viewer, other, there)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(pixel.y(), abs=3)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(pixel.x(), abs=3)
    button.click()
    handle_events(qtbot)
    assert matched._ghost.line(1).visible

    # Off the slab it is faint, and the words say by how much, along the two-photon axis.
    depth = other.dims.order[0]
    sign = matched.workbench.project.dataset("fmost").used_orientation.axes[0]
    for step, words in ((-31.0, "31 µm deeper"), (31.0, "31 µm shallower")):
        other.dims.set_point(depth, there[depth] + (step if sign == "+" else -step))
        handle_events(qtbot)
        rounded = abs(there[depth] - other.dims.point[depth])
        assert header.place.text().endswith(words.replace("31", f"{rounded:.0f}"))
        assert np.allclose(matched._ghost.line(1).color[:, 3], FAR_ALPHA)
    look_at(other, tuple(there))
    handle_events(qtbot)
    assert "µm deeper" not in header.place.text()
    assert np.allclose(matched._ghost.line(1).color[:, 3], 1.0)

    # fMOST to two-photon; its own place is written again.
    here = _hover(qtbot, second.qt_viewer, other, (0.5, 0.5))
    back = _expected(matched, here, "fmost", "two_photon")
    np.testing.assert_allclose(_drawn_um(matched, 0, main)[1:], back[1:], atol=1e-2)
    assert not matched._ghost.line(1).visible
    assert header.place.text().startswith("z ")

    # In three dimensions there is no plane to draw it on; away from both there is none.
    main.dims.ndisplay = 3
    handle_events(qtbot)
    assert not matched._ghost.line(0).visible
    main.dims.ndisplay = 2
    handle_events(qtbot)
    assert matched._ghost.line(0).visible
    QApplication.sendEvent(second.qt_viewer.canvas.native, QEvent(QEvent.Type.Leave))
    handle_events(qtbot)
    assert not matched._ghost.line(0).visible
    assert ghost.place is None

    assert [len(main.layers), len(other.layers)] == layers, "it is no layer"

    # A random check hides it.
    _hover(qtbot, main_qt, main, (0.5, 0.5))
    assert matched._ghost.line(1).visible
    questions = matched.workbench.questions
    questions.select("two_photon", "tp-00005", audit=True)
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    _hover(qtbot, main_qt, main, (0.45, 0.5))
    assert not matched._ghost.line(1).visible


def test_a_mouse_that_moved_last_tells_nobody_once_the_window_goes(
    matched: ViewerBinding, qtbot: Any
) -> None:
    viewer = matched.viewer
    _hover(qtbot, viewer.window._qt_viewer, viewer, (0.5, 0.5))
    handle_events(qtbot)
    told: list[bool] = []
    # As the mouse moves: what follows it waits for the events to end, and the window goes first.
    matched._ghost._on_mouse(0)
    matched.shut()
    matched.workbench.ghost.changed.connect(lambda: told.append(True))
    handle_events(qtbot)
    assert not told
