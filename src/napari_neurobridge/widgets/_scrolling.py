"""Docks that scroll, so that they fit a small screen."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

LEAST_DOCK_PX = QSize(320, 160)
"""What a dock asks for at least; a window with more is larger than small screens are."""


def scrolled_column(widgets: Iterable[QWidget]) -> QScrollArea:
    """Return widgets one below the other, which scroll where they are too high together."""
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch(1)
    return scrolled(column)


def scrolled(content: QWidget) -> QScrollArea:
    """Return a widget that scrolls where it is too high, and is as wide as there is room."""
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


def scroll_to(widget: QWidget) -> None:
    """Bring a widget into sight, where it lies in something that scrolls."""
    parent = widget.parentWidget()
    while parent is not None:
        if isinstance(parent, QScrollArea):
            parent.ensureWidgetVisible(widget)
        parent = parent.parentWidget()
