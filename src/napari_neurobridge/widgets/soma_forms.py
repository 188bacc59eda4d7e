"""The forms behind the lines Somata and Index of the Data dock."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.widgets.claims_form import ClaimsForm
from napari_neurobridge.widgets.foldable import Foldable
from napari_neurobridge.widgets.layer_form import Layers, PointsLayerButton, no_layers
from napari_neurobridge.widgets.paint_form import PaintForm, Place, no_place
from napari_neurobridge.widgets.roi_form import RoiForm
from napari_neurobridge.workbench.detection_runs import DOG
from napari_neurobridge.workbench.workbench import Workbench


class SomataForm(QWidget):
    """Detects or imports somata; more are added, moved and deleted in the layers themselves."""

    def __init__(
        self, workbench: Workbench, layers: Layers = no_layers, place: Place = no_place
    ) -> None:
        super().__init__()
        self._workbench = workbench
        self.dataset = QComboBox()
        self.dataset.setObjectName("detect_dataset")
        self.method = QComboBox()
        self.method.setObjectName("detect_method")
        self.method.setToolTip(
            "A difference of Gaussians takes seconds; the trained network takes minutes, and finds "
            "many more cells in two-photon images. Further ones have learned what you painted."
        )
        self.method.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.diameter = QDoubleSpinBox()
        self.diameter.setObjectName("soma_diameter")
        self.diameter.setRange(1.0, 100.0)
        self.diameter.setSuffix(" µm")
        self.detect_button = QPushButton("Detect somata")
        self.detect_button.setObjectName("detect_button")
        self.detect_both_button = QPushButton()
        self.detect_both_button.setObjectName("detect_both_button")
        self.undo_button = QPushButton()
        self.undo_button.setObjectName("undo_detection_button")
        self.redo_button = QPushButton()
        self.redo_button.setObjectName("redo_detection_button")
        self.import_button = QPushButton("Import points (CSV)…")
        self.import_button.setObjectName("import_points_button")
        detect = QHBoxLayout()
        detect.addWidget(self.detect_button)
        detect.addWidget(self.detect_both_button)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow("in", self.dataset)
        layout.addRow("by", self.method)
        layout.addRow("soma diameter", self.diameter)
        layout.addRow(detect)
        layout.addRow(self.undo_button)
        layout.addRow(self.redo_button)
        self.paint = PaintForm(workbench, self.dataset.currentText, place)
        layout.addRow(
            Foldable("Learn from painted labels", self.paint, name="title_painted", unfolded=False)
        )
        layout.addRow(self.import_button)
        layout.addRow(PointsLayerButton(workbench, self.dataset.currentText, layers))
        self.rois = RoiForm(workbench, self.dataset.currentText)
        layout.addRow(self.rois)
        layout.addRow(ClaimsForm(workbench))
        self.dataset.currentTextChanged.connect(self._on_dataset_changed)
        self.method.currentIndexChanged.connect(self._on_method_changed)
        self.diameter.valueChanged.connect(self._on_diameter_changed)
        self.detect_button.clicked.connect(self._on_detect_clicked)
        self.detect_both_button.clicked.connect(self._on_detect_both_clicked)
        self.undo_button.clicked.connect(lambda _checked=False: workbench.detection.undo())
        self.redo_button.clicked.connect(lambda _checked=False: workbench.detection.redo())
        self.import_button.clicked.connect(self._on_import_clicked)
        workbench.session.project_changed.connect(self._on_project_changed)
        workbench.detection.settings_changed.connect(self._show_settings)
        self._on_project_changed()

    # --- from the view to the state ------------------------------------------------------

    def _on_dataset_changed(self, _: str) -> None:
        self._show_settings()
        self.paint.refresh()

    def _on_method_changed(self, _: int) -> None:
        chosen = str(self.method.currentData())
        self._workbench.detection.set_method(self.dataset.currentText(), chosen)

    def _on_diameter_changed(self, diameter_um: float) -> None:
        self._workbench.detection.set_diameter(self.dataset.currentText(), diameter_um)

    def _on_detect_clicked(self) -> None:
        self._workbench.detection.detect(self.dataset.currentText())

    def _on_detect_both_clicked(self) -> None:
        self._workbench.detection.detect(*self._workbench.detection.datasets)

    def _on_import_clicked(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Points in µm: uid,z_um,y_um,x_um", "", "CSV (*.csv)"
        )
        if path:
            self._workbench.setup.import_points(self.dataset.currentText(), Path(path))

    # --- from the state to the view ------------------------------------------------------

    def _on_project_changed(self, _: object = None) -> None:
        project = self._workbench.project
        with signals_blocked(self.dataset):
            self.dataset.clear()
            self.dataset.addItems([] if project is None else list(project.datasets))
        self._show_settings()
        self.paint.refresh()

    def _show_settings(self, _: object = None) -> None:
        detection, dataset = self._workbench.detection, self.dataset.currentText()
        image = dataset in detection.datasets
        with signals_blocked(self.diameter), signals_blocked(self.method):
            self.diameter.setValue(detection.diameter_um(dataset))
            self.method.clear()
            for name, words in detection.methods(dataset).items():
                self.method.addItem(words, name)
            self.method.setCurrentIndex(self.method.findData(detection.method(dataset)))
        self.method.setEnabled(image)
        self.diameter.setEnabled(image and detection.method(dataset) == DOG)
        self.detect_button.setEnabled(image)
        self.detect_button.setToolTip("" if image else "There is no image to detect somata in")
        names = detection.datasets
        self.detect_both_button.setVisible(len(names) > 1)
        self.detect_both_button.setText("Detect in both" if len(names) == 2 else "Detect in all")
        self.detect_both_button.setToolTip(
            "One after the other: "
            + ", ".join(f"{name} with {detection.settings_in_words(name)}" for name in names)
        )
        for button, what, run in (
            (self.undo_button, "Undo", detection.undoable),
            (self.redo_button, "Redo", detection.redoable),
        ):
            button.setText(f"{what} {run}")
            button.setVisible(bool(run))


class IndexForm(QWidget):
    """Embeds all somata, so that clicking one ranks the others."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        explanation = QLabel(
            "Looks at each soma once with the bundled model. What is done already is kept."
        )
        explanation.setWordWrap(True)
        self.index_button = QPushButton("Index")
        self.index_button.setObjectName("index_button")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(explanation)
        layout.addWidget(self.index_button)
        self.index_button.clicked.connect(lambda _checked=False: workbench.setup.index())
