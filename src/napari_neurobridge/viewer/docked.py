"""What makes a panel one of our docks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from qtpy.QtWidgets import QDockWidget, QMainWindow

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent
    from qtpy.QtWidgets import QWidget

    from napari_neurobridge.viewer.docks import DockColumn

_FOLLOWED = "neurobridge_followed"


class Docked:
    """Mixed into a panel, tells the column when napari has put it into a dock.

    Not an event filter: one that is written in Python must not meet a widget that is just being
    destroyed.
    """

    _column: DockColumn
    _dock_name: str

    def join(self, column: DockColumn, name: str) -> None:
        """Become one of the column's tabs."""
        self._column, self._dock_name = column, name
        column.join(cast("QWidget", self), name)

    def set_in_front(self, in_front: bool) -> None:
        """Follow the tab of the dock: Qt hides no widget that lies behind another tab."""

    def showEvent(self, event: QShowEvent | None) -> None:
        """Be laid out."""
        dock = dock_around(cast("QWidget", self))
        if dock is not None and not dock.property(_FOLLOWED):
            dock.setProperty(_FOLLOWED, True)
            dock.visibilityChanged.connect(self.set_in_front)
        super().showEvent(event)  # type: ignore[misc]  # a QWidget's
        if event is None or not event.spontaneous():  # not when a window comes back as a whole
            self._column.on_shown(self._dock_name)


def dock_around(widget: QWidget) -> QDockWidget | None:
    """Return the dock that a widget lies in; None if it lies in none."""
    parent: Any = widget
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent


def main_window_around(widget: QWidget) -> QMainWindow | None:
    """Return the main window that a widget belongs to, also from within a floating dock."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
