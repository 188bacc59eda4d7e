"""One row of controls: find a cell, back and forth, undo and redo, and the latest decisions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtWidgets import QAction, QHBoxLayout, QLineEdit, QMenu, QPushButton, QToolButton, QWidget

from napari_neurobridge.workbench.workbench import Workbench


class _FindField(QLineEdit):
    """A field that lets the keys of the docks go on once it is left with Esc."""

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Leave the field with Esc."""
        if event is not None and event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
            return
        super().keyPressEvent(event)


class FindBar(QWidget):
    """Finds cells, walks through the asked ones, and takes decisions back.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the bar reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.field = _FindField()
        self.field.setObjectName("find_field")
        self.field.setPlaceholderText("Find uid or z y x (µm)")
        self.field.setToolTip(
            "A uid, or a place as z y x in µm of the two-photon space; fmost before the numbers "
            "means a place of the fMOST space (Ctrl+F)"
        )
        self.field.returnPressed.connect(self._on_return_pressed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.field, stretch=1)
        visits, verdicts = workbench.visits, workbench.verdicts
        self.back = self._button("back", "←", "The cell asked about before (Alt+Left)", visits.back)
        self.forward = self._button(
            "forward", "→", "The cell that you went back from (Alt+Right)", visits.forward
        )
        self.undo = self._button("undo_step", "↶", "Undo (Ctrl+Z)", verdicts.undo)
        self.redo = self._button("redo_step", "↷", "Redo (Ctrl+Shift+Z)", verdicts.redo)
        self.history = self._create_history()
        for button in (self.back, self.forward, self.undo, self.redo, self.history):
            layout.addWidget(button)

        session = workbench.session
        workbench.finder.requested.connect(self._on_requested)
        visits.changed.connect(self._refresh)
        session.verdicts_changed.connect(self._refresh)
        session.project_changed.connect(self._refresh)
        self._refresh()

    # --- controls --------------------------------------------------------------------

    def _button(self, name: str, label: str, tip: str, action: Callable[[], None]) -> QToolButton:
        button = QToolButton()
        button.setObjectName(f"{name}_button")
        button.setText(label)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.clicked.connect(lambda _checked=False: action())
        return button

    def _create_history(self) -> QPushButton:
        button = QPushButton("History")
        button.setObjectName("history_button")
        button.setToolTip("Your latest decisions; choose one to take it back")
        self.menu = QMenu(button)
        self.menu.setObjectName("history_menu")
        self.menu.setToolTipsVisible(True)
        self.menu.aboutToShow.connect(self._fill_history)
        button.setMenu(self.menu)
        return button

    # --- from the view to the state ------------------------------------------------------

    def _on_return_pressed(self) -> None:
        if self._workbench.finder.find(self.field.text()):
            # The next keys judge what was found.
            self.field.clearFocus()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Put the cursor into the field, if that is what the bar was brought up for."""
        super().showEvent(event)
        if self._workbench.finder.waiting:
            self._take_cursor()

    def _on_requested(self) -> None:
        if self.isVisible():
            self._take_cursor()

    def _take_cursor(self) -> None:
        self._workbench.finder.waiting = False
        self.field.setFocus()
        self.field.selectAll()

    # --- from the state to the view ------------------------------------------------------

    def _fill_history(self) -> None:
        self.menu.clear()
        decisions = self._workbench.decisions
        for decision in decisions.recent():
            follows = f"  ({decision.consequence})" if decision.consequence else ""
            action = QAction(f"{decision.time}  {decision.text}{follows}", self.menu)
            action.setToolTip(f"Take back: {decision.text}{follows}")
            action.triggered.connect(partial(self._revert, decision.event_id))
            self.menu.addAction(action)
        if self.menu.isEmpty():
            nothing = QAction("You have decided nothing yet", self.menu)
            nothing.setEnabled(False)
            self.menu.addAction(nothing)

    def _revert(self, event_id: str, _checked: bool = False) -> None:
        self._workbench.decisions.revert(event_id)

    def _refresh(self, _: object = None) -> None:
        visits, decisions = self._workbench.visits, self._workbench.decisions
        self.back.setEnabled(visits.can_go_back)
        self.forward.setEnabled(visits.can_go_forward)
        self.undo.setEnabled(decisions.can_undo)
        self.redo.setEnabled(decisions.can_redo)
