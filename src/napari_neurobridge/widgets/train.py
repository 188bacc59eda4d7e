"""The Train dock: the project's model trained on its pairs, compared, adopted, and taken back."""

from __future__ import annotations

from dataclasses import replace

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.cli.train import STRATEGIES
from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import TRAIN
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX, scrolled
from napari_neurobridge.widgets.curve_view import CurveView
from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.widgets.train_words import (
    outcome_in_words,
    outlook_in_words,
    stale_in_words,
    version_in_words,
    version_tip,
)
from napari_neurobridge.workbench.indexing import INDEX_JOB
from napari_neurobridge.workbench.training import TRAIN_JOB
from napari_neurobridge.workbench.workbench import Workbench

_HISTORY_PX = 130


class TrainPanel(QWidget):
    """Trains the model, shows its curves and what came of it, and the models so far.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._training = workbench.training
        self.outlook = _words("train_outlook")
        self.outcome = _words("train_outcome")
        self.outcome.setTextFormat(Qt.TextFormat.RichText)
        self.stale = _words("train_stale")
        content = QWidget()
        inside = QVBoxLayout(content)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.outlook)
        inside.addLayout(self._create_choice())
        inside.addLayout(self._create_buttons())
        inside.addWidget(JobList(workbench, only=(TRAIN_JOB, INDEX_JOB)))
        inside.addLayout(self._create_curves())
        inside.addWidget(self.outcome)
        inside.addWidget(self.stale)
        inside.addWidget(self._create_history(), stretch=1)
        inside.addLayout(self._create_history_buttons())
        layout = QVBoxLayout(self)
        layout.addWidget(scrolled(content), stretch=1)
        layout.addWidget(StatusLine(workbench))

        self._training.changed.connect(self._refresh)
        self._training.log_changed.connect(self._show_curves)
        workbench.session.job_changed.connect(self._show_controls)
        self._refresh()
        self._show_curves()

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as small as a small screen needs."""
        return LEAST_DOCK_PX

    def showEvent(self, event: QShowEvent | None) -> None:
        """Count pairs while somebody looks."""
        super().showEvent(event)
        self._training.look(True)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Count nothing while nobody looks."""
        super().hideEvent(event)
        self._training.look(False)

    # --- controls --------------------------------------------------------------------

    def _create_choice(self) -> QHBoxLayout:
        self.strategy = QComboBox()
        self.strategy.setObjectName("train_strategy")
        self.strategy.addItems(sorted(STRATEGIES, key=lambda name: name != "dual-channel"))
        self.strategy.setToolTip("Which weights change; dual-channel is the method of the paper")
        self.epochs = QSpinBox()
        self.epochs.setObjectName("train_epochs")
        self.epochs.setRange(0, 999)
        self.epochs.setSpecialValueText("usual")
        self.epochs.setToolTip(
            "How often each pair is seen; usual is 200 updates, fewer where nothing is gained"
        )
        self.free = QCheckBox("free labels")
        self.free.setObjectName("train_free_labels")
        self.free.setToolTip(
            "Learn, too, the pairs that are claimed from the places of the cells alone, of which "
            "at most one in a hundred is expected to be wrong; nothing is compared on them"
        )
        row = QHBoxLayout()
        row.addWidget(self.strategy, stretch=1)
        row.addWidget(QLabel("epochs"))
        row.addWidget(self.epochs)
        row.addWidget(self.free)
        self.strategy.currentTextChanged.connect(self._on_choice_changed)
        self.epochs.valueChanged.connect(self._on_choice_changed)
        self.free.toggled.connect(self._on_choice_changed)
        return row

    def _create_buttons(self) -> QHBoxLayout:
        self.start_button = QPushButton("Train")
        self.start_button.setObjectName("train_button")
        self.start_button.setToolTip(
            "Trains in the background, and goes over to the new model only if it is better on the "
            "pairs that were held back"
        )
        self.start_button.clicked.connect(lambda _checked=False: self._training.start())
        row = QHBoxLayout()
        row.addWidget(self.start_button)
        row.addStretch(1)
        return row

    def _create_curves(self) -> QHBoxLayout:
        self.loss = CurveView("loss", 1)
        self.loss.setObjectName("train_loss_curve")
        self.loss.setToolTip("Of the batch of each step; the lower the better")
        self.score = CurveView("validation (bits)", 0)
        self.score.setObjectName("train_score_curve")
        self.score.setToolTip(
            "How well the validation pairs are told from wrong ones: 1 is perfect, 0 is nothing"
        )
        row = QHBoxLayout()
        row.addWidget(self.loss)
        row.addWidget(self.score)
        return row

    def _create_history(self) -> QListWidget:
        self.history = QListWidget()
        self.history.setObjectName("train_history")
        self.history.setMinimumHeight(_HISTORY_PX)
        self.history.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.history.setWordWrap(True)
        self.history.currentRowChanged.connect(lambda _row: self._show_controls())
        return self.history

    def _create_history_buttons(self) -> QHBoxLayout:
        self.use_button = QPushButton("Use selected")
        self.use_button.setObjectName("use_model_button")
        self.use_button.setToolTip("The project goes over to the model that is selected above")
        self.use_button.clicked.connect(self._on_use_clicked)
        self.back_button = QPushButton("Roll back")
        self.back_button.setObjectName("roll_back_button")
        self.back_button.setToolTip("The project returns to the model before; nothing is deleted")
        self.back_button.clicked.connect(lambda _checked=False: self._training.roll_back())
        row = QHBoxLayout()
        row.addWidget(self.use_button)
        row.addWidget(self.back_button)
        row.addStretch(1)
        return row

    # --- from the view to the state ------------------------------------------------------

    def _on_choice_changed(self, _: object) -> None:
        choice = replace(
            self._training.settings,
            strategy=self.strategy.currentText(),
            epochs=self.epochs.value(),
            free_labels=self.free.isChecked(),
        )
        self._training.choose(choice)

    def _on_use_clicked(self, _checked: bool = False) -> None:
        item = self.history.currentItem()
        if item is not None:
            self._training.use(str(item.data(Qt.ItemDataRole.UserRole)))

    # --- from the state to the view ------------------------------------------------------

    def _refresh(self, _: object = None) -> None:
        training = self._training
        has_project = self._workbench.project is not None
        self.outlook.setText(outlook_in_words(training.outlook, has_project=has_project))
        for label, words in (
            (self.outcome, outcome_in_words(training)),
            (self.stale, stale_in_words(training)),
        ):
            label.setText(words)
            label.setVisible(bool(words))
        choice = training.settings
        for widget in (self.strategy, self.epochs, self.free):
            widget.setEnabled(not training.running)
        with (
            signals_blocked(self.strategy),
            signals_blocked(self.epochs),
            signals_blocked(self.free),
        ):
            self.strategy.setCurrentText(choice.strategy)
            self.epochs.setValue(choice.epochs)
            self.free.setChecked(choice.free_labels)
        self._show_history()
        self._show_controls()

    def _show_history(self) -> None:
        chosen = self.history.currentItem()
        name = None if chosen is None else chosen.data(Qt.ItemDataRole.UserRole)
        with signals_blocked(self.history):
            self.history.clear()
            for version in self._training.history:
                item = QListWidgetItem(version_in_words(version))
                item.setData(Qt.ItemDataRole.UserRole, version.name)
                item.setToolTip(version_tip(version))
                self.history.addItem(item)
                if version.name == name:
                    self.history.setCurrentItem(item)

    def _show_controls(self, _: object = None) -> None:
        training = self._training
        self.start_button.setEnabled(training.can_start)
        self.back_button.setEnabled(training.can_roll_back and not training.running)
        current = {version.name for version in training.history if version.is_current}
        item = self.history.currentItem()
        other = item is not None and item.data(Qt.ItemDataRole.UserRole) not in current
        self.use_button.setEnabled(other and not training.running)

    def _show_curves(self, _: object = None) -> None:
        log = self._training.log
        points = () if log is None else log.points
        steps = 1 if log is None else int(log.facts.get("steps", 1))
        losses = [(p.step, p.loss) for p in points if p.loss is not None]
        scores = [(p.step, p.score) for p in points if p.score is not None]
        self.loss.show_points(losses, steps)
        self.score.show_points(scores, steps)
        for curve in (self.loss, self.score):
            curve.setVisible(bool(points))


class TrainWidget(Docked, TrainPanel):
    """The Train dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(binding.workbench)
        self.join(binding.column, TRAIN)


def _words(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    return label
