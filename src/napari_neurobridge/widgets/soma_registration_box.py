"""The part of the Register dock that registers the open project by its somata."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_neurobridge.viewer.styles import MARK_COLORS, Mark, swatch
from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.workbench.soma_registration import SOMATA_JOB
from napari_neurobridge.workbench.workbench import Workbench


class SomaRegistrationBox(QWidget):
    """Finds the two-photon field in the fMOST volume, tells the decision, and applies it.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the box reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        registration = self._registration = workbench.soma_registration
        self.find_button = QPushButton("Register by somata")
        self.find_button.setObjectName("register_somata_button")
        self.find_button.setToolTip(
            "Looks for the pattern of the two-photon somata in the fMOST volume, at any angle "
            "about the optical axis and without any pair; changes nothing. Up to some minutes"
        )
        self.apply_button = QPushButton("Apply")
        self.apply_button.setObjectName("apply_registration_button")
        self.apply_button.setToolTip(
            "The alignment rests on it from now on, and accepted pairs refine it"
        )
        self.undo_button = QPushButton("Take back")
        self.undo_button.setObjectName("take_back_registration_button")
        self.undo_button.setToolTip(
            "Takes back the registration that you applied; Z does not, since it moves a whole field"
        )
        self.text = QLabel()
        self.text.setObjectName("soma_registration_text")
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        row = QHBoxLayout()
        for button in (self.find_button, self.apply_button, self.undo_button):
            row.addWidget(button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(JobList(workbench, only=(SOMATA_JOB,)))
        layout.addWidget(self.text)
        self.find_button.clicked.connect(lambda _checked=False: registration.find())
        self.apply_button.clicked.connect(lambda _checked=False: registration.apply())
        self.undo_button.clicked.connect(lambda _checked=False: registration.take_back())
        registration.changed.connect(self._refresh)
        workbench.session.job_changed.connect(self._on_job_changed)
        self._refresh()

    def _on_job_changed(self, _: object) -> None:
        self._refresh()

    def _refresh(self) -> None:
        registration = self._registration
        self.find_button.setEnabled(registration.offered and not registration.running)
        self.apply_button.setEnabled(registration.can_apply and not registration.running)
        self.undo_button.setEnabled(registration.can_take_back)
        self.text.setText(self._in_words())
        self.text.setVisible(bool(self.text.text()))

    def _in_words(self) -> str:
        registration = self._registration
        decision, applied = registration.decision, registration.applied
        said = []
        if decision is not None:
            color, sign, word = (
                (MARK_COLORS[Mark.ACCEPTED], "✔", "Accepted, not applied yet.")
                if decision.accepted
                else (MARK_COLORS[Mark.DISPUTED], "✘", "Refused.")
            )
            said.append(f"{swatch(color, sign)} <b>{word}</b> {decision.reason}")
        if applied is not None:
            color = MARK_COLORS[Mark.ACCEPTED]
            said.append(
                f"{swatch(color, '✔')} <b>Applied</b> by {applied.annotator}, "
                f"{applied.time[:10]}: {applied.reason} Accepted pairs refine it."
            )
        elif not registration.offered:
            said.append("Both datasets need somata: detect or import them in the Data dock.")
        return "<br>".join(said)
