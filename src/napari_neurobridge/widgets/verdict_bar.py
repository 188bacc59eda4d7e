"""The foot of the Match dock, always in sight: what is asked, and the buttons that answer it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_neurobridge.widgets.accept_button import AcceptButton
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench

_EMPTY = "Click a circle in the two-photon canvas, or press space for the next cell."
_NO_PROJECT = "Open a project in the Data dock, or File ▸ Open Sample ▸ NeuroBridge."
_KEYS = "0–9: pick · F: swap · P: what would change"


_ACCEPT_TIP = "What is picked is right. Rest here, or press P, to see which cells would change"


class VerdictBar(QWidget):
    """Says which cell is asked about and why, and takes the verdict.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the bar reads its snapshot and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.header = QLabel()
        self.header.setObjectName("query_header")
        self.header.setWordWrap(True)
        self.header.setTextFormat(Qt.TextFormat.RichText)
        self.status = StatusLine(workbench)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.header)
        layout.addLayout(self._create_buttons())
        layout.addLayout(self._create_foot())
        layout.addWidget(self.status)
        workbench.preview.changed.connect(self._on_preview_changed)
        self._on_preview_changed()

    def _create_buttons(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(4)
        verdicts, questions = self._workbench.verdicts, self._workbench.questions
        actions = (
            (
                "accept",
                "A  accept",
                "What is picked is right: the same cell, or none",
                verdicts.accept,
            ),
            ("reject", "R  reject", "The picked soma is a different cell", verdicts.reject),
            ("unsure", "U  unsure", "Not sure whether it is the same cell", verdicts.unsure),
            ("none", "N  none", "No soma on the other side is the same cell", verdicts.none),
            ("next", "space  next", "Go to the next cell in the queue", questions.next_query),
            ("undo", "Z  undo", "Undo your last decision (Shift+Z: redo)", verdicts.undo),
        )
        for index, (name, label, tip, action) in enumerate(actions):
            button = QPushButton(label)
            if name == "accept":
                button = AcceptButton(label, self._workbench.preview)
            button.setObjectName(f"{name}_button")
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked=False, action=action: action())
            grid.addWidget(button, index // 3, index % 3)
        return grid

    def _create_foot(self) -> QHBoxLayout:
        self.hint = QLabel(_KEYS)
        self.hint.setObjectName("keys_hint")
        self.hint.setWordWrap(True)
        self.then_next = QCheckBox("then next")
        self.then_next.setObjectName("then_next_check")
        self.then_next.setToolTip(
            "Each decision asks the next question at once; Z comes back to the one before"
        )
        self.then_next.setChecked(self._workbench.verdicts.then_next)
        self.then_next.toggled.connect(self._workbench.verdicts.set_then_next)
        row = QHBoxLayout()
        row.addWidget(self.hint, stretch=1)
        row.addWidget(self.then_next)
        return row

    def _on_preview_changed(self) -> None:
        """Say what would change in the place of the keys, so that no button moves."""
        text = self._workbench.preview.text
        self.hint.setText(text or _KEYS)
        self.hint.setEnabled(bool(text))

    def show_snapshot(self, shown: QuestionSnapshot) -> None:
        """Show which cell is asked about, and why or what is known of it."""
        query = shown.query
        if self._workbench.project is None:
            self.header.setText(_NO_PROJECT)
            return
        if query is None:
            self.header.setText(_EMPTY)
            return
        z, y, x = query.center_um
        place = f"z {z:.1f}&nbsp; y {y:.1f}&nbsp; x {x:.1f} µm"
        why = shown.known or shown.reason
        self.header.setText(f"<b>{query.uid or 'a place'}</b>&nbsp;&nbsp; {place}<br>{why}")
