"""A person at napari's window: real menu actions, real clicks and keys, and what can be seen.

The tests and `docs/make_screenshots.py` use it alike.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qtpy.QtCore import QMimeData, QPoint, QPointF, QRect, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QMenu,
    QMenuBar,
    QPushButton,
    QScrollArea,
    QTabBar,
    QWidget,
)

W = TypeVar("W", bound=QWidget)

LAPTOP_PX = (1366, 768)
DESK_PX = (1920, 1200)
_PATIENCE_MS = 60_000
_BEAT_MS = 5


@dataclass
class Stall:
    """A while in which the event loop did nothing, and what it did instead.

    Attributes
    ----------
    seconds : float
    stack : str
        Where the main thread was.
    cpu_s : float
        Of it, the main thread's own time: the rest it waited, for another thread or program.
    """

    seconds: float = 0.0
    stack: str = ""
    cpu_s: float = 0.0


class StallWatch:
    """Measures the longest while in which the event loop handled nothing.

    A timer beats in the loop; a thread looks when the last beat was, and notes where the main
    thread is when that is long ago. Only what happens within `watching` counts: a test's own
    work is no stall.
    """

    def __init__(self, note_after_s: float = 0.08) -> None:
        self.stalls: list[Stall] = []
        self._note_after_s = note_after_s
        self._main = threading.get_ident()
        self._beat, self._cpu = time.perf_counter(), time.thread_time()
        self._depth = 0
        self._stack = ""
        self._done = threading.Event()
        self._timer = QTimer()
        self._timer.timeout.connect(self._on_beat)
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def longest(self) -> Stall:
        """The longest stall so far."""
        return max(self.stalls, key=lambda stall: stall.seconds, default=Stall())

    def start(self) -> None:
        """Begin to measure."""
        self._timer.start(_BEAT_MS)
        self._thread.start()

    def stop(self) -> None:
        """Measure no longer."""
        self._timer.stop()
        self._done.set()
        self._thread.join()

    def enter(self) -> None:
        """What comes is the program's work."""
        if self._depth == 0:
            self._beat, self._stack = time.perf_counter(), ""
            self._cpu = time.thread_time()
        self._depth += 1

    def leave(self) -> None:
        """What comes is the test's work."""
        if self._depth == 1:
            self._on_beat()
        self._depth -= 1

    def _on_beat(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        gap, stack, self._stack = now - self._beat, self._stack, ""
        cpu_s = cpu - self._cpu
        self._beat, self._cpu = now, cpu
        if self._depth and gap > self._note_after_s:
            self.stalls.append(Stall(gap, stack, cpu_s))

    def _look(self) -> None:
        while not self._done.wait(0.02):
            late = time.perf_counter() - self._beat
            if self._depth and late > self._note_after_s and not self._stack:
                frame = sys._current_frames().get(self._main)
                self._stack = "".join(traceback.format_stack(frame)[-14:])


class Waits(Protocol):
    """What lets the program work until something is so: pytest-qt's `qtbot`, for instance."""

    def waitUntil(self, callback: Callable[[], Any], *, timeout: int = 5000) -> None:
        """Return when the callback returns something true; raise after so many ms."""


@dataclass
class User:
    """Somebody who knows the window only by what it shows.

    Attributes
    ----------
    viewer : napari.Viewer
        The real viewer.
    inputs : int
        Clicks, keys and menu actions so far.
    """

    viewer: Any
    qtbot: Waits
    watch: StallWatch
    inputs: int = 0
    screen_px: tuple[int, int] = LAPTOP_PX

    @property
    def window(self) -> Any:
        """napari's main window."""
        return self.viewer.window._qt_window

    def resize(self, size_px: tuple[int, int]) -> None:
        """Give the window a screen of this size, without a frame around it."""
        self.screen_px = size_px
        self.window.setGeometry(0, 0, *size_px)
        self.window.activateWindow()
        self.qtbot.waitUntil(self.window.isActiveWindow, timeout=_PATIENCE_MS)
        self.settle()

    # --- doing -------------------------------------------------------------------------

    def do(self, action: Callable[[], Any]) -> None:
        """Let the event loop do something, as it would for real input."""
        self.inputs += 1
        outcome: list[Exception | None] = []

        def act() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001  # raised again below
                outcome.append(error)
            else:
                outcome.append(None)

        self.watch.enter()
        try:
            QTimer.singleShot(0, act)
            self.qtbot.waitUntil(lambda: bool(outcome), timeout=_PATIENCE_MS)
        finally:
            self.watch.leave()
        if outcome[0] is not None:
            raise outcome[0]
        self.settle()

    def menu(self, *titles: str) -> None:
        """Choose an entry of the menu bar by the words that it shows."""
        self.do(self._menu_action(*titles).trigger)

    def _menu_action(self, *titles: str) -> Any:
        menu: QMenuBar | QMenu = self.window.menuBar()
        for number, title in enumerate(titles):
            # napari fills its menus when they open.
            if isinstance(menu, QMenu):
                menu.aboutToShow.emit()
            found = [a for a in menu.actions() if _title(a.text().replace("&", "")) == title]
            assert found, f"{title!r} is not in the menu: {[a.text() for a in menu.actions()]}"
            if number == len(titles) - 1:
                return found[0]
            menu = found[0].menu()
        raise AssertionError("no title")

    def click(self, widget: QWidget, at: QPoint | None = None, **modifiers: Any) -> None:
        """Click a widget, which has to be in sight."""
        assert self.sees(widget), f"{widget.objectName()} is not in sight"
        pos = widget.rect().center() if at is None else at
        left = Qt.MouseButton.LeftButton
        self.do(lambda: QTest.mouseClick(widget, left, pos=pos, **modifiers))

    def press(self, key: str | Qt.Key, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        """Press a key; the widget that has the focus gets it."""
        target = QApplication.focusWidget() or self.window
        self.do(lambda: QTest.keyClick(target, key, modifier))

    def type(self, widget: QWidget, text: str) -> None:
        """Click into a field, and type in place of what is there."""
        self.click(widget)
        self.do(lambda: QTest.keySequence(widget, "Ctrl+A"))
        self.do(lambda: QTest.keyClicks(widget, text))

    def click_canvas(self, canvas: Any, model: Any, position_um: Any) -> None:
        """Click a place, µm (z, y, x), where a canvas shows it now."""
        pixel = pixel_of(canvas, model, position_um)
        native = canvas.canvas.native
        assert native.rect().contains(pixel), f"{position_um} is outside the canvas"
        self.do(lambda: QTest.mouseMove(native, pixel))
        self.inputs -= 1  # moving there is a part of the click
        self.do(lambda: QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=pixel))

    def show_tab(self, name: str) -> None:
        """Bring a dock to the front by its tab, where others lie over it."""
        for bar in self.window.findChildren(QTabBar):
            for index in range(bar.count()):
                if _title(bar.tabText(index)) == name and bar.isVisible():
                    self.click(bar, bar.tabRect(index).center())

    def reveal(self, widget: QWidget) -> None:
        """Scroll to a widget, as with the wheel, where it lies in a scroll area."""
        parent = widget.parentWidget()
        while parent is not None:
            if isinstance(parent, QScrollArea):
                parent.ensureWidgetVisible(widget)
            parent = parent.parentWidget()
        self.settle(10)

    def choose(
        self, button: QPushButton, starts: str, look: Callable[[QMenu], Any] = lambda _: None
    ) -> list[str]:
        """Click a button, and the entry of its menu that starts so; return all entries.

        `look` is called with the open menu before the entry is clicked.
        """
        seen: list[str] = []
        timer = QTimer()

        def click_entry() -> None:
            menu = button.menu()
            if menu is None or not menu.isVisible():
                return
            timer.stop()
            seen.extend(action.text() for action in menu.actions())
            look(menu)
            action = next(a for a in menu.actions() if a.text().startswith(starts))
            at = menu.actionGeometry(action).center()
            QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=at)
            if menu.isVisible():  # a disabled entry closes nothing
                menu.close()

        timer.timeout.connect(click_entry)
        timer.start(_BEAT_MS)
        self.click(button)
        assert seen
        return seen

    def drop(self, widget: QWidget, files: Sequence[Path]) -> None:
        """Drag files from elsewhere onto a widget, and let them go."""
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in files])
        at, copy = widget.rect().center(), Qt.DropAction.CopyAction
        mouse = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier

        def let_go() -> None:
            QApplication.sendEvent(widget, QDragEnterEvent(at, copy, data, *mouse))
            QApplication.sendEvent(widget, QDropEvent(QPointF(at), copy, data, *mouse))

        self.do(let_go)

    # --- waiting -----------------------------------------------------------------------

    def wait(self, reached: Callable[[], Any], timeout_ms: int = _PATIENCE_MS) -> None:
        """Wait until something is so, and let the program work meanwhile."""
        self.watch.enter()
        try:
            self.qtbot.waitUntil(lambda: bool(reached()), timeout=timeout_ms)
        finally:
            self.watch.leave()

    def settle(self, delay_ms: int = 0) -> None:
        """Let the event loop handle what waits in it, and what that leads to."""
        self.watch.enter()
        for _ in range(5):
            handled: list[bool] = []
            QTimer.singleShot(delay_ms, lambda handled=handled: handled.append(True))
            self.qtbot.waitUntil(lambda handled=handled: bool(handled), timeout=_PATIENCE_MS)
        self.watch.leave()

    # --- seeing ------------------------------------------------------------------------

    def find(self, kind: type[W], name: str) -> W:
        """Return a widget of the window, or of one of its dialogs, by its name."""
        for top in QApplication.topLevelWidgets():
            found = top.findChild(kind, name)
            if found is not None:
                return found
        raise AssertionError(f"there is no {name}")

    def docks(self, name: str) -> list[QDockWidget]:
        """Return the docks with this title that are open, in sight or under a tab."""
        titled = [
            dock
            for dock in self.window.findChildren(QDockWidget)
            if _title(getattr(dock, "name", "")) == name
        ]
        return [dock for dock in titled if not dock.isHidden()]

    def sees(self, widget: QWidget) -> bool:
        """Return whether all of a widget is in sight: not clipped, covered or off the screen."""
        if not widget.isVisible():
            return False
        whole = QRect(QPoint(), widget.size())
        if widget.visibleRegion().boundingRect() != whole:
            return False
        top = widget.window()
        corner = widget.mapTo(top, QPoint())
        return bool(top.rect().contains(QRect(corner, widget.size())))

    def shows(self, dock: QDockWidget) -> bool:
        """Return whether a dock is in sight, inside the window."""
        place = QRect(dock.mapTo(self.window, QPoint()), dock.size())
        return self.sees_some(dock) and bool(self.window.rect().contains(place))

    def sees_some(self, widget: QWidget) -> bool:
        """Return whether a part of a widget is in sight."""
        return widget.isVisible() and not widget.visibleRegion().isEmpty()

    def photograph(self, path: str) -> None:
        """Save a picture of the window."""
        self.settle(30)
        self.window.grab().save(path)


def pixel_of(canvas: Any, model: Any, position_um: Any) -> QPoint:
    """Return where a canvas draws a place, µm (z, y, x), seen along its depth axis."""
    native, camera = canvas.canvas.native, model.scene.camera
    _, rows, columns = model.dims.order
    down, right = (str(way) for way in camera.orientation2d)
    y = (position_um[rows] - camera.center[1]) * camera.zoom * (1 if down == "down" else -1)
    x = (position_um[columns] - camera.center[2]) * camera.zoom * (1 if right == "right" else -1)
    return QPoint(round(native.width() / 2 + x), round(native.height() / 2 + y))


def _title(name: str) -> str:
    return name.split(" (", 1)[0]
