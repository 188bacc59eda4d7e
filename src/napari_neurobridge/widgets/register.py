"""The Register dock: two images, how they lie on each other, and on what evidence."""

from __future__ import annotations

import napari
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import REGISTER
from napari_neurobridge.viewer.plane_sources import offered_planes
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import MARK_COLORS, Mark, swatch
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX, scrolled
from napari_neurobridge.widgets.foldable import Foldable
from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.widgets.match_list import MatchList
from napari_neurobridge.widgets.plane_form import PlaneForm, Planes, no_planes
from napari_neurobridge.widgets.register_actions import Beside, Canvas, RegisterActions
from napari_neurobridge.widgets.soma_registration_box import SomaRegistrationBox
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.job_status import JobStatus
from napari_neurobridge.workbench.registering import REGISTER_JOB, WARP_JOB, WRITE_JOB
from napari_neurobridge.workbench.workbench import Workbench

_STEPS = 100
_REST_MS = 250
"""So long the slider rests before the map is fitted again."""


class RegisterPanel(QWidget):
    """Chooses two images, registers them, and lets a person correct and use the result.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    canvas : Canvas, optional
        Draws the result.
    planes : callable
        Returns the image layers that there are now.
    beside : Beside, optional
        Shows both images side by side.
    """

    def __init__(
        self,
        workbench: Workbench,
        canvas: Canvas | None = None,
        planes: Planes = no_planes,
        beside: Beside | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._registering = workbench.registering
        self._canvas = canvas
        self._planes = planes
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._on_slider_rested)
        content = QWidget()
        inside = QVBoxLayout(content)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        self.somata = SomaRegistrationBox(workbench)
        self.project_fold = Foldable("This project", self.somata, name="register_project_fold")
        inside.addWidget(self.project_fold)
        self.layers_title = QLabel("<b>Two image layers</b>")
        inside.addWidget(self.layers_title)
        self.source = PlaneForm("Source", "The image that is mapped")
        self.target = PlaneForm("Target", "The image that the source is mapped to")
        inside.addWidget(self.source)
        inside.addWidget(self.target)
        inside.addLayout(self._create_run())
        self.jobs = JobList(workbench, only=(REGISTER_JOB, WARP_JOB, WRITE_JOB))
        inside.addWidget(self.jobs)
        inside.addWidget(self._create_decision())
        inside.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addWidget(scrolled(content), stretch=3)
        layout.addLayout(self._create_cut())
        self.list = MatchList(self._registering)
        layout.addWidget(self.list, stretch=2)
        self.buttons = RegisterActions(workbench, canvas, beside)
        self.buttons.layers_moved.connect(self.offer)
        layout.addWidget(self.buttons)
        layout.addWidget(StatusLine(workbench))

        for form in (self.source, self.target):
            form.changed.connect(self._show_problem)
        self._registering.changed.connect(self._refresh)
        workbench.session.project_changed.connect(self._on_project_changed)
        workbench.session.job_changed.connect(self._on_job_changed)
        self.offer()
        self._refresh()
        self._on_project_changed()

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as small as a small screen needs."""
        return LEAST_DOCK_PX

    # --- controls --------------------------------------------------------------------

    def _create_run(self) -> QHBoxLayout:
        self.run_button = QPushButton("Register")
        self.run_button.setObjectName("register_button")
        self.run_button.setToolTip(
            "Finds how the source lies on the target from their pixels alone, at any angle; takes "
            "up to half a minute"
        )
        self.run_button.clicked.connect(self._on_run_clicked)
        self.problem = QLabel()
        self.problem.setObjectName("register_problem")
        self.problem.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.run_button)
        row.addWidget(self.problem, stretch=1)
        return row

    def _create_decision(self) -> QWidget:
        self.decision = QLabel()
        self.decision.setObjectName("register_decision")
        self.decision.setWordWrap(True)
        self.decision.setTextFormat(Qt.TextFormat.RichText)
        self.evidence = QLabel()
        self.evidence.setObjectName("register_evidence")
        self.evidence.setWordWrap(True)
        self.evidence.setTextFormat(Qt.TextFormat.RichText)
        self.result = QWidget()
        column = QVBoxLayout(self.result)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.decision)
        column.addWidget(self.evidence)
        return self.result

    def _create_cut(self) -> QHBoxLayout:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("consistency_slider")
        self.slider.setRange(0, _STEPS)
        self.slider.setToolTip("Matches whose geometric consistency C(i, j) is higher take part")
        self.slider.valueChanged.connect(self._on_slider_moved)
        self.cut_text = QLabel()
        self.cut_text.setObjectName("consistency_text")
        row = QHBoxLayout()
        row.addWidget(self.cut_text)
        row.addWidget(self.slider, stretch=1)
        return row

    # --- from the view to the state ------------------------------------------------------

    def offer(self) -> None:
        """List the layers that there are now."""
        if self._canvas is not None and self._canvas.overlaid:
            return  # where the source lies then would count as its scale
        planes = self._planes()
        self.source.offer(planes, prefer=0)
        self.target.offer(planes, prefer=1)
        self._show_problem()

    def showEvent(self, event: QShowEvent | None) -> None:
        """List the layers that came while nobody looked."""
        super().showEvent(event)
        self.offer()

    def _on_run_clicked(self) -> None:
        self.buttons.put_back()
        self.offer()
        session = self._workbench.session

        def start() -> None:
            self._registering.register(self.source.plane(), self.target.plane())

        session.attempt(start, about="register")

    def _on_slider_moved(self, _: int) -> None:
        self._show_count()
        self._rest.start()

    def _on_slider_rested(self) -> None:
        self._registering.set_threshold(self.slider.value() / _STEPS)

    # --- from the state to the view ------------------------------------------------------

    def _show_problem(self) -> None:
        chosen = self.source.chosen(), self.target.chosen()
        problem = self.source.problem() or self.target.problem()
        if not problem and chosen[0] and chosen[1] and chosen[0].layer is chosen[1].layer:
            problem = "Source and target are the same layer; choose another one."
        self.problem.setText(f"⚠ {problem}" if problem else "")
        self.run_button.setEnabled(not problem and not self._registering.running)

    def _on_project_changed(self, _: object = None) -> None:
        for widget in (self.project_fold, self.layers_title):
            widget.setVisible(self._workbench.project is not None)

    def _on_job_changed(self, status: JobStatus) -> None:
        if status.name == REGISTER_JOB:
            self._show_problem()

    def _refresh(self) -> None:
        registering = self._registering
        decision = registering.decision
        self.result.setVisible(decision is not None)
        if decision is not None:
            color, sign, word = (
                (MARK_COLORS[Mark.ACCEPTED], "✔", "Accepted.")
                if decision.accepted
                else (MARK_COLORS[Mark.DISPUTED], "✘", "Refused.")
            )
            self.decision.setText(f"{swatch(color, sign)} <b>{word}</b> {decision.reason}")
        rows = "".join(
            f"<tr><td>{what}&nbsp;&nbsp;</td><td>{value}</td></tr>"
            for what, value in registering.facts()
        )
        self.evidence.setText(f"<table>{rows}</table>")
        self.slider.setEnabled(decision is not None)
        if not self._rest.isActive():
            with signals_blocked(self.slider):
                self.slider.setValue(round(registering.threshold * _STEPS))
        self._show_count()

    def _show_count(self) -> None:
        threshold = self.slider.value() / _STEPS
        kept, every = self._registering.count(threshold)
        self.cut_text.setText(f"C > {threshold:.2f}: {kept} of {every}")


class RegisterWidget(Docked, RegisterPanel):
    """The Register dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(
            binding.workbench,
            binding.registration,
            lambda: offered_planes(binding.viewer),
            binding.beside,
        )
        self._layer_events = binding.viewer.layers.events
        for event in (self._layer_events.inserted, self._layer_events.removed):
            event.connect(self._on_layers_changed)
        self.join(binding.column, REGISTER)

    def _on_layers_changed(self, _: object = None) -> None:
        self.offer()
