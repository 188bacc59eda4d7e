"""A column that may be taller than the screen, and is never cut at its sides."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget


class ScrollColumn(QScrollArea):
    """Scrolls its contents up and down, and asks for the width that they need.

    Parameters
    ----------
    contents : QWidget
    """

    def __init__(self, contents: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._contents = contents
        self.setWidget(contents)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        """Return the contents' least width, with the scroll bar, and a few lines of height."""
        bar = self.verticalScrollBar()
        bar_px = 0 if bar is None else bar.sizeHint().width()
        usual = super().minimumSizeHint()
        return QSize(self._contents.minimumSizeHint().width() + bar_px, usual.height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask for another width when the contents need one."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)
