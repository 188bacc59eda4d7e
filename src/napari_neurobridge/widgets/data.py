"""The Data dock: a checklist that always says what to do next."""

from __future__ import annotations

from pathlib import Path

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_neurobridge.project.presence import Visitor
from napari_neurobridge.types import Role
from napari_neurobridge.viewer.docked import Docked
from napari_neurobridge.viewer.docks import DATA
from napari_neurobridge.viewer.layer_sources import offered_layers
from napari_neurobridge.viewer.pictures import canvas_pictures
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets._scrolling import LEAST_DOCK_PX, scrolled_column
from napari_neurobridge.widgets.data_forms import OrientationForm
from napari_neurobridge.widgets.export_menu import ExportButton, Pictures, no_pictures
from napari_neurobridge.widgets.image_forms import ImageForm, VoxelSizeForm
from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.widgets.layer_form import Layers, no_layers
from napari_neurobridge.widgets.paint_form import Place, no_place
from napari_neurobridge.widgets.recent_menu import RecentButton
from napari_neurobridge.widgets.soma_forms import IndexForm, SomataForm
from napari_neurobridge.widgets.status_line import StatusLine
from napari_neurobridge.workbench.checklist import ChecklistItem, Step
from napari_neurobridge.workbench.draft import PROJECT_SUFFIX
from napari_neurobridge.workbench.matches import DECOYS_JOB, MATCH_JOB
from napari_neurobridge.workbench.watch import in_words
from napari_neurobridge.workbench.workbench import Workbench

_NEXT = "Ready: go on in the tab <b>Match</b>, and press space."


class ChecklistRow(QFrame):
    """One line of the checklist; pressing its title opens its form."""

    def __init__(self, step: Step, form: QWidget) -> None:
        super().__init__()
        self.setObjectName(f"row_{step.name.lower()}")
        self.mark = QLabel()
        self.mark.setFixedWidth(18)
        self.title = QToolButton()
        self.title.setObjectName(f"title_{step.name.lower()}")
        self.title.setCheckable(True)
        self.title.setAutoRaise(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.detail = QLabel()
        self.detail.setWordWrap(True)
        self.detail.setObjectName(f"detail_{step.name.lower()}")
        self.form = form

        head = QHBoxLayout()
        head.addWidget(self.mark)
        head.addWidget(self.title)
        head.addStretch(1)
        body = QVBoxLayout()
        body.setContentsMargins(24, 0, 0, 0)
        body.addWidget(self.detail)
        body.addWidget(form)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addLayout(body)
        self.title.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def _on_toggled(self, opened: bool) -> None:
        self.form.setVisible(opened)
        self.title.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)

    def show_item(self, item: ChecklistItem) -> None:
        """Show where this line stands; whether it is open is the user's business."""
        self.mark.setText("✓" if item.done else "○")
        self.title.setText(f"{item.step.value}  {item.title}")
        self.title.setEnabled(item.available)
        self.detail.setText(item.detail)
        self.detail.setEnabled(item.done or item.available)
        if not item.available:
            self.title.setChecked(False)


class DataPanel(QWidget):
    """From two files to an indexed project.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the panel reads it and calls its methods.
    layers : callable, optional
        Returns the viewer's layers that may become datasets.
    pictures : callable, optional
        Returns what both canvases show.
    place : callable, optional
        Returns the middle of what the canvas of a dataset shows.
    """

    def __init__(
        self,
        workbench: Workbench,
        parent: QWidget | None = None,
        *,
        layers: Layers = no_layers,
        pictures: Pictures = no_pictures,
        place: Place = no_place,
    ) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._upcoming: Step | None = None
        self._ready = False
        self.setAcceptDrops(True)
        layout = QVBoxLayout(self)
        layout.addLayout(self._create_project_row(pictures))
        forms = {
            Step.TWO_PHOTON: ImageForm(workbench, Role.IN_VIVO, layers),
            Step.FMOST: ImageForm(workbench, Role.EX_VIVO, layers),
            Step.VOXEL_SIZES: VoxelSizeForm(workbench),
            Step.ORIENTATION: OrientationForm(workbench),
            Step.SOMATA: SomataForm(workbench, layers, place),
            Step.INDEX: IndexForm(workbench),
        }
        self.rows = {step: ChecklistRow(step, form) for step, form in forms.items()}
        layout.addWidget(scrolled_column(self.rows.values()), stretch=1)
        self.jobs = JobList(workbench, without=(MATCH_JOB, DECOYS_JOB))
        layout.addWidget(self.jobs)
        layout.addWidget(StatusLine(workbench))

        workbench.setup.checklist_changed.connect(self._on_checklist_changed)
        workbench.session.verdicts_changed.connect(self._show_next)
        workbench.watch.others_changed.connect(self._on_others_changed)
        self._on_others_changed(workbench.watch.others)
        self._on_checklist_changed()

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as small as a small screen needs: its middle scrolls."""
        return LEAST_DOCK_PX

    # --- controls --------------------------------------------------------------------

    def _create_project_row(self, pictures: Pictures) -> QVBoxLayout:
        self.project_name = QLabel()
        self.project_name.setObjectName("project_name")
        self.project_name.setWordWrap(True)
        self.open_button = QPushButton("Open project…")
        self.open_button.setObjectName("open_button")
        self.create_button = QPushButton("Create project…")
        self.create_button.setObjectName("create_button")
        self.open_button.clicked.connect(self._on_open_clicked)
        self.create_button.clicked.connect(self._on_create_clicked)
        buttons = QGridLayout()
        buttons.addWidget(self.open_button, 0, 0)
        buttons.addWidget(RecentButton(self._workbench), 0, 1)
        buttons.addWidget(self.create_button, 1, 0)
        buttons.addWidget(ExportButton(self._workbench, pictures), 1, 1)
        self.others_text = QLabel()
        self.others_text.setObjectName("others_text")
        self.others_text.setWordWrap(True)
        self.next_text = QLabel(_NEXT)
        self.next_text.setObjectName("next_text")
        self.next_text.setWordWrap(True)
        column = QVBoxLayout()
        column.addWidget(self.project_name)
        column.addWidget(self.next_text)
        column.addWidget(self.others_text)
        column.addLayout(buttons)
        return column

    # --- from the view to the state ------------------------------------------------------

    def _on_open_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a project folder (.neurobridge)")
        if folder:
            self._workbench.setup.open_project(Path(folder))

    def _on_create_clicked(self) -> None:
        folder, _ = QFileDialog.getSaveFileName(
            self,
            "Create the project folder",
            str(self._workbench.setup.draft.suggested_folder()),
            f"NeuroBridge project (*{PROJECT_SUFFIX})",
        )
        if folder:
            self._workbench.setup.create_project(Path(folder))

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take files."""
        if event is not None and _dropped_files(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Do the obvious with dropped images or a dropped project folder."""
        if event is not None:
            self._workbench.setup.take_files(_dropped_files(event))
            event.acceptProposedAction()

    # --- from the state to the view ------------------------------------------------------

    def _on_checklist_changed(self, _: object = None) -> None:
        project = self._workbench.project
        items = self._workbench.setup.checklist()
        if project is not None:
            self.project_name.setText(f"<b>{project.path.name}</b>")
        elif self._workbench.setup.draft.complete:
            self.project_name.setText("Both sides are there: press <b>Create project…</b>.")
        else:
            self.project_name.setText(
                "Open a project, or drop a two-photon and an fMOST image here, or tables of "
                "their somata.<br>"
                "To try it without data: File ▸ Open Sample ▸ NeuroBridge."
            )
        self._ready = project is not None and all(item.done for item in items)
        self._show_next()
        self.create_button.setEnabled(project is None and self._workbench.setup.draft.complete)
        upcoming = next((item.step for item in items if not item.done and item.available), None)
        for item in items:
            self.rows[item.step].show_item(item)
        if upcoming is not self._upcoming:
            # A form that the user has opened stays as it is.
            for step, opened in ((self._upcoming, False), (upcoming, True)):
                if step is not None:
                    self.rows[step].title.setChecked(opened)
            self._upcoming = upcoming

    def _show_next(self) -> None:
        """Lead to the Match dock once all is done, until somebody has judged there."""
        project = self._workbench.project
        judged = project is not None and bool(project.state().verdicts)
        self.next_text.setVisible(self._ready and not judged)

    def _on_others_changed(self, others: tuple[Visitor, ...]) -> None:
        self.others_text.setVisible(bool(others))
        words = in_words(others)
        self.others_text.setText(f"{words[0].upper()}{words[1:]}: both stay in step.")


def _dropped_files(event: QDropEvent) -> list[Path]:
    data = event.mimeData()
    return [] if data is None else [Path(url.toLocalFile()) for url in data.urls()]


class DataWidget(Docked, DataPanel):
    """The Data dock as napari opens it."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        binding = binding_for(napari_viewer)
        super().__init__(
            binding.workbench,
            layers=lambda: offered_layers(binding.viewer),
            pictures=lambda: canvas_pictures(binding),
            place=binding.paint.place_um,
        )
        self.join(binding.column, DATA)
