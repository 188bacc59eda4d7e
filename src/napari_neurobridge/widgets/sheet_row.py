"""How many cells are matched, and the way to look through them."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_neurobridge.viewer.docked import main_window_around
from napari_neurobridge.widgets.contact_sheet import ContactSheetWindow
from napari_neurobridge.workbench.workbench import Workbench


class SheetRow(QWidget):
    """A row of the Match dock that comes up once cells are matched, and leads to the next step.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the row reads it.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.text = QLabel()
        self.text.setObjectName("matched_text")
        self.button = QPushButton("Contact sheet…")
        self.button.setObjectName("contact_sheet_button")
        self.button.setToolTip(
            "Look through the matched pairs, 48 at a time, and certify the rest by a random check"
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text, stretch=1)
        row.addWidget(self.button)
        self.button.clicked.connect(self._on_clicked)
        workbench.matches.match_changed.connect(self._refresh)
        workbench.matches.claims_changed.connect(self._refresh)
        workbench.session.project_changed.connect(self._refresh)
        workbench.session.verdicts_changed.connect(self._refresh)
        self._refresh()

    def _refresh(self, _: object = None) -> None:
        matches = self._workbench.matches
        claims = None if self._workbench.project is None else matches.claims()
        self.setVisible(claims is not None)
        if claims is None:
            return
        n_matched = len(claims.pairs) - claims.n_accepted
        cells = "1 cell" if n_matched == 1 else f"{n_matched:,} cells"
        self.text.setText(f"{cells} matched: look through them")

    def _on_clicked(self) -> None:
        # The main window's: a dock that floats is a window too, and takes along what it owns.
        main = main_window_around(self)
        sheet = None if main is None else main.findChild(ContactSheetWindow)
        if sheet is None:
            sheet = ContactSheetWindow(self._workbench, main)
        sheet.show()
        sheet.raise_()
        sheet.activateWindow()
