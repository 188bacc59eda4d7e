"""Landmarks that are no somata, as diamonds in both canvases, and the clicks that place them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.viewer.canvases import SPACE_AXES, shows_plane
from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.viewer.layers import DATASET_KEY, LANDMARK_KEY
from napari_neurobridge.viewer.styles import LandmarkStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari.components import ViewerModel
    from napari.layers import Points

    from napari_neurobridge.types import Vec3
    from napari_neurobridge.workbench.workbench import Workbench


class LandmarkLayers:
    """Draws the landmarks, and while they are being placed takes the clicks and drags.

    Parameters
    ----------
    workbench : Workbench
    sides : callable
        Returns each canvas with the dataset that it shows.
    """

    def __init__(
        self, workbench: Workbench, sides: Callable[[], list[tuple[ViewerModel, str]]]
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        self._draw_soon = OnceSoon(self._draw)
        workbench.landmarks.changed.connect(self._draw_soon)

    def watch(self, model: ViewerModel) -> None:
        """Take the clicks of a canvas."""
        model.mouse_drag_callbacks.append(self._on_pressed)

    def layer(self, model: ViewerModel) -> Points | None:
        """Return a canvas's layer of landmarks, while there is one."""
        return next((layer for layer in model.layers if LANDMARK_KEY in layer.metadata), None)

    def _draw(self) -> None:
        landmarks = self._workbench.landmarks
        for model, dataset in self._sides():
            places = landmarks.places_um(dataset)
            if landmarks.begun is not None and landmarks.begun[0] == dataset:
                places[""] = landmarks.begun[1]
            layer = self.layer(model)
            if layer is None:
                if not places or model.dims.ndim != SPACE_AXES:
                    continue
                layer = _new_layer(model, dataset)
            centers = np.array(list(places.values())).reshape(-1, 3)
            if layer.metadata[LANDMARK_KEY] == tuple(places) and np.array_equal(
                layer.data, centers
            ):
                continue
            layer.selected_data = set()
            layer.data = centers
            layer.metadata[LANDMARK_KEY] = tuple(places)
            layer.editable = False

    # --- clicks and drags --------------------------------------------------------------

    def _on_pressed(self, model: Any, event: Any) -> Generator[None, None, None]:
        landmarks = self._workbench.landmarks
        if not landmarks.placing or event.button != 1 or not shows_plane(model):
            return
        real = getattr(model, "__wrapped__", model)
        dataset = next((name for side, name in self._sides() if side is real), None)
        if dataset is None:
            return
        pressed, depth = _position(event), int(model.dims.order[0])
        uid = landmarks.at(dataset, pressed, depth)
        camera = model.scene.camera
        pans, dragged = camera.mouse_pan, False
        # What is dragged is the landmark, and not the view.
        camera.mouse_pan = pans and uid is None
        try:
            yield
            while event.type == "mouse_move":
                dragged = True
                if uid is not None:
                    self._show_at(real, uid, self._dragged(dataset, uid, event, depth))
                yield
        finally:
            camera.mouse_pan = pans
        if uid is not None and dragged:
            landmarks.move(uid, dataset, self._dragged(dataset, uid, event, depth))
        elif uid is None and not dragged:
            landmarks.place(dataset, pressed)

    def _dragged(self, dataset: str, uid: str, event: Any, depth: int) -> Vec3:
        """Return where a landmark is dragged to: under the mouse, at the depth that it has."""
        place = list(_position(event))
        place[depth] = self._workbench.landmarks.places_um(dataset)[uid][depth]
        z, y, x = place
        return z, y, x

    def _show_at(self, model: ViewerModel, uid: str, place_um: Vec3) -> None:
        layer = self.layer(model)
        if layer is not None and uid in layer.metadata[LANDMARK_KEY]:
            data = np.array(layer.data)
            data[layer.metadata[LANDMARK_KEY].index(uid)] = place_um
            layer.data = data


def _new_layer(model: ViewerModel, dataset: str) -> Points:
    active = model.layers.selection.active
    layer = model.add_points(
        np.zeros((0, 3)),
        ndim=3,
        name=f"{dataset} landmarks",
        metadata={DATASET_KEY: dataset, LANDMARK_KEY: ()},
        **LandmarkStyle().as_kwargs(),
    )
    # The keys act on the somata layer, so this one must not take its place.
    if active in model.layers:
        model.layers.selection.active = active
    return layer


def _position(event: Any) -> Vec3:
    z, y, x = (float(value) for value in np.asarray(event.position)[-3:])
    return z, y, x
