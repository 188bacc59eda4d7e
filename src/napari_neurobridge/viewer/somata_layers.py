"""The circles around somata: drawn as the project says, and edited in napari's own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers.base import ActionType

from napari_neurobridge.viewer.dispatch import OnceSoon, after_events
from napari_neurobridge.viewer.layers import (
    DATASET_KEY,
    is_drawn,
    is_somata_layer,
    show_labels,
    somata_layer_kwargs,
    somata_view,
)
from napari_neurobridge.viewer.styles import canvas_ink
from napari_neurobridge.workflows.brightest_plane import Slab, at_brightest_plane

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Points

    from napari_neurobridge.types import Vec3
    from napari_neurobridge.viewer.layers import SomataTable
    from napari_neurobridge.workbench.workbench import Workbench


class SomataLayers:
    """Draws each canvas's somata, and turns edits of a layer into the workbench's actions.

    Parameters
    ----------
    workbench : Workbench
    sides : callable
        Returns each canvas with the dataset that it shows.
    on_made : callable
        Takes a canvas and its new layer.
    """

    def __init__(
        self,
        workbench: Workbench,
        sides: Callable[[], list[tuple[ViewerModel, str]]],
        on_made: Callable[[ViewerModel, Points], None],
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        self._on_made = on_made
        self._tables: dict[str, SomataTable] = {}
        self._to_draw: set[str] = set()
        self._draw_changed = OnceSoon(self._draw_what_changed)
        session, questions = workbench.session, workbench.questions
        session.somata_changed.connect(self.draw_soon)
        session.verdicts_changed.connect(self._draw_all_soon)
        questions.snapshot_changed.connect(self._draw_all_soon)

    def layer(self, model: ViewerModel) -> Points | None:
        """Return a canvas's layer of somata, while there is one."""
        return next((layer for layer in model.layers if is_somata_layer(layer)), None)

    def draw(self, dataset: str) -> None:
        """Draw a dataset's somata anew; a layer that somebody deleted comes back."""
        model = next((model for model, name in self._sides() if name == dataset), None)
        if model is None:
            return
        view = somata_view(self._workbench, dataset, self._tables.get(dataset))
        self._tables[dataset] = view.table
        layer = self.layer(model)
        if layer is None:
            layer = model.add_points(view.centers_um, **somata_layer_kwargs(view, dataset))
            layer.mode = "pan_zoom"
            layer.text.color = self._ink(model, dataset)
            layer.events.data.connect(self._on_edited)
            self._on_made(model, layer)
            return
        if is_drawn(layer, view):
            return
        with layer.events.data.blocker(self._on_edited):
            if not np.array_equal(layer.data, view.centers_um):
                layer.selected_data = set()
                layer.data = view.centers_um
            show_labels(layer, view)
            layer.features = view.features
            if len(view.features):
                # Each colour would draw all circles; the refresh does it once.
                with layer.events.border_color.blocker(), layer.events.face_color.blocker():
                    layer.border_color = view.border_colors
                    layer.face_color = view.face_colors
            layer.refresh()

    def show_theme(self) -> None:
        """Write the numbers so that they are seen on the canvas of the theme."""
        for model, dataset in self._sides():
            if (layer := self.layer(model)) is not None:
                layer.text.color = self._ink(model, dataset)

    def _ink(self, model: ViewerModel, dataset: str) -> str:
        """Return white over an image, which is mostly dark, and what the bare canvas needs."""
        project = self._workbench.project
        bare = project is None or project.dataset(dataset).uri is None
        return canvas_ink(model.theme) if bare else "white"

    def draw_soon(self, dataset: str) -> None:
        """Draw a dataset's somata once, however much of the state is changing just now."""
        self._to_draw.add(dataset)
        self._draw_changed()

    def _draw_all_soon(self, _: object = None) -> None:
        for _model, dataset in self._sides():
            self.draw_soon(dataset)

    def _draw_what_changed(self) -> None:
        datasets, self._to_draw = self._to_draw, set()
        for dataset in datasets:
            self.draw(dataset)

    # --- edits ---------------------------------------------------------------------------

    def _on_edited(self, event: Any) -> None:
        """Turn an edit of a somata layer into events, then draw what the project says."""
        layer, verdicts = event.source, self._workbench.verdicts
        dataset = layer.metadata[DATASET_KEY]
        rows = [int(index) for index in event.data_indices]
        if event.action == ActionType.ADDED:
            self._add(dataset, [position_of(layer, row) for row in rows])
        elif event.action == ActionType.CHANGED:
            uids = [layer.features["uid"].iloc[row] for row in rows]
            positions = [position_of(layer, row) for row in rows]
            self._after(verdicts.move_somata, dataset, uids, positions)
        elif event.action == ActionType.REMOVED:
            left = set(layer.features["uid"])
            removed = [uid for uid in self._tables[dataset].somata if uid not in left]
            self._after(verdicts.delete_somata, dataset, removed)
        else:
            return
        # Also when the project refuses: the layer then gets its circles back.
        self.draw_soon(dataset)

    def _add(self, dataset: str, centers_um: list[Vec3]) -> None:
        """Add somata where they were clicked, each in its brightest plane of the slab."""
        session, verdicts = self._workbench.session, self._workbench.verdicts
        project = session.project
        model = next(model for model, name in self._sides() if name == dataset)
        depth = model.dims.order[0]
        slab = Slab(depth, float(model.dims.margin_left[depth]))

        def find() -> list[Vec3]:
            assert project is not None
            return [at_brightest_plane(project, dataset, center, slab) for center in centers_um]

        def add(found: list[Vec3]) -> None:
            if session.project is project:
                verdicts.add_somata(dataset, found)

        session.jobs.submit(f"brightest {centers_um[0]}", find, add, session.show_error)

    def _after(self, action: Callable[..., None], *arguments: Any) -> None:
        # napari is still inside its own edit: the layer may not be redrawn yet.
        after_events(lambda: action(*arguments))


def position_of(layer: Points, index: int) -> Vec3:
    """Return where a point lies, µm (z, y, x)."""
    z, y, x = (float(value) for value in np.asarray(layer.data[index])[-3:])
    return z, y, x
