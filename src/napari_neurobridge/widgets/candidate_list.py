"""The ranked candidates of one question, as lines with thumbnails."""

from __future__ import annotations

from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.widgets.crop_view import crop_pixmap
from napari_neurobridge.workbench.snapshot import QuestionSnapshot, ShownCandidate

THUMBNAIL = 64


class CandidateList(QListWidget):
    """Shows the candidates of a snapshot.

    Signals
    -------
    picked : int
        The place of the line that was picked, from 1.
    """

    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown = QuestionSnapshot()
        self.setObjectName("candidates")
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setMinimumHeight(2 * THUMBNAIL)
        self.currentRowChanged.connect(self._on_row_changed)

    def _on_row_changed(self, row: int) -> None:
        if row >= 0 and self._shown.candidates:
            self.picked.emit(row + 1)

    def show_snapshot(self, shown: QuestionSnapshot) -> None:
        """Show the candidates, the picked one highlighted, or a sentence where there are none."""
        old, self._shown = self._shown, shown
        with signals_blocked(self):
            # The user's scroll position and the thumbnails stay while the pictures do.
            if shown.crops is not old.crops or len(shown.candidates) != len(old.candidates):
                self.clear()
            if not shown.candidates:
                self.clear()
                if shown.message:
                    self.addItem(shown.message)
            for row, candidate in enumerate(shown.candidates):
                item = self.item(row)
                if item is None:
                    item = self._item(row)
                    self.addItem(item)
                item.setText(candidate_text(candidate))
                item.setToolTip(candidate.why)
            picked = shown.picked
            self.setCurrentRow(-1 if picked is None or picked.place is None else picked.place - 1)

    def _item(self, row: int) -> QListWidgetItem:
        item, crops = QListWidgetItem(), self._shown.crops
        if crops is not None and crops.candidates is not None:
            item.setIcon(QIcon(crop_pixmap(crops.candidates[row], THUMBNAIL)))
        return item


def candidate_text(candidate: ShownCandidate) -> str:
    """Return a candidate's line: how probable it is, then what that rests on."""
    head = (str(candidate.place), candidate.chance, candidate.uid, candidate.mark)
    line = "   ".join(part for part in head if part)
    return f"{line}\n     {candidate.measured}" if candidate.measured else line
