"""The Pairs dock, used as a person does: opened from the menu, clicked, typed into."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QLabel,
    QLineEdit,
    QPushButton,
    QTabBar,
    QToolButton,
    QWidget,
)

from fixtures.projects import accept_true_pairs
from fixtures.user import DESK_PX, LAPTOP_PX, User
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.pairs_model import COLUMNS
from napari_neurobridge.widgets.pairs_view import PairsView
from napari_neurobridge.workbench.pair_rows import Column, PairRow, PairStatus
from napari_neurobridge.workbench.workbench import Workbench

W = TypeVar("W", bound=QWidget)

ACCEPTED = (0, 9, 18, 27, 36, 45)
WRONG = ("tp-00020", "fm-00040")


@pytest.fixture
def workbench(user: User, points_project_folder: Path) -> Workbench:
    """A matched project with six true pairs and a wrong one; the Pairs dock is in sight."""
    project = Project.open(points_project_folder)
    accept_true_pairs(project, ACCEPTED)
    bench = binding_for(user.viewer).workbench
    annotate.accept(project, *WRONG, annotator=bench.session.annotator)
    annotate.none(project, "tp-00049", annotator="ben")
    project.close()
    user.menu("Plugins", "NeuroBridge", "Pairs")
    bench.setup.open_project(points_project_folder)
    user.wait(lambda: bench.project is not None)
    user.settle(60)
    _show_tab(user, "Pairs")
    user.wait(lambda: bench.matches.has_match and not bench.matches.updating)
    user.wait(lambda: len(bench.pairs.rows) > 20)
    return bench


def _table(user: User) -> PairsView:
    return user.find(PairsView, "pairs_table")


def _part(user: User, kind: type[W], name: str) -> W:
    """Return a widget of the Pairs dock; the Match dock has some of the same names."""
    (dock,) = user.docks("Pairs")
    found = dock.findChild(kind, name)
    assert found is not None
    return found


def _show_tab(user: User, name: str) -> None:
    """Click the tab of a dock."""
    for bar in user.window.findChildren(QTabBar):
        titles = [bar.tabText(place).split(" (", 1)[0] for place in range(bar.count())]
        if name in titles:
            user.click(bar, bar.tabRect(titles.index(name)).center())
    (dock,) = user.docks(name)
    user.wait(lambda: user.shows(dock))


def _rows(user: User) -> list[PairRow]:
    table = _table(user)
    return [table.model().row(place) for place in range(table.model().rowCount())]


def _click_row(user: User, place: int, column: Column = Column.IN_VIVO, **more: Any) -> None:
    table = _table(user)
    index = table.model().index(place, COLUMNS.index(column))
    table.scrollTo(index)
    user.click(table.viewport(), table.visualRect(index).center(), **more)


def _chip(user: User, name: str) -> QPushButton:
    return user.find(QPushButton, f"chip_{name}")


@pytest.mark.parametrize("size_px", [LAPTOP_PX, DESK_PX])
def test_everything_of_the_dock_is_in_sight(workbench, user, size_px, tmp_path) -> None:
    user.resize(size_px)
    (dock,) = user.docks("Pairs")
    assert user.shows(dock)
    named = [
        widget
        for kind in (QPushButton, QToolButton, QLineEdit)
        for widget in dock.findChildren(kind)
        if widget.objectName() and widget.isVisibleTo(dock) and "qt_" not in widget.objectName()
    ]
    assert len(named) > 12
    assert [widget.objectName() for widget in named if not user.sees(widget)] == []
    assert _table(user).height() >= 150


def test_behind_another_tab_the_table_rests_and_is_right_when_it_comes_back(
    workbench, user
) -> None:
    claimed = next(row for row in _rows(user) if row.status is PairStatus.CLAIMED)
    workbench.pairs.ask(claimed)
    _show_tab(user, "Match")
    user.wait(lambda: workbench.questions.choice is not None)
    told: list[None] = []
    workbench.pairs.changed.connect(lambda: told.append(None))
    user.press("A")
    user.wait(lambda: claimed.key in workbench.project.state().agreed)
    user.wait(lambda: not workbench.matches.updating)
    assert not told
    _show_tab(user, "Pairs")
    user.wait(lambda: bool(told))
    shown = {row.key: row.status for row in _rows(user)}
    assert shown[claimed.key] is PairStatus.ACCEPTED


def test_a_row_moves_to_its_cell_and_is_judged_from_there(workbench, user) -> None:
    user.click(_chip(user, "claimed"))
    rows = _rows(user)
    assert rows
    assert all(row.status == "claimed" for row in rows)
    _click_row(user, 2)
    questions = workbench.questions
    user.wait(lambda: questions.snapshot.picked is not None)
    assert (questions.snapshot.query.uid, questions.snapshot.picked.uid) == rows[2].key

    user.click(user.find(QPushButton, "pairs_accept_button"))
    assert rows[2].key in workbench.project.state().pairs.items()
    user.wait(lambda: not workbench.matches.updating)
    user.wait(lambda: rows[2].key not in {row.key for row in _rows(user)})
    (next_row,) = _table(user).selected()
    assert questions.snapshot.query.uid == next_row.key[0], "the next row is asked about"


def test_several_rows_are_judged_at_once_by_button_and_by_key(workbench, user) -> None:
    user.click(_chip(user, "claimed"))
    before = dict(workbench.project.state().pairs)
    keys = [row.key for row in _rows(user)[:3]]
    _click_row(user, 0)
    _click_row(user, 2, modifier=Qt.KeyboardModifier.ShiftModifier)
    button = user.find(QPushButton, "pairs_accept_button")
    assert button.text() == "A  accept 3"
    user.click(button)
    assert dict(workbench.project.state().pairs) == before | dict(keys)
    user.click(_part(user, QToolButton, "undo_step_button"))
    assert dict(workbench.project.state().pairs) == before

    user.wait(lambda: not workbench.matches.updating)
    user.wait(lambda: {row.key for row in _rows(user)} >= set(keys))
    _click_row(user, 0)
    _click_row(user, 1, modifier=Qt.KeyboardModifier.ControlModifier)
    judged = [row.key for row in _table(user).selected()]
    user.press(Qt.Key.Key_R)
    state = workbench.project.state()
    assert {v.pair for v in state.verdicts if v.verdict == "reject"} == set(judged)


def test_the_wrong_pair_that_the_match_names_is_found_by_one_chip(workbench, user) -> None:
    assert _chip(user, "review").text() == "review 1"
    user.click(_chip(user, "review"))
    (row,) = _rows(user)
    assert row.key == WRONG
    assert row.text(Column.CONTRADICTS)
    user.click(_chip(user, "review"))
    assert len(_rows(user)) == len(workbench.pairs.rows)


def test_the_match_dock_leads_to_the_doubtful_pairs(workbench, user) -> None:
    _show_tab(user, "Match")
    button = user.find(QPushButton, "review_button")
    assert button.text() == "Look at 1 doubtful pair"
    user.do(button.click)
    assert [row.key for row in _rows(user)] == [WRONG]
    (dock,) = user.docks("Pairs")
    user.wait(lambda: user.shows(dock))


def test_a_click_on_a_heading_sorts_and_the_filter_narrows(workbench, user) -> None:
    header = _table(user).horizontalHeader()
    place = COLUMNS.index(Column.RESIDUAL)
    at = QPoint(header.sectionViewportPosition(place) + 20, header.height() // 2)
    user.click(header.viewport(), at)
    residuals = [row.value(Column.RESIDUAL) for row in _rows(user)]
    known = [value for value in residuals if value is not None]
    assert known == sorted(known)
    assert residuals[: len(known)] == known

    user.type(user.find(QLineEdit, "pairs_filter"), "TP-0000")
    assert {row.cells[0][:-1] for row in _rows(user)} == {"tp-0000"}
    assert f"of {len(workbench.pairs.rows)} rows" in user.find(QLabel, "pairs_count").text()


def test_a_note_is_typed_into_the_table(workbench, user) -> None:
    table = _table(user)
    place = next(n for n, row in enumerate(_rows(user)) if row.key == WRONG)
    index = table.model().index(place, COLUMNS.index(Column.NOTE))
    table.scrollTo(index)
    at = table.visualRect(index).center()
    user.click(table.viewport(), at)
    user.do(lambda: QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at))
    user.do(lambda: QTest.keyClicks(QApplication.focusWidget(), "are these one cell?"))
    user.press(Qt.Key.Key_Return)
    (note,) = workbench.project.state().notes[WRONG]
    assert note.text == "are these one cell?"
    assert workbench.project.state().pairs[WRONG[0]] == WRONG[1], "letters of a note judge nothing"
    assert table.model().data(index) == note.text


def test_selection_place_and_order_stay_when_the_rows_change(workbench, user) -> None:
    user.resize(LAPTOP_PX)
    table = _table(user)
    table.sortByColumn(COLUMNS.index(Column.EX_VIVO), Qt.SortOrder.DescendingOrder)
    _click_row(user, 30)
    user.wait(lambda: workbench.questions.snapshot.picked is not None)
    (chosen,) = table.selected()
    top = table.verticalScrollBar().value()
    assert top > 0
    annotate.none(workbench.project, "fm-00099", annotator="ben")
    user.do(workbench.session.verdicts_changed.emit)
    assert _rows(user)[0].key == ("fm-00099",), "it came in above"
    assert [row.key for row in table.selected()] == [chosen.key]
    assert table.verticalScrollBar().value() == top
    cells = [row.cells[1] for row in _rows(user) if row.cells[1]]
    assert cells == sorted(cells, reverse=True)


def test_a_blind_question_hides_the_claims(workbench, user) -> None:
    _click_row(user, 0)
    user.do(lambda: workbench.questions.select("two_photon", "tp-00003", audit=True))
    assert {row.status for row in _rows(user)} == {"accepted", "none"}
    assert "hidden" in user.find(QLabel, "pairs_count").text()
    assert _chip(user, "claimed").text() == "claimed 0"
    assert not any(row.text(Column.PROBABILITY) for row in _rows(user))
    assert _table(user).selected() == []


def test_a_row_that_is_no_longer_asked_about_is_let_go(workbench, user) -> None:
    _click_row(user, 0)
    user.wait(lambda: workbench.questions.snapshot.picked is not None)
    assert len(_table(user).selected()) == 1
    user.do(lambda: workbench.questions.select("two_photon", "tp-00044"))
    assert _table(user).selected() == []
    assert not user.find(QPushButton, "pairs_accept_button").isEnabled()


def test_the_keys_judge_the_selected_row(workbench, user) -> None:
    user.click(_chip(user, "claimed"))
    row = _rows(user)[1]
    _click_row(user, 1)
    user.wait(lambda: workbench.questions.snapshot.picked is not None)
    user.press(Qt.Key.Key_A)
    assert row.key in workbench.project.state().pairs.items()
    user.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert row.key not in workbench.project.state().pairs.items()
    assert workbench.questions.snapshot.query.uid == row.key[0]


# --- the row of find, back, undo and history -----------------------------------------------


def test_a_cell_is_found_and_one_goes_back_and_forth(workbench, user) -> None:
    field = _part(user, QLineEdit, "find_field")
    for uid in ("tp-00007", "tp-00012"):
        user.type(field, uid)
        user.press(Qt.Key.Key_Return)
        assert workbench.questions.query.uid == uid
        assert not field.hasFocus()
    user.click(_part(user, QToolButton, "back_button"))
    assert workbench.questions.query.uid == "tp-00007"
    user.click(_part(user, QToolButton, "forward_button"))
    assert workbench.questions.query.uid == "tp-00012"
    user.type(field, "tp-00077")
    user.press(Qt.Key.Key_Return)
    assert "the nearest uids are tp-00049" in _part(user, QLabel, "status_text").text()
    assert field.hasFocus()


@pytest.mark.parametrize("front", ["Pairs", "Data"])
def test_the_key_leads_to_a_field_in_sight(workbench, user, front) -> None:
    _show_tab(user, front)
    user.press(Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    user.wait(lambda: getattr(QApplication.focusWidget(), "objectName", str)() == "find_field")
    user.do(lambda: QTest.keyClicks(QApplication.focusWidget(), "tp-00033"))
    user.press(Qt.Key.Key_Return)
    assert workbench.questions.query.uid == "tp-00033"


def test_alt_and_arrows_go_back_and_forth(workbench, user) -> None:
    for uid in ("tp-00007", "tp-00012"):
        user.do(lambda uid=uid: workbench.questions.select("two_photon", uid))
    user.press(Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    assert workbench.questions.query.uid == "tp-00007"
    user.press(Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert workbench.questions.query.uid == "tp-00012"


def test_history_reverts_what_is_clicked_and_goes_there(workbench, user) -> None:
    annotate.note(workbench.project, *WRONG, "?", annotator=workbench.session.annotator)
    history = _part(user, QPushButton, "history_button")
    menu = history.menu()
    menu.aboutToShow.emit()
    texts = [action.text() for action in menu.actions()]
    assert [WRONG[0] in text for text in texts] == [True, True]
    user.do(menu.actions()[1].trigger)
    assert WRONG[0] not in workbench.project.state().pairs
    user.wait(lambda: workbench.questions.snapshot.picked is not None)
    assert workbench.questions.snapshot.query.uid == WRONG[0]
    assert workbench.questions.snapshot.picked.uid == WRONG[1]
    user.click(_part(user, QToolButton, "redo_step_button"))
    assert workbench.project.state().pairs[WRONG[0]] == WRONG[1]


def test_nothing_is_undone_where_there_is_nothing(user: User, points_project_folder: Path) -> None:
    user.menu("Plugins", "NeuroBridge", "Pairs")
    names = ("back_button", "forward_button", "undo_step_button", "redo_step_button")
    assert not any(_part(user, QToolButton, name).isEnabled() for name in names)
    binding_for(user.viewer).workbench.setup.open_project(points_project_folder)
    user.wait(lambda: binding_for(user.viewer).workbench.project is not None)
    user.settle(60)
    _show_tab(user, "Pairs")
    assert user.find(QLabel, "pairs_count").text().startswith("No pairs yet")
