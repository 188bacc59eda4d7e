"""Ties a workbench to the two canvases of one viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Points
from napari.layers.base import ActionType

from napari_neurobridge.viewer.attention_layers import AttentionLayers
from napari_neurobridge.viewer.canvases import SecondCanvas, look_at, show_field, show_slab
from napari_neurobridge.viewer.dispatch import (
    LAYOUT_MS,
    CloseWatcher,
    MainThreadDispatcher,
    after_events,
)
from napari_neurobridge.viewer.docks import put_beside_main_canvas, stack_docks
from napari_neurobridge.viewer.hints import Hints
from napari_neurobridge.viewer.layers import (
    DATASET_KEY,
    HINT_KEY,
    is_drawn,
    load_image,
    show_labels,
    somata_layer_kwargs,
    somata_view,
)
from napari_neurobridge.viewer.link import CanvasLink
from napari_neurobridge.viewer.log_timer import LogTimer
from napari_neurobridge.viewer.outlines import OutlineLayers
from napari_neurobridge.viewer.plane_layers import PlaneLayers
from napari_neurobridge.workbench.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.components import ViewerModel

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Vec3

CANVAS_NAME = "fMOST"


class ViewerBinding:
    """Draws a workbench's state as layers, and turns clicks and edits into its actions.

    Parameters
    ----------
    viewer : napari.Viewer
        The real viewer, not a proxy of it.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        # Weakly: the registry keeps bindings for as long as their viewers live.
        self._viewer = ref(viewer)
        self.workbench = Workbench(MainThreadDispatcher())
        self.second: SecondCanvas | None = None
        self.closed = False
        self._drawn_uids: dict[str, list[str]] = {}
        self._to_draw: set[str] = set()

        # napari offers no public signal for this.
        self._watcher = CloseWatcher(viewer.window._qt_window)
        self._watcher.closing.connect(self.shut)
        self._log_timer = LogTimer(self.workbench.watch, viewer.window._qt_window)
        self._attention_layers = AttentionLayers(self.workbench, self._sides)
        self._outline_layers = OutlineLayers(self.workbench, self._sides)
        self._plane_layers = PlaneLayers(self.workbench, self._sides)
        self._plane_layers.watch(viewer)
        self._hints = Hints(self.workbench, self._sides)
        self._hints.watch(viewer)
        self._link = CanvasLink(self.workbench, self._sides)
        self._link.watch(viewer, 0)
        session, questions = self.workbench.session, self.workbench.questions
        matches = self.workbench.matches
        session.project_changed.connect(self._on_project_changed)
        session.orientation_changed.connect(self._on_orientation_changed)
        session.somata_changed.connect(self._draw_soon)
        session.verdicts_changed.connect(self._draw_all_soon)
        questions.snapshot_changed.connect(self._draw_all_soon)
        questions.look_requested.connect(self._look_at)
        matches.match_changed.connect(self._on_match_changed)
        viewer.mouse_drag_callbacks.append(self._on_clicked)

    @property
    def viewer(self) -> napari.Viewer:
        """The viewer; it must not have been closed."""
        viewer = self._viewer()
        assert viewer is not None
        return viewer

    # --- from the workbench to the canvases ----------------------------------------------

    def _on_project_changed(self, project: Project | None) -> None:
        self._remove_layers()
        if project is None:
            return
        second = self._open_second_canvas()
        for model, dataset in self._sides():
            self._draw_somata(dataset)
            self._outline_layers.draw(dataset)
            show_slab(model, self._orientation(dataset))
            if project.dataset(dataset).uri is not None:
                self._load_image(project, dataset)
        second.fit_contrast()
        # The magnification depends on the canvases' sizes.
        after_events(self._show_points, LAYOUT_MS)

    def _show_points(self) -> None:
        """Show the middle of each dataset that has no image, at the usual magnification."""
        project = self.workbench.project
        for model, dataset in self._sides():
            layer = self._somata_layer(model, dataset)
            assert project is not None
            if project.dataset(dataset).uri is not None or layer is None or not len(layer.data):
                continue
            model.layers.selection.active = layer
            show_field(model, self._canvas_px(model))
            centers = np.asarray(layer.data)
            middle = np.linalg.norm(centers - np.median(centers, axis=0), axis=1).argmin()
            look_at(model, _position(layer, int(middle)))
        self._look_at_what_is_asked()

    def _on_orientation_changed(self) -> None:
        for model, dataset in self._sides():
            show_slab(model, self._orientation(dataset))

    def _orientation(self, dataset: str) -> Orientation:
        assert self.workbench.project is not None
        return self.workbench.project.dataset(dataset).used_orientation

    def _load_image(self, project: Project, dataset: str) -> None:
        """Open an image in the background, and show it under the somata."""

        def add(image: tuple[Any, dict[str, Any]]) -> None:
            data, kwargs = image
            for model, name in self._sides():
                if name == dataset and self.workbench.project is project:
                    model.add_image(data, **kwargs)
                    model.layers.move(len(model.layers) - 1, 0)
                    # The keys act on the somata layer, so that is the one to be active.
                    model.layers.selection.active = self._somata_layer(model, dataset)
                    show_slab(model, self._orientation(dataset))
                    show_field(model, self._canvas_px(model))
            if self.second is not None:
                self.second.fit_contrast()
            self._look_at_what_is_asked()

        session = self.workbench.session
        session.jobs.submit(
            f"image {dataset}", lambda: load_image(project, dataset), add, session.show_error
        )

    def _canvas_px(self, model: ViewerModel) -> tuple[int, int]:
        """Return width and height of a canvas."""
        if self.second is not None and model is self.second.model:
            return self.second.qt_viewer.width(), self.second.qt_viewer.height()
        central = self.viewer.window._qt_window.centralWidget()
        return central.width(), central.height()

    def _draw_all_soon(self, _: object = None) -> None:
        for _model, dataset in self._sides():
            self._draw_soon(dataset)

    def _draw_soon(self, dataset: str) -> None:
        """Draw a dataset's somata once, however much of the state is changing just now."""
        if not self._to_draw:
            after_events(self._draw_what_changed)
        self._to_draw.add(dataset)

    def _draw_what_changed(self) -> None:
        datasets, self._to_draw = self._to_draw, set()
        for dataset in datasets:
            self._draw_somata(dataset)

    def _draw_somata(self, dataset: str) -> None:
        """Draw a dataset's somata anew; a layer that somebody deleted comes back."""
        model = next((model for model, name in self._sides() if name == dataset), None)
        if model is None:
            return
        view = somata_view(self.workbench, dataset)
        self._drawn_uids[dataset] = list(view.features["uid"])
        layer = self._somata_layer(model, dataset)
        if layer is None:
            layer = model.add_points(view.centers_um, **somata_layer_kwargs(view, dataset))
            layer.mode = "pan_zoom"
            layer.events.data.connect(self._on_somata_edited)
            self._bind_keys(layer)
            if self.second is not None and model is self.second.model:
                self.second.edit_with_tools(layer)
            return
        if is_drawn(layer, view):
            return
        with layer.events.data.blocker(self._on_somata_edited):
            if not np.array_equal(layer.data, view.centers_um):
                layer.selected_data = set()
                layer.data = view.centers_um
            show_labels(layer, view)
            layer.features = view.features
            if len(view.features):
                layer.border_color = view.border_colors
                layer.face_color = view.face_colors
            layer.refresh()

    def _on_match_changed(self) -> None:
        if self.second is not None:
            self.second.offer_lock(self.workbench.matches.has_match)

    def _look_at_what_is_asked(self) -> None:
        shown = self.workbench.questions.snapshot
        if shown.query is not None:
            self._look_at(shown.query.dataset, shown.query.center_um)
        if shown.picked is not None:
            self._look_at(shown.gallery, shown.picked.center_um)

    def _look_at(self, dataset: str, position_um: Vec3) -> None:
        for model, name in self._sides():
            if name != dataset:
                continue
            if self.second is not None and model is self.second.model:
                self._open_second_canvas()
            if model.dims.ndim < 3:
                # Somebody deleted every layer, and with them the canvas forgot its axes.
                self._draw_somata(dataset)
                show_slab(model, self._orientation(dataset))
            with self._link.paused():
                look_at(model, position_um)

    # --- from the canvases to the workbench ----------------------------------------------

    def _on_clicked(self, model: Any, event: Any) -> Any:
        """Ask about, or choose, the soma under a click that did not drag the view."""
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = True
            yield
        active = model.layers.selection.active
        drawing = isinstance(active, Points) and active.mode != "pan_zoom"
        if dragged or drawing or event.button != 1 or model.dims.ndisplay != 2:
            return
        dataset = next((name for side, name in self._sides() if _same(side, model)), None)
        if dataset is None:
            return
        position = np.asarray(event.position)[-3:]
        depth_axis = model.dims.order[0]
        self.workbench.questions.click(
            dataset, tuple(position), depth_axis=depth_axis, asks="Shift" in event.modifiers
        )

    def _on_somata_edited(self, event: Any) -> None:
        """Turn an edit of a somata layer into events, then draw what the project says."""
        layer, verdicts = event.source, self.workbench.verdicts
        dataset = layer.metadata[DATASET_KEY]
        rows = [int(index) for index in event.data_indices]
        if event.action == ActionType.ADDED:
            self._after(verdicts.add_somata, dataset, [_position(layer, row) for row in rows])
        elif event.action == ActionType.CHANGED:
            uids = [layer.features["uid"].iloc[row] for row in rows]
            positions = [_position(layer, row) for row in rows]
            self._after(verdicts.move_somata, dataset, uids, positions)
        elif event.action == ActionType.REMOVED:
            left = set(layer.features["uid"])
            removed = [uid for uid in self._drawn_uids[dataset] if uid not in left]
            self._after(verdicts.delete_somata, dataset, removed)
        else:
            return
        # Also when the project refuses: the layer then gets its circles back.
        self._draw_soon(dataset)

    def _after(self, action: Callable[..., None], *arguments: Any) -> None:
        # napari is still inside its own edit: the layer may not be redrawn yet.
        after_events(lambda: action(*arguments))

    def _bind_keys(self, layer: Points) -> None:
        """Bind the Match dock's keys to a somata layer alone; napari keeps them elsewhere."""
        for key, action in self.workbench.key_actions().items():
            layer.bind_key(key, lambda _layer, action=action: action(), overwrite=True)

    # --- canvases and layers -----------------------------------------------------------

    def _sides(self) -> list[tuple[ViewerModel, str]]:
        """Return each canvas with the dataset that it shows."""
        project = self.workbench.project
        if project is None or self.second is None:
            return []
        return [(self.viewer, project.in_vivo()), (self.second.model, project.ex_vivo())]

    def _somata_layer(self, model: ViewerModel, dataset: str) -> Points | None:
        for layer in model.layers:
            ours = layer.metadata.get(DATASET_KEY) == dataset and HINT_KEY not in layer.metadata
            if isinstance(layer, Points) and ours:
                return layer
        return None

    def _remove_layers(self) -> None:
        models = [self.viewer] + ([self.second.model] if self.second is not None else [])
        for model in models:
            for layer in [layer for layer in model.layers if DATASET_KEY in layer.metadata]:
                model.layers.remove(layer)
        self._drawn_uids.clear()

    def _open_second_canvas(self) -> SecondCanvas:
        """Return the second canvas, docked; also after its dock was closed."""
        window = self.viewer.window
        if self.second is None:
            self.second = SecondCanvas(CANVAS_NAME)
            self.second.model.mouse_drag_callbacks.append(self._on_clicked)
            self._plane_layers.watch(self.second.model)
            self._hints.watch(self.second.model)
            self._link.watch(self.second.model, 1)
            self.second.lock.toggled.connect(self._link.set_locked)
        if CANVAS_NAME not in window.dock_widgets:
            dock = window.add_dock_widget(
                self.second,
                name=CANVAS_NAME,
                area="right",
                tabify=False,
                add_vertical_stretch=False,
            )
            self.second.show()
            put_beside_main_canvas(self.viewer, dock)
        return self.second

    def stack_docks(self, front: str) -> None:
        """Lay the Insight dock on the Match dock; see `docks.stack_docks`."""
        if not self.closed:
            stack_docks(self.viewer, front)

    def shut(self) -> None:
        """Stop all work and let the second canvas go; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._log_timer.stop()
        self.workbench.close()
        if self.second is not None:
            second, self.second = self.second, None
            second.shut()


def _same(one: Any, other: Any) -> bool:
    return getattr(one, "__wrapped__", one) is getattr(other, "__wrapped__", other)


def _position(layer: Points, index: int) -> Vec3:
    z, y, x = (float(value) for value in np.asarray(layer.data[index])[-3:])
    return z, y, x
