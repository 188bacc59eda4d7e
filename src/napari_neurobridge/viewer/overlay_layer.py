"""The warped ex-vivo image as a layer of the in-vivo canvas: green over magenta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_neurobridge.viewer.canvases import SPACE_AXES, put_under_circles
from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.viewer.styles import ImageStyle, OverlayStyle

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_neurobridge.workbench.overlay import WarpedImage
    from napari_neurobridge.workbench.workbench import Workbench

OVERLAY_KEY = "neurobridge_overlay"
"""Metadata key by which `OverlayLayer` knows its own layer again."""


class OverlayLayer:
    """Draws the overlay, and colours the image under it, while it is wanted.

    Parameters
    ----------
    workbench : Workbench
    sides : callable
        Returns each canvas with the dataset that it shows.
    canvas_px : callable
        Returns the shorter edge of the in-vivo canvas.
    """

    def __init__(
        self,
        workbench: Workbench,
        sides: Callable[[], list[tuple[ViewerModel, str]]],
        canvas_px: Callable[[], int],
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        self._canvas_px = canvas_px
        self._draw_soon = OnceSoon(self._draw)
        self._look_soon = OnceSoon(self._look)
        workbench.overlay.changed.connect(self._draw_soon)

    def watch(self, model: ViewerModel) -> None:
        """Follow the in-vivo canvas."""
        camera = model.scene.camera
        for events in (camera.events.center, camera.events.zoom, model.dims.events.point):
            events.connect(self._look_soon)
        model.dims.events.margin_left.connect(self._look_soon)

    def _look(self) -> None:
        sides = self._sides()
        if not sides or sides[0][0].dims.ndim != SPACE_AXES:
            return
        model = sides[0][0]
        depth, rows, columns = model.dims.order
        center = [0.0] * SPACE_AXES
        center[depth] = float(model.dims.point[depth])
        center[rows], center[columns] = (float(um) for um in model.scene.camera.center[-2:])
        z, y, x = center
        # In steps, so that a view that creeps asks for nothing new.
        field = 50.0 * np.ceil(self._canvas_px() / model.scene.camera.zoom / 50.0)
        self._workbench.overlay.look((z, y, x), field, 2 * float(model.dims.margin_left[depth]))

    def _draw(self) -> None:
        sides = self._sides()
        if not sides:
            return
        model, dataset = sides[0]
        overlay = self._workbench.overlay
        self._look()
        image = overlay.image
        layer = next((x for x in model.layers if OVERLAY_KEY in x.metadata), None)
        under = [x for x in model.layers if _is_image_of(x, dataset)]
        style = OverlayStyle()
        for other in under:
            colormap = ImageStyle().colormap if image is None else style.under
            if other.colormap.name != colormap:
                other.colormap = colormap
            other.opacity = 0.0 if image is not None and overlay.flickered else 1.0
        if image is None:
            if layer is not None:
                model.layers.remove(layer)
            return
        if layer is None:
            layer = _layer(image, dataset, style)
            active = model.layers.selection.active
            put_under_circles(model, layer)
            model.layers.selection.active = active
        elif layer.metadata[OVERLAY_KEY] is not image:
            layer.data = _pixels(image)
            layer.scale, layer.translate = image.scale_um, image.corner_um
            layer.metadata[OVERLAY_KEY] = image
        layer.opacity = 1.0 if overlay.flickered else overlay.opacity


def _layer(image: WarpedImage, dataset: str, style: OverlayStyle) -> Image:
    return Image(
        _pixels(image),
        name="fMOST, warped",
        scale=image.scale_um,
        translate=image.corner_um,
        metadata={DATASET_KEY: dataset, OVERLAY_KEY: image},
        **style.as_kwargs(),
    )


def _pixels(image: WarpedImage) -> np.ndarray:
    """Return the pixels with an axis of length 1 along the depth."""
    depth, rows, columns = image.axes
    upright = image.pixels if rows < columns else image.pixels.T
    return np.expand_dims(upright, depth)


def _is_image_of(layer: Any, dataset: str) -> bool:
    metadata = layer.metadata
    return (
        isinstance(layer, Image)
        and set(metadata) == {DATASET_KEY}
        and (metadata[DATASET_KEY] == dataset)
    )
