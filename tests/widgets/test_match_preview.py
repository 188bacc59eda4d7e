"""What accepting would change, seen with the mouse on the button; and one key for a decision."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QPushButton

from fixtures.projects import accept_true_pairs
from fixtures.viewers import finish_jobs, handle_events, show_dock
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.widgets.match import MatchPanel

UID, OTHERS = "tp-00003", "fm-00005"


@pytest.fixture
def dock(opened_points: ViewerBinding, qtbot: Any) -> MatchPanel:
    """The dock with all cells matched, and a candidate picked that belongs to another cell."""
    workbench = opened_points.workbench
    accept_true_pairs(workbench.project, (0, 9, 18, 27, 36))
    workbench.session.verdicts_changed.emit()
    matches, questions = workbench.matches, workbench.questions
    qtbot.waitUntil(lambda: matches.has_match and not matches.updating, timeout=30_000)
    questions.select("two_photon", UID)
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    questions.choose_soma(OTHERS)
    qtbot.waitUntil(lambda: getattr(questions.choice, "uid", None) == OTHERS, timeout=20_000)
    panel = show_dock(opened_points, "Match")
    qtbot.waitUntil(lambda: not _accept(panel).visibleRegion().isEmpty())
    return panel


def _accept(dock: MatchPanel) -> QPushButton:
    return dock.findChild(QPushButton, "accept_button")


def _filled(opened: ViewerBinding) -> set[str]:
    """The somata of both canvases that are drawn as changed."""
    filled: set[str] = set()
    for model, name in opened._sides():
        layer = model.layers[f"{name} somata"]
        seen = layer.face_color[:, 3] > 0
        filled |= set(layer.features["uid"][seen])
    return filled


def _rest_on(button: QPushButton, opened: ViewerBinding, qtbot: Any) -> None:
    QTest.mouseMove(button, QPoint(1, 1))
    QTest.mouseMove(button)
    questions = opened.workbench.questions
    qtbot.waitUntil(lambda: questions.snapshot.would_change is not None, timeout=30_000)
    handle_events(qtbot)


def test_the_mouse_on_accept_shows_what_would_change(
    dock: MatchPanel, opened_points: ViewerBinding, qtbot: Any
) -> None:
    workbench, button = opened_points.workbench, _accept(dock)
    position, match = workbench.project.log.position(), workbench.matches.match
    before = _filled(opened_points)
    _rest_on(button, opened_points, qtbot)
    would_change = workbench.questions.snapshot.would_change
    assert would_change
    assert _filled(opened_points) == would_change
    hint = dock.verdict_bar.hint
    assert hint.text().startswith("Accepting changes ")
    QTest.mouseMove(dock.candidates)
    qtbot.waitUntil(lambda: workbench.questions.snapshot.would_change is None)
    handle_events(qtbot)
    assert _filled(opened_points) == before
    assert "pick" in hint.text()
    assert (workbench.project.log.position(), workbench.matches.match) == (position, match)


def test_esc_lets_a_held_button_go(
    dock: MatchPanel, opened_points: ViewerBinding, qtbot: Any
) -> None:
    workbench, button = opened_points.workbench, _accept(dock)
    position = workbench.project.log.position()
    QTest.mouseMove(button)
    QTest.mousePress(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: workbench.questions.snapshot.would_change is not None, timeout=30_000)
    QTest.keyClick(dock.candidates, Qt.Key.Key_Escape)
    assert workbench.questions.snapshot.would_change is None
    QTest.mouseRelease(button, Qt.MouseButton.LeftButton)
    finish_jobs(opened_points, qtbot)
    assert workbench.project.log.position() == position
    assert not workbench.preview.wanted


def test_a_click_accepts_what_was_previewed(
    dock: MatchPanel, opened_points: ViewerBinding, qtbot: Any
) -> None:
    workbench, button = opened_points.workbench, _accept(dock)
    workbench.questions.choose(1)
    _rest_on(button, opened_points, qtbot)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    assert workbench.project.state().pairs[UID] == "fm-00003"
    assert workbench.questions.snapshot.would_change is None


def test_one_key_decides_and_asks_the_next(
    dock: MatchPanel, opened_points: ViewerBinding, qtbot: Any
) -> None:
    workbench = opened_points.workbench
    check = dock.findChild(QCheckBox, "then_next_check")
    QTest.mouseClick(check, Qt.MouseButton.LeftButton, pos=QPoint(8, check.height() // 2))
    assert check.isChecked()
    dock.candidates.setFocus()
    QTest.keyClick(dock.candidates, Qt.Key.Key_1)
    QTest.keyClick(dock.candidates, Qt.Key.Key_A)
    assert workbench.project.state().pairs[UID] == "fm-00003"
    assert workbench.questions.query.uid != UID
