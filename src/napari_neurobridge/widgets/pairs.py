"""The Pairs dock: all decisions and claims as a table, to look at, judge and note on."""

from __future__ import annotations

from functools import partial

import napari
from qtpy.QtCore import QSize
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.types import Verdict
from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import PAIRS
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX
from napari_neurobridge.widgets.find_bar import FindBar
from napari_neurobridge.widgets.landmark_row import LandmarkRow
from napari_neurobridge.widgets.pairs_model import PairsModel, status_icon
from napari_neurobridge.widgets.pairs_view import PairsView
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.pair_rows import PairStatus
from napari_neurobridge.workbench.pair_table import Chip
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench

_CHIPS_A_ROW = 3
_CHIP_TIPS = {
    Chip.ACCEPTED: "Pairs that somebody accepted",
    Chip.CLAIMED: "Pairs that the match claims, and nobody has judged",
    Chip.REVIEW: "Pairs of other programs that nobody has judged, disputed pairs, and pairs that "
    "something contradicts",
    Chip.NONE: "Cells that were found without a partner",
    Chip.UNSURE: "Pairs that somebody is unsure about",
    Chip.REJECTED: "Pairs that are none",
    Chip.LANDMARK: "Points that people saw on both sides, and that are no somata",
}
_BUTTONS = (
    (Verdict.ACCEPT, "A  accept", "The selected pairs are the same cell"),
    (Verdict.REJECT, "R  reject", "The selected pairs are different cells"),
    (Verdict.UNSURE, "U  unsure", "Not sure about the selected pairs"),
    (Verdict.NONE, "N  none", "The selected two-photon cells have no partner at all"),
)
_NO_PROJECT = "Open a project in the Data dock."
_EMPTY = "No pairs yet: accept one in the Match dock."
_HIDDEN = "claims are hidden in a random check"


class PairsPanel(QWidget):
    """Lists what was decided and what is claimed.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        layout = QVBoxLayout(self)
        layout.addWidget(FindBar(workbench))
        layout.addLayout(self._create_chips())
        layout.addWidget(self._create_filter())
        layout.addWidget(self._create_count())
        layout.addWidget(self._create_table(), stretch=1)
        layout.addLayout(self._create_buttons())
        self.landmarks = LandmarkRow(workbench, self._selected_landmarks)
        layout.addWidget(self.landmarks)
        self.status = StatusLine(workbench)
        layout.addWidget(self.status)

        pairs, questions = workbench.pairs, workbench.questions
        pairs.changed.connect(self._show_counts)
        pairs.narrowed.connect(self._show_narrowed)
        questions.snapshot_changed.connect(self._on_snapshot_changed)
        workbench.session.project_changed.connect(self._show_counts)
        self._show_narrowed()
        self._show_selection()

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as small as a small screen needs."""
        return LEAST_DOCK_PX

    # --- controls --------------------------------------------------------------------

    def _create_chips(self) -> QGridLayout:
        self.chips: dict[Chip, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(3)
        for number, chip in enumerate(Chip):
            button = QPushButton()
            button.setObjectName(f"chip_{chip}")
            button.setCheckable(True)
            button.setIcon(status_icon(PairStatus(chip.value)))
            button.setToolTip(f"{_CHIP_TIPS[chip]}; press it again to see all")
            button.toggled.connect(self._on_chip_toggled)
            grid.addWidget(button, number // _CHIPS_A_ROW, number % _CHIPS_A_ROW)
            self.chips[chip] = button
        return grid

    def _create_filter(self) -> QLineEdit:
        self.words = QLineEdit()
        self.words.setObjectName("pairs_filter")
        self.words.setPlaceholderText("Show only rows with this text")
        self.words.setClearButtonEnabled(True)
        self.words.textChanged.connect(lambda text: self._workbench.pairs.narrow(words=text))
        return self.words

    def _create_count(self) -> QLabel:
        self.count = QLabel()
        self.count.setObjectName("pairs_count")
        self.count.setWordWrap(True)
        return self.count

    def _create_table(self) -> PairsView:
        self.model = PairsModel(self._workbench.pairs, self)
        self.table = PairsView(self.model)
        self.table.setObjectName("pairs_table")
        self.table.chosen.connect(self._workbench.pairs.ask)
        self.table.selection_changed.connect(self._show_selection)
        self.table.judged.connect(self._judge)
        return self.table

    def _selected_landmarks(self) -> list[str]:
        rows = self.table.selected()
        return [row.key[0] for row in rows if row.status is PairStatus.LANDMARK]

    def _create_buttons(self) -> QHBoxLayout:
        self.buttons: dict[Verdict, QPushButton] = {}
        row = QHBoxLayout()
        row.setSpacing(3)
        for verdict, label, tip in _BUTTONS:
            button = QPushButton(label)
            button.setObjectName(f"pairs_{verdict}_button")
            button.setToolTip(f"{tip}; several are one step of undo")
            button.clicked.connect(partial(self._on_button_clicked, verdict))
            row.addWidget(button)
            self.buttons[verdict] = button
        return row

    # --- from the view to the state ------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Keep the table up to date while it is seen."""
        super().showEvent(event)
        self._workbench.pairs.watch(True)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Let the table rest while nobody sees it."""
        super().hideEvent(event)
        self._workbench.pairs.watch(False)

    def _on_chip_toggled(self, _: bool) -> None:
        self._workbench.pairs.narrow([c for c, button in self.chips.items() if button.isChecked()])

    def _on_button_clicked(self, verdict: Verdict, _checked: bool = False) -> None:
        # The next row is asked about, and the keys go on with it.
        self.table.setFocus()
        self._judge(verdict)

    def _judge(self, verdict: Verdict) -> None:
        """Judge what is selected; a single row is the current question, with all that it tells."""
        rows, verdicts = self.table.selected(), self._workbench.verdicts
        if len(rows) > 1 or any(row.status is PairStatus.LANDMARK for row in rows):
            self._workbench.pairs.decide(rows, verdict)
            return
        judge = {
            Verdict.ACCEPT: verdicts.accept,
            Verdict.REJECT: verdicts.reject,
            Verdict.UNSURE: verdicts.unsure,
            Verdict.NONE: verdicts.none,
        }
        judge[verdict]()

    # --- from the state to the view ------------------------------------------------------

    def _show_counts(self, _: object = None) -> None:
        pairs, n_shown = self._workbench.pairs, self.model.rowCount()
        for chip, n_rows in pairs.counts().items():
            self.chips[chip].setText(f"{chip} {n_rows}")
        n_rows = len(pairs.rows)
        if self._workbench.project is None:
            text = _NO_PROJECT
        elif not n_rows:
            text = _EMPTY
        else:
            text = f"{n_shown:,} of {n_rows:,} rows"
        blind = self._workbench.questions.snapshot.blind
        self.count.setText(f"{text} · {_HIDDEN}" if blind else text)

    def _show_narrowed(self) -> None:
        pairs = self._workbench.pairs
        for chip, button in self.chips.items():
            with signals_blocked(button):
                button.setChecked(chip in pairs.chips)
        if self.words.text().strip().lower() != pairs.words:
            with signals_blocked(self.words):
                self.words.setText(pairs.words)
        self._show_counts()

    def _show_selection(self) -> None:
        n_rows = self.table.n_selected
        for verdict, label, _ in _BUTTONS:
            self.buttons[verdict].setText(f"{label} {n_rows}" if n_rows > 1 else label)
            self.buttons[verdict].setEnabled(n_rows > 0)
        self.landmarks.refresh()

    def _on_snapshot_changed(self, _: QuestionSnapshot) -> None:
        """Let go of a row that is no longer what is being asked about."""
        self._show_counts()
        rows = self.table.selected()
        if len(rows) == 1 and not self._workbench.pairs.is_asked(rows[0]):
            self.table.select(())


class PairsWidget(Docked, PairsPanel):
    """The Pairs dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(binding.workbench)
        self.join(binding.column, PAIRS)

    def set_in_front(self, in_front: bool) -> None:
        """Let the table rest behind another tab."""
        self._workbench.pairs.watch(in_front and self.isVisible())
