"""The part of the Data dock that imports cells from other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_neurobridge.workbench.session import Notice, Remedy
from napari_neurobridge.workbench.workbench import Workbench

_FILES = "ROIs and label images (*.zip *.roi *.npy *.hdf5 *.h5 *.npz *.nwb *.tif *.tiff);;All (*)"


class RoiForm(QWidget):
    """Chooses a file or folder of ROIs, and says what it leaves open.

    Parameters
    ----------
    workbench : Workbench
    dataset : callable
        Returns the name of the dataset to import into.
    """

    def __init__(self, workbench: Workbench, dataset: Callable[[], str]) -> None:
        super().__init__()
        self._workbench = workbench
        self._dataset = dataset
        self.file_button = QPushButton("Import ROIs…")
        self.file_button.setObjectName("import_rois_button")
        self.file_button.setToolTip("ImageJ, stat.npy of suite2p, CaImAn, NWB, or a label image")
        self.folder_button = QPushButton("Import ROI folder…")
        self.folder_button.setObjectName("import_roi_folder_button")
        self.folder_button.setToolTip("A folder that suite2p wrote")
        self.pixel = QLineEdit()
        self.pixel.setObjectName("roi_pixel")
        self.plane_depth = QLineEdit()
        self.plane_depth.setObjectName("roi_depth")
        for edit in (self.pixel, self.plane_depth):
            edit.setPlaceholderText("µm, where file and image do not say it")
        self.every = QCheckBox("also what is no cell")
        self.every.setObjectName("roi_every")
        self.every.setToolTip("ROIs that suite2p, CaImAn or the NWB file put aside")
        buttons = QHBoxLayout()
        buttons.addWidget(self.file_button)
        buttons.addWidget(self.folder_button)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow(buttons)
        layout.addRow("pixel of ROIs", self.pixel)
        layout.addRow("depth of ROIs", self.plane_depth)
        layout.addRow(self.every)
        self.file_button.clicked.connect(self._on_file_clicked)
        self.folder_button.clicked.connect(self._on_folder_clicked)
        workbench.imports.rois_offered.connect(self._on_offered)

    def _on_file_clicked(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose the ROIs", "", _FILES)
        self._import(path)

    def _on_folder_clicked(self) -> None:
        self._import(QFileDialog.getExistingDirectory(self, "Choose the folder of ROIs"))

    def _on_offered(self, path: Path) -> None:
        """Ask before dropped ROIs are imported: the dock cannot know of which image they are."""
        dataset = self._dataset()
        remedy = Remedy(f"Import into {dataset}", lambda: self._import(str(path), dataset))
        text = f"{path.name} holds ROIs."
        self._workbench.session.notified.emit(Notice(text, remedy=remedy))

    def _import(self, path: str, dataset: str | None = None) -> None:
        if path:
            self._workbench.imports.import_rois(
                dataset or self._dataset(),
                Path(path),
                pixel_um=self.pixel.text(),
                z_um=self.plane_depth.text(),
                every=self.every.isChecked(),
            )
