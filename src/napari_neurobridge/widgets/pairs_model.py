"""The table of pairs as Qt sees it: rows are looked up when they are drawn, and never copied."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap

from napari_neurobridge.viewer.styles import MARK_COLORS, Mark
from napari_neurobridge.workbench.pair_rows import Column, PairRow, PairStatus, RowKey
from napari_neurobridge.workbench.pair_table import PairTable

COLUMNS = tuple(Column)
_NUMBERS = (Column.PROBABILITY, Column.RESIDUAL)
_TIPS = {
    Column.PROBABILITY: "Probability that the pair is right",
    Column.RESIDUAL: "Distance from where the other pairs expect the partner",
    Column.CONTRADICTS: "Who or what says otherwise",
    Column.NOTE: "Double-click to write a note",
    Column.TIME: "When it was decided last",
}
_MARKS = {
    PairStatus.ACCEPTED: Mark.ACCEPTED,
    PairStatus.DISPUTED: Mark.DISPUTED,
    PairStatus.CLAIMED: Mark.CLAIMED,
    PairStatus.REVIEW: Mark.QUERY,
    PairStatus.UNSURE: Mark.CANDIDATE,
    PairStatus.NONE: Mark.NO_PARTNER,
    PairStatus.REJECTED: Mark.UNMATCHED,
    PairStatus.LANDMARK: Mark.LANDMARK,
}
_DOT_PX = 10


def status_icon(status: PairStatus) -> QIcon:
    """Return a dot in the colour that the circles of such cells have; clear for what has none."""
    dot = QPixmap(_DOT_PX, _DOT_PX)
    dot.fill(Qt.GlobalColor.transparent)
    mark = _MARKS.get(status)
    if mark is not None:
        painter = QPainter(dot)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(MARK_COLORS[mark]))
        painter.drawEllipse(1, 1, _DOT_PX - 2, _DOT_PX - 2)
        painter.end()
    return QIcon(dot)


class PairsModel(QAbstractTableModel):
    """Shows the rows of a `PairTable` in the order of one column.

    Parameters
    ----------
    table : PairTable
        Its rows, chips and words say what is shown.
    """

    def __init__(self, table: PairTable, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table = table
        self._rows: tuple[PairRow, ...] = ()
        self._order: list[int] = []
        self._places: dict[RowKey, int] | None = None
        self._sorted_by = (Column.IN_VIVO, False)
        self._icons = {status: status_icon(status) for status in PairStatus}
        table.changed.connect(self.refresh)
        table.narrowed.connect(self.refresh)
        self.refresh()

    # --- what Qt asks ----------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """Return how many rows are shown."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """Return how many columns there are."""
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        column = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.row(index.row()).text(column)
        if role == Qt.ItemDataRole.DecorationRole:
            status = column is Column.STATUS
            return self._icons[self.row(index.row()).status] if status else None
        if role == Qt.ItemDataRole.TextAlignmentRole and column in _NUMBERS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.row(index.row()).text(column) or _TIPS.get(column)
        if role == Qt.ItemDataRole.EditRole and column is Column.NOTE:
            return self._table.own_note(self.row(index.row()))
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Write a note."""
        if role != Qt.ItemDataRole.EditRole or COLUMNS[index.column()] is not Column.NOTE:
            return False
        self._table.write_note(self.row(index.row()), str(value))
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let notes be edited, and nothing else."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.isValid() and COLUMNS[index.column()] is Column.NOTE:
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return the heading of a column."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return str(COLUMNS[section])
        if role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS.get(COLUMNS[section])
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self._sorted_by = (COLUMNS[column], order == Qt.SortOrder.DescendingOrder)
        self.refresh()

    # --- what the panel asks ---------------------------------------------------------

    def row(self, place: int) -> PairRow:
        """Return the row at a place from the top, from 0."""
        return self._rows[self._order[place]]

    def place(self, key: RowKey) -> int | None:
        """Return where a pair is shown, from 0; None where it is not."""
        if self._places is None:
            self._places = {self.row(place).key: place for place in range(len(self._order))}
        return self._places.get(key)

    def knows(self, key: RowKey) -> bool:
        """Return whether there is a row of that pair, shown or not."""
        return any(row.key == key for row in self._rows)

    def refresh(self) -> None:
        """Take over what the table holds now."""
        column, descending = self._sorted_by
        rows, order = self._table.rows, self._table.arranged(column, descending=descending)
        if len(order) == len(self._order) and all(
            rows[new].key == self._rows[old].key
            for new, old in zip(order, self._order, strict=True)
        ):
            # The same pairs at the same places: whoever looks at them need not move.
            self._rows, self._order = rows, order
            if order:
                last = self.index(len(order) - 1, len(COLUMNS) - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            return
        self.beginResetModel()
        self._rows, self._order, self._places = rows, order, None
        self.endResetModel()
