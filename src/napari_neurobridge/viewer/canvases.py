"""The second canvas, which shows the ex-vivo side beside napari's own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from napari.components import ViewerModel
from napari.layers import Points
from napari.qt import QtViewer
from qtpy.compat import isalive
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QDockWidget, QPushButton, QVBoxLayout, QWidget

from napari_neurobridge.viewer.header import CanvasHeader, header_button
from napari_neurobridge.viewer.styles import FIELD_UM

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Vec3

SPACE_AXES = 3
"""A canvas has fewer axes when it has lost its layers, and more when it was given others."""


def show_slab(model: ViewerModel, orientation: Orientation, slab_um: float) -> None:
    """Show slabs of a thickness, µm, that are seen along the two-photon optical axis.

    Axes are reordered and flipped by the camera, so that both canvases show tissue the
    same way round while every layer keeps its dataset's own coordinates.
    """
    model.dims.ndisplay = 2
    model.dims.order = orientation.axis_order
    signs = orientation.axes[0::2]
    model.scene.camera.orientation2d = (
        "down" if signs[1] == "+" else "up",
        "right" if signs[2] == "+" else "left",
    )
    set_slab(model, slab_um)


def set_slab(model: ViewerModel, slab_um: float) -> None:
    """Project so much tissue, µm, around the displayed plane."""
    model.dims.margin_left = model.dims.margin_right = (slab_um / 2,) * model.dims.ndim


def show_field(model: ViewerModel, canvas_px: int) -> None:
    """Show ``FIELD_UM`` of tissue across a canvas whose shorter edge has so many pixels."""
    model.reset_view()
    model.scene.camera.zoom = max(canvas_px, 100) / FIELD_UM
    show_middle(model)


def show_middle(model: ViewerModel) -> None:
    """Show the middle of what a canvas's depth slider runs through."""
    depth = model.dims.order[0]
    first, last, _ = model.dims.range[depth]
    model.dims.set_point(depth, (first + last) / 2)


def show_scale_bar(model: ViewerModel) -> None:
    """Draw a scale bar in µm."""
    # Its unit is that of the layers.
    model.canvas.overlays.scale_bar.visible = True


def shows_plane(model: ViewerModel) -> bool:
    """Return whether a canvas shows a plane of a space, and neither a volume nor anything else."""
    return bool(model.dims.ndim == SPACE_AXES and model.dims.ndisplay == 2)


def cursor_um(model: ViewerModel) -> Vec3 | None:
    """Return where the mouse is, µm (z, y, x); None where a canvas shows no plane."""
    position = model.cursor.position
    if len(position) != SPACE_AXES or model.dims.ndisplay != 2:
        return None
    z, y, x = (float(value) for value in position)
    return z, y, x


def look_at(model: ViewerModel, position_um: Vec3) -> None:
    """Move a canvas to a position, µm (z, y, x); the zoom stays as the user has it."""
    model.dims.set_point(range(3), position_um)
    _, rows, columns = model.dims.order
    model.scene.camera.center = (0.0, position_um[rows], position_um[columns])


def put_under_circles(model: ViewerModel, layer: Layer) -> None:
    """Add a layer under the circles, which are to be seen and clicked."""
    circles = [index for index, other in enumerate(model.layers) if isinstance(other, Points)]
    model.layers.insert(min(circles, default=len(model.layers)), layer)


def keep_in_window(dock: QDockWidget) -> None:
    """Let nobody tear a canvas off its window; its cross hides it.

    Qt gives what leaves its window, even to come back, a new OpenGL context, in which nothing
    exists that vispy has made: it would draw errors from then on, or crash.
    """
    dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetClosable)
    title = dock.titleBarWidget()
    if title is None:
        return
    if (button := title.findChild(QPushButton, "QTitleBarFloatButton")) is not None:
        button.hide()
    if (cross := title.findChild(QPushButton, "QTitleBarCloseButton")) is not None:
        cross.clicked.disconnect()
        cross.clicked.connect(dock.hide)


def remove_in_own_context(model: ViewerModel, qt_viewer: QtViewer) -> None:
    """Let each layer that a canvas loses be deleted in that canvas's OpenGL context.

    napari hands a canvas's commands to OpenGL when a layer is removed, whichever context is current
    then. With two canvases that deletes what the other one draws with, and the program crashes.
    """
    native = ref(qt_viewer.canvas.native)

    def make_current(_: object) -> None:
        canvas = native()
        if canvas is not None and isalive(canvas):  # type: ignore[no-untyped-call]
            canvas.makeCurrent()

    model.layers.events.removing.connect(make_current)


class DockedCanvas(QWidget):
    """A napari canvas of its own under a bar of its own.

    Parameters
    ----------
    model : ViewerModel
    header : QWidget
        The bar.
    name : str
        Object name.

    Attributes
    ----------
    model : ViewerModel
    qt_viewer : QtViewer
    """

    def __init__(
        self, model: ViewerModel, header: QWidget, name: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.model = model
        self.qt_viewer = QtViewer(model)
        self.qt_viewer.show_welcome_screen = False
        remove_in_own_context(model, self.qt_viewer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(header)
        layout.addWidget(self.qt_viewer, stretch=1)

    def minimumSizeHint(self) -> QSize:
        """Let the dock become as narrow as a small screen needs."""
        return QSize(200, 160)

    def shut(self) -> None:
        """Release the canvas before its window goes, as vispy wants it."""
        self.model.layers.clear()
        self.qt_viewer.close()


class SecondCanvas(DockedCanvas):
    """The canvas of the ex-vivo side, with its own z slider and contrast.

    Attributes
    ----------
    header : CanvasHeader
    lock : QPushButton
        Ties both canvases together.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        model = ViewerModel(title=title)
        self.header = CanvasHeader(title, model)
        super().__init__(model, self.header, "neurobridge_second_canvas", parent)
        self.lock = header_button("lock", "lock_button")
        self.header.first.addWidget(self.lock)
        self.offer_lock(False)

    def offer_lock(self, offered: bool) -> None:
        """Let the canvases be locked, once it is known how they lie to each other."""
        self.lock.setEnabled(offered)
        self.lock.setToolTip(
            "Both canvases move together, except during a random check"
            if offered
            else "Accept a pair or apply a registration first: both canvases need an alignment to "
            "move together"
        )
