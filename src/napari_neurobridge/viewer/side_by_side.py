"""Both registered images side by side: the target in a canvas of its own, locked to the source."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget
from superqt import QDoubleRangeSlider
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.canvases import DockedCanvas
from napari_neurobridge.viewer.dispatch import OnceSoon, after_events
from napari_neurobridge.viewer.header import header_button
from napari_neurobridge.viewer.plane_maps import (
    applied,
    carried,
    plane_to_world,
    source_to_target_pixels,
)
from napari_neurobridge.viewer.styles import quiet_stylesheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from qtpy.QtGui import QHideEvent

    from napari_neurobridge.insight.registration_page import RegisteredPlanes
    from napari_neurobridge.viewer.registration_layers import RegistrationLayers
    from napari_neurobridge.workbench.registering import Registering

Float64Array = npt.NDArray[np.float64]

TARGET_CANVAS = "Target"

# A smaller move of a canvas is the echo of its drawing, and no move of the user's.
_STILL_PX = 0.5
_STILL_ZOOM = 0.002
_FILLS = 0.95


class TargetCanvas(DockedCanvas):
    """Shows the target as it lies over the source.

    Attributes
    ----------
    title : QLabel
    contrast : QDoubleRangeSlider
    home : QPushButton

    Signals
    -------
    hidden
        Its dock was closed or hidden.
    """

    hidden = QtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        bar = QWidget()
        self.title = QLabel()
        self.title.setObjectName("target_title")
        self.contrast = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.contrast.setObjectName("target_contrast")
        self.contrast.setToolTip("Contrast of the target image")
        self.home = header_button(
            "home", "target_home", "Show all of the source in both canvases", checkable=False
        )
        row = QHBoxLayout(bar)
        row.setContentsMargins(4, 2, 4, 2)
        row.addWidget(self.title)
        row.addWidget(self.contrast, stretch=1)
        row.addWidget(self.home)
        super().__init__(ViewerModel(title=TARGET_CANVAS), bar, "neurobridge_target_canvas", parent)
        self.image: Image | None = None
        self.contrast.valueChanged.connect(self._on_contrast_moved)

    def show_plane(self, planes: RegisteredPlanes, to_world: Float64Array, units: Any) -> None:
        """Show the target's pixels (y, x) where a matrix (3, 3) puts them."""
        values = planes.target.values
        if self.image is None or self.image.data is not values:
            self.model.layers.clear()
            low, high, least, most = (float(x) for x in np.percentile(values, (1, 99.8, 0, 100)))
            most = max(most, float(np.nextafter(least, np.inf)))
            limits = (low, high) if low < high else (least, most)
            self.image = Image(
                values,
                name=planes.names[1],
                affine=to_world,
                units=units,
                contrast_limits=limits,
                blending="translucent_no_depth",  # else it would hide the marks over it
            )
            self.model.add_layer(self.image)
            with signals_blocked(self.contrast):
                self.contrast.setRange(least, most)
                self.contrast.setValue(limits)
        else:
            self.image.affine = to_world
        self.title.setText(f"Target: <b>{planes.names[1]}</b>")

    def show_theme(self, theme: str) -> None:
        """Wear the window's theme."""
        self.model.theme = theme
        self.setStyleSheet(quiet_stylesheet(theme))

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Tell it, unless the whole window is hidden."""
        super().hideEvent(event)
        if event is not None and not event.spontaneous():
            self.hidden.emit()

    def _on_contrast_moved(self, limits: tuple[float, float]) -> None:
        low, high = limits
        if self.image is not None and high > low:
            self.image.contrast_limits = (low, high)


class SideBySide:
    """Shows the target in a canvas beside the source, turned and scaled as the source lies.

    Each canvas follows the other through the whole map, so that both show the same tissue. Without
    a map the target is shown as it lies, and each canvas moves alone.

    Parameters
    ----------
    registering : Registering
    layers : RegistrationLayers
        Which draws the target's matches in that canvas meanwhile.
    viewer : napari.Viewer
    dock : callable
        Docks the canvas in the window, or with ``False`` takes it away and puts back what was
        there.

    Attributes
    ----------
    shown : bool
    canvas : TargetCanvas or None
        Once it was shown.
    """

    changed = Signal()

    def __init__(
        self,
        registering: Registering,
        layers: RegistrationLayers,
        viewer: napari.Viewer,
        dock: Callable[[TargetCanvas, bool], None],
    ) -> None:
        self._registering = registering
        self._layers = layers
        self._viewer = viewer
        self._dock = dock
        self.shown = False
        self.canvas: TargetCanvas | None = None
        self._title: QLabel | None = None
        self._before: tuple[Any, bool, tuple[float, ...], float] | None = None
        self._target_to_world: Float64Array | None = None
        self._fits_soon = False
        self._quiet = False
        self._leader = 0
        self._settled: list[Float64Array] = []
        self._follow_soon = OnceSoon(self._follow)
        registering.changed.connect(self._on_changed)
        # Not while napari takes a layer away: others go with it.
        viewer.layers.events.removed.connect(OnceSoon(self._on_layer_removed))
        self._watch(viewer, 0)

    # --- on and off --------------------------------------------------------------------------

    def show(self, shown: bool) -> None:
        """Show both images side by side, or what was there before."""
        if shown == self.shown or (shown and not self._offered()):
            self.changed.emit()
            return
        self.shown = shown
        if shown:
            if self.canvas is None:
                self.canvas = self._make_canvas()
            self._dock(self.canvas, True)
            self._show_title(True)
            self._begin()
            self._fits_soon = True
        elif self.canvas is not None:
            self._end()
            self._show_title(False)
            self._dock(self.canvas, False)
        self.changed.emit()

    def on_laid_out(self) -> None:
        """Look at all of the source, once the canvases have their sizes."""
        if self.shown and self._fits_soon:
            self._fits_soon = False
            self.show_all()

    def show_all(self) -> None:
        """Show all of the source, and the same place of the target."""
        source, _ = self._layers.layers()
        planes = self._registering.planes
        if source is None or planes is None or self.canvas is None:
            return
        rows, columns = planes.source.values.shape
        corners = np.array([(0, 0), (0, columns), (rows, 0), (rows, columns)]) - 0.5
        low, high = (f(applied(plane_to_world(source), corners), axis=0) for f in (np.min, np.max))
        sizes = [
            (viewer.canvas.native.width(), viewer.canvas.native.height())
            for viewer in (self._viewer.window._qt_viewer, self.canvas.qt_viewer)
        ]
        across, down = np.min(sizes, axis=0)
        self._look(self._viewer, (low + high) / 2)
        camera = self._viewer.scene.camera
        camera.zoom = _FILLS * min(down / (high - low)[0], across / (high - low)[1])
        self._on_moved(0, force=True)

    def release(self) -> None:
        """Let the canvas go before its window does."""
        self.shown = False
        self._registering.changed.disconnect(self._on_changed)
        if self.canvas is not None:
            self.canvas.shut()
            self.canvas = None

    def show_theme(self, theme: str) -> None:
        """Wear the window's theme."""
        if self.canvas is not None:
            self.canvas.show_theme(theme)

    def _offered(self) -> bool:
        return self._registering.planes is not None and None not in self._layers.layers()

    def _make_canvas(self) -> TargetCanvas:
        canvas = TargetCanvas()
        canvas.show_theme(self._viewer.theme)
        canvas.home.clicked.connect(lambda _checked=False: self.show_all())
        canvas.hidden.connect(lambda: after_events(self._on_hidden))
        canvas.model.mouse_drag_callbacks.append(self._layers.on_clicked)
        self._watch(canvas.model, 1)
        return canvas

    def _show_title(self, shown: bool) -> None:
        """Name the source over napari's own canvas."""
        if self._title is None:
            self._title = QLabel()
            self._title.setObjectName("source_title")
            self._title.setContentsMargins(4, 4, 4, 4)
            # A `QtViewer` is a splitter of canvas and console.
            qt_viewer = self._viewer.window._qt_viewer
            qt_viewer.insertWidget(0, self._title)
            qt_viewer.setCollapsible(0, False)
        self._title.setVisible(shown)

    def _begin(self) -> None:
        _, target = self._layers.layers()
        camera = self._viewer.scene.camera
        self._before = (target, target.visible, tuple(camera.center), float(camera.zoom))
        target.visible = False
        self._draw()

    def _end(self) -> None:
        self._layers.draw_target_beside(None)
        before, self._before = self._before, None
        if before is None:
            return
        target, visible, center, zoom = before
        target.visible = visible
        camera = self._viewer.scene.camera
        camera.center, camera.zoom = center, zoom

    def _draw(self) -> None:
        source, target = self._layers.layers()
        planes = self._registering.planes
        assert planes is not None
        assert self.canvas is not None
        pixels = source_to_target_pixels(planes)
        if pixels is None:
            self._target_to_world = plane_to_world(target)
        else:
            self._target_to_world = plane_to_world(source) @ np.linalg.inv(pixels)
        self.canvas.show_plane(planes, self._target_to_world, source.units[-2:])
        if self._title is not None:
            self._title.setText(f"Source: <b>{planes.names[0]}</b>")
        self._layers.draw_target_beside((self.canvas.model, self._target_to_world))

    # --- what happens elsewhere ---------------------------------------------------------------

    def _on_changed(self) -> None:
        if not self.shown or self._before is None:
            return
        if not self._offered():
            self.show(False)
            return
        _, target = self._layers.layers()
        if target is self._before[0]:
            self._draw()
        else:
            self._end()
            self._begin()
        self._on_moved(0, force=True)

    def _on_layer_removed(self) -> None:
        if self.shown and not self._offered():
            self.show(False)

    def _on_hidden(self) -> None:
        if self.shown and self.canvas is not None and not self.canvas.isVisible():
            self.show(False)

    # --- the lock -----------------------------------------------------------------------------

    def _watch(self, model: ViewerModel, number: int) -> None:
        moved = partial(self._on_moved, number)
        for events in (model.scene.camera.events.center, model.scene.camera.events.zoom):
            events.connect(moved)

    def _on_moved(self, number: int, _: Any = None, *, force: bool = False) -> None:
        if not self.shown or self._quiet or (not force and self._is_still(number)):
            return
        self._leader = number
        self._follow_soon()

    def _is_still(self, number: int) -> bool:
        if len(self._settled) != 2:
            return False
        now, then = _view(self._models()[number]), self._settled[number]
        return bool(
            np.abs(now - then)[:2].max() * now[2] < _STILL_PX
            and abs(now[2] / then[2] - 1) < _STILL_ZOOM
        )

    def _models(self) -> tuple[ViewerModel, ViewerModel]:
        assert self.canvas is not None
        return self._viewer, self.canvas.model

    def _follow(self) -> None:
        """Show in the other canvas what the one that moved shows."""
        if not self.shown or self._registering.affine is None:
            return
        models, leader = self._models(), self._leader
        if any(model.dims.ndisplay != 2 for model in models):
            return
        view = _view(models[leader])
        with self._silence():
            self._look(models[1 - leader], self._carried(view[:2], from_target=leader == 1))
            # The target is drawn as large as the source.
            models[1 - leader].scene.camera.zoom = view[2]
        self._settled = [_view(model) for model in models]

    def _carried(self, place: Float64Array, *, from_target: bool) -> Float64Array:
        source, _ = self._layers.layers()
        planes = self._registering.planes
        if planes is None or source is None or self._target_to_world is None:
            return place
        to_world = plane_to_world(source), self._target_to_world
        return carried(place, planes, to_world, from_target=from_target)

    @staticmethod
    def _look(model: ViewerModel, place: Float64Array) -> None:
        model.scene.camera.center = (0.0, *(float(x) for x in place))

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


def _view(model: ViewerModel) -> Float64Array:
    """Return where a canvas looks (y, x), and its magnification."""
    camera = model.scene.camera
    return np.array([*camera.center[-2:], camera.zoom], dtype=np.float64)
