"""The Match dock: one cell, its candidates, and a person's verdict."""

from __future__ import annotations

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_neurobridge.active.queue import QueueStrategy
from napari_neurobridge.types import NoneReason
from napari_neurobridge.viewer.docks import MATCH, Docked
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import MARK_COLORS, Mark
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX
from napari_neurobridge.widgets.candidate_list import CandidateList
from napari_neurobridge.widgets.crop_view import CropView
from napari_neurobridge.widgets.find_bar import FindBar
from napari_neurobridge.widgets.match_all import MatchAllBox
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.match import strategy_now

_DEPTH_STEP_UM = 4.0

_EMPTY = "Click a circle in the two-photon canvas, or press space for the next cell."
_NO_PROJECT = "Open a project in the Data dock, or File ▸ Open Sample ▸ NeuroBridge."


_ORDERS = {
    QueueStrategy.CLEAREST: "clearest first",
    QueueStrategy.SPREAD: "far from accepted pairs first",
    QueueStrategy.ENTROPY: "least certain first",
}


class MatchPanel(QWidget):
    """Shows the current question and takes the verdict.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        layout = QVBoxLayout(self)
        layout.addLayout(self._create_queue_row())
        layout.addWidget(self._create_header())
        layout.addWidget(self._create_crops())
        layout.addWidget(self._create_place())
        layout.addWidget(self._create_candidates(), stretch=1)
        layout.addLayout(self._create_none_row())
        layout.addLayout(self._create_buttons())
        self.match_all = MatchAllBox(workbench)
        layout.addWidget(self.match_all)
        self.status = StatusLine(workbench)
        layout.addWidget(self.status)
        questions, session = workbench.questions, workbench.session
        self._shown = questions.snapshot
        self._judged: str | None = None
        self._compares = False

        questions.snapshot_changed.connect(self._on_snapshot_changed)
        session.verdicts_changed.connect(self._on_verdicts_changed)
        session.project_changed.connect(self._on_project_changed)
        workbench.matches.match_changed.connect(self._on_match_changed)
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
        self.queue_order = QLabel()
        self.queue_order.setObjectName("queue_order")
        self.updating_text = QLabel("updating the match …")
        self.updating_text.setObjectName("updating_text")
        row = QHBoxLayout()
        row.addWidget(self.queue_order)
        row.addStretch(1)
        row.addWidget(self.updating_text)
        row.addWidget(self.queue_text)
        row.addWidget(self.queue_bar)
        return row

    def _create_header(self) -> QLabel:
        self.header = QLabel()
        self.header.setObjectName("query_header")
        self.header.setWordWrap(True)
        self.header.setTextFormat(Qt.TextFormat.RichText)
        return self.header

    def _create_crops(self) -> QWidget:
        self.query_view = CropView(MARK_COLORS[Mark.QUERY])
        self.query_view.setObjectName("query_crop")
        self.choice_view = CropView(MARK_COLORS[Mark.CHOSEN])
        self.choice_view.setObjectName("choice_crop")
        self.query_caption, self.choice_caption = QLabel(), QLabel()
        self.crops = QWidget()
        grid = QGridLayout(self.crops)
        grid.setContentsMargins(0, 0, 0, 0)
        for column, (view, caption) in enumerate(
            ((self.query_view, self.query_caption), (self.choice_view, self.choice_caption))
        ):
            grid.addWidget(caption, 0, column, Qt.AlignmentFlag.AlignHCenter)
            grid.addWidget(view, 1, column, Qt.AlignmentFlag.AlignHCenter)
            view.scrolled.connect(self._on_scrolled)
        return self.crops

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
        self.none_text = QLabel()
        self.none_text.setObjectName("none_text")
        row = QHBoxLayout()
        row.addWidget(self.none_text)
        row.addWidget(self.none_reason, stretch=1)
        return row

    def _create_buttons(self) -> QGridLayout:
        grid = QGridLayout()
        verdicts, questions = self._workbench.verdicts, self._workbench.questions
        actions = (
            ("accept", "A  accept", "The picked soma is the same cell", verdicts.accept),
            ("reject", "R  reject", "The picked soma is a different cell", verdicts.reject),
            ("unsure", "U  unsure", "Not sure whether it is the same cell", verdicts.unsure),
            ("none", "N  none", "No soma on the other side is the same cell", verdicts.none),
            ("next", "space  next", "Go to the next cell in the queue", questions.next_query),
            ("undo", "Z  undo", "Undo your last decision (Shift+Z: redo)", verdicts.undo),
        )
        for index, (name, label, tip, action) in enumerate(actions):
            button = QPushButton(label)
            button.setObjectName(f"{name}_button")
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked=False, action=action: action())
            grid.addWidget(button, index // 3, index % 3)
        hint = QLabel("1–9: pick a candidate · F: swap the crops · mouse wheel on a crop: depth")
        hint.setEnabled(False)
        hint.setWordWrap(True)  # a small screen needs the width
        grid.addWidget(hint, 2, 0, 1, 3)
        return grid

    # --- from the view to the state ------------------------------------------------------

    def _on_scrolled(self, steps: int) -> None:
        self._workbench.questions.look_deeper(steps * _DEPTH_STEP_UM)

    def _on_reason_changed(self, _: int) -> None:
        self._workbench.verdicts.none_reason = self.none_reason.currentData()

    # --- from the state to the view ------------------------------------------------------

    def _on_project_changed(self, _: object = None) -> None:
        self._on_snapshot_changed(self._workbench.questions.snapshot)
        self._on_verdicts_changed()
        self._on_match_changed()

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        if shown.query != self._shown.query:
            self.none_reason.setCurrentIndex(0)
        self._shown = shown
        self._show_header()
        self.candidates.show_snapshot(shown)
        self.place.setText("\n".join(shown.notes))
        self.place.setVisible(bool(shown.notes))
        none = f"none of these {shown.chance_of_none}".strip()
        self.none_text.setText(f"{none}, because")
        self._show_crops()

    def _show_header(self) -> None:
        query = self._shown.query
        if self._workbench.project is None:
            self.header.setText(_NO_PROJECT)
            return
        if query is None:
            self.header.setText(_EMPTY)
            return
        z, y, x = query.center_um
        place = f"z {z:.1f}&nbsp; y {y:.1f}&nbsp; x {x:.1f} µm"
        why = self._shown.known or self._shown.reason
        self.header.setText(f"<b>{query.uid or 'a place'}</b>&nbsp;&nbsp; {place}<br>{why}")

    def _show_crops(self) -> None:
        shown, project = self._shown, self._workbench.project
        self.crops.setVisible(
            project is None or any(spec.uri is not None for spec in project.datasets.values())
        )
        query, crops, picked = shown.query, shown.crops, shown.picked
        if query is None or crops is None:
            for view, caption in (
                (self.query_view, self.query_caption),
                (self.choice_view, self.choice_caption),
            ):
                view.show_crop(None, "")
                caption.clear()
            return
        chosen = None
        if picked is not None and picked.place is not None and crops.candidates is not None:
            chosen = crops.candidates[picked.place - 1]
        self.choice_caption.setText(picked.uid if picked else "")
        self.choice_view.show_crop(chosen, "shown in the canvas" if picked else "pick a candidate")
        flicker = shown.flickered and chosen is not None
        self.query_view.show_crop(chosen if flicker else crops.query, "no image")
        depth = f"  {crops.depth_um:+.0f} µm" if crops.depth_um else ""
        shown_here = picked.uid if flicker and picked else query.uid or "a place"
        self.query_caption.setText(shown_here + depth)

    def _on_verdicts_changed(self) -> None:
        asked, total = self._workbench.questions.progress()
        self.queue_text.setText(f"{asked} of {total} asked")
        self.queue_bar.setRange(0, max(total, 1))
        self.queue_bar.setValue(asked)
        query = self._shown.query
        self._judged = query.uid if query is not None else None

    def _on_match_changed(self) -> None:
        matches = self._workbench.matches
        self.updating_text.setVisible(matches.updating)
        project = self._workbench.project
        order = "" if project is None else _ORDERS[strategy_now(project)]
        self.queue_order.setText(f"Queue: {order}" if order else "Queue")
        if matches.updating:
            self._compares = matches.has_match
            return
        if self._compares and matches.has_match:
            n_others = matches.n_changed(besides=self._judged)
            others = "1 other cell" if n_others == 1 else f"{n_others} other cells"
            self.status.add(
                f"the most probable partner of {others if n_others else 'no other cell'} changed"
            )
        self._compares = False


class MatchWidget(Docked, MatchPanel):
    """The Match dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(binding.workbench)
        self.join(binding.column, MATCH)
