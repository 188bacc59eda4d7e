"""How both canvases show tissue: slab, scale bar, place of the mouse, contrast and theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_neurobridge.viewer.canvases import (
    cursor_um,
    look_at,
    set_slab,
    show_field,
    show_middle,
    show_scale_bar,
    show_slab,
)
from napari_neurobridge.viewer.styles import SLAB_UM

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtWidgets import QWidget

    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Vec3
    from napari_neurobridge.viewer.header import CanvasHeader


class Seeing:
    """Keeps what both canvases have in common the same.

    Attributes
    ----------
    slab_um : int
        Thickness of the tissue that both canvases project.
    """

    def __init__(self, paused: Callable[[], Any]) -> None:
        self.slab_um = SLAB_UM
        self._paused = paused
        self._sides: list[tuple[ViewerModel, CanvasHeader, QWidget]] = []

    def watch(self, model: ViewerModel, header: CanvasHeader, canvas: QWidget) -> None:
        """Let a header say and set what its canvas shows.

        Parameters
        ----------
        model, header
        canvas : QWidget
            What the canvas draws on; its size sets the magnification.
        """
        self._sides.append((model, header, canvas))
        header.slab_changed.connect(self.set_slab)
        header.home_wanted.connect(lambda: self._show_all(model))
        header.show_slab(self.slab_um)
        model.cursor.events.position.connect(lambda _: header.follow_place(cursor_um(model)))
        model.mouse_move_callbacks.append(lambda *_: header.show_place(cursor_um(model)))
        show_scale_bar(model)

    def watch_layer(self, model: ViewerModel, layer: Layer) -> None:
        """Let the header's tools show what a click on a layer does."""
        header = next(header for other, header, _ in self._sides if other is model)
        layer.events.mode.connect(lambda event: header.show_tool(str(event.mode)))
        header.show_tool(str(layer.mode))

    def set_slab(self, slab_um: int) -> None:
        """Project so much tissue, µm, in both canvases."""
        self.slab_um = slab_um
        for model, header, _ in self._sides:
            header.show_slab(slab_um)
            if header.slab.isEnabled():
                set_slab(model, slab_um)

    def show_plane(self, model: ViewerModel, alone: bool) -> None:
        """Show the plane of a canvas alone, whatever the slab, or the slab again."""
        for other, header, _ in self._sides:
            if other is model:
                header.slab.setEnabled(not alone)
                set_slab(model, 0 if alone else self.slab_um)

    def turn(self, model: ViewerModel, orientation: Orientation) -> None:
        """Show a canvas along the two-photon optical axis, in the middle where that is another."""
        before = model.dims.order[0]
        alone = any(other is model and not h.slab.isEnabled() for other, h, _ in self._sides)
        show_slab(model, orientation, 0 if alone else self.slab_um)
        if model.dims.order[0] != before:
            show_middle(model)

    def show_field(self, model: ViewerModel) -> None:
        """Show the usual field of tissue, equally magnified in both canvases."""
        show_field(model, self.canvas_px())

    def canvas_px(self) -> int:
        """Return the shortest edge of both canvases, in pixels."""
        edges = [min(canvas.width(), canvas.height()) for _, _, canvas in self._sides]
        return min(edges, default=0)

    def equal_zoom(self) -> None:
        """Magnify the second canvas as the first."""
        if len(self._sides) == 2:
            (first, _, _), (second, _, _) = self._sides
            with self._paused():
                second.scene.camera.zoom = first.scene.camera.zoom

    def fit_contrast(self) -> None:
        """Give both contrast sliders the ranges of their images."""
        for _, header, _ in self._sides:
            header.fit_contrast()

    def _show_all(self, model: ViewerModel) -> None:
        with self._paused():
            model.reset_view()

    def look_at(self, model: ViewerModel, position_um: Vec3) -> None:
        """Move one canvas to a place, and not the other that may be locked to it."""
        with self._paused():
            look_at(model, position_um)
