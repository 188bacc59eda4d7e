"""Bring callbacks to Qt's main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, QTimer, Signal, Slot

if TYPE_CHECKING:
    from collections.abc import Callable


class MainThreadDispatcher(QObject):
    """Runs callables on the thread that made it, in the order in which they came."""

    _arrived = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # Queued always: a callback never runs inside the call that sent it.
        self._arrived.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def __call__(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` on the main thread, soon."""
        self._arrived.emit(callback)

    @Slot(object)
    def _run(self, callback: Callable[[], None]) -> None:
        callback()


def after_events(callback: Callable[[], None]) -> None:
    """Run ``callback`` once the event being handled is over; main thread only."""
    QTimer.singleShot(0, callback)
