"""The ranked candidates of one question, as lines with thumbnails."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.widgets.crop_view import crop_pixmap
from napari_neurobridge.workbench.snapshot import NoneLine, QuestionSnapshot, ShownCandidate

THUMBNAIL = 48
_LINES_SEEN = 3.5
"""So many lines fit at least; half a line tells that there are more."""


class CandidateList(QListWidget):
    """Shows the candidates of a snapshot, and that it may be none of them.

    Signals
    -------
    picked : int
        The place of the line that was picked, from 1; 0 is none of them.
    """

    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown = QuestionSnapshot()
        self.setObjectName("candidates")
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setMinimumHeight(int(_LINES_SEEN * (THUMBNAIL + 4)))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.currentRowChanged.connect(self._on_row_changed)

    def sizeHint(self) -> QSize:
        """Ask for the least height: it takes what others leave."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def _on_row_changed(self, row: int) -> None:
        lines = _lines(self._shown)
        if 0 <= row < len(lines) and self._shown.none is not None:
            line = lines[row]
            self.picked.emit(line.place if isinstance(line, ShownCandidate) else 0)

    def show_snapshot(self, shown: QuestionSnapshot) -> None:
        """Show the lines, the picked one highlighted, or a sentence where there are none."""
        old, self._shown = self._shown, shown
        lines = _lines(shown)
        with signals_blocked(self):
            # The user's scroll position and the thumbnails stay while the pictures do.
            if shown.crops is not old.crops or _places(old) != _places(shown):
                self.clear()
            for row, line in enumerate(lines):
                item = self.item(row)
                if item is None:
                    item = self._item(line)
                    self.addItem(item)
                item.setText(line if isinstance(line, str) else line_text(line))
                item.setToolTip(line.why if isinstance(line, ShownCandidate) else "")
            self.setCurrentRow(_picked_row(shown))

    def _item(self, line: ShownCandidate | NoneLine | str) -> QListWidgetItem:
        item, crops = QListWidgetItem(), self._shown.crops
        pictures = None if crops is None else crops.candidates
        if isinstance(line, ShownCandidate) and pictures is not None:
            item.setIcon(QIcon(crop_pixmap(pictures[line.place - 1], THUMBNAIL)))
        elif isinstance(line, NoneLine) and pictures is not None:
            # In line with the others.
            blank = QPixmap(THUMBNAIL, THUMBNAIL // 2)
            blank.fill(Qt.GlobalColor.transparent)
            item.setIcon(QIcon(blank))
        return item


def line_text(line: ShownCandidate | NoneLine) -> str:
    """Return a line's text: how probable it is, then what that rests on."""
    if isinstance(line, NoneLine):
        head: tuple[str, ...] = ("0", "none of these", line.chance)
        below = line.why
    else:
        head = (str(line.place), line.chance, line.uid, line.mark)
        below = line.measured
    text = "   ".join(part for part in head if part)
    return f"{text}\n     {below}" if below else text


def _lines(shown: QuestionSnapshot) -> list[ShownCandidate | NoneLine | str]:
    """Return what stands in the list, from top to bottom; a text is no answer."""
    lines: list[ShownCandidate | NoneLine | str] = [*shown.candidates]
    if shown.message:
        lines.append(shown.message)
    if shown.none is not None:
        lines.insert(shown.none.after if shown.candidates else len(lines), shown.none)
    return lines


def _places(shown: QuestionSnapshot) -> tuple[int, int]:
    """Return what tells whether another line stands in some row."""
    return len(shown.candidates), -1 if shown.none is None else shown.none.after


def _picked_row(shown: QuestionSnapshot) -> int:
    for row, line in enumerate(_lines(shown)):
        if isinstance(line, NoneLine) and line.picked:
            return row
        if isinstance(line, ShownCandidate) and shown.picked and line.place == shown.picked.place:
            return row
    return -1
