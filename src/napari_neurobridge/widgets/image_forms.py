"""The forms behind the first lines of the Data dock: two images and their voxel sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.types import DEFAULT_NAMES, Projection, Role, Vec3
from napari_neurobridge.widgets._form import VectorEdit
from napari_neurobridge.widgets.layer_form import Layers, SideLayerButton, no_layers
from napari_neurobridge.workbench.workbench import Workbench

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.draft import ImageChoice


class ImageForm(QWidget):
    """Chooses one side: an image, with what its file leaves open, or a table of points."""

    def __init__(self, workbench: Workbench, role: Role, layers: Layers = no_layers) -> None:
        super().__init__()
        self._workbench = workbench
        self._role = role
        name = DEFAULT_NAMES[role]
        self.file_button = QPushButton("TIFF…")
        self.file_button.setObjectName(f"{name}_file_button")
        self.folder_button = QPushButton("OME-Zarr…")
        self.folder_button.setObjectName(f"{name}_folder_button")
        self.points_button = QPushButton("Points…")
        self.points_button.setObjectName(f"{name}_points_button")
        self.points_button.setToolTip("A table of somata in µm: CSV with uid,z_um,y_um,x_um")
        self.layer_button = SideLayerButton(workbench, role, layers)
        self.layer_button.setObjectName(f"{name}_layer_button")
        self.axes = QLineEdit()
        self.axes.setObjectName(f"{name}_axes")
        self.axes.setPlaceholderText("as the file says; else such as zyx or tyx")
        self.axes.setToolTip("Order of the image's axes: t time, c channel, z, y, x; then Enter")
        self.channel = QSpinBox()
        self.channel.setObjectName(f"{name}_channel")
        self.projection = QComboBox()
        self.projection.setObjectName(f"{name}_projection")
        self.projection.addItems([str(projection) for projection in Projection])
        buttons = QGridLayout()
        buttons.addWidget(self.file_button, 0, 0)
        buttons.addWidget(self.folder_button, 0, 1)
        buttons.addWidget(self.points_button, 1, 0)
        buttons.addWidget(self.layer_button, 1, 1)
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addRow(buttons)
        self._layout.addRow("axes", self.axes)
        self._layout.addRow("channel, from 0", self.channel)
        self._layout.addRow("recording becomes its", self.projection)
        self.file_button.clicked.connect(self._on_file_clicked)
        self.folder_button.clicked.connect(self._on_folder_clicked)
        self.points_button.clicked.connect(self._on_points_clicked)
        self.axes.editingFinished.connect(self._on_axes_edited)
        self.channel.valueChanged.connect(self._on_reading_changed)
        self.projection.currentTextChanged.connect(self._on_reading_changed)
        workbench.session.project_changed.connect(self._on_project_changed)
        workbench.setup.draft_changed.connect(self._on_draft_changed)
        self._on_draft_changed()

    def _on_file_clicked(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, f"Choose the {DEFAULT_NAMES[self._role]} image", "", "TIFF (*.tif *.tiff)"
        )
        self._choose(path)

    def _on_folder_clicked(self) -> None:
        self._choose(QFileDialog.getExistingDirectory(self, "Choose the OME-Zarr folder"))

    def _on_points_clicked(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Points in µm: [uid,]z_um,y_um,x_um", "", "CSV (*.csv)"
        )
        if path:
            self._workbench.setup.choose_points(self._role, Path(path))

    def _choose(self, path: str) -> None:
        if path:
            self._workbench.setup.choose_image(self._role, Path(path))

    def _on_axes_edited(self) -> None:
        if self.axes.isModified():  # not each time that the focus leaves
            self.axes.setModified(False)
            self._workbench.setup.set_axes(self._role, self.axes.text().strip() or None)

    def _on_project_changed(self, project: Project | None) -> None:
        if project is not None:
            self.axes.clear()

    def _on_reading_changed(self, _: object) -> None:
        self._workbench.setup.set_reading(
            self._role,
            channel=self.channel.value(),
            projection=Projection(self.projection.currentText()),
        )

    def _on_draft_changed(self) -> None:
        draft = self._workbench.setup.draft
        image = draft.images.get(self._role)
        only_points = image is None and self._role in draft.points
        self._layout.setRowVisible(self.axes, not only_points)
        channels = 1 if image is None else image.info.channels
        self._layout.setRowVisible(self.channel, channels > 1)
        self._layout.setRowVisible(self.projection, image is not None and "t" in image.info.axes)
        with signals_blocked(self.channel), signals_blocked(self.projection):
            self.channel.setRange(0, channels - 1)
            if image is not None:
                self.channel.setValue(image.channel)
                self.projection.setCurrentText(str(image.projection))


class VoxelSizeForm(QWidget):
    """Types voxel sizes that the files do not state, or states wrongly; asks about unusual ones."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._shown: dict[Role, Vec3] = dict.fromkeys(Role, (0.0, 0.0, 0.0))
        self._images: dict[Role, ImageChoice] = {}
        self.edits = {role: VectorEdit(minimum=0.0) for role in Role}
        self.names = {role: QLabel(DEFAULT_NAMES[role]) for role in Role}
        self.apply_button = QPushButton("Use these sizes")
        self.apply_button.setObjectName("voxel_size_button")
        self.doubt = QLabel()
        self.doubt.setObjectName("voxel_size_doubt")
        self.doubt.setWordWrap(True)
        self.confirm_button = QPushButton("These sizes are right")
        self.confirm_button.setObjectName("confirm_voxel_size_button")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for role, edit in self.edits.items():
            edit.setObjectName(f"{DEFAULT_NAMES[role]}_voxel_size")
            layout.addWidget(self.names[role])
            layout.addWidget(edit)
        for widget in (self.apply_button, self.doubt, self.confirm_button):
            layout.addWidget(widget)
        self.apply_button.clicked.connect(self._on_apply_clicked)
        self.confirm_button.clicked.connect(self._on_confirm_clicked)
        workbench.setup.draft_changed.connect(self._on_draft_changed)
        self._on_draft_changed()

    def _on_apply_clicked(self) -> None:
        # Only what was typed or is lacking: a size from the file keeps all its digits.
        images = self._workbench.setup.draft.images
        typed = {
            role: self.edits[role].value()
            for role, image in images.items()
            if image.voxel_size_um is None or self.edits[role].value() != self._shown[role]
        }
        for role, size in typed.items():
            self._workbench.setup.set_voxel_size(role, size)

    def _on_confirm_clicked(self) -> None:
        self._workbench.setup.confirm_voxel_sizes()

    def _on_draft_changed(self) -> None:
        draft = self._workbench.setup.draft
        for role, edit in self.edits.items():
            image = draft.images.get(role)
            self.names[role].setVisible(image is not None)
            edit.setVisible(image is not None)
            if image is self._images.get(role):
                continue  # what is typed so far stays
            known = (0.0, 0.0, 0.0)
            if image is not None:
                known = image.voxel_size_um or image.suggested_um or known
            edit.setValue(known)
            self._shown[role] = edit.value()
        self._images = dict(draft.images)
        self.doubt.setText("\n".join(f"⚠ {doubt}" for doubt in draft.doubts))
        self.doubt.setVisible(bool(draft.doubts))
        self.confirm_button.setVisible(bool(draft.doubts))
