"""A person without a plan: clicks, keys and drags that a seed draws, at what is in sight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QKeySequence, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QDockWidget,
    QFileDialog,
    QLineEdit,
    QMenu,
    QTabBar,
    QWidget,
)

from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docks import CANVAS_NAME, TABS
from napari_neurobridge.viewer.layers import is_somata_layer
from window_user import User, pixel_of

LEAST_PX, MOST_PX = (1200, 650), (1920, 1200)
_CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
)
_KEYS_OF_ANY_PROGRAM = (
    "Esc",
    "Del",
    "Backspace",
    "Return",
    "Tab",
    "Left",
    "Right",
    "Up",
    "Down",
    "PgUp",
    "PgDown",
)
_WORDS = ("tp-00003", "fm-00009", "nobody", "40, 60, 80", "1.6", "0", "-3", "1e9", "µ")
_BEAT_MS, _LONG_BEATS = 40, 10
_WEIGHTS = {
    "click_widget": 24,
    "press": 28,
    "click_canvas": 16,
    "drag_canvas": 8,
    "turn_wheel": 6,
    "drag_widget": 3,
    "write": 3,
    "toggle_dock": 3,
    "turn_to_tab": 4,
    "close_dock": 1,
    "delete_layer": 1,
    "resize": 2,
    "reopen": 1,
}


class RandomPerson:
    """Does what a seed says; each action is drawn by its own number, so that some can be left out.

    Parameters
    ----------
    user : User
        Whose window it is.
    binding : ViewerBinding
    seed : int
    diary : Path
        Gets a line before each action, also when the next one ends the process.
    files : sequence of Path
        What file dialogs answer with, sometimes.
    """

    def __init__(
        self, user: User, binding: ViewerBinding, seed: int, diary: Path, files: list[Path]
    ) -> None:
        self.user, self.binding = user, binding
        self.latest: deque[str] = deque(maxlen=20)
        self._seed, self._diary, self._files = seed, diary, files
        self._rng = np.random.default_rng(seed)
        self._busy, self._beats_within = False, 0
        # What opens a menu waits in it; this answers.
        self._beat = QTimer()
        self._beat.timeout.connect(self._answer_what_waits)
        self._beat.start(_BEAT_MS)

    def act(self, number: int) -> None:
        """Do the action of a number."""
        self._rng = np.random.default_rng([self._seed, number])
        names = list(_WEIGHTS)
        weights = np.array([_WEIGHTS[name] for name in names], dtype=float)
        name = str(self._rng.choice(names, p=weights / weights.sum()))
        self._say(f"{number} {name}")
        getattr(self, f"_{name}")()

    def stop(self) -> None:
        """Answer no more dialogs, and close what is open."""
        self._beat.stop()
        for dialog in self._dialogs():
            dialog.close()

    def choose_file(self, *_: Any, **__: Any) -> tuple[str, str]:
        """Answer a dialog that asks for a file to be read."""
        path = self._pick([*self._files, None])
        self._say(f"  file {path}")
        return ("" if path is None else str(path)), ""

    def choose_new_file(self, *arguments: Any, **_: Any) -> tuple[str, str]:
        """Answer a dialog that asks for a file to be written."""
        folder = self._diary.parent / "written"
        folder.mkdir(exist_ok=True)
        suffix = self._pick([".csv", ".png", ".pdf", ".json", ".neurobridge", ""])
        name = f"{self._rng.integers(1e9)}{suffix}"
        self._say(f"  new file {name}")
        return ("" if self._rng.random() < 0.2 else str(folder / name)), ""

    def choose_folder(self, *_: Any, **__: Any) -> str:
        """Answer a dialog that asks for a folder."""
        folders = [str(path) for path in self._files if path.is_dir()]
        return str(self._pick([*folders, ""]))

    # --- what can be done --------------------------------------------------------------

    def _click_widget(self) -> None:
        widget = self._some_widget()
        if widget is None:
            return
        at = self._some_place(widget)
        self._say(f"  click {_path(widget)} {at.x()},{at.y()}")
        twice = self._rng.random() < 0.05
        click = QTest.mouseDClick if twice else QTest.mouseClick
        button = Qt.MouseButton.LeftButton
        if self._rng.random() < 0.05:
            button = Qt.MouseButton.RightButton
        self._do(lambda: click(widget, button, self._modifier(), at))

    def _drag_widget(self) -> None:
        widget = self._some_widget()
        if widget is not None:
            self._drag(widget)

    def _press(self) -> None:
        ours = list(self.binding.workbench.key_actions())
        key = self._pick(ours if self._rng.random() < 0.75 else list(_KEYS_OF_ANY_PROGRAM))
        target = QApplication.focusWidget() or QApplication.activeWindow() or self.user.window
        self._say(f"  press {key} at {_path(target)}")
        combination = QKeySequence(key)[0]
        self._do(lambda: QTest.keyClick(target, combination.key(), combination.keyboardModifiers()))

    def _click_canvas(self) -> None:
        native, model = self._some_canvas()
        at = self._some_place(native)
        somata = next((layer for layer in model.layers if is_somata_layer(layer)), None)
        if somata is not None and len(somata.data) and self._rng.random() < 0.6:
            place = np.asarray(somata.data)[self._rng.integers(len(somata.data))]
            near = pixel_of(_Canvas(native), model, place) if model.dims.ndim == 3 else at
            at = near if native.rect().contains(near) else at
        self._say(f"  click canvas {model.title} {at.x()},{at.y()}")
        left = Qt.MouseButton.LeftButton
        self._do(lambda: QTest.mouseMove(native, at))
        self._do(lambda: QTest.mouseClick(native, left, self._modifier(), at))

    def _drag_canvas(self) -> None:
        self._drag(self._some_canvas()[0])

    def _drag(self, widget: QWidget) -> None:
        begin, end = self._some_place(widget), self._some_place(widget)
        self._say(f"  drag {_path(widget)} {begin.x()},{begin.y()} to {end.x()},{end.y()}")
        left = Qt.MouseButton.LeftButton
        self._do(lambda: QTest.mousePress(widget, left, pos=begin))
        for share in (0.2, 0.6, 1.0):
            way = begin + (end - begin) * share
            if _lives(widget):
                self._do(lambda way=way: QTest.mouseMove(widget, way))
        if _lives(widget):
            self._do(lambda: QTest.mouseRelease(widget, left, pos=end))

    def _turn_wheel(self) -> None:
        widget = self._some_canvas()[0] if self._rng.random() < 0.6 else self._some_widget()
        if widget is None:
            return
        at, turn = QPointF(self._some_place(widget)), int(self._pick([-120, 120]))
        modifier = self._modifier()
        self._say(f"  wheel {_path(widget)} {turn}")

        def wheel() -> None:
            event = QWheelEvent(
                at,
                widget.mapToGlobal(at),
                QPoint(),
                QPoint(0, turn),
                Qt.MouseButton.NoButton,
                modifier,
                Qt.ScrollPhase.NoScrollPhase,
                False,
            )
            QApplication.sendEvent(widget, event)

        self._do(wheel)

    def _write(self) -> None:
        kinds = (QLineEdit, QAbstractSpinBox)
        fields = [widget for widget in self._widgets() if isinstance(widget, kinds)]
        if not fields:
            return
        field, word = self._pick(fields), str(self._pick(list(_WORDS)))
        self._say(f"  write {word!r} into {_path(field)}")
        self._do(lambda: field.setFocus())
        self._do(lambda: QTest.keySequence(field, "Ctrl+A"))
        self._do(lambda: QTest.keyClicks(field, word))
        if self._rng.random() < 0.7:
            self._do(lambda: QTest.keyClick(field, Qt.Key.Key_Return))

    def _toggle_dock(self) -> None:
        name = str(self._pick(list(TABS)))
        self._say(f"  menu {name}")
        self.user.menu("Plugins", "NeuroBridge", name)

    def _turn_to_tab(self) -> None:
        bars = [bar for bar in self.user.window.findChildren(QTabBar) if bar.isVisible()]
        if not bars:
            return
        bar = self._pick(bars)
        index = int(self._rng.integers(max(bar.count(), 1)))
        self._say(f"  tab {bar.tabText(index)}")
        left = Qt.MouseButton.LeftButton
        self._do(lambda: QTest.mouseClick(bar, left, pos=bar.tabRect(index).center()))

    def _close_dock(self) -> None:
        docks = [dock for dock in self._docks() if dock.isVisible()]
        if not docks:
            return
        dock = self._pick(docks)
        title = dock.titleBarWidget()
        found = [] if title is None else title.findChildren(QAbstractButton)
        buttons = [button for button in found if button.isVisible()]
        if not buttons:
            return
        button = self._pick(buttons)
        self._say(f"  {button.objectName()} of {getattr(dock, 'name', '')}")
        self._do(lambda: QTest.mouseClick(button, Qt.MouseButton.LeftButton))

    def _delete_layer(self) -> None:
        model = self._some_canvas()[1]
        if not len(model.layers):
            return
        layer = self._pick(list(model.layers))
        self._say(f"  delete layer {layer.name}")

        def delete() -> None:
            model.layers.selection = {layer}
            model.layers.remove_selected()

        self._do(delete)

    def _resize(self) -> None:
        width, height = self._rng.integers(LEAST_PX, MOST_PX, endpoint=True).tolist()
        self._say(f"  {width} x {height}")
        self._do(lambda: self.user.window.setGeometry(0, 0, width, height))
        self.user.window.activateWindow()

    def _reopen(self) -> None:
        folder = next(path for path in self._files if path.suffix == ".neurobridge")
        self._do(lambda: self.binding.workbench.setup.open_project(folder))

    # --- what there is -------------------------------------------------------------------

    def _docks(self) -> list[QDockWidget]:
        titles = {*TABS, CANVAS_NAME}
        return [
            dock
            for dock in self.user.window.findChildren(QDockWidget)
            if getattr(dock, "name", "").split(" (", 1)[0] in titles
        ]

    def _dialogs(self) -> list[QDialog]:
        tops = QApplication.topLevelWidgets()
        return [top for top in tops if isinstance(top, QDialog) and top.isVisible()]

    def _widgets(self) -> list[QWidget]:
        """Return what is ours, in sight and enabled, but for the canvases."""
        roots: list[QWidget | None] = [*self._docks(), *self._dialogs(), self.binding.header]
        second = self.binding.second
        canvas = None if second is None else second.qt_viewer
        return [
            widget
            for root in roots
            if root is not None
            for widget in root.findChildren(QWidget)
            if widget.isEnabled()
            and self.user.sees_some(widget)
            and not (canvas is not None and (widget is canvas or canvas.isAncestorOf(widget)))
            and not widget.isWindow()
        ]

    def _some_widget(self) -> QWidget | None:
        widgets = self._widgets()
        controls = [widget for widget in widgets if isinstance(widget, _CONTROLS)]
        dialogs = self._dialogs()
        on_top = [w for w in controls if dialogs and w.window() in dialogs]
        if on_top and self._rng.random() < 0.5:
            controls = on_top
        chosen = controls if controls and self._rng.random() < 0.75 else widgets
        if not chosen:
            return None
        widget = self._pick(chosen)
        return widget.viewport() if isinstance(widget, QAbstractItemView) else widget

    def _some_canvas(self) -> tuple[QWidget, Any]:
        viewer, second = self.binding.viewer, self.binding.second
        sides = [(viewer.window._qt_viewer.canvas.native, viewer)]
        if second is not None and second.isVisible():
            sides.append((second.qt_viewer.canvas.native, second.model))
        return sides[int(self._rng.integers(len(sides)))]

    def _some_place(self, widget: QWidget) -> QPoint:
        seen = widget.visibleRegion().boundingRect()
        x = self._rng.integers(seen.left(), max(seen.right(), seen.left()) + 1)
        y = self._rng.integers(seen.top(), max(seen.bottom(), seen.top()) + 1)
        return QPoint(int(x), int(y))

    def _modifier(self) -> Qt.KeyboardModifier:
        modifiers = Qt.KeyboardModifier
        draw = self._rng.random()
        if draw < 0.1:
            return modifiers.ShiftModifier
        return modifiers.ControlModifier if draw < 0.15 else modifiers.NoModifier

    def _pick(self, some: list[Any]) -> Any:
        return some[int(self._rng.integers(len(some)))]

    # --- inside --------------------------------------------------------------------------

    def _do(self, action: Callable[[], Any]) -> None:
        def act() -> None:
            self._busy, self._beats_within = True, 0
            try:
                action()
            finally:
                self._busy = False

        self.user.do(act)

    def _say(self, words: str) -> None:
        self.latest.append(words)
        with self._diary.open("a", encoding="utf-8") as diary:
            print(words, file=diary, flush=True)

    def _answer_what_waits(self) -> None:
        """Choose from a menu or list that has opened, or send away a dialog that holds all up."""
        popup, modal = QApplication.activePopupWidget(), QApplication.activeModalWidget()
        if isinstance(popup, QMenu):
            offered = [a for a in popup.actions() if a.isEnabled() and not a.isSeparator()]
            offered = [a for a in offered if a.menu() is None]
            if offered and self._rng.random() < 0.7:
                action = self._pick(offered)
                self._say(f"  menu entry {action.text()}")
                popup.setActiveAction(action)
                QTest.keyClick(popup, Qt.Key.Key_Return)
            else:
                popup.close()
        elif popup is not None:
            for _ in range(int(self._rng.integers(3))):
                QTest.keyClick(popup, Qt.Key.Key_Down)
            QTest.keyClick(popup, self._pick([Qt.Key.Key_Return, Qt.Key.Key_Escape]))
            if QApplication.activePopupWidget() is popup:
                popup.close()
        elif isinstance(modal, QDialog) and not isinstance(modal, QFileDialog):
            self._say(f"  away with {modal.objectName() or type(modal).__name__}")
            modal.reject()
        elif self._busy:
            self._beats_within += 1
            if self._beats_within > _LONG_BEATS:
                # Marked text that is dragged: Qt follows the real mouse, which does not move.
                self._say("  let go")
                QTest.keyClick(self.user.window, Qt.Key.Key_Escape)


class _Canvas:
    """What `pixel_of` wants of a canvas."""

    def __init__(self, native: QWidget) -> None:
        self.canvas = self
        self.native = native


def _lives(widget: QWidget) -> bool:
    try:
        return widget.isVisible()
    except RuntimeError:  # its dock was closed in between
        return False


def _path(widget: QWidget | None) -> str:
    names = []
    while widget is not None and len(names) < 3:
        names.append(widget.objectName() or type(widget).__name__)
        widget = widget.parentWidget()
    return " in ".join(names)
