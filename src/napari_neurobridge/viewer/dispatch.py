"""Qt's event loop: callbacks on the main thread, and windows that close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal, Slot

if TYPE_CHECKING:
    from collections.abc import Callable


class MainThreadDispatcher(QObject):
    """Runs callables on the thread that made it, in the order in which they came."""

    _arrived = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # Queued always: a callback never runs inside the call that sent it.
        queued = Qt.ConnectionType.QueuedConnection
        self._arrived.connect(self._run, queued)  # type: ignore[call-arg]  # missing in PyQt6's stubs

    def __call__(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` on the main thread, soon."""
        self._arrived.emit(callback)

    @Slot(object)
    def _run(self, callback: Callable[[], None]) -> None:
        callback()


LAYOUT_MS = 150
"""By then a window has given new docks their sizes."""


def after_events(callback: Callable[[], None], delay_ms: int = 0) -> None:
    """Run ``callback`` once the event being handled is over; main thread only."""
    QTimer.singleShot(delay_ms, callback)


class CloseWatcher(QObject):
    """Says when a window is about to close.

    Signals
    -------
    closing
        The window has been told to close; its children are still alive.
    """

    closing = Signal()

    def __init__(self, window: QObject) -> None:
        super().__init__(window)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at the window's events and let them pass."""
        if event is not None and event.type() == QEvent.Type.Close:
            self.closing.emit()
        return super().eventFilter(watched, event)


class OnceSoon:
    """Calls a function once after the events being handled, however often it is called itself.

    Parameters
    ----------
    callback : callable
        Takes nothing.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._waiting = False

    def __call__(self, _: object = None) -> None:
        """Call the function soon; arguments that a signal brings are of no concern."""
        if not self._waiting:
            self._waiting = True
            after_events(self._call)

    def _call(self) -> None:
        self._waiting = False
        self._callback()
