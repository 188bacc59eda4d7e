"""The Match dock: one cell, its candidates, and a person's verdict."""

from __future__ import annotations

import napari
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QShortcut,
    QVBoxLayout,
    QWidget,
)

from napari_neurobridge.active.queue import QueueStrategy
from napari_neurobridge.types import Candidate, NoneReason
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import MARK_COLORS, Mark
from napari_neurobridge.widgets.candidate_list import CandidateList
from napari_neurobridge.widgets.crop_view import CropView
from napari_neurobridge.widgets.match_all import MatchAllBox
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.answers import Answer, Query
from napari_neurobridge.workbench.known import marks_on_candidates, verdict_on_query
from napari_neurobridge.workbench.reasons import percent
from napari_neurobridge.workbench.surroundings import near_expected
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.match import strategy_now

_DEPTH_STEP_UM = 4.0

_EMPTY = "Click a circle in the two-photon canvas, or press space for the next cell."
_AUDIT = (
    "A random check: judge by what you see. Scores and ranks are hidden and the order is "
    "shuffled, because how often the program errs is counted on these cells."
)
_NO_PROJECT = "Open a project in the Data dock, or File ▸ Open Sample ▸ NeuroBridge."


_ORDERS = {
    QueueStrategy.CLEAREST: "clearest first",
    QueueStrategy.SPREAD: "far from your pairs first",
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
        self._create_shortcuts()
        self._judged: str | None = None
        self._compares = False

        questions, session = workbench.questions, workbench.session
        questions.query_changed.connect(self._on_query_changed)
        questions.answer_changed.connect(self._on_answer_changed)
        questions.choice_changed.connect(self._on_choice_changed)
        questions.flickered_changed.connect(self._show_crops)
        session.verdicts_changed.connect(self._on_verdicts_changed)
        session.project_changed.connect(self._on_project_changed)
        workbench.matches.match_changed.connect(self._on_match_changed)
        self._on_project_changed()

    # --- controls --------------------------------------------------------------------

    def _create_queue_row(self) -> QHBoxLayout:
        self.queue_text = QLabel()
        self.queue_text.setObjectName("queue_text")
        self.queue_bar = QProgressBar()
        self.queue_bar.setTextVisible(False)
        self.queue_bar.setMaximumHeight(10)
        self.queue_order = QLabel()
        self.queue_order.setObjectName("queue_order")
        self.updating_text = QLabel("updating…")
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
            ("accept", "A  accept", "The chosen soma is this cell", verdicts.accept),
            ("reject", "R  reject", "The chosen soma is another cell", verdicts.reject),
            ("unsure", "U  unsure", "It may or may not be this cell", verdicts.unsure),
            ("none", "N  none", "No soma on the other side is this cell", verdicts.none),
            ("next", "space  next", "Ask about the next cell of the queue", questions.next_query),
            ("undo", "Z  undo", "Take the last decision back (shift-Z: redo)", verdicts.undo),
        )
        for index, (name, label, tip, action) in enumerate(actions):
            button = QPushButton(label)
            button.setObjectName(f"{name}_button")
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked=False, action=action: action())
            grid.addWidget(button, index // 3, index % 3)
        hint = QLabel("1–9 pick a candidate · F flicker · wheel over a crop: depth")
        hint.setEnabled(False)
        grid.addWidget(hint, 2, 0, 1, 3)
        return grid

    def _create_shortcuts(self) -> None:
        for key, action in self._workbench.key_actions().items():
            shortcut = QShortcut(QKeySequence(key), self)
            # Elsewhere these keys belong to napari, and in text fields to the text.
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)

    # --- from the view to the state ------------------------------------------------------

    def _on_scrolled(self, steps: int) -> None:
        self._workbench.questions.look_deeper(steps * _DEPTH_STEP_UM)

    def _on_reason_changed(self, _: int) -> None:
        self._workbench.verdicts.none_reason = self.none_reason.currentData()

    # --- from the state to the view ------------------------------------------------------

    def _on_project_changed(self, _: object = None) -> None:
        questions = self._workbench.questions
        self._on_query_changed(questions.query)
        self._on_answer_changed(questions.answer)
        self._on_choice_changed(questions.choice)
        self._on_verdicts_changed()
        self._on_match_changed()

    def _on_query_changed(self, query: Query | None) -> None:
        self.none_reason.setCurrentIndex(0)
        self._show_header()

    def _show_header(self) -> None:
        query, project = self._workbench.questions.query, self._workbench.project
        if project is None:
            self.header.setText(_NO_PROJECT)
            return
        if query is None:
            self.header.setText(_EMPTY)
            return
        z, y, x = query.center_um
        place = f"z {z:.1f}&nbsp; y {y:.1f}&nbsp; x {x:.1f} µm"
        known = verdict_on_query(project.state(), query.uid)
        self.header.setText(
            f"<b>{query.uid or 'a place'}</b>&nbsp;&nbsp; {place}<br>{known or self._reason(query)}"
        )

    def _reason(self, query: Query) -> str:
        """Return why this cell is asked about; nothing for one that somebody clicked."""
        if query.audit:
            return _AUDIT
        queue = self._workbench.questions.queue()
        item = next((item for item in queue if item.uid == query.uid), None)
        return "" if item is None or item.audit else item.reason

    def _on_answer_changed(self, answer: Answer | None) -> None:
        questions = self._workbench.questions
        waiting = "ranking …" if questions.query is not None else ""
        self.candidates.show_answer(answer, questions.problem or waiting)
        self._show_place(answer)
        self._show_marks()
        self._on_choice_changed(questions.choice)

    def _show_place(self, answer: Answer | None) -> None:
        """Say how much is left open: the expected place, and whether it is any soma at all."""
        none, lines = "none of these, because", []
        project = self._workbench.project
        if answer is not None and project is not None and not answer.blind:
            near = near_expected(project, answer.ranking)
            if near is not None:
                reach_um, n_somata = near
                somata = "1 soma" if n_somata == 1 else f"{n_somata} somata"
                lines.append(f"within ±{reach_um:.0f} µm of the expected place: {somata}")
            lines += [answer.ranking.note] if answer.ranking.note else []
            if answer.ranking.p_none is not None:
                none = f"none of these {percent(answer.ranking.p_none)}, because"
        self.place.setText("\n".join(lines))
        self.place.setVisible(bool(lines))
        self.none_text.setText(none)

    def _show_marks(self) -> None:
        """Write each candidate's line, with what was said about it before."""
        answer, project = self._workbench.questions.answer, self._workbench.project
        if answer is not None and project is not None:
            self.candidates.show_marks(marks_on_candidates(project.state(), answer.query.uid))

    def _on_choice_changed(self, choice: Candidate | None) -> None:
        self.candidates.show_choice(choice)
        self._show_crops()

    def _show_crops(self, _: object = None) -> None:
        questions = self._workbench.questions
        answer, choice = questions.answer, questions.choice
        project = self._workbench.project
        self.crops.setVisible(
            project is None or any(spec.uri is not None for spec in project.datasets.values())
        )
        if answer is None:
            for view, caption in (
                (self.query_view, self.query_caption),
                (self.choice_view, self.choice_caption),
            ):
                view.show_crop(None, "")
                caption.clear()
            return
        chosen = None
        shown = [candidate.uid for candidate in answer.shown]
        if choice is not None and answer.candidate_crops is not None and choice.uid in shown:
            chosen = answer.candidate_crops[shown.index(choice.uid)]
        self.choice_caption.setText(choice.uid if choice else "")
        self.choice_view.show_crop(chosen, "seen in the canvas" if choice else "pick a candidate")
        flicker = questions.flickered and chosen is not None
        self.query_view.show_crop(chosen if flicker else answer.query_crop, "no image")
        depth = f"  {answer.depth_um:+.0f} µm" if answer.depth_um else ""
        shown_here = choice.uid if flicker and choice else answer.query.uid or "a place"
        self.query_caption.setText(shown_here + depth)

    def _on_verdicts_changed(self) -> None:
        asked, total = self._workbench.questions.progress()
        self.queue_text.setText(f"{asked} of {total} asked")
        self.queue_bar.setRange(0, max(total, 1))
        self.queue_bar.setValue(asked)
        query = self._workbench.questions.query
        self._judged = query.uid if query is not None else None
        self._show_header()
        self._show_marks()

    def _on_match_changed(self) -> None:
        matches = self._workbench.matches
        self.updating_text.setVisible(matches.updating)
        project = self._workbench.project
        order = "" if project is None else _ORDERS[strategy_now(project)]
        self.queue_order.setText(f"Queue: {order}" if order else "Queue")
        if matches.updating:
            self._compares = matches.match is not None
            return
        if self._compares and matches.match is not None:
            n_others = len(matches.changed - {self._judged})
            others = "1 other cell" if n_others == 1 else f"{n_others} other cells"
            self.status.add(f"{others if n_others else 'no other cell'} changed")
        self._compares = False
        self._show_header()


class MatchWidget(MatchPanel):
    """The Match dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(binding_for(napari_viewer).workbench)
