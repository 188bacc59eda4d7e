"""The docks, opened as a person opens them, on a laptop and on a large screen."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QPushButton

from fixtures.user import DESK_PX, LAPTOP_PX, User
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docks import CANVAS_PX, COLUMN_PX, PROJECT_DOCKS, TABS
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.user_settings import load_settings

SMALL_PX = (1200, 650)


def _open_project(user: User, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ViewerBinding:
    """Open a project as the README says: the Data dock's button."""
    user.menu("Plugins", "NeuroBridge", "Data")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    user.click(user.find(QPushButton, "open_button"))
    return _opened(user)


def _opened(user: User) -> ViewerBinding:
    binding = binding_for(user.viewer)
    user.wait(lambda: binding.second is not None and binding.second.header.image is not None)
    user.wait(lambda: "two_photon" in user.viewer.layers)
    user.settle(60)
    return binding


def _assert_laid_out(user: User, binding: ViewerBinding, least_px: int) -> None:
    """Both canvases alike and large, every dock inside the window, one column of tabs."""
    window = user.window
    assert window.rect().width() <= user.screen_px[0]
    assert window.rect().height() <= user.screen_px[1]
    first, second = binding.header, binding.second
    assert first is not None
    assert second is not None
    widths = window.centralWidget().width(), second.width()
    assert min(widths) >= least_px
    assert abs(widths[0] - widths[1]) <= 2
    (front,) = user.docks(binding.column.front())
    tabs = {front, *window.tabifiedDockWidgets(front)}
    assert {user.docks(name)[0] for name in binding.column.open_names()} == tabs
    assert user.shows(front)
    assert front.geometry().left() > second.mapTo(window, QPoint()).x()
    for header in (first, second.header):
        for button in header.findChildren(QPushButton):
            assert user.sees(button), button.objectName()


@pytest.mark.parametrize("size", [SMALL_PX, LAPTOP_PX, DESK_PX])
def test_the_menus_docks_are_tabs_of_one_column_beside_two_equal_canvases(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    user.resize(size)
    binding = _open_project(user, project_folder, monkeypatch)

    _assert_laid_out(user, binding, 300 if size == LAPTOP_PX else 350)
    assert binding.column.open_names() == PROJECT_DOCKS
    assert binding.column.front() == "Data", "what the user works in stays in sight"
    user.menu("Plugins", "NeuroBridge", "Insight")
    user.settle(60)
    _assert_laid_out(user, binding, 300 if size == LAPTOP_PX else 350)
    assert binding.column.front() == "Insight"


def test_every_way_to_open_a_project_finds_the_docks_that_are_there(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.menu("Plugins", "NeuroBridge", "Match")
    user.menu("Plugins", "NeuroBridge", "Data")
    # File ▸ Open: napari hands the folder to our reader.
    user.do(lambda: user.viewer.open(str(project_folder), plugin="napari-neurobridge"))
    binding = _opened(user)

    for name in TABS:
        assert len(user.docks(name)) == (name in binding.column.open_names()), name
    # The menu's entry now hides this very dock, and shows it again, instead of a second one.
    user.menu("Plugins", "NeuroBridge", "Match")
    assert not user.docks("Match")
    user.menu("Plugins", "NeuroBridge", "Match")
    assert len(user.docks("Match")) == 1


def test_the_window_never_outgrows_a_laptops_screen(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = _open_project(user, project_folder, monkeypatch)
    for name in TABS:
        binding.column.open([name], front=name)
        user.settle(40)
        assert (user.window.width(), user.window.height()) == LAPTOP_PX, name


def test_both_canvases_grow_with_the_window(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = _open_project(user, project_folder, monkeypatch)
    user.resize(DESK_PX)
    user.wait(lambda: abs(binding.second.width() - user.window.centralWidget().width()) <= 2)
    _assert_laid_out(user, binding, 2 * CANVAS_PX - 50)
    assert user.docks(binding.column.front())[0].width() == COLUMN_PX


def test_a_small_window_folds_the_layer_docks_away_and_a_button_brings_them_back(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.resize(SMALL_PX)
    _open_project(user, project_folder, monkeypatch)
    layer_list = user.viewer.window._qt_viewer.dockLayerList
    assert not layer_list.isVisible()
    user.click(user.find(QPushButton, "layers_button"))
    assert layer_list.isVisible()


def test_the_border_between_the_canvases_stays_where_it_was_dragged(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.resize(DESK_PX)
    binding = _open_project(user, project_folder, monkeypatch)
    window, second = user.window, binding.second
    before = second.width()
    border = QPoint(second.mapTo(window, QPoint()).x() - 5, window.height() // 2)
    left = Qt.MouseButton.LeftButton
    handle = window.windowHandle()
    user.do(lambda: QTest.mousePress(handle, left, pos=border))
    for step in range(1, 6):
        user.do(lambda step=step: QTest.mouseMove(handle, border + QPoint(40 * step, 0)))
    user.do(lambda: QTest.mouseRelease(handle, left, pos=border + QPoint(200, 0)))
    user.settle(100)
    assert second.width() == pytest.approx(before - 200, abs=12)

    user.resize((1800, 1000))
    user.settle(60)
    share = second.width() / (second.width() + window.centralWidget().width())
    assert share == pytest.approx((before - 200) / (2 * before), abs=0.03)
    binding.shut()
    assert load_settings().layout.second_canvas_share == pytest.approx(share, abs=0.03)


def test_the_docks_come_back_as_the_user_left_them(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch, make_napari_viewer: Any
) -> None:
    _open_project(user, project_folder, monkeypatch)
    user.menu("Plugins", "NeuroBridge", "Insight")
    binding_for(user.viewer).shut()

    later = User(make_napari_viewer(show=True), user.qtbot, user.watch)
    later.resize(LAPTOP_PX)
    later.do(lambda: later.viewer.open(str(project_folder), plugin="napari-neurobridge"))
    binding = _opened(later)
    assert set(binding.column.open_names()) == {"Data", "Match", "Pairs", "Insight"}
    assert binding.column.front() == "Insight"
    binding.shut()


def test_the_second_canvas_stays_in_the_window_where_it_can_be_drawn(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _open_project(user, project_folder, monkeypatch)
    (dock,) = user.docks("fMOST")
    title = dock.titleBarWidget()

    assert not title.float_button.isVisible()
    # As a double click on any title does.
    user.do(lambda: QTest.mouseDClick(title, Qt.MouseButton.LeftButton, pos=QPoint(60, 5)))
    assert not dock.isFloating()
    begin = QPoint(60, 5)
    user.do(lambda: QTest.mousePress(title, Qt.MouseButton.LeftButton, pos=begin))
    for step in range(1, 5):
        way = begin + QPoint(-40 * step, 40 * step)
        user.do(lambda way=way: QTest.mouseMove(title, way))
    user.do(lambda: QTest.mouseRelease(title, Qt.MouseButton.LeftButton, pos=way))
    assert not dock.isFloating()
    assert user.shows(dock)


def test_a_dock_that_was_closed_for_good_leaves_nothing_behind(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = _open_project(user, project_folder, monkeypatch)
    for name in ("Match", "Data"):
        binding.column.raise_dock(name)
        user.settle(60)
        button = user.docks(name)[0].titleBarWidget().close_button

        def close(button: QPushButton = button) -> None:
            button.click()
            # Python may collect a panel before Qt deletes it, and what Qt then calls is no more.
            gc.collect()

        user.do(close)
        user.settle(20)
        assert name not in binding.column.open_names()
    user.menu("Plugins", "NeuroBridge", "Match")
    assert binding.column.front() == "Match"
    assert len(user.docks("Match")) == 1


def test_a_dock_that_is_hidden_and_shown_again_keeps_the_columns_width(
    user: User, project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = _open_project(user, project_folder, monkeypatch)
    before = user.docks("Data")[0].width()
    binding.column.raise_dock("Match")
    user.settle(40)
    user.menu("Plugins", "NeuroBridge", "Match")
    user.menu("Plugins", "NeuroBridge", "Match")
    user.settle(80)
    assert user.docks("Match")[0].width() == before
    assert binding.column.front() == "Match"
