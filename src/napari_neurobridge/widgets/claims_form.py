"""The part of the Data dock that imports pairs: to be reviewed, or as accepted ones."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from napari_neurobridge.io.tracking import CountedRows
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workbench.workbench import Workbench

_FILES = "Matches (*.mat *.json *.npy *.csv);;All (*)"
_SHORT = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
_LEAST_LETTERS = 12
_REVIEWED, _ACCEPTED = "claims to review", "accepted pairs"
_COUNTED = {
    "as the file says": None,
    "all ROIs of a session's file": CountedRows.FILE,
    "the ROIs that were kept": CountedRows.KEPT,
}


class ClaimsForm(QWidget):
    """Chooses a file of pairs, and says which of its sessions the two sides are.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self.button = QPushButton("Import pairs…")
        self.button.setObjectName("import_matches_button")
        self.button.setToolTip(
            "CellReg, ROICaT, Track2p, or a table (CSV) of two uids, or of two places in µm within "
            "3 µm of somata"
        )
        self.taken_as = QComboBox()
        self.taken_as.setObjectName("pairs_taken_as")
        self.taken_as.addItems([_REVIEWED, _ACCEPTED])
        self.taken_as.setToolTip(
            "Claims are asked about and nothing rests on them; accepted pairs count at once"
        )
        self.sessions = (QSpinBox(), QSpinBox())
        self.sessions[1].setValue(1)
        self.names = (QLabel(), QLabel())
        for box, name in zip(self.sessions, ("first", "second"), strict=True):
            box.setObjectName(f"{name}_session")
            box.setToolTip("Which session of the file it is, counted from 0; not for a table")
        self.counted = QComboBox()
        self.counted.setObjectName("counted_rows")
        self.counted.addItems(list(_COUNTED))
        for choice in (self.taken_as, self.counted):
            # Its longest entry must not widen the dock; the open list shows it whole.
            choice.setSizeAdjustPolicy(_SHORT)
            choice.setMinimumContentsLength(_LEAST_LETTERS)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow(self.button)
        layout.addRow("they are", self.taken_as)
        for label, box in zip(self.names, self.sessions, strict=True):
            layout.addRow(label, box)
        layout.addRow("numbers count", self.counted)
        self.button.clicked.connect(self._on_clicked)
        workbench.session.project_changed.connect(self._on_project_changed)
        self._on_project_changed(workbench.project)

    def _on_clicked(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose the matches", "", _FILES)
        project = self._workbench.project
        if path and self.taken_as.currentText() == _ACCEPTED:
            self._workbench.imports.accept_pairs(Path(path))
        elif path and project is not None:
            sides = (project.in_vivo(), project.ex_vivo())
            numbers = (box.value() for box in self.sessions)
            self._workbench.imports.import_matches(
                Path(path),
                dict(zip(sides, numbers, strict=True)),
                _COUNTED[self.counted.currentText()],
            )

    def _on_project_changed(self, project: Project | None) -> None:
        if project is not None:
            sides = (project.in_vivo(), project.ex_vivo())
            for label, name in zip(self.names, sides, strict=True):
                label.setText(f"session of {name}")
