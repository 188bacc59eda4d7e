"""Ties a workbench to the two canvases of one viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Labels, Points

from napari_neurobridge.viewer.attention_layers import AttentionLayers
from napari_neurobridge.viewer.canvases import SPACE_AXES, SecondCanvas, remove_in_own_context
from napari_neurobridge.viewer.dispatch import CloseWatcher, MainThreadDispatcher, after_events
from napari_neurobridge.viewer.docks import (
    CANVAS_NAME,
    MATCH,
    PAIRS,
    PROJECT_DOCKS,
    REGISTER,
    DockColumn,
)
from napari_neurobridge.viewer.ghost_marks import GhostMarks
from napari_neurobridge.viewer.header import (
    CanvasHeader,
    GhostButton,
    OverlayControls,
    header_button,
)
from napari_neurobridge.viewer.hints import Hints
from napari_neurobridge.viewer.keys import QuietHelp, WindowKeys
from napari_neurobridge.viewer.landmark_layers import LandmarkLayers
from napari_neurobridge.viewer.layers import DATASET_KEY, load_image, load_units, use_units
from napari_neurobridge.viewer.link import CanvasLink
from napari_neurobridge.viewer.log_timer import LogTimer
from napari_neurobridge.viewer.magnified_views import MagnifiedViews
from napari_neurobridge.viewer.outlines import OutlineLayers
from napari_neurobridge.viewer.overlay_layer import OverlayLayer
from napari_neurobridge.viewer.paint_layers import PaintLayers
from napari_neurobridge.viewer.plane_layers import PlaneLayers
from napari_neurobridge.viewer.registration_layers import RegistrationLayers
from napari_neurobridge.viewer.second_place import SecondPlace
from napari_neurobridge.viewer.seeing import Seeing
from napari_neurobridge.viewer.side_by_side import TARGET_CANVAS, SideBySide, TargetCanvas
from napari_neurobridge.viewer.somata_layers import SomataLayers, position_of
from napari_neurobridge.workbench.workbench import Workbench

if TYPE_CHECKING:
    import napari
    from napari.components import ViewerModel

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Vec3

_FIRST_NAME = "two-photon"


class ViewerBinding:
    """Draws a workbench's state as layers, and turns clicks and edits into its actions.

    Parameters
    ----------
    viewer : napari.Viewer
        The real viewer, not a proxy of it.

    Attributes
    ----------
    workbench : Workbench
    column : DockColumn
        Our docks.
    keys : WindowKeys
        What the keys do while one of our docks is open.
    register_keys : WindowKeys
        What the keys do while the Register dock is in front.
    registration : RegistrationLayers
        What a registration of two layers looks like.
    beside : SideBySide
        Both of these layers side by side.
    second : SecondCanvas or None
        The canvas of the ex-vivo side, once a project was opened.
    header : CanvasHeader or None
        The bar over napari's own canvas, as long.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        # Weakly: the registry keeps bindings for as long as their viewers live.
        self._viewer = ref(viewer)
        self.workbench = Workbench(MainThreadDispatcher())
        self.second: SecondCanvas | None = None
        self.header: CanvasHeader | None = None
        self.closed = False
        self._shown_at_first: set[str] = set()

        # napari offers no public signal for this.
        window = viewer.window._qt_window
        self._watcher = CloseWatcher(window)
        self._watcher.closing.connect(self.shut)
        self._log_timer = LogTimer(self.workbench.watch, window)
        self.column = DockColumn(viewer)
        self.keys = WindowKeys(window, self.workbench.key_actions())
        self.register_keys = WindowKeys(window, self.workbench.registering.key_actions())
        self._help = QuietHelp(viewer, window)
        self.column.changed.connect(self._on_docks_changed)
        self.column.laid_out.connect(self._show_points)
        self._attention_layers = AttentionLayers(self.workbench, self._sides)
        self._outline_layers = OutlineLayers(self.workbench, self._sides)
        self._plane_layers = PlaneLayers(self.workbench, self._sides)
        self._hints = Hints(self.workbench, self._sides)
        self._ghost = GhostMarks(self.workbench, self._sides)
        self._landmarks = LandmarkLayers(self.workbench, self._sides)
        self._magnified = MagnifiedViews(self.workbench, self._sides)
        self._link = CanvasLink(self.workbench, self._sides)
        self._seeing = Seeing(self._link.paused)
        self.paint = PaintLayers(self.workbench, self._sides, self._seeing)
        self._somata = SomataLayers(self.workbench, self._sides, self._on_somata_layer_made)
        self._overlay = OverlayLayer(self.workbench, self._sides, self._seeing.canvas_px)
        self._overlay.watch(viewer)
        self._second_place = SecondPlace(viewer, self.column)
        self.registration = RegistrationLayers(self.workbench.registering, viewer)
        self.beside = SideBySide(
            self.workbench.registering, self.registration, viewer, self._dock_beside
        )
        self.column.laid_out.connect(self.beside.on_laid_out)
        self._watch(viewer, 0)
        remove_in_own_context(viewer, viewer.window._qt_viewer)
        viewer.events.theme.connect(self._on_theme_changed)
        self._connect()

    def _connect(self) -> None:
        session, questions = self.workbench.session, self.workbench.questions
        session.project_changed.connect(self._on_project_changed)
        session.orientation_changed.connect(self._on_orientation_changed)
        questions.look_requested.connect(self._look_at)
        self.workbench.matches.match_changed.connect(self._on_match_changed)
        self.workbench.painting.changed.connect(self._on_docks_changed)
        self.workbench.pairs.show_requested.connect(self._show_pairs)
        self.workbench.soma_registration.show_requested.connect(self._show_register)
        self.workbench.finder.requested.connect(self._show_field_soon)
        for changed in (
            self.workbench.registering.changed,
            self.workbench.registering.selected_changed,
        ):
            changed.connect(self._on_registration_changed)
        session.jobs.submit("units", load_units, use_units, session.show_error)

    def _watch(self, model: ViewerModel, number: int) -> None:
        """Follow a canvas; 0 is the two-photon one."""
        self._plane_layers.watch(model)
        self._hints.watch(model)
        self._link.watch(model, number)
        self._landmarks.watch(model)
        model.mouse_drag_callbacks.append(self._on_clicked)

    @property
    def viewer(self) -> napari.Viewer:
        """The viewer; it must not have been closed."""
        viewer = self._viewer()
        assert viewer is not None
        return viewer

    # --- from the workbench to the docks -----------------------------------------------------

    def _show_pairs(self) -> None:
        self.column.raise_dock(PAIRS)

    def _show_register(self) -> None:
        self.column.raise_dock(REGISTER)

    def _show_field_soon(self) -> None:
        """Bring up the Match dock, unless another dock in sight has a field to find cells with."""

        def show() -> None:
            if self.workbench.finder.waiting and not self.closed:
                self.column.raise_dock(MATCH)

        after_events(show)

    # --- from the workbench to the canvases ----------------------------------------------

    def _on_project_changed(self, project: Project | None) -> None:
        self.beside.show(False)
        self._remove_layers()
        self._shown_at_first.clear()
        if project is None:
            return
        self._open_header()
        self._open_second_canvas()
        self.column.open(PROJECT_DOCKS)
        for model, dataset in self._sides():
            self._somata.draw(dataset)
            self._outline_layers.draw(dataset)
            self._seeing.turn(model, self._orientation(dataset))
            if project.dataset(dataset).uri is not None:
                self._load_image(project, dataset)
        self._seeing.fit_contrast()

    def _show_points(self) -> None:
        """Show the middle of each dataset that has no image, once the canvases have their sizes."""
        project = self.workbench.project
        for model, dataset in self._sides():
            layer = self._somata.layer(model)
            assert project is not None
            if dataset in self._shown_at_first or project.dataset(dataset).uri is not None:
                continue
            if layer is None or not len(layer.data):
                continue
            self._shown_at_first.add(dataset)
            model.layers.selection.active = layer
            self._seeing.show_field(model)
            centers = np.asarray(layer.data)
            middle = np.linalg.norm(centers - np.median(centers, axis=0), axis=1).argmin()
            self._seeing.look_at(model, position_of(layer, int(middle)))
            self._look_at_what_is_asked()

    def _on_orientation_changed(self) -> None:
        for model, dataset in self._sides():
            self._seeing.turn(model, self._orientation(dataset))
        self._seeing.equal_zoom()
        self._look_at_what_is_asked()

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
                    # The layer's tools act on the somata, so that is the one to be active.
                    model.layers.selection.active = self._somata.layer(model)
                    self._seeing.turn(model, self._orientation(dataset))
                    self._seeing.show_field(model)
            self._seeing.fit_contrast()
            self._look_at_what_is_asked()

        session = self.workbench.session
        session.jobs.submit(
            f"image {dataset}", lambda: load_image(project, dataset), add, session.show_error
        )

    def _on_somata_layer_made(self, model: ViewerModel, layer: Points) -> None:
        self._seeing.watch_layer(model, layer)
        model.layers.selection.active = layer

    def _on_match_changed(self) -> None:
        if self.second is not None:
            self.second.offer_lock(self.workbench.matches.is_aligned)

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
            if model.dims.ndim < SPACE_AXES:
                # Somebody deleted every layer, and with them the canvas forgot its axes.
                self._somata.draw(dataset)
                self._seeing.turn(model, self._orientation(dataset))
            self._seeing.look_at(model, position_um)

    # --- from the canvases to the workbench ----------------------------------------------

    def _on_clicked(self, model: Any, event: Any) -> Any:
        """Ask about, or choose, the soma under a click that did not drag the view."""
        if self.workbench.landmarks.placing:
            return
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = True
            yield
        active = model.layers.selection.active
        drawing = isinstance(active, Points | Labels) and active.mode != "pan_zoom"
        if dragged or drawing or event.button != 1 or model.dims.ndisplay != 2:
            return
        if model.dims.ndim < SPACE_AXES:
            return  # there is no layer, and so there are no places
        dataset = next((name for side, name in self._sides() if _same(side, model)), None)
        if dataset is None:
            return
        position = np.asarray(event.position)[-3:]
        depth_axis = model.dims.order[0]
        self.workbench.questions.click(
            dataset, tuple(position), depth_axis=depth_axis, asks="Shift" in event.modifiers
        )

    # --- canvases, docks and keys --------------------------------------------------------

    def _sides(self) -> list[tuple[ViewerModel, str]]:
        """Return each canvas with the dataset that it shows."""
        project = self.workbench.project
        if project is None or self.second is None:
            return []
        return [(self.viewer, project.in_vivo()), (self.second.model, project.ex_vivo())]

    def _remove_layers(self) -> None:
        models = [self.viewer] + ([self.second.model] if self.second is not None else [])
        for model in models:
            for layer in [layer for layer in model.layers if DATASET_KEY in layer.metadata]:
                model.layers.remove(layer)

    def _open_header(self) -> None:
        """Put the bar over napari's own canvas."""
        if self.header is not None:
            return
        qt_viewer = self.viewer.window._qt_viewer
        self.header = CanvasHeader(_FIRST_NAME, self.viewer)
        layers = header_button("layers", "layers_button", checkable=False)
        layers.setToolTip("Hide or show napari's layer list and layer controls")
        layers.clicked.connect(self.column.toggle_layer_docks)
        self.header.first.addWidget(layers)
        self.header.foot.insertWidget(0, OverlayControls(self.workbench.overlay))
        # A `QtViewer` is a splitter of canvas and console.
        qt_viewer.insertWidget(0, self.header)
        qt_viewer.setCollapsible(0, False)
        self._seeing.watch(self.viewer, self.header, qt_viewer.canvas.native)
        self._ghost.watch(self.viewer, 0, qt_viewer, self.header)
        self._magnified.watch(qt_viewer.canvas.native, 0)

    def _open_second_canvas(self) -> None:
        """Dock the second canvas; also after its dock was closed."""
        if self.second is None:
            self.second = SecondCanvas(CANVAS_NAME)
            self.second.model.theme = self.viewer.theme
            self._watch(self.second.model, 1)
            native = self.second.qt_viewer.canvas.native
            self._seeing.watch(self.second.model, self.second.header, native)
            header = self.second.header
            header.foot.insertWidget(0, GhostButton(self.workbench.ghost))
            self._ghost.watch(self.second.model, 1, self.second.qt_viewer, header)
            self._magnified.watch(native, 1)
            self.second.lock.toggled.connect(self._link.set_locked)
        self._second_place.dock(self.second, CANVAS_NAME)

    def _dock_beside(self, canvas: TargetCanvas, shown: bool) -> None:
        """Give the second canvas's place to the target of a registration, or take it back."""
        if shown:
            self._second_place.cover(self.second, canvas, TARGET_CANVAS)
        else:
            self._second_place.uncover(canvas)

    def _on_theme_changed(self, event: Any) -> None:
        if self.second is not None:
            self.second.model.theme = event.value
        self.beside.show_theme(event.value)
        self._somata.show_theme()

    def _on_docks_changed(self) -> None:
        """Let the keys act on pairs while one of our docks is open, and be napari's otherwise.

        While the Register dock is in front, they act on matches of images instead.
        """
        if not self.closed:
            registers = self.column.front() == REGISTER
            if not registers and self._sides():
                self.beside.show(False)  # the other docks speak of both of the project's canvases
            ours = bool(set(self.column.open_names()) - {REGISTER}) and not registers
            ours = ours and not self.workbench.painting.dataset  # a painter has napari's keys
            self.keys.set_active(ours)
            self._help.set_active(ours)
            self._on_registration_changed()

    def _on_registration_changed(self) -> None:
        if not self.closed:
            registering = self.workbench.registering
            registers = self.column.front() == REGISTER
            self.register_keys.set_active_keys(registering.usable_keys() if registers else ())

    def shut(self) -> None:
        """Stop all work and let the second canvas go; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._log_timer.stop()
        self.column.shut()
        self.keys.release()
        self._ghost.release()
        self._magnified.release()
        self.register_keys.release()
        self.beside.release()
        self.workbench.close()
        if self.second is not None:
            second, self.second = self.second, None
            second.shut()


def _same(one: Any, other: Any) -> bool:
    return getattr(one, "__wrapped__", one) is getattr(other, "__wrapped__", other)
