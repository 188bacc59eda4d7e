"""The Insight dock: how well the model finds the accepted pairs, and where it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.insight import figures
from napari_neurobridge.insight.evaluation import Progress
from napari_neurobridge.viewer.attention_layers import CHANNEL_STYLES
from napari_neurobridge.viewer.dispatch import after_events
from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import INSIGHT
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX
from napari_neurobridge.widgets.insight_plots import (
    WORDS,
    FigureView,
    Page,
    cell_at,
    draw,
    theme_of,
)
from napari_neurobridge.widgets.insight_words import describe, nothing_to_show
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.insight_steps import Channel
from napari_neurobridge.workbench.insights import REPORT_JOB
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.workbench import Workbench

_COLUMNS = 4


# Pages that plain measures add nothing to.
_WITHOUT_MEASURES = (Page.BEST_MATCHES, Page.CONFUSION, Page.MAP, Page.RELIABILITY)


class InsightPanel(QWidget):
    """Shows figures about the model, and explains the picked candidate.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    theme : Theme
        Colours of the figures.
    """

    def __init__(
        self,
        workbench: Workbench,
        theme: figures.Theme = figures.DARK,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._insights = workbench.insights
        self._theme = theme
        self._page = Page.TOP_K
        self._is_stale = True
        layout = QVBoxLayout(self)
        layout.addLayout(self._create_actions())
        layout.addWidget(self._create_facts())
        layout.addLayout(self._create_pages())
        layout.addWidget(self._create_hint())
        layout.addLayout(self._create_page_actions())
        layout.addWidget(self._create_stage(), stretch=1)
        layout.addLayout(self._create_progress_row())
        layout.addLayout(self._create_save_row())
        layout.addWidget(StatusLine(workbench))

        insights = self._insights
        insights.evaluation_changed.connect(self._on_changed)
        insights.attention_changed.connect(self._on_changed)
        insights.subject_changed.connect(self._on_changed)
        insights.progress_changed.connect(self._on_progress_changed)
        insights.shown_channels_changed.connect(self._on_shown_channels_changed)
        workbench.session.job_changed.connect(self._on_job_changed)
        self._on_progress_changed(insights.progress)
        self._on_shown_channels_changed(insights.shown_channels)

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as small as a small screen needs."""
        return LEAST_DOCK_PX

    # --- controls --------------------------------------------------------------------

    def _create_actions(self) -> QHBoxLayout:
        self.evaluate_button = QPushButton("Evaluate accepted pairs")
        self.evaluate_button.setObjectName("evaluate_button")
        self.evaluate_button.setToolTip("Test how often the model finds the accepted partners")
        self.evaluate_button.clicked.connect(self._on_evaluate_clicked)
        row = QHBoxLayout()
        row.addWidget(self.evaluate_button, stretch=1)
        return row

    def _create_facts(self) -> QLabel:
        self.facts = QLabel()
        self.facts.setObjectName("insight_facts")
        self.facts.setWordWrap(True)
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        return self.facts

    def _create_pages(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(2)
        self._page_group = QButtonGroup(self)
        self.page_buttons = {}
        for index, page in enumerate(Page):
            button = QPushButton(page.value)
            button.setToolTip(WORDS[page].tip)
            button.setObjectName(f"page_{page.name.lower()}")
            button.setCheckable(True)
            button.setChecked(page is self._page)
            grid.addWidget(button, index // _COLUMNS, index % _COLUMNS)
            self._page_group.addButton(button, index)
            self.page_buttons[page] = button
        self._page_group.idClicked.connect(self._on_page_clicked)
        return grid

    def _create_stage(self) -> QStackedWidget:
        self.empty = QLabel()
        self.empty.setObjectName("insight_empty")
        self.empty.setWordWrap(True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.view = FigureView()
        self.view.clicked.connect(self._on_figure_clicked)
        self.view.hovered.connect(self._on_figure_hovered)
        self.stage = QStackedWidget()
        # Also tells napari that it need not push everything to the top.
        self.stage.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.stage.addWidget(self.empty)
        self.stage.addWidget(self.view)
        return self.stage

    def _create_hint(self) -> QLabel:
        self.hint = QLabel()
        self.hint.setObjectName("insight_hint")
        self.hint.setWordWrap(True)
        return self.hint

    def _create_page_actions(self) -> QVBoxLayout:
        """Create what only some pages need."""
        self.compare_button = QPushButton("Compare with plain measures")
        self.compare_button.setObjectName("compare_button")
        self.compare_button.setToolTip("NMI, SSIM, Pearson, cosine and MSE; may take minutes")
        self.compare_button.clicked.connect(self._on_compare_clicked)
        self.explain_button = QPushButton("Explain the picked candidate")
        self.explain_button.setObjectName("explain_button")
        self.explain_button.setToolTip("Show where the network looks, here and in both canvases")
        self.explain_button.clicked.connect(self._on_explain_clicked)
        boxes = QHBoxLayout()
        self.channel_boxes = {}
        for channel in Channel:
            box = QCheckBox(f"{channel}: {CHANNEL_STYLES[channel].name}")
            box.setObjectName(f"show_{channel}")
            box.setToolTip(f"Show the map of the {channel} channel in both canvases")
            box.toggled.connect(self._on_channel_toggled)
            boxes.addWidget(box)
            self.channel_boxes[channel] = box
        rows = QVBoxLayout()
        rows.addWidget(self.compare_button)
        rows.addWidget(self.explain_button)
        rows.addLayout(boxes)
        return rows

    def _create_progress_row(self) -> QHBoxLayout:
        self.progress = QProgressBar()
        self.progress.setObjectName("insight_progress")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setObjectName("insight_cancel_button")
        self.cancel_button.clicked.connect(self._on_cancel_clicked)
        row = QHBoxLayout()
        row.addWidget(self.progress, stretch=1)
        row.addWidget(self.cancel_button)
        return row

    def _create_save_row(self) -> QHBoxLayout:
        self.save_button = QPushButton("Save page…")
        self.save_button.setObjectName("save_figure_button")
        self.save_button.setToolTip("This page as PNG, PDF or SVG, dark lines on white")
        self.save_button.clicked.connect(self._on_save_clicked)
        self.report_button = QPushButton("Export report…")
        self.report_button.setObjectName("export_report_button")
        self.report_button.setToolTip("One HTML file with all figures, to send to a colleague")
        self.report_button.clicked.connect(self._on_report_clicked)
        row = QHBoxLayout()
        row.addWidget(self.save_button)
        row.addWidget(self.report_button)
        return row

    # --- from the view to the state ------------------------------------------------------

    def show_page(self, page: Page) -> None:
        """Turn to a page."""
        self._page = page
        self.page_buttons[page].setChecked(True)
        self._on_changed()

    def _on_page_clicked(self, index: int) -> None:
        self.show_page(tuple(Page)[index])

    def _on_evaluate_clicked(self) -> None:
        self._insights.evaluate()

    def _on_compare_clicked(self) -> None:
        self._insights.compare()

    def _on_explain_clicked(self) -> None:
        self._insights.explain()

    def _on_cancel_clicked(self) -> None:
        self._insights.cancel()

    def _on_channel_toggled(self, _: bool) -> None:
        for channel, box in self.channel_boxes.items():
            if box.isChecked() != (channel in self._insights.shown_channels):
                self._insights.show_channel(channel, box.isChecked())

    def _on_figure_clicked(self, event: Any) -> None:
        evaluation = self._insights.evaluation
        cell = None if evaluation is None else cell_at(self._page, evaluation, event)
        if cell is not None:
            row, fmost = cell
            self._insights.select(row, fmost=fmost)

    def _on_figure_hovered(self, event: Any) -> None:
        evaluation = self._insights.evaluation
        cell = None if evaluation is None else cell_at(self._page, evaluation, event)
        uid, subject = "", self._insights.subject
        if subject is not None and cell is not None:
            row, fmost = cell
            uid = subject.pairs[row][fmost].uid
        self.view.setToolTip(uid)

    def _on_save_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Save the page",
            f"{self._page.name.lower()}.png",
            "Pictures (*.png *.pdf *.svg)",
        )
        if path:
            page, insights = self._page, self._insights
            insights.save_figure(
                lambda: draw(page, insights, figures.LIGHT), _with_suffix(path, ".png")
            )

    def _on_report_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Write the report", "report.html", "Web page (*.html)"
        )
        if path:
            self._insights.export_report(_with_suffix(path, ".html"))

    # --- from the state to the view ------------------------------------------------------

    def set_theme(self, theme: figures.Theme) -> None:
        """Draw in other colours."""
        self._theme = theme
        self._on_changed()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw what has changed while the dock was hidden."""
        super().showEvent(event)
        if self._is_stale:
            after_events(self._redraw)

    def _on_changed(self, _: object = None) -> None:
        """Redraw once the event is over, however much of the state is changing just now."""
        if not self._is_stale and self.isVisible():
            # Not at once: the canvas that was clicked goes with its figure.
            after_events(self._redraw)
        self._is_stale = True
        self._show_controls()

    def _redraw(self) -> None:
        if not self._is_stale:
            return
        self._is_stale = False
        self._workbench.session.attempt(
            lambda: self.view.show_figure(draw(self._page, self._insights, self._theme))
        )
        shown = self.view.figure is not None
        self.stage.setCurrentWidget(self.view if shown else self.empty)
        self._show_controls()

    def _show_controls(self) -> None:
        insights, page = self._insights, self._page
        project, idle = self._workbench.project, insights.progress is None
        evaluation = insights.evaluation
        explains = page is Page.ATTENTION
        self.facts.setText(describe(insights, project is not None))
        self.hint.setText(WORDS[page].hint)
        self.empty.setText(nothing_to_show(page, insights, project is not None))
        self.evaluate_button.setEnabled(idle and project is not None and insights.can_evaluate)
        self.compare_button.setVisible(not explains and page not in _WITHOUT_MEASURES)
        self.compare_button.setEnabled(
            idle and evaluation is not None and not evaluation.has_plain_measures
        )
        self.explain_button.setVisible(explains)
        self.explain_button.setEnabled(idle and insights.can_explain)
        for box in self.channel_boxes.values():
            box.setVisible(explains and insights.attention is not None)
        self.save_button.setEnabled(self.view.figure is not None)
        self.report_button.setEnabled(idle and project is not None and insights.can_evaluate)

    def _on_progress_changed(self, progress: Progress | None) -> None:
        if progress is not None:
            self._show_bar(progress.done, progress.total, progress.message)
        self.progress.setVisible(progress is not None)
        self.cancel_button.setVisible(progress is not None)
        self._show_controls()

    def _on_job_changed(self, status: JobStatus) -> None:
        if status.name != REPORT_JOB:
            return
        running = status.state is JobState.RUNNING
        self._show_bar(status.done, status.total, f"{status.name}: {status.message}")
        self.progress.setVisible(running)
        self.cancel_button.setVisible(running)

    def _show_bar(self, done: int, total: int, message: str) -> None:
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        self.progress.setFormat(f"{message}  %p%" if total else message)

    def _on_shown_channels_changed(self, shown: frozenset[Channel]) -> None:
        for channel, box in self.channel_boxes.items():
            with signals_blocked(box):
                box.setChecked(channel in shown)


class InsightWidget(Docked, InsightPanel):
    """The Insight dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(binding.workbench, theme_of(binding.viewer.theme))
        binding.viewer.events.theme.connect(self._on_theme_changed)
        self.join(binding.column, INSIGHT)

    def _on_theme_changed(self, event: Any) -> None:
        self.set_theme(theme_of(event.value))


def _with_suffix(path: str, usual: str) -> Path:
    """Return a path that a dialog gave, with a suffix when the user typed none."""
    chosen = Path(path)
    return chosen if chosen.suffix else chosen.with_suffix(usual)
