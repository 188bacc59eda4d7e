"""A titled part of a dock that can be folded away."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget


class Foldable(QWidget):
    """Shows a widget under a title; a click on the title folds it away and back.

    Parameters
    ----------
    title : str
    content : QWidget
        What is folded; it may hide itself as it likes.
    name : str
        Object name of the title's button.
    unfolded : bool
        Whether the content is seen to begin with.
    """

    def __init__(
        self,
        title: str,
        content: QWidget,
        *,
        name: str,
        unfolded: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.title = QToolButton()
        self.title.setObjectName(name)
        self.title.setText(title)
        self.title.setCheckable(True)
        self.title.setAutoRaise(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._holder = QWidget()
        inside = QVBoxLayout(self._holder)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.title)
        layout.addWidget(self._holder)
        self.title.toggled.connect(self._on_toggled)
        self.title.setChecked(unfolded)
        self._on_toggled(unfolded)

    def _on_toggled(self, unfolded: bool) -> None:
        self._holder.setVisible(unfolded)
        self.title.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)
