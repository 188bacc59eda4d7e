"""One sentence at the foot of a dock: what happened, and what can be done about it."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench


class StatusLine(QWidget):
    """Shows the workbench's notices; one that knows a way out gets a button for it."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = QLabel()
        self.text.setObjectName("status_text")
        self.text.setWordWrap(True)
        self.remedy = QPushButton()
        self.remedy.setObjectName("remedy_button")
        self.remedy.hide()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, stretch=1)
        layout.addWidget(self.remedy)
        self._notice: Notice | None = None
        self.remedy.clicked.connect(self._on_remedy_clicked)
        workbench.session.notified.connect(self._show)
        # A way out of an earlier question must not be offered for the next one.
        self._asked = workbench.questions.snapshot.asked
        workbench.questions.snapshot_changed.connect(self._on_snapshot_changed)
        workbench.session.project_changed.connect(self._withdraw_remedy)

    def _show(self, notice: Notice) -> None:
        self._notice = notice
        self.text.setText(("⚠ " if notice.is_error else "") + notice.text)
        self.remedy.setVisible(notice.remedy is not None)
        if notice.remedy is not None:
            self.remedy.setText(notice.remedy.label)

    def add(self, text: str) -> None:
        """Say more about what happened; a warning is left as it stands."""
        notice = self._notice
        if notice is not None and notice.text and not notice.is_error:
            self._show(replace(notice, text=f"{notice.text} · {text}"))

    def _on_snapshot_changed(self, snapshot: QuestionSnapshot) -> None:
        if snapshot.asked != self._asked:
            self._asked = snapshot.asked
            self._withdraw_remedy()

    def _withdraw_remedy(self, _: object = None) -> None:
        if self._notice is not None and self._notice.remedy is not None:
            self._show(Notice(""))

    def _on_remedy_clicked(self) -> None:
        if self._notice is not None and self._notice.remedy is not None:
            self._notice.remedy.apply()
