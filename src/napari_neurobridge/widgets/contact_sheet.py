"""The contact sheet's window: flickering pairs, keys to mark the wrong ones, random checks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QKeySequence, QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QShortcut,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_neurobridge.types import Verdict
from napari_neurobridge.viewer.styles import SheetStyle, swatch
from napari_neurobridge.widgets.sheet_tiles import TilesView
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.contact_sheet import DEFAULT_SHARE
from napari_neurobridge.workbench.pair_table import Chip
from napari_neurobridge.workbench.sheet_page import SheetPage
from napari_neurobridge.workbench.workbench import Workbench

FLICKER_MS = 417
"""How long a side is on show: both of them 1.2 times a second."""

_SHARES = (0.01, DEFAULT_SHARE, 0.05, 0.1)
_KEYS = (
    "Click or <b>X</b>: wrong · <b>U</b>: not sure · arrows: move · <b>Enter</b>: next page · "
    "<b>F</b>: stop, other side · <b>space</b>: flicker · <b>Z</b>: undo"
)
_SHARE_OF_SCREEN = 0.94
_ALL_ROOM = 100
_ASIDE_PX = 120
"""Margin beside a message, whose lines would be too long to read."""


class ContactSheetWindow(QDialog):
    """Shows a page of pairs at a time, beside napari's window.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the window reads its contact sheet and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("contact_sheet")
        self.setWindowTitle("NeuroBridge: contact sheet")
        self.setWindowFlag(Qt.WindowType.WindowMaximizeButtonHint)
        self._workbench = workbench
        self._sheet = workbench.contact_sheet
        self._flicker = QTimer(self)
        self._flicker.setInterval(FLICKER_MS)
        self._flicker.timeout.connect(self._swap)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(4)
        layout.addLayout(self._create_header())
        layout.addWidget(self._create_stage(), stretch=1)
        layout.addLayout(self._create_actions())
        layout.addLayout(self._create_check_row())
        layout.addWidget(StatusLine(workbench))
        self._create_shortcuts()
        self._fit_screen()

        self._sheet.page_changed.connect(self._on_page_changed)
        self._sheet.pictures_changed.connect(self._on_pictures_changed)
        self._sheet.marks_changed.connect(self._on_marks_changed)

    # --- controls --------------------------------------------------------------------

    def _create_header(self) -> QHBoxLayout:
        self.title = QLabel()
        self.title.setObjectName("sheet_title")
        self.side = QLabel()
        self.side.setObjectName("sheet_side")
        self.side.setTextFormat(Qt.TextFormat.RichText)
        row = QHBoxLayout()
        row.addWidget(self.side)
        row.addWidget(self.title, stretch=1)
        return row

    def _create_stage(self) -> QStackedWidget:
        self.tiles = TilesView(self._sheet)
        self.tiles.clicked.connect(self._sheet.mark)
        self.message = QLabel()
        self.message.setObjectName("sheet_message")
        self.message.setWordWrap(True)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.remark = QLabel()
        self.remark.setObjectName("sheet_remark")
        self.remark.setWordWrap(True)
        self.pairs_button = _button(
            "sheet_pairs_button", self._on_pairs_clicked, "Open the Pairs table"
        )
        self.told = QWidget()
        layout = QVBoxLayout(self.told)
        layout.addStretch(1)
        layout.setContentsMargins(_ASIDE_PX, 0, _ASIDE_PX, 0)
        layout.setSpacing(16)
        layout.addWidget(self.message)
        layout.addWidget(self.remark)
        layout.addWidget(self.pairs_button, alignment=Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        self.stage = QStackedWidget()
        self.stage.addWidget(self.tiles)
        self.stage.addWidget(self.told)
        return self.stage

    def _create_actions(self) -> QHBoxLayout:
        self.finish_button = _button("sheet_finish_button", self._sheet.finish_page)
        self.undo_button = _button("sheet_undo_button", self._sheet.undo, "Undo")
        self.undo_button.setToolTip("Undo the last page, or the last step before it")
        self.flicker_button = _button("sheet_flicker_button", self._toggle_flicker, "Flicker")
        self.flicker_button.setCheckable(True)
        self.flicker_button.setToolTip("Show the two sides in turn, all pairs at once")
        self.keys = QLabel(_KEYS)
        self.keys.setObjectName("sheet_keys")
        self.keys.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.finish_button)
        row.addWidget(self.undo_button)
        row.addWidget(self.flicker_button)
        row.addWidget(self.keys, stretch=_ALL_ROOM)
        row.addStretch(1)
        return row

    def _create_check_row(self) -> QHBoxLayout:
        self.share = QComboBox()
        self.share.setObjectName("sheet_share")
        self.share.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.share.setToolTip("The share of wrong pairs that the random check is to exclude")
        for share in _SHARES:
            self.share.addItem(f"at most {100 * share:g} % wrong", share)
        self.share.setCurrentIndex(_SHARES.index(DEFAULT_SHARE))
        self.share.currentIndexChanged.connect(self._show_controls)
        self.check_button = _button("sheet_check_button", self._on_check_clicked)
        self.check_button.setToolTip(
            "Draw some of the claimed pairs that nobody has judged, and show them without "
            "probabilities. If all of them are right, a certificate says how many of the others "
            "can be wrong."
        )
        self.review_button = _button(
            "sheet_review_button", self._sheet.turn_to_review, "Back to the claimed pairs"
        )
        self.save_button = _button("sheet_save_button", self._on_save_clicked, "Save certificate…")
        row = QHBoxLayout()
        row.addWidget(self.share)
        row.addWidget(self.check_button)
        row.addWidget(self.review_button)
        row.addWidget(self.save_button)
        row.addStretch(1)
        return row

    def _create_shortcuts(self) -> None:
        steps: dict[str, Callable[[], int]] = {
            "Left": lambda: -1,
            "Right": lambda: 1,
            "Up": lambda: -self.tiles.grid.columns,
            "Down": lambda: self.tiles.grid.columns,
        }
        actions: dict[str, Callable[[], None]] = {
            "X": partial(self._mark_current, Verdict.REJECT),
            "U": partial(self._mark_current, Verdict.UNSURE),
            "Return": self._sheet.finish_page,
            "Enter": self._sheet.finish_page,
            "F": self._stop_and_swap,
            "Space": self._toggle_flicker,
            "Z": self._sheet.undo,
        }
        actions |= {key: partial(self._move, step) for key, step in steps.items()}
        for key, action in actions.items():
            shortcut = QShortcut(QKeySequence(key), self)
            # A key that is held down must not close one page after the other.
            shortcut.setAutoRepeat(key in steps)
            shortcut.activated.connect(action)

    def _fit_screen(self) -> None:
        screen = self.screen()
        if screen is not None:
            self.resize(screen.availableSize() * _SHARE_OF_SCREEN)

    # --- from the view to the state ------------------------------------------------------

    def _mark_current(self, verdict: Verdict) -> None:
        self._sheet.mark(self._sheet.cursor, verdict)

    def _move(self, step: Callable[[], int]) -> None:
        self._sheet.move_to(self._sheet.cursor + step())

    def _on_pairs_clicked(self) -> None:
        self.close()
        self._workbench.pairs.show(Chip.CLAIMED)

    def _on_check_clicked(self) -> None:
        if self._sheet.can_go_on:
            self._sheet.turn_to_check()
        else:
            self._sheet.start_check(self.share.currentData())

    def _on_save_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Save the certificate",
            "certificate.png",
            "Page (*.png *.pdf);;Checked pairs (*.csv);;All of it (*.json)",
        )
        if path:
            self._sheet.save_certificate(Path(path))

    # --- flicker ---------------------------------------------------------------------------

    def _swap(self) -> None:
        self.tiles.show_side(not self.tiles.front)
        self._show_side()

    def _toggle_flicker(self) -> None:
        if self._flicker.isActive():
            self._flicker.stop()
        else:
            self._flicker.start()
        self._show_side()

    def _stop_and_swap(self) -> None:
        """Stop where it is; from then on, a step each time."""
        if self._flicker.isActive():
            self._flicker.stop()
        else:
            self.tiles.show_side(not self.tiles.front)
        self._show_side()

    def _show_side(self) -> None:
        style = SheetStyle()
        name, color = (
            ("two-photon", style.two_photon) if self.tiles.front else ("fMOST", style.fmost)
        )
        self.side.setText(f"{swatch(color, '■')} {name} side of")
        self.side.setMinimumWidth(max(self.side.minimumWidth(), self.side.sizeHint().width()))
        self.flicker_button.setChecked(self._flicker.isActive())

    # --- from the state to the view ------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Begin to look."""
        super().showEvent(event)
        self._sheet.open()
        self._on_page_changed(self._sheet.page)
        self.tiles.setFocus()
        self._flicker.start()
        self._show_side()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Stop looking; nothing is cut or flickers behind a closed window."""
        super().hideEvent(event)
        self._flicker.stop()
        self._sheet.close()

    def _on_page_changed(self, page: SheetPage) -> None:
        self.title.setText(page.title)
        self.message.setText(f"<h2>{escape(page.message)}</h2>")
        self.remark.setText(page.remark)
        self.pairs_button.setVisible(page.points_only)
        self.stage.setCurrentWidget(self.tiles if page.tiles else self.told)
        self._on_marks_changed()

    def _on_pictures_changed(self) -> None:
        self.tiles.update()

    def _on_marks_changed(self) -> None:
        self.tiles.update()
        self._show_controls()

    def _show_controls(self, _: object = None) -> None:
        sheet = self._sheet
        self.finish_button.setText(f"{sheet.action} (Enter)" if sheet.page.tiles else "")
        for widget in (self.finish_button, self.side, self.flicker_button, self.keys):
            widget.setVisible(bool(sheet.page.tiles))
        certificate = sheet.certificate
        self.save_button.setVisible(certificate is not None and certificate.complete)
        self.review_button.setVisible(sheet.checking)
        self.share.setVisible(not (sheet.checking or sheet.can_go_on or sheet.page.points_only))
        self.check_button.setVisible(not sheet.checking and not sheet.page.points_only)
        n_draws = sheet.draws_for(self.share.currentData())
        self.check_button.setEnabled(sheet.can_go_on or n_draws > 0)
        self.check_button.setText(
            "Go on with the random check"
            if sheet.can_go_on
            else f"Random check: {n_draws} of {sheet.n_left:,} claimed pairs"
        )


def _button(name: str, action: Callable[[], None], text: str = "") -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    # Keys belong to the page; a focused button would take Enter and space.
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.setAutoDefault(False)
    button.clicked.connect(lambda: action())
    return button
