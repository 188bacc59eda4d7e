"""The table of pairs on the screen: it stays where it is when its rows change."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QItemSelection, QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QScrollBar, QTableView, QWidget

from napari_neurobridge.types import Verdict
from napari_neurobridge.widgets.pairs_model import COLUMNS, PairsModel
from napari_neurobridge.workbench.pair_rows import Column, PairRow, RowKey

_WIDTHS_PX = {
    Column.IN_VIVO: 90,
    Column.EX_VIVO: 72,
    Column.STATUS: 102,
    Column.PROBABILITY: 54,
    Column.RESIDUAL: 70,
    Column.CONTRADICTS: 190,
    Column.NOTE: 150,
    Column.ANNOTATOR: 90,
    Column.TIME: 120,
}
_ROW_PX = 22

VERDICT_KEYS = {
    Qt.Key.Key_A: Verdict.ACCEPT,
    Qt.Key.Key_R: Verdict.REJECT,
    Qt.Key.Key_U: Verdict.UNSURE,
    Qt.Key.Key_N: Verdict.NONE,
}


class PairsView(QTableView):
    """Shows a `PairsModel`, and keeps selection, sorting and place when it is refreshed.

    Signals
    -------
    chosen : object
        The `PairRow` that the user selected, as the only one.
    selection_changed
        The user selected other rows.
    judged : object
        The user gave several rows a `Verdict` by its key.
    """

    chosen = Signal(object)
    selection_changed = Signal()
    judged = Signal(object)

    def __init__(self, model: PairsModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._kept: tuple[RowKey, ...] = ()
        self._kept_place, self._kept_scroll = -1, (0, 0)
        self._restoring = False
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        headings, rows = self.horizontalHeader(), self.verticalHeader()
        assert headings is not None
        assert rows is not None
        headings.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        rows.hide()
        # Sizes that are the same for all need not be asked for row by row.
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(_ROW_PX)
        self.setSortingEnabled(True)
        self.sortByColumn(COLUMNS.index(Column.IN_VIVO), Qt.SortOrder.AscendingOrder)
        for place, column in enumerate(COLUMNS):
            self.setColumnWidth(place, _WIDTHS_PX[column])
        model.modelAboutToBeReset.connect(self._keep)
        model.modelReset.connect(self._restore)
        self._choice.selectionChanged.connect(self._on_selection_changed)

    # --- the selection ---------------------------------------------------------------

    @property
    def _choice(self) -> QItemSelectionModel:
        choice = self.selectionModel()
        assert choice is not None
        return choice

    @property
    def n_selected(self) -> int:
        """How many rows are selected."""
        return len(self._choice.selectedRows())

    def selected(self) -> list[PairRow]:
        """Return the selected rows, from the top."""
        places = sorted(index.row() for index in self._choice.selectedRows())
        return [self._model.row(place) for place in places]

    def select(self, keys: tuple[RowKey, ...]) -> None:
        """Select the rows of some pairs, without telling anybody."""
        places = [place for key in keys if (place := self._model.place(key)) is not None]
        chosen = QItemSelection()
        for place in places:
            index = self._model.index(place, 0)
            chosen.select(index, self._model.index(place, len(COLUMNS) - 1))
        flags = QItemSelectionModel.SelectionFlag
        self._restoring = True
        if places:
            self._choice.setCurrentIndex(self._model.index(places[0], 0), flags.NoUpdate)
        self._choice.select(chosen, flags.ClearAndSelect)
        self._restoring = False
        self.selection_changed.emit()

    def _on_selection_changed(self) -> None:
        if self._restoring:
            return
        rows = self.selected()
        if len(rows) == 1:
            self.chosen.emit(rows[0])
        self.selection_changed.emit()

    # --- staying where one is ----------------------------------------------------------

    @property
    def _scroll_bars(self) -> tuple[QScrollBar, QScrollBar]:
        across, down = self.horizontalScrollBar(), self.verticalScrollBar()
        assert across is not None
        assert down is not None
        return across, down

    def _keep(self) -> None:
        self._kept = tuple(row.key for row in self.selected())
        self._kept_place = self.currentIndex().row()
        across, down = self._scroll_bars
        self._kept_scroll = (across.value(), down.value())

    def _restore(self) -> None:
        kept, self._kept = self._kept, ()
        self.select(kept)
        for bar, value in zip(self._scroll_bars, self._kept_scroll, strict=True):
            bar.setValue(value)
        gone = len(kept) == 1 and self._model.place(kept[0]) is None
        # Judged, and no longer among the rows that are wanted: the next one is asked about.
        if gone and self.hasFocus() and self._model.rowCount() and self._model.knows(kept[0]):
            self.selectRow(min(self._kept_place, self._model.rowCount() - 1))

    # --- keys ------------------------------------------------------------------------

    def keyboardSearch(self, search: str | None) -> None:
        """Leave letters to the keys of the docks; the table has a filter."""

    def event(self, event: QEvent | None) -> bool:
        """Claim the keys of verdicts for several selected rows."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and self._judges(event)
        ):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Judge several selected rows."""
        if event is not None and self._judges(event):
            self.judged.emit(VERDICT_KEYS[Qt.Key(event.key())])
            return
        super().keyPressEvent(event)

    def _judges(self, event: QKeyEvent) -> bool:
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        return plain and event.key() in VERDICT_KEYS and self.n_selected > 1
