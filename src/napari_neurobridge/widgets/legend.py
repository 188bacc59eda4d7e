"""What every mark in the canvases means, as a popup of the Match dock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QMenu, QToolButton, QWidget, QWidgetAction

from napari_neurobridge.viewer.keys import napari_meanings
from napari_neurobridge.viewer.styles import (
    CHANGED_FILL,
    MARK_COLORS,
    MARK_GROUND,
    ExpectedStyle,
    Mark,
    NeighbourStyle,
    OutlineStyle,
)

_SIZE_PX = 22
_LINE_PX = 2.0


@dataclass(frozen=True)
class LegendEntry:
    """One mark and what it says.

    Attributes
    ----------
    words : str
    color : str
        Of the line, ``#RRGGBB``.
    fill : tuple of float
        RGBA of the inside.
    number : str
        Stands in a badge beside the circle.
    dashed : bool
        Whether the line is, and has a cross within.
    """

    words: str
    color: str
    fill: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    number: str = ""
    dashed: bool = False


MARK_WORDS = {
    Mark.QUERY: "the cell that is asked about",
    Mark.CHOSEN: "the candidate that is picked",
    Mark.CANDIDATE: "another listed candidate",
    Mark.ACCEPTED: "accepted pair; the same number on both sides",
    Mark.DISPUTED: "disputed: two people disagree",
    Mark.NO_PARTNER: "found to have no partner",
    Mark.CLAIMED: "matched by the program (darker: less certain)",
    Mark.UNMATCHED: "not matched",
    Mark.LANDMARK: "diamond: a landmark that is no soma",
    Mark.PLAIN: "soma, while nothing is matched",
}
"""What each mark says; hidden ones are hidden in a random check."""


def legend_entries() -> tuple[LegendEntry, ...]:
    """Return all marks with their words, in the colours that the canvases draw."""
    circles = [LegendEntry(words, MARK_COLORS[mark]) for mark, words in MARK_WORDS.items()]
    accepted, claimed = MARK_COLORS[Mark.ACCEPTED], MARK_COLORS[Mark.CLAIMED]
    inside = QColor(accepted)
    fill = (inside.redF(), inside.greenF(), inside.blueF(), NeighbourStyle().fill)
    return (
        *circles,
        LegendEntry("accepted pair near the query, for comparison", accepted, fill, "1"),
        LegendEntry("matched pair near the query", claimed, number="2"),
        LegendEntry("the partner is expected here (one deviation)", ExpectedStyle().colors[-1]),
        LegendEntry(
            "the place under the other canvas's mouse",
            ExpectedStyle().colors[-1],
            dashed=True,
        ),
        LegendEntry("changed by the latest verdict, or would change", claimed, CHANGED_FILL),
        LegendEntry("outline of an imported region", OutlineStyle().color),
    )


def entry_pixmap(entry: LegendEntry) -> QPixmap:
    """Draw a mark as the canvases do, on their dark ground."""
    pixmap = QPixmap(_SIZE_PX, _SIZE_PX)
    pixmap.fill(QColor(MARK_GROUND))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(QColor(entry.color), _LINE_PX)
    middle, radius = _SIZE_PX / 2, _SIZE_PX / 2 - 4
    if entry.dashed:
        pen.setStyle(Qt.PenStyle.DotLine)
    painter.setPen(pen)
    painter.setBrush(QColor.fromRgbF(*entry.fill))
    painter.drawEllipse(QPointF(middle, middle), radius, radius)
    for dx, dy in ((3, 0), (0, 3)) if entry.dashed else ():
        painter.drawLine(QPointF(middle - dx, middle - dy), QPointF(middle + dx, middle + dy))
    if entry.number:
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        painter.setPen(QColor("white"))
        painter.drawText(
            QRectF(pixmap.rect()),
            Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignRight,
            entry.number,
        )
    painter.end()
    return pixmap


def keys_in_words(keys: Collection[str]) -> str:
    """Return which keys mean something else to napari, and when they do so again."""
    meanings = napari_meanings(keys)
    told = ", ".join(f"{key} ({words.split(', ')[0]})" for key, words in sorted(meanings.items()))
    return (
        "While a NeuroBridge dock is open, keys act on pairs. When all are closed, napari has its "
        f"own again: {told}."
    )


class LegendButton(QToolButton):
    """Opens the legend; a click elsewhere closes it.

    Parameters
    ----------
    keys : collection of str
        The keys that act on pairs, as Qt names them.
    """

    def __init__(self, keys: Collection[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._keys = keys
        self.setObjectName("legend_button")
        self.setText("?")
        self.setMinimumWidth(34)
        self.setToolTip("What the marks in the canvases mean")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.aboutToShow.connect(self._fill)
        self.setMenu(menu)

    def _fill(self) -> None:
        """Make the table when somebody first wants to see it."""
        menu = self.menu()
        if menu is None or menu.actions():
            return
        table = QWidget()
        table.setObjectName("legend")
        grid = QGridLayout(table)
        grid.setVerticalSpacing(3)
        for row, entry in enumerate(legend_entries()):
            mark = QLabel()
            mark.setPixmap(entry_pixmap(entry))
            grid.addWidget(mark, row, 0)
            grid.addWidget(QLabel(entry.words), row, 1)
        keys = QLabel(keys_in_words(self._keys))
        keys.setObjectName("legend_keys")
        keys.setWordWrap(True)
        grid.addWidget(keys, grid.rowCount(), 0, 1, 2)
        action = QWidgetAction(menu)
        action.setDefaultWidget(table)
        menu.addAction(action)
