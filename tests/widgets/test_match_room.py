"""The Match dock on small screens: what is needed is in sight, and nothing is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QScrollArea,
    QToolButton,
)

from fixtures.user import LAPTOP_PX, User
from napari_neurobridge.types import NoneReason
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.crop_view import CropView
from napari_neurobridge.widgets.match import MatchPanel

SMALL_PX = (1200, 650)
BUTTONS = ("accept", "reject", "unsure", "none", "next", "undo")


@pytest.fixture(params=[SMALL_PX, LAPTOP_PX], ids=["small", "laptop"])
def person(request: Any, user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody who opened a project and the Match dock from the menus, and pressed space."""
    user.resize(request.param)
    user.menu("Plugins", "NeuroBridge", "Data")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(project_folder))
    user.click(user.find(QPushButton, "open_button"))
    binding = binding_for(user.viewer)
    user.wait(lambda: binding.second is not None and binding.second.header.image is not None)
    if not user.sees_some(_panel(user)):
        binding.column.open(["Match"], front="Match")
    user.press(Qt.Key.Key_Space)
    user.wait(lambda: binding.workbench.questions.answer is not None)
    user.settle(40)
    return user


def _panel(user: User) -> MatchPanel:
    return user.window.findChild(MatchPanel)


def _is_square(view: CropView) -> bool:
    """Whether a crop fills its place, and that is a square but for the rounding of halves."""
    picture = min(view.width(), view.height())
    whole = view.pixmap().width() == view.pixmap().height() == picture
    return whole and abs(view.width() - view.height()) <= 1


def _binding(user: User) -> ViewerBinding:
    return binding_for(user.viewer)


def test_the_question_and_its_buttons_are_always_in_sight(person: User) -> None:
    seen = [person.sees(person.find(QPushButton, f"{name}_button")) for name in BUTTONS]
    assert all(seen), dict(zip(BUTTONS, seen, strict=True))
    assert person.sees(person.find(QLabel, "query_header"))
    uid = _binding(person).workbench.questions.query.uid
    assert uid in person.find(QLabel, "query_header").text()


def test_nothing_is_wider_than_the_column(person: User) -> None:
    area = _panel(person).findChild(QScrollArea)
    assert area.widget().width() <= area.viewport().width()
    assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    for label in _panel(person).findChildren(QLabel):
        if label.isVisible() and not label.wordWrap() and label.text():
            # A label without wrap that is cut off shows half a word.
            assert label.width() >= label.minimumSizeHint().width(), label.text()


def test_crops_share_the_width_and_follow_it(person: User) -> None:
    query, choice = (person.find(CropView, name) for name in ("query_crop", "choice_crop"))
    area = _panel(person).findChild(QScrollArea)
    for view in (query, choice):
        assert _is_square(view)
        assert abs(view.width() - query.width()) <= 1
    assert query.width() + choice.width() > 0.9 * area.viewport().width() - 8
    dock = _panel(person).parent()
    dock.setFloating(True)
    person.do(lambda: dock.resize(800, 900))
    person.wait(lambda: query.width() > 350)
    assert _is_square(query)
    person.do(lambda: dock.resize(400, 520))
    person.wait(lambda: query.width() < 200)
    assert _is_square(query)
    assert all(person.sees(person.find(QPushButton, f"{name}_button")) for name in BUTTONS)


def test_the_box_of_all_cells_folds_away_and_back(person: User) -> None:
    panel = _panel(person)
    fold = person.find(QToolButton, "all_cells_fold")
    area = panel.findChild(QScrollArea)
    area.ensureWidgetVisible(fold)
    person.settle()
    assert panel.match_all.isVisible()
    person.click(fold)
    assert not panel.match_all.isVisible()
    person.click(fold)
    assert panel.match_all.isVisible()


def test_none_of_these_is_picked_and_accepted_by_keys(person: User) -> None:
    workbench, panel = _binding(person).workbench, _panel(person)
    uid = workbench.questions.query.uid
    person.press(Qt.Key.Key_0)
    row = panel.candidates.currentRow()
    assert "none of these" in panel.candidates.item(row).text()
    reason = person.find(QComboBox, "none_reason")
    reason.setCurrentIndex(reason.findData(NoneReason.CUT))
    person.press(Qt.Key.Key_A)
    assert workbench.project.state().none == {uid: NoneReason.CUT}


def test_the_line_of_none_can_be_clicked(person: User) -> None:
    panel = _panel(person)
    row = next(
        row
        for row in range(panel.candidates.count())
        if "none of these" in panel.candidates.item(row).text()
    )
    item = panel.candidates.item(row)
    panel.candidates.scrollToItem(item)
    panel.findChild(QScrollArea).ensureWidgetVisible(panel.candidates)
    person.settle()
    place = panel.candidates.visualItemRect(item).center()
    viewport = panel.candidates.viewport()
    person.do(lambda: QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place))
    assert _binding(person).workbench.questions.snapshot.none.picked
    assert panel.candidates.currentRow() == row


def test_a_match_on_its_way_makes_nothing_wider_than_the_dock(person: User) -> None:
    workbench = binding_for(person.viewer).workbench
    panel = _panel(person)
    panel.queue_text.setText("1456 of 21571 asked")
    workbench.matches.updating = True
    workbench.matches.match_changed.emit()
    person.settle(20)
    area = panel.findChild(QScrollArea)
    assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    assert person.sees(panel.findChild(QToolButton, "legend_button"))
