"""The ranked candidates of one question, as lines with thumbnails."""

from __future__ import annotations

from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.types import Basis, Candidate
from napari_neurobridge.widgets.crop_view import crop_pixmap
from napari_neurobridge.workbench.answers import Answer
from napari_neurobridge.workbench.reasons import percent, why

THUMBNAIL = 64


class CandidateList(QListWidget):
    """Shows the candidates of an answer; in an audit, nothing but pictures and names.

    Signals
    -------
    picked : int
        The place of the line that was picked, from 1.
    """

    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._answer: Answer | None = None
        self.setObjectName("candidates")
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setMinimumHeight(2 * THUMBNAIL)
        self.currentRowChanged.connect(self._on_row_changed)

    def _on_row_changed(self, row: int) -> None:
        if row >= 0 and self._answer is not None and self._answer.shown:
            self.picked.emit(row + 1)

    def show_answer(self, answer: Answer | None, otherwise: str) -> None:
        """Show the candidates of an answer, or a sentence where there are none.

        Parameters
        ----------
        answer : Answer or None
        otherwise : str
            Why there is none; empty to show nothing.
        """
        self._answer = answer
        with signals_blocked(self):
            self.clear()
            if answer is None:
                if otherwise:
                    self.addItem(otherwise)
            elif not answer.shown:
                self.addItem("No soma lies anywhere near the expected place.")
            for place, candidate in enumerate(answer.shown if answer is not None else ()):
                self.addItem(self._item(answer, place, candidate))

    def _item(self, answer: Answer | None, place: int, candidate: Candidate) -> QListWidgetItem:
        item = QListWidgetItem()
        assert answer is not None
        if not answer.blind:
            item.setToolTip(why(answer.ranking, candidate))
        if answer.candidate_crops is not None:
            item.setIcon(QIcon(crop_pixmap(answer.candidate_crops[place], THUMBNAIL)))
        return item

    def show_marks(self, marks: dict[str, str]) -> None:
        """Write each line, with what was said about the candidate before, by its uid."""
        if self._answer is None:
            return
        for place, candidate in enumerate(self._answer.shown):
            mark = marks.get(candidate.uid, "")
            self.item(place).setText(candidate_text(self._answer, place + 1, candidate, mark))

    def show_choice(self, choice: Candidate | None) -> None:
        """Highlight the picked candidate's line, if it has one."""
        shown = self._answer.shown if self._answer is not None else ()
        places = {candidate.uid: place for place, candidate in enumerate(shown)}
        with signals_blocked(self):
            self.setCurrentRow(places.get(choice.uid, -1) if choice is not None else -1)


def candidate_text(answer: Answer, place: int, candidate: Candidate, mark: str) -> str:
    """Return a candidate's line: how probable it is, then what that rests on."""
    head, numbers = [str(place)], []
    if not answer.blind:
        if candidate.probability is not None:
            head.append(percent(candidate.probability))
        if candidate.residual_um is not None:
            numbers.append(f"{candidate.residual_um:.1f} µm off")
        if candidate.similarity is not None:
            numbers.append(f"looks {candidate.similarity:.2f}")
        if answer.ranking.basis is Basis.APPEARANCE:
            numbers.reverse()
    head += [candidate.uid, mark]
    line = "   ".join(part for part in head if part)
    return f"{line}\n     {'   '.join(numbers)}" if numbers else line
