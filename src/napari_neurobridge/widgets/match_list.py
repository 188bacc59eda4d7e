"""The matches of a registration as a list: the farthest off come first."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.workbench.registering import Registering

_HEADS = ("C(i, j)", "off, µm", "agrees")
_TIPS = (
    "Geometric consistency: how well the match fits its neighbours, from 0 to 1",
    "From where the map puts the source's place to the target's",
    "Whether the map was fitted to it",
)


class MatchList(QTableWidget):
    """Lists the matches above the threshold; a click looks at one.

    Parameters
    ----------
    registering : Registering
    """

    def __init__(self, registering: Registering, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADS), parent)
        self._registering = registering
        self._rows: list[int] = []
        self.setObjectName("registration_matches")
        for column, (words, tip) in enumerate(zip(_HEADS, _TIPS, strict=True)):
            item = QTableWidgetItem(words)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        header, numbers = self.horizontalHeader(), self.verticalHeader()
        assert header is not None
        assert numbers is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        numbers.hide()
        numbers.setDefaultSectionSize(22)
        self.setMinimumHeight(70)
        self.itemSelectionChanged.connect(self._on_chosen)
        self._fill_soon = OnceSoon(self._fill)
        registering.changed.connect(self._fill_soon)
        registering.selected_changed.connect(self._show_selected)
        self._fill()

    def _fill(self) -> None:
        shown = self._registering.matches()
        with signals_blocked(self):
            self.setRowCount(0 if shown is None else len(shown))
            if shown is None:
                return
            order = np.argsort(-np.nan_to_num(shown.off_um), kind="stable")
            self._rows = [int(shown.rows[i]) for i in order]
            for line, i in enumerate(order):
                off = shown.off_um[i]
                texts = (
                    f"{shown.confidence[i]:.2f}",
                    "" if np.isnan(off) else f"{off:.1f}",
                    "yes" if shown.agreeing[i] else "no",
                )
                for column, text in enumerate(texts):
                    item = QTableWidgetItem(text)
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                    self.setItem(line, column, item)
        self._show_selected()

    def _on_chosen(self) -> None:
        line = self.currentRow()
        if self.selectedItems() and 0 <= line < len(self._rows):
            self._registering.select(self._rows[line])

    def _show_selected(self) -> None:
        row = self._registering.selected
        with signals_blocked(self):
            if row not in self._rows:
                self.clearSelection()
                return
            line = self._rows.index(row)
            self.selectRow(line)
            self.scrollToItem(self.item(line, 0))
