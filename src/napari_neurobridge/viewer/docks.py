"""Where the docks and the second canvas lie in napari's window.

Our docks are tabs of one column at the right; what is left of the width belongs to two canvases
of equal size.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from npe2 import PluginManager
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication, QDockWidget, QTabWidget

from napari_neurobridge.viewer.dispatch import LAYOUT_MS, after_events
from napari_neurobridge.viewer.docked import dock_around
from napari_neurobridge.viewer.styles import quiet_stylesheet
from napari_neurobridge.workbench.user_settings import Layout, change_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from weakref import ReferenceType

    import napari
    from qtpy.QtWidgets import QMainWindow, QWidget

PLUGIN, PLUGIN_TITLE = "napari-neurobridge", "NeuroBridge"
DATA, MATCH, PAIRS, INSIGHT = "Data", "Match", "Pairs", "Insight"
TRAIN, REGISTER = "Train", "Register"
TABS = (DATA, MATCH, PAIRS, TRAIN, INSIGHT, REGISTER)
PROJECT_DOCKS = (DATA, MATCH, PAIRS)
"""What a project is worked on with; the others are for when somebody asks for them."""

CANVAS_NAME = "fMOST"

COLUMN_PX = 420
LEAST_COLUMN_PX = 380
CANVAS_PX = 305
"""Below this a canvas shows too little; the column and napari's own docks make room for it."""
_SEPARATOR_PX = 9
_WATCHED = "neurobridge_watched"

_RIGHT = Qt.DockWidgetArea.RightDockWidgetArea
_HORIZONTAL = Qt.Orientation.Horizontal


class DockColumn(QObject):
    """Lays our docks and the second canvas out, however they were opened.

    napari names the docks differently by the way they are opened, so they are known by the
    widgets inside, which say that they are there.

    Parameters
    ----------
    viewer : napari.Viewer
        The real viewer.

    Signals
    -------
    changed
        A dock of ours was opened or closed.
    laid_out
        The canvases have their sizes.
    """

    changed = Signal()
    laid_out = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer.window._qt_window)
        self._viewer = ref(viewer)
        self._panels: dict[str, ReferenceType[QWidget]] = {}
        self._laid: set[str] = set()
        self._fronts: dict[str, str] = {}
        self._canvas: ReferenceType[QWidget] | None = None
        self._left = load_settings().layout
        self._share = self._left.second_canvas_share
        self._column_px = self._left.column_px or COLUMN_PX
        self._first_px, self._free_px = 0, 0
        self._dragged = False
        self._folded: list[QDockWidget] = []
        self._made_room = False
        self._closed = False
        self._moved = QTimer(self)
        self._moved.setSingleShot(True)
        self._moved.setInterval(LAYOUT_MS)
        self._moved.timeout.connect(self._on_borders_moved)
        viewer.events.theme.connect(self._on_theme_changed)
        self._window.setTabPosition(_RIGHT, QTabWidget.TabPosition.North)
        self._window.installEventFilter(self)
        self._first_canvas.installEventFilter(self)

    @property
    def _window(self) -> QMainWindow:
        viewer = self._viewer()
        assert viewer is not None
        window: QMainWindow = viewer.window._qt_window
        return window

    @property
    def _first_canvas(self) -> QWidget:
        canvas = self._window.centralWidget()
        assert canvas is not None
        return canvas

    # --- which docks there are ---------------------------------------------------------

    def join(self, panel: QWidget, name: str) -> None:
        """Know a panel that napari is about to put into a dock; see `docked.Docked`."""
        panel.setObjectName(f"neurobridge_{name.lower()}")
        self._show_theme(panel)
        self._panels[name] = ref(panel)
        self._laid.discard(name)
        # No partial: Python may collect it with the panel before Qt tells that the panel goes.
        panel.destroyed.connect(self._on_panel_destroyed)

    def _on_theme_changed(self, _: object = None) -> None:
        for name in self._panels:
            if (panel := self._panel(name)) is not None:
                self._show_theme(panel)

    def _show_theme(self, panel: QWidget) -> None:
        viewer = self._viewer()
        if viewer is not None:
            panel.setStyleSheet(quiet_stylesheet(viewer.theme))

    def on_shown(self, name: str) -> None:
        """Lay a panel out that has come into its dock."""
        front = self._fronts.pop(name, name)
        # One that is laid out already was hidden, and is wanted in sight.
        after_events(partial(self._lay_out, front=front))

    def _on_panel_destroyed(self, _: object = None) -> None:
        after_events(self._forget_destroyed)

    def _forget_destroyed(self) -> None:
        gone = {name for name in self._panels if self._panel(name) is None}
        for name in gone:
            del self._panels[name]
        self._laid -= gone
        self._tell()

    def _panel(self, name: str) -> QWidget | None:
        """Return the panel of a dock, unless Qt has deleted it."""
        panel = self._panels[name]() if name in self._panels else None
        return panel if panel is not None and _is_alive(panel) else None

    def dock(self, name: str) -> QDockWidget | None:
        """Return one of our docks; None while it is not open."""
        panel = self._panel(name)
        dock = None if panel is None else dock_around(panel)
        return None if dock is None or dock.isHidden() else dock

    def open(self, names: Sequence[str], front: str | None = None) -> None:
        """Open docks that are not open yet, as napari's own menu does.

        Parameters
        ----------
        names : sequence of str
        front : str, optional
            The one that is to be seen; by default the one that is seen now, else the first.
        """
        viewer = self._viewer()
        if viewer is None or self._closed:
            return
        # Qt would show the dock that comes last.
        front = front or self.front() or next(iter(names), "")
        for name in names:
            panel = self._panel(name)
            hidden = None if panel is None else dock_around(panel)
            if hidden is not None:
                hidden.show()
            elif (make := _panel_maker(name)) is not None:
                self._fronts[name] = front or name
                # The name that the menu gives it, so that its entry finds it.
                title = f"{name} ({PLUGIN_TITLE})"
                viewer.window.add_dock_widget(make(viewer), name=title, area="right")
        after_events(lambda: self._lay_out(front=front))

    def open_names(self) -> tuple[str, ...]:
        """Names of our open docks, in the order of their tabs."""
        return tuple(name for name in TABS if self.dock(name) is not None)

    def open_as_left(self) -> None:
        """Open what a project needs, and what was open when the user left."""
        left = self._left
        wanted = [name for name in TABS if name in {*PROJECT_DOCKS, *left.docks}]
        self.open(wanted, front=left.front or None)

    def raise_dock(self, name: str) -> None:
        """Show one of our docks, which is opened if need be."""
        self.open([name], front=name)

    def front(self) -> str:
        """Name of our dock that is in sight; empty if there is none."""
        seen = [n for n in self.open_names() if not _is_covered(self.dock(n))]
        return seen[0] if seen else ""

    # --- where they lie -------------------------------------------------------------------

    def put_canvas(self, canvas: QWidget) -> None:
        """Put the second canvas, which is docked, between the first one and the column."""
        self._canvas = ref(canvas)
        after_events(lambda: self._lay_out(split=True))

    def take_canvas(self) -> None:
        """Give what the second canvas leaves to the first one."""
        after_events(self._share_width)

    def toggle_layer_docks(self) -> None:
        """Hide napari's layer docks, or show them again."""
        shown = [dock for dock in self._layer_docks() if dock.isVisible()]
        for dock in shown or self._folded:
            dock.setVisible(not shown)
        self._folded = shown
        after_events(self._share_width)

    def _lay_out(self, front: str | None = None, *, split: bool = False) -> None:
        if self._closed:
            return
        column, canvas, seen = self._column(), self._canvas_dock(), self.front()
        old, self._laid = self._laid, set(column)
        docks = list(column.values())
        split = canvas is not None and bool(docks) and (split or not old & self._laid)
        if split:
            # This takes one dock out of its tabs, so the others follow.
            self._window.splitDockWidget(canvas, docks[0], _HORIZONTAL)
        if split or self._laid - old:
            # What is new goes to where the others lie, which the first tab may not be yet.
            there = next((dock for name, dock in column.items() if name in old), docks[0])
            if there is not docks[0] and not split:
                self._window.tabifyDockWidget(there, docks[0])
            for dock in docks[1:]:
                self._window.tabifyDockWidget(docks[0], dock)
        if (top := self.dock(front or seen)) is not None:
            top.raise_()
        for name, dock in column.items():
            if not dock.property(_WATCHED):
                dock.setProperty(_WATCHED, True)
                # So many tabs have no room for the plugin's name, which the dock's own title has.
                dock.setWindowTitle(name)
                dock.visibilityChanged.connect(self._on_visibility_changed)
        self._tell()
        # Docks have their sizes only once the window has laid them out.
        after_events(self._share_all)

    def _share_all(self) -> None:
        self._share_width()
        after_events(self._tell_laid_out)

    def _column(self) -> dict[str, QDockWidget]:
        """Return our docks at the right; those elsewhere lie where the user put them."""
        docks = {name: self.dock(name) for name in TABS}
        return {
            name: dock
            for name, dock in docks.items()
            if dock is not None and self._is_at_the_right(dock)
        }

    def _canvas_dock(self) -> QDockWidget | None:
        canvas = None if self._canvas is None else self._canvas()
        dock = None if canvas is None else dock_around(canvas)
        if dock is None or dock.isHidden() or not self._is_at_the_right(dock):
            return None
        return dock

    def _is_at_the_right(self, dock: QDockWidget) -> bool:
        return not dock.isFloating() and self._window.dockWidgetArea(dock) == _RIGHT

    def _share_width(self) -> None:
        """Give the column its width, and both canvases their shares of what is left."""
        if self._closed:
            return
        window, canvas, docks = self._window, self._canvas_dock(), list(self._column().values())[:1]
        free = window.width() - self._first_canvas.x() - _SEPARATOR_PX * len(docks)
        if canvas is not None:
            free -= _SEPARATOR_PX
        least = CANVAS_PX * (1 if canvas is None else 2)
        column = max(min(self._column_px, free - least), LEAST_COLUMN_PX) if docks else 0
        if free - column < least - _SEPARATOR_PX and not self._folded and self._makes_room():
            return
        second = round((free - column) * self._share)
        if (layout := window.layout()) is not None:
            layout.activate()  # else docks that are new have no place yet
        if canvas is not None:
            window.resizeDocks([canvas, *docks], [second, column][: 1 + len(docks)], _HORIZONTAL)
        elif docks:
            window.resizeDocks(docks, [column], _HORIZONTAL)
        self._first_px, self._free_px = free - column - second, free - column

    def _makes_room(self) -> bool:
        """Fold napari's layer docks away for two canvases, once; whether there were any."""
        if self._made_room or self._canvas_dock() is None:
            return False
        self._made_room = True
        self.toggle_layer_docks()
        return bool(self._folded)

    def _layer_docks(self) -> list[QDockWidget]:
        left = Qt.DockWidgetArea.LeftDockWidgetArea
        found = self._window.findChildren(QDockWidget)
        return [dock for dock in found if self._window.dockWidgetArea(dock) == left]

    # --- what the user does -----------------------------------------------------------------

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow a border that is moved, and a window that grows."""
        if event is None or self._closed:
            return False
        if watched is self._window and event.type() == QEvent.Type.MouseButtonPress:
            self._dragged = True  # the borders between docks are the window's own
        if event.type() in (QEvent.Type.Resize, QEvent.Type.MouseButtonRelease):
            self._moved.start()
        return super().eventFilter(watched, event)

    def _on_borders_moved(self) -> None:
        """Keep the canvases' shares, or learn what the user drags a border for."""
        if self._closed:
            return
        if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            self._moved.start()  # still dragging
            return
        dragged, self._dragged = self._dragged, False
        first, canvas = self._first_canvas.width(), self._canvas_dock()
        if dragged and canvas is not None and abs(first - self._first_px) > _SEPARATOR_PX:
            # Qt takes the room from all docks of the area: the column gets its own back.
            self._share = 1 - min(max(first / max(self._free_px, 1), 0.1), 0.9)
        elif dragged and (column := self.dock(self.front())) is not None:
            self._column_px = column.width()
        self._share_width()

    def shut(self) -> None:
        """Write down where the user left the docks, and lay nothing out any more."""
        self._closed = True
        self._window.removeEventFilter(self)
        self._first_canvas.removeEventFilter(self)
        names = self.open_names()
        if not names:
            return
        layout = Layout(
            column_px=self._column_px,
            second_canvas_share=self._share,
            docks=names,
            front=self.front(),
        )
        change_settings(layout=layout)

    def _on_visibility_changed(self, _: bool) -> None:
        if not self._closed:
            self._moved.start()  # a dock that comes back gets the column's width again
            self.changed.emit()

    def _tell_laid_out(self) -> None:
        # A window that has gone meanwhile has nobody to tell, and its signals are no more.
        if not self._closed:
            self.laid_out.emit()

    def _tell(self, _: object = None) -> None:
        if not self._closed:
            self.changed.emit()


def _is_covered(dock: QDockWidget | None) -> bool:
    return dock is None or dock.visibleRegion().isEmpty()


def _panel_maker(name: str) -> Any:
    """Return what makes the panel of a dock, as our manifest names it; None for an unknown one."""
    for contribution in PluginManager.instance().iter_widgets():
        if contribution.plugin_name == PLUGIN and contribution.display_name == name:
            return contribution.get_callable()
    return None


def _is_alive(widget: QWidget) -> bool:
    return bool(isalive(widget))  # type: ignore[no-untyped-call]
