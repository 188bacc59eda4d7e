"""Enlarged tissue in a corner of both canvases: a real key, and a real mouse."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari._qt.utils import QImg2array
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QPushButton

from fixtures.viewers import handle_events, show_dock
from napari_neurobridge.project.log import annotate
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.canvases import look_at
from napari_neurobridge.viewer.docks import PAIRS
from napari_neurobridge.viewer.magnified_views import SIDE_PX
from window_user import pixel_of

SIDES = "two_photon", "fmost"


def views(binding: ViewerBinding) -> list[QLabel]:
    window = binding.viewer.window._qt_window
    return [window.findChild(QLabel, f"magnified_{number}") for number in (0, 1)]


def middle_and_rim(view: QLabel) -> tuple[float, float]:
    """Return how bright a picture is around the cross in its middle, and near its rim."""
    grey = QImg2array(view.pixmap().toImage())[..., 0].astype(float)
    half = SIDE_PX // 2
    rows, columns = np.indices(grey.shape)
    away = np.hypot(rows - half, columns - half)
    beside = (np.abs(rows - half) > 3) & (np.abs(columns - half) > 3)
    return grey[(away < 14) & beside].mean(), grey[(away > 55) & (away < 65)].mean()


def hover(binding: ViewerBinding, number: int, place_um: Any, qtbot: Any) -> QPoint:
    """Move the mouse over a place that a canvas looks at."""
    model = (binding.viewer, binding.second.model)[number]
    qt_viewer = (binding.viewer.window._qt_viewer, binding.second.qt_viewer)[number]
    native = qt_viewer.canvas.native
    pixel = pixel_of(qt_viewer, model, place_um)
    QTest.mouseMove(native, QPoint(2, 2))
    QTest.mouseMove(native, pixel)
    handle_events(qtbot)
    return pixel


def test_both_canvases_enlarge_what_is_compared(opened: ViewerBinding, qtbot: Any) -> None:
    workbench, project = opened.workbench, opened.workbench.project
    somata = [project.state().somata[name] for name in SIDES]
    uids = [list(known) for known in somata]
    for one, other in list(zip(*uids, strict=True))[:8]:
        annotate.accept(project, one, other, annotator="fixture")
    workbench.session.verdicts_changed.emit()
    qtbot.waitUntil(lambda: workbench.ghost.offered, timeout=60_000)
    here = np.array(somata[0][uids[0][2]].center_um)
    look_at(opened.viewer, tuple(here))
    panel = show_dock(opened, PAIRS)
    first, second = views(opened)
    hover(opened, 0, here, qtbot)
    assert not first.isVisible(), "nobody places landmarks"

    QTest.keyClick(opened.viewer.window._qt_window, Qt.Key.Key_L)
    pixel = hover(opened, 0, here, qtbot)
    qtbot.waitUntil(lambda: first.isVisible() and second.isVisible(), timeout=30_000)
    handle_events(qtbot)
    for view in (first, second):
        middle, rim = middle_and_rim(view)
        assert middle > 2 * rim, "the cell lies in the middle"

    # The mouse passes through the picture, which makes way for it.
    native = opened.viewer.window._qt_viewer.canvas.native
    assert native.childAt(first.geometry().center()) is None
    assert not first.geometry().contains(pixel)
    before = first.pos()
    QTest.mouseMove(native, first.geometry().center())
    handle_events(qtbot)
    assert first.pos() != before or not first.isVisible()

    # What was clicked stays enlarged while the mouse looks for it on the other side.
    hover(opened, 0, here, qtbot)
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=pixel)
    handle_events(qtbot)
    assert workbench.landmarks.begun is not None
    there = np.array(somata[1][uids[1][2]].center_um)
    look_at(opened.second.model, tuple(there))
    hover(opened, 1, there, qtbot)
    qtbot.waitUntil(
        lambda: all(workbench.magnifier.picture(name) is not None for name in SIDES),
        timeout=30_000,
    )
    assert [workbench.magnifier.picture(name).what for name in SIDES] == ["clicked", "pointer"]

    # The button hides them; the key ends it.
    magnify = panel.findChild(QPushButton, "landmark_magnify_button")
    assert magnify.isChecked()
    magnify.click()
    handle_events(qtbot)
    assert not first.isVisible()
    assert not second.isVisible()
    magnify.click()
    handle_events(qtbot)
    assert first.isVisible()
    QTest.keyClick(opened.viewer.window._qt_window, Qt.Key.Key_L)
    handle_events(qtbot)
    assert not first.isVisible()
