"""The Register dock: two images, how they lie on each other, and on what evidence."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

import napari
from qtpy.QtCore import QSize, Qt, QTimer, QUrl
from qtpy.QtGui import QDesktopServices, QShowEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import REGISTER
from napari_neurobridge.viewer.plane_sources import offered_planes
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import MARK_COLORS, Mark, swatch
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX, scrolled
from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.widgets.match_list import MatchList
from napari_neurobridge.widgets.plane_form import PlaneForm, Planes, no_planes
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.job_status import JobStatus
from napari_neurobridge.workbench.registering import REGISTER_JOB, WARP_JOB, WRITE_JOB
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.transforms import TransformFormat

_STEPS = 100
_REST_MS = 250
"""So long the slider rests before the map is fitted again."""

_FORMATS = (
    ("Record, matches and quality page…", None),
    ("… and the map as OME-NGFF (OME-Zarr)", TransformFormat.NGFF),
    ("… and the map for ITK, ANTs and Elastix", TransformFormat.ITK),
    ("… and the matches as BigWarp landmarks", TransformFormat.BIGWARP),
)


class Canvas(Protocol):
    """What draws a registration; see `RegistrationLayers`."""

    @property
    def shows_matches(self) -> bool:
        """Whether correspondences are drawn."""

    @property
    def overlaid(self) -> bool:
        """Whether the source lies where the map puts it."""

    def show_matches(self, shown: bool) -> None:
        """Draw correspondences, or take them away."""

    def overlay(self, overlaid: bool) -> None:
        """Put the source where the map puts it, or back."""

    def look_at_selected(self) -> None:
        """Move to the match that is selected."""


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
    """

    def __init__(
        self,
        workbench: Workbench,
        canvas: Canvas | None = None,
        planes: Planes = no_planes,
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
        layout.addLayout(self._create_actions())
        layout.addWidget(StatusLine(workbench))

        for form in (self.source, self.target):
            form.changed.connect(self._show_problem)
        self._registering.changed.connect(self._refresh)
        self._registering.selected_changed.connect(self._on_selected)
        workbench.session.job_changed.connect(self._on_job_changed)
        self.offer()
        self._refresh()

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

    def _create_actions(self) -> QGridLayout:
        registering = self._registering
        self.remove_button = _button("Remove match", "remove_match_button", "Key: Delete")
        self.remove_button.clicked.connect(lambda _checked=False: registering.remove())
        self.undo_button = _button("Undo", "undo_match_button", "Brings it back. Key: Ctrl+Z")
        self.undo_button.clicked.connect(lambda _checked=False: registering.undo())
        self.matches_button = _button(
            "Correspondences",
            "show_matches_button",
            "Source places as discs, target places as rings, joined by lines; lighter: higher C. "
            "Click one to look at it",
        )
        self.overlay_button = _button(
            "Overlay",
            "overlay_button",
            "Puts the source layer where the map's affine part puts it; off puts it back",
        )
        for button in (self.matches_button, self.overlay_button):
            button.setCheckable(True)
        self.matches_button.toggled.connect(self._on_matches_toggled)
        self.overlay_button.toggled.connect(self._on_overlay_toggled)
        self.warp_button = _button(
            "Warped layer", "warp_button", "Adds the source, warped by the whole map, as a layer"
        )
        self.warp_button.clicked.connect(lambda _checked=False: registering.warp())
        self.page_button = _button(
            "Quality page…", "quality_page_button", "Saves the evidence as one page, and opens it"
        )
        self.page_button.clicked.connect(self._on_page_clicked)
        self.export_button = _button("Export", "export_registration_button", "Writes files")
        menu = QMenu(self.export_button)
        for words, transform_format in _FORMATS:
            action = menu.addAction(words)
            assert action is not None
            action.triggered.connect(partial(self._on_export, transform_format))
        self.export_button.setMenu(menu)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, button in enumerate(
            (
                self.remove_button,
                self.undo_button,
                self.matches_button,
                self.overlay_button,
                self.warp_button,
                self.page_button,
                self.export_button,
            )
        ):
            grid.addWidget(button, place // 3, place % 3)
        return grid

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
        self.overlay_button.setChecked(False)
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

    def _on_matches_toggled(self, shown: bool) -> None:
        if self._canvas is not None:
            self._canvas.show_matches(shown)

    def _on_overlay_toggled(self, overlaid: bool) -> None:
        if self._canvas is not None:
            self._canvas.overlay(overlaid)
            self.offer()

    def _on_page_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the quality page", "quality.html", "Web page (*.html)"
        )
        if path:
            self._registering.write_page(Path(path), _open_page)

    def _on_export(self, transform_format: TransformFormat | None, _checked: bool = False) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder for the registration")
        if folder:
            self._registering.write(Path(folder), transform_format)

    # --- from the state to the view ------------------------------------------------------

    def _show_problem(self) -> None:
        chosen = self.source.chosen(), self.target.chosen()
        problem = self.source.problem() or self.target.problem()
        if not problem and chosen[0] and chosen[1] and chosen[0].layer is chosen[1].layer:
            problem = "Source and target are the same layer; choose another one."
        self.problem.setText(f"⚠ {problem}" if problem else "")
        self.run_button.setEnabled(not problem and not self._registering.running)

    def _on_job_changed(self, status: JobStatus) -> None:
        if status.name == REGISTER_JOB:
            self._show_problem()

    def _on_selected(self) -> None:
        selected = self._registering.selected is not None
        self.remove_button.setEnabled(selected)
        if selected and self._canvas is not None:
            self._canvas.look_at_selected()

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
        has_map, accepted = registering.affine is not None, bool(decision and decision.accepted)
        self.matches_button.setEnabled(decision is not None)
        self.overlay_button.setEnabled(has_map)
        self.warp_button.setEnabled(accepted)
        self.page_button.setEnabled(decision is not None)
        self.export_button.setEnabled(decision is not None)
        self.undo_button.setEnabled(registering.n_removed > 0)
        if self._canvas is not None:
            with signals_blocked(self.overlay_button):
                self.overlay_button.setChecked(self._canvas.overlaid)
        self.slider.setEnabled(decision is not None)
        if not self._rest.isActive():
            with signals_blocked(self.slider):
                self.slider.setValue(round(registering.threshold * _STEPS))
        menu = self.export_button.menu()
        assert menu is not None
        for action in menu.actions()[1:]:
            action.setEnabled(accepted)
        self._show_count()
        self._on_selected()

    def _show_count(self) -> None:
        threshold = self.slider.value() / _STEPS
        kept, every = self._registering.count(threshold)
        self.cut_text.setText(f"C > {threshold:.2f}: {kept} of {every}")


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button


def _open_page(path: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


class RegisterWidget(Docked, RegisterPanel):
    """The Register dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(
            binding.workbench, binding.registration, lambda: offered_planes(binding.viewer)
        )
        self._layer_events = binding.viewer.layers.events
        for event in (self._layer_events.inserted, self._layer_events.removed):
            event.connect(self._on_layers_changed)
        self.join(binding.column, REGISTER)

    def _on_layers_changed(self, _: object = None) -> None:
        self.offer()
