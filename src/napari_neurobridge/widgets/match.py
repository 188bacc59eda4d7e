"""The Match dock: one cell, its candidates, and a person's verdict."""

from __future__ import annotations

from functools import partial

import napari
from qtpy.QtCore import QSize
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.active.queue import QueueStrategy
from napari_neurobridge.project.folder import Project
from napari_neurobridge.types import NoneReason
from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import MATCH
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX, scrolled
from napari_neurobridge.widgets.candidate_list import CandidateList
from napari_neurobridge.widgets.crop_pair import CropPair
from napari_neurobridge.widgets.find_bar import FindBar
from napari_neurobridge.widgets.foldable import Foldable
from napari_neurobridge.widgets.legend import LegendButton
from napari_neurobridge.widgets.match_all import MatchAllBox
from napari_neurobridge.widgets.sheet_row import SheetRow
from napari_neurobridge.widgets.trace_view import TraceView
from napari_neurobridge.widgets.train_words import stale_in_words
from napari_neurobridge.widgets.verdict_bar import VerdictBar
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.match import strategy_now

_ORDERS = {
    QueueStrategy.CLEAREST: "clearest first",
    QueueStrategy.SPREAD: "far from accepted pairs first",
    QueueStrategy.ENTROPY: "least certain first",
    QueueStrategy.MEDIAN: "middling certainty first",
    QueueStrategy.BADGE: "uncertain and varied first",
}
_BY_DEFAULT = "as suits the accepted pairs"


class MatchPanel(QWidget):
    """Shows the current question and takes the verdict.

    All but the question itself and the buttons scrolls, so that these are always in sight.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.crops = CropPair(workbench)
        self.match_all = MatchAllBox(workbench)
        self.match_all.setTitle("")  # its fold has it
        self.verdict_bar = VerdictBar(workbench)
        content = QWidget()
        inside = QVBoxLayout(content)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(self._create_queue_row())
        self.advice = QLabel()
        self.advice.setObjectName("stop_advice")
        self.advice.setWordWrap(True)
        inside.addWidget(self.advice)
        inside.addWidget(SheetRow(workbench))
        inside.addWidget(self.crops)
        self.trace = TraceView(workbench)
        inside.addWidget(self.trace)
        inside.addWidget(self._create_place())
        inside.addWidget(self._create_candidates(), stretch=1)
        inside.addLayout(self._create_none_row())
        self.all_cells = Foldable("All cells", self.match_all, name="all_cells_fold")
        inside.addWidget(self.all_cells)
        layout = QVBoxLayout(self)
        layout.addWidget(scrolled(content), stretch=1)
        layout.addWidget(self.verdict_bar)
        questions, session = workbench.questions, workbench.session
        self._shown = questions.snapshot
        self._judged: str | None = None
        self._compares = False

        questions.snapshot_changed.connect(self._on_snapshot_changed)
        session.verdicts_changed.connect(self._on_verdicts_changed)
        session.project_changed.connect(self._on_project_changed)
        workbench.matches.match_changed.connect(self._on_match_changed)
        workbench.training.changed.connect(self._show_stale)
        workbench.queue_choice.changed.connect(self._on_match_changed)
        workbench.stop_advice.changed.connect(self._show_advice)
        self._show_advice()
        self._show_stale()
        self._on_project_changed()
        layout.insertWidget(0, FindBar(workbench))

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as small as a small screen needs."""
        return LEAST_DOCK_PX

    # --- controls --------------------------------------------------------------------

    def _create_queue_row(self) -> QHBoxLayout:
        self.queue_text = QLabel()
        self.queue_text.setObjectName("queue_text")
        self.queue_bar = QProgressBar()
        self.queue_bar.setTextVisible(False)
        self.queue_bar.setMaximumHeight(10)
        self.queue_bar.setMaximumWidth(48)
        self.queue_order = QLabel()
        self.queue_order.setObjectName("queue_order")
        self.queue_order.setWordWrap(True)
        self.updating_text = QLabel("updating …")
        self.updating_text.setObjectName("updating_text")
        self.stale_text = QLabel("older model")
        self.stale_text.setObjectName("stale_model_text")
        self.queue_button = QToolButton()
        self.queue_button.setObjectName("queue_button")
        self.queue_button.setText("▾")
        self.queue_button.setToolTip("Choose which cells are asked first")
        self.queue_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.queue_button)
        for strategy, words in ((None, _BY_DEFAULT), *_ORDERS.items()):
            action = menu.addAction(words)
            assert action is not None
            action.triggered.connect(partial(self._on_queue_chosen, strategy))
        self.queue_button.setMenu(menu)
        row = QHBoxLayout()
        row.addWidget(self.queue_button)
        row.addWidget(self.queue_order, stretch=1)
        row.addWidget(self.stale_text)
        row.addWidget(self.updating_text)
        row.addWidget(self.queue_text)
        row.addWidget(self.queue_bar)
        row.addWidget(LegendButton(tuple(self._workbench.key_actions())))
        return row

    def _create_place(self) -> QLabel:
        self.place = QLabel()
        self.place.setObjectName("expected_place")
        self.place.setWordWrap(True)
        return self.place

    def _create_candidates(self) -> CandidateList:
        self.candidates = CandidateList()
        self.candidates.picked.connect(self._workbench.questions.choose)
        return self.candidates

    def _create_none_row(self) -> QHBoxLayout:
        self.none_reason = QComboBox()
        self.none_reason.setObjectName("none_reason")
        self.none_reason.addItem("no reason given", None)
        for reason in NoneReason:
            self.none_reason.addItem(reason.replace("_", " "), reason)
        self.none_reason.currentIndexChanged.connect(self._on_reason_changed)
        row = QHBoxLayout()
        row.addWidget(QLabel("none of these, because"))
        row.addWidget(self.none_reason, stretch=1)
        return row

    # --- from the view to the state ------------------------------------------------------

    def _on_reason_changed(self, _: int) -> None:
        self._workbench.verdicts.state_none_reason(self.none_reason.currentData())

    def _on_queue_chosen(self, strategy: QueueStrategy | None, _checked: bool = False) -> None:
        self._workbench.queue_choice.choose(strategy)

    # --- from the state to the view ------------------------------------------------------

    def _show_advice(self) -> None:
        advice = self._workbench.stop_advice.text
        self.advice.setText(advice)
        self.advice.setVisible(bool(advice))

    def _on_project_changed(self, _: object = None) -> None:
        self._on_snapshot_changed(self._workbench.questions.snapshot)
        self._on_verdicts_changed()
        self._on_match_changed()

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        self._shown = shown
        self.verdict_bar.show_snapshot(shown)
        self.candidates.show_snapshot(shown)
        self.place.setText("\n".join(shown.notes))
        self.place.setVisible(bool(shown.notes))
        with signals_blocked(self.none_reason):
            reason = self._workbench.verdicts.none_reason
            self.none_reason.setCurrentIndex(self.none_reason.findData(reason))
        project = self._workbench.project
        self.crops.setVisible(
            project is None or any(spec.uri is not None for spec in project.datasets.values())
        )
        self.crops.show_snapshot(shown)

    def _on_verdicts_changed(self) -> None:
        asked, total = self._workbench.questions.progress()
        self.queue_text.setText(f"{asked} of {total} asked")
        self.queue_bar.setRange(0, max(total, 1))
        self.queue_bar.setValue(asked)
        query = self._shown.query
        self._judged = query.uid if query is not None else None

    def _show_stale(self) -> None:
        words = stale_in_words(self._workbench.training)
        self.stale_text.setVisible(bool(words))
        self.stale_text.setToolTip(words)

    def _strategy(self, project: Project) -> QueueStrategy:
        return self._workbench.queue_choice.strategy or strategy_now(project)

    def _on_match_changed(self) -> None:
        matches = self._workbench.matches
        self.updating_text.setVisible(matches.updating)
        # One row of a narrow dock has no room for both.
        self.queue_bar.setVisible(not matches.updating)
        project = self._workbench.project
        order = "" if project is None else _ORDERS[self._strategy(project)]
        self.queue_order.setText(f"Queue: {order}" if order else "Queue")
        if matches.updating:
            self._compares = matches.has_match
            return
        if self._compares and matches.has_match:
            n_others = matches.n_changed(besides=self._judged)
            cells = {0: "no other cell changed its", 1: "1 other cell changed its"}
            self.verdict_bar.status.add(
                f"{cells.get(n_others, f'{n_others} other cells changed their')} best candidate"
            )
        self._compares = False


class MatchWidget(Docked, MatchPanel):
    """The Match dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(binding.workbench)
        self.join(binding.column, MATCH)
