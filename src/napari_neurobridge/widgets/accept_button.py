"""The button that accepts: while the mouse rests on it, the canvases show what would change."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QEnterEvent, QKeyEvent
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_neurobridge.workbench.preview import Preview

REST_MS = 300
"""So long the mouse rests on the button or holds it before the preview begins."""


class AcceptButton(QPushButton):
    """Begins a preview when the mouse rests on it, and ends it with Esc or when that leaves.

    Parameters
    ----------
    text : str
    preview : Preview
        What is begun and ended.
    """

    def __init__(self, text: str, preview: Preview, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._preview = preview
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(preview.begin)
        # The mouse that has just accepted rests on what accepts the next pair.
        self.clicked.connect(lambda _checked: self._rest.start() if self.underMouse() else None)
        preview.changed.connect(self._on_preview_changed)

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """Begin when the mouse stays for a moment."""
        super().enterEvent(event)
        self._rest.start()

    def leaveEvent(self, event: QEvent | None) -> None:
        """End what the mouse began."""
        super().leaveEvent(event)
        self._rest.stop()
        self._preview.end()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """End the preview with Esc, whatever has the focus; a held button is let go."""
        if isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            if event.type() == QEvent.Type.ShortcutOverride:
                # Else napari would take the key for itself.
                event.accept()
                return True
            if event.type() == QEvent.Type.KeyPress:
                self._rest.stop()
                self.setDown(False)
                self._preview.end()
                return True
        return super().eventFilter(watched, event)

    def _on_preview_changed(self) -> None:
        application = QApplication.instance()
        assert application is not None
        application.removeEventFilter(self)
        if self._preview.wanted:
            application.installEventFilter(self)
