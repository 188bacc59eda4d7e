"""The contact sheet's window, by clicks and keys, on a laptop's screen."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel, QPushButton

from fixtures.pictured import PicturedWorld
from fixtures.points import PointsWorld
from fixtures.user import LAPTOP_PX, User
from napari_neurobridge.types import CROP_UM, Verdict
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import SOMA_DIAMETER_UM, SheetStyle
from napari_neurobridge.widgets.contact_sheet import ContactSheetWindow
from napari_neurobridge.widgets.sheet_tiles import SMALLEST_PX, Grid, TilesView
from napari_neurobridge.workbench.pair_table import Chip
from napari_neurobridge.workbench.sheet_page import MOST_TILES, PageKind
from napari_neurobridge.workbench.workbench import Workbench

# What title bar, panel and frame of a desktop leave of a laptop's screen.
ROOM_PX = (LAPTOP_PX[0] - 20, LAPTOP_PX[1] - 80)


@pytest.fixture
def workbench(user: User, pictured_world: PicturedWorld, tmp_path: Path) -> Workbench:
    """Of a project with some hundred claimed pairs, open in the Match dock."""
    folder = tmp_path / "p.neurobridge"
    pictured_world.project(folder).close()
    user.menu("Plugins", "NeuroBridge", "Match")
    opened = binding_for(user.viewer).workbench
    opened.setup.open_project(folder)
    user.wait(lambda: opened.matches.has_match and not opened.matches.updating)
    return opened


@pytest.fixture
def window(user: User, workbench: Workbench) -> ContactSheetWindow:
    """The window as its button opens it."""
    button = user.find(QPushButton, "contact_sheet_button")
    user.wait(button.isVisible)
    user.do(button.click)
    opened = next(w for w in QApplication.topLevelWidgets() if isinstance(w, ContactSheetWindow))
    opened.resize(*ROOM_PX)
    opened.activateWindow()
    user.wait(opened.isActiveWindow)
    user.inputs = 0
    wait_for_pictures(user, workbench)
    return opened


def wait_for_pictures(user: User, workbench: Workbench) -> None:
    sheet = workbench.contact_sheet
    user.wait(lambda: all(sheet.pictures(tile.pair) is not None for tile in sheet.page.tiles))


def click_tile(user: User, window: ContactSheetWindow, index: int) -> None:
    user.click(window.tiles, at=window.tiles.grid.place(index).center())


def pairs_of(workbench: Workbench) -> list[tuple[str, str]]:
    return [tile.pair for tile in workbench.contact_sheet.page.tiles]


def test_a_laptop_shows_a_whole_page_without_scrolling(window, workbench, user) -> None:
    assert window.width() <= ROOM_PX[0]
    assert window.height() <= ROOM_PX[1]
    assert len(pairs_of(workbench)) == MOST_TILES
    tiles, grid = window.tiles, window.tiles.grid
    assert grid.edge >= SMALLEST_PX
    assert all(tiles.rect().contains(grid.place(index)) for index in range(MOST_TILES))
    for button in window.findChildren(QPushButton):
        assert not button.isVisible() or user.sees(button), button.objectName()


@pytest.mark.parametrize("size", [(300, 200), (640, 400), (1326, 575), (1900, 1100), (3800, 2000)])
def test_tiles_never_overlap_nor_leave_the_window(size) -> None:
    grid = Grid.of(QSize(*size), MOST_TILES)
    places = [grid.place(index) for index in range(min(grid.count, MOST_TILES))]
    assert all(place.right() < size[0] and place.bottom() < size[1] for place in places)
    assert not any(a.intersects(b) for a in places for b in places if a is not b)
    assert grid.edge >= SMALLEST_PX


def test_a_smaller_window_shows_fewer_tiles(window, workbench, user) -> None:
    shown = pairs_of(workbench)
    user.do(lambda: window.resize(window.width(), 420))
    assert 0 < len(pairs_of(workbench)) < MOST_TILES
    assert pairs_of(workbench) == shown[: len(pairs_of(workbench))]


def test_all_tiles_flicker_in_unison_until_f_stops_them(window, workbench, user) -> None:
    tiles, grid = window.tiles, window.tiles.grid
    front = tiles.front
    user.wait(lambda: tiles.front is not front)  # by itself
    user.press("F")
    stopped = tiles.front
    assert not window.flicker_button.isChecked()
    before = tiles.grab().toImage()
    user.press("F")
    assert tiles.front is not stopped
    after = tiles.grab().toImage()
    for index in range(MOST_TILES):
        place = grid.place(index).adjusted(2, 2, -2, -2)
        assert before.copy(place) != after.copy(place), index
    assert ("two-photon" if tiles.front else "fMOST") in window.side.text()
    user.press(Qt.Key.Key_Space)
    assert window.flicker_button.isChecked()
    moving = tiles.front
    user.wait(lambda: tiles.front is not moving)


def test_clicks_and_keys_mark_and_take_marks_away(window, workbench, user) -> None:
    sheet, shown = workbench.contact_sheet, pairs_of(workbench)
    click_tile(user, window, 20)
    assert sheet.marks == {shown[20]: Verdict.REJECT}
    user.press(Qt.Key.Key_Right)
    user.press(Qt.Key.Key_Down)
    user.press("X")
    marked = 21 + window.tiles.grid.columns
    assert sheet.marks.keys() == {shown[20], shown[marked]}
    assert "reject the 2 marked" in window.finish_button.text()
    user.press("U")
    assert sheet.marks[shown[marked]] is Verdict.UNSURE
    click_tile(user, window, 20)
    assert sheet.marks.keys() == {shown[marked]}


def test_enter_is_one_step_and_z_brings_the_page_back(window, workbench, user) -> None:
    state = workbench.project.state
    before, shown = dict(state().pairs), pairs_of(workbench)
    click_tile(user, window, 5)
    user.press(Qt.Key.Key_Return)
    assert len(state().pairs) == len(before) + MOST_TILES - 1
    assert not set(shown) & set(pairs_of(workbench))
    user.press("Z")
    assert state().pairs == before
    assert pairs_of(workbench) == shown
    assert workbench.contact_sheet.marks == {shown[5]: Verdict.REJECT}


def test_a_person_who_knows_gets_through_with_two_inputs_a_step(
    window, workbench, user, pictured_world
) -> None:
    """One click for each wrong pair, and one key for each page; nothing else."""
    pages = clicks = 0
    while pairs_of(workbench):
        for index, (two_photon, fmost) in enumerate(pairs_of(workbench)):
            if pictured_world.partners.get(two_photon) != fmost:
                click_tile(user, window, index)
                clicks += 1
        user.press(Qt.Key.Key_Return)
        pages += 1
        user.wait(lambda: not workbench.matches.updating)
        assert pages < 10
    assert user.inputs == pages + clicks
    state = workbench.project.state()
    assert set(state.pairs.items()) <= set(pictured_world.partners.items())
    judged = [v for v in state.verdicts if v.annotator != "fixture"]
    assert len(judged) > 2 * MOST_TILES
    assert "No claimed pair is left" in window.message.text()


def test_a_random_check_ends_with_a_certificate_that_can_be_saved(
    window, workbench, user, tmp_path, monkeypatch
) -> None:
    window.share.setCurrentIndex(window.share.findText("at most 10 % wrong"))
    n = workbench.contact_sheet.draws_for(0.1)
    assert f"{n} of {workbench.contact_sheet.n_left}" in window.check_button.text()
    user.click(window.check_button)
    assert workbench.contact_sheet.page.kind is PageKind.CHECK
    assert "without probabilities" in window.title.text()
    while pairs_of(workbench):
        user.press(Qt.Key.Key_Return)
    assert workbench.contact_sheet.certificate.reached
    assert f"{n} audited, none wrong" in window.message.text()
    target = tmp_path / "certificate.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(target), ""))
    user.click(window.save_button)
    user.wait(target.exists)
    with target.open() as handle:
        assert len(list(csv.DictReader(handle))) == n
    user.click(window.review_button)
    assert workbench.contact_sheet.page.kind is PageKind.REVIEW


def test_a_closed_window_does_nothing_and_opens_where_it_was(window, workbench, user) -> None:
    click_tile(user, window, 3)
    shown = pairs_of(workbench)
    user.press(Qt.Key.Key_Escape)
    assert not window.isVisible()
    assert not workbench.contact_sheet.is_open
    user.do(user.find(QPushButton, "contact_sheet_button").click)
    assert window.isVisible()
    assert pairs_of(workbench) == shown
    assert workbench.contact_sheet.marks == {shown[3]: Verdict.REJECT}


def test_the_sheet_outlives_the_floating_dock_that_opened_it(
    user: User, workbench: Workbench
) -> None:
    def click_title(name: str) -> None:
        (dock,) = user.docks("Match")
        user.click(dock.titleBarWidget().findChild(QPushButton, name))
        user.settle(30)

    def sheets() -> list[ContactSheetWindow]:
        return user.window.findChildren(ContactSheetWindow)

    button = user.find(QPushButton, "contact_sheet_button")
    user.wait(button.isVisible)
    click_title("QTitleBarFloatButton")
    assert user.docks("Match")[0].isFloating()
    user.do(button.click)
    (sheet,) = sheets()
    wait_for_pictures(user, workbench)

    click_title("QTitleBarCloseButton")
    assert not user.docks("Match")
    click_tile(user, sheet, 3)
    user.press(Qt.Key.Key_Return)
    assert sheet.isVisible()
    events = workbench.session.require_project().log.events()
    assert Verdict.REJECT in {event.payload.get("verdict") for event in events}

    user.menu("Plugins", "NeuroBridge", "Match")
    user.wait(lambda: bool(user.docks("Match")))
    user.do(user.find(QPushButton, "contact_sheet_button").click)
    assert sheets() == [sheet]


def test_a_blind_question_empties_the_sheet(window, workbench, user) -> None:
    workbench.questions.select("two_photon", pairs_of(workbench)[0][0], audit=True)
    assert not window.findChild(TilesView).isVisible()
    assert "random check is open" in window.findChild(QLabel, "sheet_message").text()


def test_points_without_images_lead_to_the_pairs_table(
    user: User, points_world: PointsWorld, tmp_path: Path
) -> None:
    folder = tmp_path / "points.neurobridge"
    points_world.project(folder, 8).close()
    user.menu("Plugins", "NeuroBridge", "Match")
    workbench = binding_for(user.viewer).workbench
    workbench.setup.open_project(folder)
    user.wait(lambda: workbench.matches.has_match and not workbench.matches.updating)
    user.do(user.find(QPushButton, "contact_sheet_button").click)
    opened = next(w for w in QApplication.topLevelWidgets() if isinstance(w, ContactSheetWindow))
    assert "points only" in opened.message.text()
    user.click(opened.pairs_button)
    assert not opened.isVisible()
    user.wait(lambda: bool(user.docks("Pairs")))
    assert workbench.pairs.chips == {Chip.CLAIMED}


def test_each_tile_has_a_ring_around_its_soma(window: ContactSheetWindow) -> None:
    tiles, style = window.tiles, SheetStyle()
    picture, place = tiles.grab().toImage(), tiles.grid.place(0)
    radius = SOMA_DIAMETER_UM / 2 * place.width() / CROP_UM
    wanted = QColor(style.two_photon if tiles.front else style.fmost)
    middle = QRectF(place).center()
    near = [
        picture.pixelColor(round(middle.x() + radius) + away, round(middle.y()))
        for away in (-1, 0, 1)
    ]
    assert any(
        abs(color.hue() - wanted.hue()) < 20 and color.saturation() > 100 for color in near
    ), [color.name() for color in near]
