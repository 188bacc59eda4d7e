"""The forms behind the lines of the Data dock."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import DEFAULT_NAMES, Projection, Role, Vec3
from napari_neurobridge.widgets._form import ModelForm, VectorEdit
from napari_neurobridge.workbench.workbench import Workbench


class ImageForm(QWidget):
    """Chooses one side: an image, with what its file leaves open, or a table of points."""

    def __init__(self, workbench: Workbench, role: Role) -> None:
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
        self.axes = QLineEdit()
        self.axes.setObjectName(f"{name}_axes")
        self.axes.setPlaceholderText("if the file does not say: zyx or tyx")
        self.channel = QSpinBox()
        self.channel.setObjectName(f"{name}_channel")
        self.projection = QComboBox()
        self.projection.setObjectName(f"{name}_projection")
        self.projection.addItems([str(projection) for projection in Projection])
        buttons = QHBoxLayout()
        buttons.addWidget(self.file_button)
        buttons.addWidget(self.folder_button)
        buttons.addWidget(self.points_button)
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addRow(buttons)
        self._layout.addRow("axes", self.axes)
        self._layout.addRow("channel, from 0", self.channel)
        self._layout.addRow("recording becomes its", self.projection)
        self.file_button.clicked.connect(self._on_file_clicked)
        self.folder_button.clicked.connect(self._on_folder_clicked)
        self.points_button.clicked.connect(self._on_points_clicked)
        self.channel.valueChanged.connect(self._on_reading_changed)
        self.projection.currentTextChanged.connect(self._on_reading_changed)
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
            axes = self.axes.text().strip() or None
            self._workbench.setup.choose_image(self._role, Path(path), axes=axes)

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
    """Types voxel sizes that the files do not state, or states wrongly."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._shown: dict[Role, Vec3] = {}
        self.edits = {role: VectorEdit(minimum=0.0) for role in Role}
        self.apply_button = QPushButton("Use these sizes")
        self.apply_button.setObjectName("voxel_size_button")
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for role, edit in self.edits.items():
            edit.setObjectName(f"{DEFAULT_NAMES[role]}_voxel_size")
            layout.addRow(DEFAULT_NAMES[role], edit)
        layout.addRow(self.apply_button)
        self.apply_button.clicked.connect(self._on_apply_clicked)
        workbench.setup.draft_changed.connect(self._on_draft_changed)
        self._on_draft_changed()

    def _on_apply_clicked(self) -> None:
        # Only what was typed: a size from the file keeps all its digits.
        typed = {
            role: self.edits[role].value()
            for role in self._workbench.setup.draft.images
            if self.edits[role].value() != self._shown[role]
        }
        for role, size in typed.items():
            self._workbench.setup.set_voxel_size(role, size)

    def _on_draft_changed(self) -> None:
        images = self._workbench.setup.draft.images
        for role, edit in self.edits.items():
            known = images[role].voxel_size_um if role in images else None
            edit.setValue(known or (0.0, 0.0, 0.0))
            self._shown[role] = edit.value()


class OrientationForm(QWidget):
    """Says how the fMOST brain lies in the two-photon frame; the canvas turns at once."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        explanation = QLabel(
            "Which fMOST axis, with its sign, runs along the two-photon depth, rows and "
            "columns: the fMOST canvas turns, and both sides should look alike. Angle and "
            "expansion act on the crops."
        )
        explanation.setWordWrap(True)
        self.form = ModelForm(Orientation())
        self.apply_button = QPushButton("Turn the fMOST side")
        self.apply_button.setObjectName("orientation_button")
        self.confirm_button = QPushButton("Same axes: both sides look alike")
        self.confirm_button.setObjectName("confirm_same_axes_button")
        self.confirm_button.setToolTip("Records that nothing has to be turned or flipped")
        self.suggest_button = QPushButton("Suggest an angle")
        self.suggest_button.setObjectName("suggest_angle_button")
        self.suggest_button.setToolTip(
            "Compares somata of both sides at all in-plane angles, the axes as they are set; "
            "needs somata on both sides, and changes nothing"
        )
        self.suggestion = QLabel()
        self.suggestion.setObjectName("suggested_angle")
        self.suggestion.setWordWrap(True)
        self.use_button = QPushButton("Use this angle")
        self.use_button.setObjectName("use_angle_button")
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (
            explanation,
            self.form,
            self.apply_button,
            self.problem,
            self.confirm_button,
            self.suggest_button,
            self.suggestion,
            self.use_button,
        ):
            layout.addWidget(widget)
        self.apply_button.clicked.connect(self._on_apply_clicked)
        self.confirm_button.clicked.connect(self._on_confirm_clicked)
        self.suggest_button.clicked.connect(self._on_suggest_clicked)
        self.use_button.clicked.connect(self._on_use_clicked)
        workbench.session.project_changed.connect(self._show_orientation)
        workbench.session.orientation_changed.connect(self._show_orientation)
        workbench.setup.suggestion_changed.connect(self._show_suggestion)
        self._show_orientation()
        self._show_suggestion()

    def _on_apply_clicked(self) -> None:
        try:
            orientation = self.form.value()
        except InputError as error:
            self.problem.setText(f"⚠ {error}")
            return
        self.problem.clear()
        assert isinstance(orientation, Orientation)
        self._workbench.setup.set_orientation(orientation)

    def _on_confirm_clicked(self) -> None:
        self.problem.clear()
        self._workbench.setup.set_orientation(Orientation())

    def _on_suggest_clicked(self) -> None:
        self._workbench.setup.suggest_angle()

    def _on_use_clicked(self) -> None:
        suggestion = self._workbench.setup.suggestion
        if suggestion is not None and suggestion.orientation is not None:
            self._workbench.setup.set_orientation(suggestion.orientation)

    def _show_orientation(self, _: object = None) -> None:
        project = self._workbench.project
        if project is not None:
            self.form.setValue(project.dataset(project.ex_vivo()).used_orientation)
            self.suggest_button.setEnabled(project.has_images())

    def _show_suggestion(self) -> None:
        suggestion = self._workbench.setup.suggestion
        self.suggestion.setText("" if suggestion is None else suggestion.text)
        self.suggestion.setVisible(suggestion is not None)
        self.use_button.setVisible(suggestion is not None and suggestion.orientation is not None)
