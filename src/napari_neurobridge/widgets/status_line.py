"""One sentence at the foot of a dock: what happened, and what can be done about it."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench


class StatusLine(QWidget):
    """Shows the workbench's notices; a refused action that may be forced gets a button."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = QLabel()
        self.text.setObjectName("status_text")
        self.text.setWordWrap(True)
        self.force = QPushButton("Replace it")
        self.force.setObjectName("force_button")
        self.force.hide()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, stretch=1)
        layout.addWidget(self.force)
        self._notice: Notice | None = None
        self.force.clicked.connect(self._on_force_clicked)
        workbench.session.notified.connect(self._on_notified)

    def _on_notified(self, notice: Notice) -> None:
        self._notice = notice
        self.text.setText(("⚠ " if notice.is_error else "") + notice.text)
        self.force.setVisible(notice.retry is not None)

    def _on_force_clicked(self) -> None:
        if self._notice is not None and self._notice.retry is not None:
            self._notice.retry()
