"""Landmarks without a soma: real clicks in both canvases, a drag, the Pairs dock, and undo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from fixtures.projects import accept_true_pairs
from fixtures.viewers import handle_events, show_dock
from napari_neurobridge.project.folder import Project
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.canvases import look_at
from napari_neurobridge.viewer.docks import PAIRS
from napari_neurobridge.workbench.pair_table import Chip
from window_user import pixel_of

HERE = np.array([50.0, 90.0, 100.0])


@pytest.fixture
def matched(opened_points: ViewerBinding, qtbot: Any) -> ViewerBinding:
    """A viewer with an alignment between its canvases."""
    accept_true_pairs(opened_points.workbench.project, (0, 9, 18, 27, 36, 45))
    opened_points.workbench.session.verdicts_changed.emit()
    _settle(opened_points, qtbot)
    return opened_points


def _settle(binding: ViewerBinding, qtbot: Any) -> None:
    matches = binding.workbench.matches
    qtbot.waitUntil(lambda: matches.match is not None and not matches.updating, timeout=60_000)
    qtbot.waitUntil(lambda: binding.workbench.ghost.offered, timeout=30_000)
    handle_events(qtbot)


def _qt_viewers(binding: ViewerBinding) -> tuple[Any, Any]:
    return binding.viewer.window._qt_viewer, binding.second.qt_viewer


def _click(qt_viewer: Any, model: Any, place_um: Any, qtbot: Any) -> None:
    """Click a place of the displayed plane."""
    native = qt_viewer.canvas.native
    pixel = pixel_of(qt_viewer, model, place_um)
    QTest.mouseMove(native, QPoint(2, 2))
    QTest.mouseMove(native, pixel)
    handle_events(qtbot)
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=pixel)
    handle_events(qtbot)


def test_a_point_is_placed_moved_weighed_and_taken_back(matched: ViewerBinding, qtbot: Any) -> None:
    workbench, second = matched.workbench, matched.second
    main_qt, second_qt = _qt_viewers(matched)
    project, other = workbench.project, second.model
    panel = show_dock(matched, PAIRS)
    expected = project.alignment("two_photon", "fmost").map_points([HERE])[0]
    there = expected + np.array([0.0, 8.0, -7.0])  # off a soma, and where the person sees it
    look_at(matched.viewer, tuple(HERE))
    look_at(other, tuple(there))
    handle_events(qtbot)
    before = project.alignment("two_photon", "fmost")

    # The key begins it; a click here, the ghost shows where, and a click there.
    QTest.keyClick(matched.viewer.window._qt_window, Qt.Key.Key_L)
    handle_events(qtbot)
    button = panel.findChild(QPushButton, "landmark_button")
    assert button.isChecked()
    asked = workbench.questions.snapshot.asked
    _click(main_qt, matched.viewer, HERE, qtbot)
    assert workbench.landmarks.begun is not None
    assert matched._ghost.line(1).visible
    assert len(matched._landmarks.layer(matched.viewer).data) == 1
    _click(second_qt, other, there, qtbot)
    ((uid, mark),) = project.state().landmarks.living.items()
    np.testing.assert_allclose(mark.places_um[0], HERE, atol=1.0)
    np.testing.assert_allclose(mark.places_um[1], there, atol=1.0)
    assert workbench.questions.snapshot.asked == asked, "a click that places asks about nothing"
    for model in (matched.viewer, other):
        assert len(matched._landmarks.layer(model).data) == 1
        assert model.layers.selection.active is not matched._landmarks.layer(model)

    # All that rests on the alignment follows, as after an accepted pair.
    _settle(matched, qtbot)
    after = workbench.matches.match.alignment
    assert after.made_from.n_points == 1
    away = [np.linalg.norm(a.map_points([HERE])[0] - there) for a in (before, after)]
    assert away[1] < away[0]

    # The Pairs dock lists it, weighs it, and both canvases look at it.
    qtbot.waitUntil(lambda: workbench.pairs.counts()[Chip.LANDMARK] == 1)
    panel.chips[Chip.LANDMARK].click()
    handle_events(qtbot)
    assert panel.model.rowCount() == 1
    assert panel.model.row(0).key == (uid,)
    look_at(other, (0.0, 0.0, 0.0))
    panel.table.selectRow(0)
    handle_events(qtbot)
    np.testing.assert_allclose(
        other.scene.camera.center[1:], np.array(mark.places_um[1])[list(other.dims.order[1:])]
    )
    panel.landmarks.sigma.setValue(12.0)
    handle_events(qtbot)
    assert project.state().landmarks.living[uid].sigma_um == 12.0

    # A drag moves it and not the view.
    place = np.array(project.state().landmarks.living[uid].places_um[1])
    moved = place.copy()
    moved[other.dims.order[2]] += 15.0
    native, center = second_qt.canvas.native, other.scene.camera.center
    start, end = (pixel_of(second_qt, other, where) for where in (place, moved))
    QTest.mouseMove(native, start)
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=start)
    for share in (0.5, 1.0):
        QTest.mouseMove(native, start + (end - start) * share)
        handle_events(qtbot)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=end)
    handle_events(qtbot)
    np.testing.assert_allclose(project.state().landmarks.living[uid].places_um[1], moved, atol=1.0)
    assert other.scene.camera.center == center
    assert other.scene.camera.mouse_pan

    # Delete, and undo step by step with the key; the events are on the disk.
    panel.landmarks.delete.click()
    handle_events(qtbot)
    assert not project.state().landmarks.living
    assert len(matched._landmarks.layer(other).data) == 0
    QTest.keyClick(matched.viewer.window._qt_window, Qt.Key.Key_Z)
    handle_events(qtbot)
    again = Project.open(project.path)
    np.testing.assert_allclose(again.state().landmarks.living[uid].places_um[1], moved, atol=1.0)
    again.close()
    for _ in range(3):
        QTest.keyClick(matched.viewer.window._qt_window, Qt.Key.Key_Z)
        handle_events(qtbot)
    assert not project.state().landmarks.living
    QTest.keyClick(matched.viewer.window._qt_window, Qt.Key.Key_L)
    handle_events(qtbot)
    assert not button.isChecked()
