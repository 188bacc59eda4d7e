"""Labels layers to paint in: drawn while somebody paints, and kept after each stroke."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_neurobridge.viewer.canvases import SPACE_AXES, put_under_circles
from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.viewer.styles import PaintStyle
from napari_neurobridge.workbench.painting import TOOL_LABELS, Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_neurobridge.types import Vec3
    from napari_neurobridge.viewer.seeing import Seeing
    from napari_neurobridge.workbench.workbench import Workbench

PAINT_KEY = "neurobridge_painted"
"""Metadata key of layers to paint in; the number of their region."""


class PaintLayers:
    """Draws the regions that are painted in, and takes the strokes.

    Parameters
    ----------
    workbench : Workbench
    sides : callable
        Returns each canvas with the dataset that it shows.
    seeing : Seeing
        Thins the slab while somebody paints: what is seen must be where it is painted.
    """

    def __init__(
        self,
        workbench: Workbench,
        sides: Callable[[], list[tuple[ViewerModel, str]]],
        seeing: Seeing,
    ) -> None:
        self._workbench = workbench
        self._painting = workbench.painting
        self._sides = sides
        self._seeing = seeing
        self._model: ViewerModel | None = None
        self._layers: list[Labels] = []
        self._shown: tuple[Tool, float] | None = None
        self._painting.regions_changed.connect(self._draw)
        self._painting.changed.connect(self._show_tool)
        self._painting.undo_wanted.connect(self._undo)

    def place_um(self, dataset: str) -> Vec3 | None:
        """Return the middle of what the canvas of a dataset shows, µm (z, y, x)."""
        for model, name in self._sides():
            if name == dataset and model.dims.ndim == SPACE_AXES:
                place = [float(value) for value in model.dims.point]
                _, rows, columns = model.dims.order
                _, place[rows], place[columns] = model.scene.camera.center
                return place[0], place[1], place[2]
        return None

    def _draw(self) -> None:
        self._remove()
        painting = self._painting
        model = next((model for model, name in self._sides() if name == painting.dataset), None)
        project = self._workbench.project
        if model is None or project is None:
            return
        if self._workbench.landmarks.placing:
            self._workbench.landmarks.toggle()  # both take clicks
        self._model = model
        voxel_um = project.volume(painting.dataset).voxel_size_um
        for number, region in enumerate(painting.regions):
            layer = Labels(
                region.labels,
                name=f"{painting.dataset} painted {number + 1}",
                scale=voxel_um,
                translate=[a * size for a, size in zip(region.start, voxel_um, strict=True)],
                metadata={DATASET_KEY: painting.dataset, PAINT_KEY: number},
                **PaintStyle().as_kwargs(),
            )
            layer.bounding_box.visible = painting.framed
            put_under_circles(model, layer)
            self._layers.append(layer)
            layer.events.paint.connect(partial(self._on_stroke, number))
            layer.events.set_data.connect(_Undone(model, partial(painting.stroke, number)))
        self._seeing.show_plane(model, True)
        model.layers.selection.active = self._layers[painting.current]
        self._show_tool()

    def _remove(self) -> None:
        model, self._model, self._shown = self._model, None, None
        layers, self._layers = self._layers, []
        if model is None:
            return
        for layer in layers:
            if layer in model.layers:
                model.layers.remove(layer)
        self._seeing.show_plane(model, False)

    def _show_tool(self) -> None:
        painting = self._painting
        chosen = painting.tool, painting.brush_um
        if self._model is None or chosen == self._shown:
            return  # a tool of napari's own that somebody took stays
        self._shown = chosen
        for layer in self._layers:
            if layer not in self._model.layers:
                continue
            _, rows, columns = self._model.dims.order
            finest = min(layer.scale[rows], layer.scale[columns])
            layer.brush_size = max(round(painting.brush_um / finest), 1)
            if painting.tool is not Tool.ERASE:
                layer.selected_label = TOOL_LABELS[painting.tool]
            layer.mode = "erase" if painting.tool is Tool.ERASE else "paint"

    def _undo(self) -> None:
        active = None if self._model is None else self._model.layers.selection.active
        layer = active if active in self._layers else next(iter(self._layers), None)
        if layer is not None:
            layer.undo()
            self._painting.stroke(self._layers.index(layer))

    def _on_stroke(self, number: int, _: Any) -> None:
        self._painting.stroke(number)


class _Undone:
    """Tells when a layer's labels changed without a stroke, as by napari's own undo.

    napari has no event for that; it draws the same plane anew.
    """

    def __init__(self, model: ViewerModel, tell: Callable[[], None]) -> None:
        self._model = model
        self._tell = tell
        self._seen = self._plane()

    def __call__(self, _: Any = None) -> None:
        """Tell if the same plane was drawn again."""
        plane, before = self._plane(), self._seen
        self._seen = plane
        if plane == before:
            self._tell()

    def _plane(self) -> tuple[object, ...]:
        dims = self._model.dims
        return dims.point, dims.order, dims.ndisplay, dims.margin_left
