"""The second canvas, which shows the ex-vivo side beside napari's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Points
from napari.qt import QtViewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider

from napari_neurobridge.viewer.layers import HINT_KEY
from napari_neurobridge.viewer.styles import FIELD_UM, SLAB_UM

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Vec3

_AXES = "zyx"
SPACE_AXES = len(_AXES)
"""A canvas has fewer axes when it has lost its layers, and more when it was given others."""


def axis_order(orientation: Orientation) -> tuple[int, int, int]:
    """Return which of a dataset's axes run along the two-photon depth, rows and columns."""
    depth, rows, columns = (_AXES.index(axis) for axis in orientation.axes[1::2])
    return depth, rows, columns


def show_slab(model: ViewerModel, orientation: Orientation) -> None:
    """Show slabs that are seen along the two-photon optical axis.

    Axes are reordered and flipped by the camera, so that both canvases show tissue the
    same way round while every layer keeps its dataset's own coordinates.
    """
    model.dims.ndisplay = 2
    model.dims.order = axis_order(orientation)
    signs = orientation.axes[0::2]
    model.scene.camera.orientation2d = (
        "down" if signs[1] == "+" else "up",
        "right" if signs[2] == "+" else "left",
    )
    half = SLAB_UM / 2
    model.dims.margin_left = (half,) * 3
    model.dims.margin_right = (half,) * 3


def show_field(model: ViewerModel, canvas_px: tuple[int, int]) -> None:
    """Show ``FIELD_UM`` of tissue across a canvas of so many pixels."""
    model.reset_view()
    model.scene.camera.zoom = max(min(canvas_px), 100) / FIELD_UM


def shows_plane(model: ViewerModel) -> bool:
    """Return whether a canvas shows a plane of a space, and neither a volume nor anything else."""
    return bool(model.dims.ndim == SPACE_AXES and model.dims.ndisplay == 2)


def look_at(model: ViewerModel, position_um: Vec3) -> None:
    """Move a canvas to a position, µm (z, y, x); the zoom stays as the user has it."""
    model.dims.set_point(range(3), position_um)
    _, rows, columns = model.dims.order
    model.scene.camera.center = (0.0, position_um[rows], position_um[columns])


def put_under_circles(model: ViewerModel, layer: Layer) -> None:
    """Add a layer under the circles, which are to be seen and clicked."""
    circles = [index for index, other in enumerate(model.layers) if isinstance(other, Points)]
    model.layers.insert(min(circles, default=len(model.layers)), layer)


class SecondCanvas(QWidget):
    """A napari canvas of its own, with its own z slider and contrast."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("neurobridge_second_canvas")
        self.model = ViewerModel(title=title)
        self.qt_viewer = QtViewer(self.model)
        self.qt_viewer.show_welcome_screen = False
        self.contrast = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.contrast.setToolTip("Contrast of the fMOST image")

        self.tools = {
            mode: _create_tool(text, mode, tip)
            for mode, text, tip in (
                ("pan_zoom", "look", "Click a circle to choose it; drag to move the view"),
                ("add", "+ add", "Click to add a soma"),
                ("select", "move", "Drag a circle; the Delete key removes it"),
            )
        }
        # A group, not a lambda for each button: a lambda would keep the canvas alive.
        self._tool_group = QButtonGroup(self)
        for tool in self.tools.values():
            self._tool_group.addButton(tool)
        self._tool_group.buttonClicked.connect(self._on_tool_clicked)

        self.lock = QToolButton()
        self.lock.setText("lock")
        self.lock.setObjectName("lock_button")
        self.lock.setCheckable(True)
        self.offer_lock(False)

        header = QHBoxLayout()
        for tool in self.tools.values():
            header.addWidget(tool)
        header.addWidget(self.lock)
        header.addWidget(QLabel("contrast"))
        header.addWidget(self.contrast, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(header)
        layout.addWidget(self.qt_viewer, stretch=1)
        self.contrast.valueChanged.connect(self._on_contrast_moved)

    def edit_with_tools(self, somata: Points) -> None:
        """Let the tool buttons say what a click on this layer does."""
        self.tools["pan_zoom"].setChecked(True)
        self.model.layers.selection.active = somata

    def offer_lock(self, offered: bool) -> None:
        """Let the canvases be locked, once it is known how they lie to each other."""
        self.lock.setEnabled(offered)
        self.lock.setToolTip(
            "Both canvases move together, except during a random check"
            if offered
            else "Accept a pair first: both canvases need an alignment to move together"
        )

    def _on_tool_clicked(self, tool: QAbstractButton) -> None:
        for layer in self.model.layers:
            if isinstance(layer, Points) and HINT_KEY not in layer.metadata:
                self.model.layers.selection.active = layer
                layer.mode = tool.property("mode")

    def shut(self) -> None:
        """Release the canvas before its window goes, as vispy wants it."""
        self.model.layers.clear()
        self.qt_viewer.close()

    @property
    def image(self) -> Image | None:
        """The image layer, while there is one."""
        return next((layer for layer in self.model.layers if isinstance(layer, Image)), None)

    def fit_contrast(self) -> None:
        """Give the contrast slider the image's range."""
        image = self.image
        self.contrast.setEnabled(image is not None)
        if image is None:
            return
        low, high = image.contrast_limits
        self.contrast.blockSignals(True)
        self.contrast.setRange(0.0 if low >= 0 else low, float(high + (high - low)))
        self.contrast.setValue((low, high))
        self.contrast.blockSignals(False)

    def _on_contrast_moved(self, limits: tuple[float, float]) -> None:
        low, high = limits
        if self.image is not None and high > low:
            self.image.contrast_limits = (low, float(np.nextafter(high, np.inf)))


def _create_tool(text: str, mode: str, tip: str) -> QToolButton:
    tool = QToolButton()
    tool.setText(text)
    tool.setToolTip(tip)
    tool.setObjectName(f"tool_{mode}")
    tool.setProperty("mode", mode)
    tool.setCheckable(True)
    tool.setChecked(mode == "pan_zoom")
    return tool
