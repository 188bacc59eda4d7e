"""The Match dock: one cell, its candidates, and a person's verdict."""

from __future__ import annotations

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QKeySequence
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QShortcut,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.types import Candidate, NoneReason
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import MARK_COLORS, Mark
from napari_neurobridge.widgets.crop_view import CropView, crop_pixmap
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.answers import Answer, Query
from napari_neurobridge.workbench.workbench import Workbench

_THUMBNAIL = 64
_DEPTH_STEP_UM = 4.0

_EMPTY = "Click a circle in the two-photon canvas,\nor press space for the next cell."
_NO_PROJECT = "Open a project in the Data dock, or File ▸ Open Sample ▸ NeuroBridge."


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
        self._flickered = False
        layout = QVBoxLayout(self)
        layout.addLayout(self._create_queue_row())
        layout.addWidget(self._create_header())
        layout.addLayout(self._create_crops())
        layout.addWidget(self._create_candidates(), stretch=1)
        layout.addLayout(self._create_none_row())
        layout.addLayout(self._create_buttons())
        layout.addWidget(StatusLine(workbench))
        self._create_shortcuts()

        questions, session = workbench.questions, workbench.session
        questions.query_changed.connect(self._on_query_changed)
        questions.answer_changed.connect(self._on_answer_changed)
        questions.choice_changed.connect(self._on_choice_changed)
        session.verdicts_changed.connect(self._on_verdicts_changed)
        session.project_changed.connect(self._on_project_changed)
        self._on_project_changed()

    # --- controls --------------------------------------------------------------------

    def _create_queue_row(self) -> QHBoxLayout:
        self.queue_text = QLabel()
        self.queue_text.setObjectName("queue_text")
        self.queue_bar = QProgressBar()
        self.queue_bar.setTextVisible(False)
        self.queue_bar.setMaximumHeight(10)
        row = QHBoxLayout()
        row.addWidget(QLabel("Queue: clearest cells first"))
        row.addStretch(1)
        row.addWidget(self.queue_text)
        row.addWidget(self.queue_bar)
        return row

    def _create_header(self) -> QLabel:
        self.header = QLabel()
        self.header.setObjectName("query_header")
        self.header.setWordWrap(True)
        self.header.setTextFormat(Qt.TextFormat.RichText)
        return self.header

    def _create_crops(self) -> QGridLayout:
        self.query_view = CropView(MARK_COLORS[Mark.QUERY])
        self.query_view.setObjectName("query_crop")
        self.choice_view = CropView(MARK_COLORS[Mark.CHOSEN])
        self.choice_view.setObjectName("choice_crop")
        self.query_caption, self.choice_caption = QLabel("two-photon"), QLabel("fMOST")
        grid = QGridLayout()
        for column, (view, caption) in enumerate(
            ((self.query_view, self.query_caption), (self.choice_view, self.choice_caption))
        ):
            grid.addWidget(caption, 0, column, Qt.AlignmentFlag.AlignHCenter)
            grid.addWidget(view, 1, column, Qt.AlignmentFlag.AlignHCenter)
            view.scrolled.connect(self._on_scrolled)
        return grid

    def _create_candidates(self) -> QListWidget:
        self.candidates = QListWidget()
        self.candidates.setObjectName("candidates")
        self.candidates.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        self.candidates.setMinimumHeight(3 * _THUMBNAIL)
        self.candidates.currentRowChanged.connect(self._on_row_changed)
        return self.candidates

    def _create_none_row(self) -> QHBoxLayout:
        self.none_reason = QComboBox()
        self.none_reason.setObjectName("none_reason")
        self.none_reason.addItem("no reason given", None)
        for reason in NoneReason:
            self.none_reason.addItem(reason.replace("_", " "), reason)
        row = QHBoxLayout()
        row.addWidget(QLabel("none of these, because"))
        row.addWidget(self.none_reason, stretch=1)
        return row

    def _create_buttons(self) -> QGridLayout:
        grid = QGridLayout()
        verdicts, questions = self._workbench.verdicts, self._workbench.questions
        actions = (
            ("accept", "A  accept", "The chosen soma is this cell", verdicts.accept),
            ("reject", "R  reject", "The chosen soma is another cell", verdicts.reject),
            ("unsure", "U  unsure", "It may or may not be this cell", verdicts.unsure),
            ("none", "N  none", "No soma of the fMOST brain is this cell", self._on_none),
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
        actions = {**self._workbench.key_actions(), "N": self._on_none, "F": self._flicker}
        for key, action in actions.items():
            shortcut = QShortcut(QKeySequence(key), self)
            # Elsewhere these keys belong to napari, and in text fields to the text.
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)

    # --- from the view to the state ------------------------------------------------------

    def _on_row_changed(self, row: int) -> None:
        if row >= 0:
            self._workbench.questions.choose(row + 1)

    def _on_scrolled(self, steps: int) -> None:
        self._workbench.questions.look_deeper(steps * _DEPTH_STEP_UM)

    def _on_none(self) -> None:
        self._workbench.verdicts.none(self.none_reason.currentData())

    def _flicker(self) -> None:
        """Show the chosen crop in the query's place, and back."""
        self._flickered = not self._flickered
        self._show_crops()

    # --- from the state to the view ------------------------------------------------------

    def _on_project_changed(self, _: object = None) -> None:
        self._on_verdicts_changed()
        self._on_query_changed(self._workbench.questions.query)
        self._on_answer_changed(self._workbench.questions.answer)

    def _on_query_changed(self, query: Query | None) -> None:
        self._flickered = False
        self.none_reason.setCurrentIndex(0)
        if self._workbench.project is None:
            self.header.setText(_NO_PROJECT)
        elif query is None:
            self.header.setText(_EMPTY.replace("\n", "<br>"))
        else:
            z, y, x = query.center_um
            queue = self._workbench.questions.queue()
            reason = next((item.reason for item in queue if item.uid == query.uid), "")
            self.header.setText(
                f"<b>{query.uid or 'a place'}</b>&nbsp;&nbsp; z {z:.1f}&nbsp; y {y:.1f}"
                f"&nbsp; x {x:.1f} µm" + (f"<br>{reason}" if reason else "")
            )

    def _on_answer_changed(self, answer: Answer | None) -> None:
        with signals_blocked(self.candidates):
            self.candidates.clear()
            if answer is None:
                if self._workbench.questions.query is not None:
                    self.candidates.addItem("ranking …")
            else:
                for index, candidate in enumerate(answer.shown):
                    self.candidates.addItem(self._candidate_item(answer, index, candidate))
        self._show_crops()

    def _candidate_item(self, answer: Answer, index: int, candidate: Candidate) -> QListWidgetItem:
        total = len(answer.ranking.candidates)
        item = QListWidgetItem(
            f"{candidate.rank}   {candidate.uid}\n     looks {candidate.similarity:.2f}"
        )
        item.setToolTip(
            f"Number {candidate.rank} of {total} fMOST somata by how alike the crops look "
            f"(1 is identical). No probability yet: it needs an alignment."
        )
        if answer.candidate_crops is not None:
            item.setIcon(QIcon(crop_pixmap(answer.candidate_crops[index], _THUMBNAIL)))
        return item

    def _on_choice_changed(self, choice: Candidate | None) -> None:
        with signals_blocked(self.candidates):
            listed = choice is not None and choice.rank <= self.candidates.count()
            self.candidates.setCurrentRow(choice.rank - 1 if choice and listed else -1)
        self._flickered = False
        self._show_crops()

    def _show_crops(self) -> None:
        answer, choice = self._workbench.questions.answer, self._workbench.questions.choice
        if answer is None:
            self.query_view.show_crop(None, "")
            self.choice_view.show_crop(None, "")
            self.choice_caption.setText("fMOST")
            return
        chosen = None
        if choice is not None and answer.candidate_crops is not None:
            rows = [c.uid for c in answer.shown]
            if choice.uid in rows:
                chosen = answer.candidate_crops[rows.index(choice.uid)]
        self.choice_caption.setText(f"fMOST  {choice.uid}" if choice else "fMOST")
        self.choice_view.show_crop(chosen, "seen in the fMOST canvas")
        flicker = self._flickered and chosen is not None
        self.query_view.show_crop(chosen if flicker else answer.query_crop, "no image")
        depth = f"  {answer.depth_um:+.0f} µm" if answer.depth_um else ""
        self.query_caption.setText(("fMOST (F)" if flicker else "two-photon") + depth)

    def _on_verdicts_changed(self) -> None:
        asked, total = self._workbench.questions.progress()
        self.queue_text.setText(f"{asked} of {total} asked")
        self.queue_bar.setRange(0, max(total, 1))
        self.queue_bar.setValue(asked)


class MatchWidget(MatchPanel):
    """The Match dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(binding_for(napari_viewer).workbench)
