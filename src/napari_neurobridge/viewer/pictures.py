"""Pictures of both canvases as they are on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.insight.figures.pair import Picture

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_neurobridge.viewer.binding import ViewerBinding


def canvas_pictures(binding: ViewerBinding) -> list[Picture]:
    """Return what the canvases show, two-photon first; none while no project is open.

    Main thread only, since the graphics card draws it.
    """
    project = binding.workbench.project
    if project is None or binding.second is None:
        return []
    main, second = binding.viewer.window._qt_viewer, binding.second.qt_viewer
    return [
        _picture(project.in_vivo(), main, binding.viewer),
        _picture(project.ex_vivo(), second, binding.second.model),
    ]


def _picture(title: str, qt_viewer: Any, model: ViewerModel) -> Picture:
    pixels = np.asarray(qt_viewer.screenshot(flash=False))
    if model.canvas.overlays.scale_bar.visible:
        return Picture(title, pixels, None)
    # The picture has more pixels than the canvas where the screen is scaled.
    width_um = qt_viewer.canvas.native.width() / model.scene.camera.zoom
    return Picture(title, pixels, width_um / pixels.shape[1])
