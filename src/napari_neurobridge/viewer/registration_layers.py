"""What a registration of two layers looks like in the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Points, Vectors

from napari_neurobridge.viewer.plane_maps import (
    affine_that_puts,
    applied,
    plane_to_world,
    source_to_target_pixels,
)
from napari_neurobridge.viewer.styles import (
    MARK_GROUND,
    MARK_RGBA,
    Mark,
    OverlayStyle,
    confidence_rgba,
    rgba,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_neurobridge.types import Float32Array
    from napari_neurobridge.workbench.registering import Registering, VerifiedMatches

Float64Array = npt.NDArray[np.float64]

REGISTRATION_KEY = "neurobridge_registration"
"""Metadata key of the layers that are made here."""

SOURCE_POINTS, TARGET_POINTS, LINES = "matches (source)", "matches (target)", "matches (lines)"
_CLICK_PX = 12


@dataclass(frozen=True)
class CorrespondenceStyle:
    """Look of matches of two images: a disc, a ring and a line, lighter the surer they are."""

    size_um: float = 7.0
    ring_um: float = 10.0
    selected_um: float = 16.0
    line_um: float = 1.0

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points` for the discs."""
        return {"border_width": 0.15, "border_color": MARK_GROUND}

    def as_ring_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points` for the rings."""
        return {"border_width": 0.2, "face_color": "transparent"}

    def as_line_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Vectors`."""
        return {"vector_style": "line", "opacity": 0.6}

    def sizes_um(self, size_um: float, count: int, selected: int | None) -> npt.NDArray[np.float64]:
        """Return the sizes of marks, µm (N,): the selected one is larger."""
        sizes = np.full(count, size_um)
        if selected is not None:
            sizes[selected] = self.selected_um
        return sizes


class RegistrationLayers:
    """Draws correspondences, the warped source, and the source where the map puts it.

    Parameters
    ----------
    registering : Registering
    viewer : napari.Viewer
    """

    def __init__(self, registering: Registering, viewer: napari.Viewer) -> None:
        self._registering = registering
        self._viewer = viewer
        self._style = CorrespondenceStyle()
        self._shows_matches = False
        self._beside: tuple[ViewerModel, Float64Array] | None = None
        self._moved: tuple[Layer, Any] | None = None
        self._looks: list[tuple[Layer, str, Any]] = []
        self._drawn: VerifiedMatches | None = None
        registering.changed.connect(self._on_changed)
        registering.selected_changed.connect(self._on_selected)
        registering.warped.connect(self._add_warped)
        viewer.mouse_drag_callbacks.append(self.on_clicked)

    # --- what is asked for -----------------------------------------------------------------

    @property
    def shows_matches(self) -> bool:
        """Whether correspondences are drawn."""
        return self._shows_matches

    @property
    def overlaid(self) -> bool:
        """Whether the source layer lies where the map puts it."""
        return self._moved is not None

    def show_matches(self, shown: bool) -> None:
        """Draw correspondences, or take them away."""
        self._shows_matches = shown
        self._draw()

    def overlay(self, overlaid: bool) -> None:
        """Put the source layer where the map puts it, or back to where it was, and look there."""
        overlaid_before = self.overlaid
        if self._moved is not None:
            layer, before = self._moved
            layer.affine = before
            self._moved = None
        for image, blending, colormap in self._looks:
            image.blending, image.colormap = blending, colormap
        self._looks = []
        source, target = self.layers()
        planes = self._registering.planes
        pixels = None if planes is None else source_to_target_pixels(planes)
        if overlaid and source is not None and target is not None and pixels is not None:
            self._moved = (source, source.affine.affine_matrix.copy())
            source.affine = affine_that_puts(source, plane_to_world(target) @ pixels)
            self._tint(source, target)
        self._draw()
        if self.overlaid != overlaid_before:
            self._viewer.reset_view()  # what was in sight may have moved away

    def _tint(self, source: Any, target: Any) -> None:
        """Let both images be seen at once: green over magenta, white where they agree."""
        style = OverlayStyle()
        lower, upper = sorted((source, target), key=self._viewer.layers.index)
        self._looks = [(image, image.blending, image.colormap) for image in (lower, upper)]
        lower.colormap, upper.colormap = style.under, style.over
        upper.blending = "additive"

    def draw_target_beside(self, beside: tuple[ViewerModel, Float64Array] | None) -> None:
        """Draw the target's places in another canvas; None: in the viewer's own again.

        Parameters
        ----------
        beside : (ViewerModel, ndarray) or None
            That canvas, and where it shows the target's pixels (y, x), (3, 3).
        """
        if self._own(TARGET_POINTS) is not None and _model(self._beside) is not _model(beside):
            self._target_model.layers.remove(self._own(TARGET_POINTS))
        self._beside = beside
        self._draw()

    @property
    def _target_model(self) -> Any:
        return _model(self._beside) or self._viewer

    def look_at_selected(self) -> None:
        """Move the canvas to the match that is selected."""
        row = self._row_of_selected()
        source, target = self.layers()
        if row is None or self._drawn is None or source is None or target is None:
            return
        ends = self._ends(self._drawn, source, target)
        # In between, if both are to be seen at once; at the target's place where they coincide.
        center = ends[:, row].mean(axis=0) if self._beside is None else ends[0, row]
        self._viewer.scene.camera.center = (0.0, *center)

    def layers(self) -> tuple[Any, Any]:
        """Return the two layers of the result; None for one that is gone."""
        known = self._registering.layers or (None, None)
        source, target = (layer if layer in self._viewer.layers else None for layer in known)
        return source, target

    # --- drawing -----------------------------------------------------------------------------

    def _on_changed(self) -> None:
        self._drawn = self._registering.matches()
        if self.overlaid:
            self.overlay(True)  # by the map as it is now
        else:
            self._draw()

    def _draw(self) -> None:
        source, target = self.layers()
        self._drawn = shown = self._registering.matches()
        if not self._shows_matches or shown is None or source is None or target is None:
            for name in (LINES, SOURCE_POINTS, TARGET_POINTS):
                self._remove(name)
            return
        active = self._viewer.layers.selection.active
        ends = self._ends(shown, source, target)
        units = (target if self._beside is None else source).units[-2:]
        colors = confidence_rgba(shown.confidence)
        if self._beside is None:
            lines = np.stack([ends[0], ends[1] - ends[0]], axis=1)
            drawn = self._put(LINES, lines, partial(Vectors, units=units))
            drawn.edge_width = self._style.line_um * self._world_per_um(target)
            if len(lines):
                drawn.edge_color = colors
        else:
            self._remove(LINES)
        for name, places in ((SOURCE_POINTS, ends[0]), (TARGET_POINTS, ends[1])):
            drawn = self._put(name, places, partial(Points, units=units))
            if len(places) and name == SOURCE_POINTS:
                drawn.face_color = colors if self._beside is None else "transparent"
        self._on_selected()
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _put(self, name: str, data: Float64Array, make: Callable[..., Any]) -> Any:
        """Return a layer with these data, which is added if need be."""
        layer = self._own(name)
        if layer is None:
            style = {
                LINES: self._style.as_line_kwargs,
                SOURCE_POINTS: self._style.as_kwargs,
                TARGET_POINTS: self._style.as_ring_kwargs,
            }[name]()
            layer = make(data, name=name, metadata={REGISTRATION_KEY: name}, **style)
            model = self._target_model if name == TARGET_POINTS else self._viewer
            model.add_layer(layer)
            over = self._own(SOURCE_POINTS) if name == LINES else None
            if over is not None:  # lines are not to hide what they join
                model.layers.move(len(model.layers) - 1, model.layers.index(over))
        else:
            layer.data = data
        return layer

    def _world_per_um(self, target: Any) -> float:
        """Return how long a µm of the target is where it is drawn."""
        planes = self._registering.planes
        assert planes is not None
        to_world = plane_to_world(target) if self._beside is None else self._beside[1]
        return float(np.linalg.norm(to_world[:2, 0])) / planes.target.pixel_um

    def _own(self, name: str) -> Any:
        model = self._target_model if name == TARGET_POINTS else self._viewer
        return next((x for x in model.layers if x.metadata.get(REGISTRATION_KEY) == name), None)

    def _remove(self, name: str) -> None:
        if (layer := self._own(name)) is not None:
            model = self._target_model if name == TARGET_POINTS else self._viewer
            model.layers.remove(layer)

    def _ends(self, shown: VerifiedMatches, source: Any, target: Any) -> Float64Array:
        """Return where both places of each match lie in the viewer, (2, K, 2)."""
        planes = self._registering.planes
        assert planes is not None
        there = plane_to_world(target) if self._beside is None else self._beside[1]
        return np.stack(
            [
                applied(to_world, places / plane.pixel_um)
                for to_world, places, plane in (
                    (plane_to_world(source), shown.source_um, planes.source),
                    (there, shown.target_um, planes.target),
                )
            ]
        )

    def _row_of_selected(self) -> int | None:
        if self._drawn is None or self._registering.selected is None:
            return None
        found = np.flatnonzero(self._drawn.rows == self._registering.selected)
        return int(found[0]) if len(found) else None

    def _on_selected(self) -> None:
        row = self._row_of_selected()
        _, target = self.layers()
        if target is None or self._drawn is None:
            return
        um = self._world_per_um(target)
        for name in (SOURCE_POINTS, TARGET_POINTS):
            layer, count = self._own(name), len(self._drawn)
            if layer is None or not count or len(layer.data) != count:
                continue
            # A disc is filled with its colour, and a ring drawn in it. In a canvas of its own a
            # source has a ring, too: the tissue is to be seen in it.
            disc = name == SOURCE_POINTS and self._beside is None
            size_um = self._style.size_um if disc else self._style.ring_um
            border = (
                np.tile(rgba(MARK_GROUND), (count, 1))
                if disc
                else confidence_rgba(self._drawn.confidence)
            )
            if row is not None:
                border[row] = MARK_RGBA[Mark.CHOSEN]
            layer.border_color = border
            layer.size = self._style.sizes_um(size_um, count, row) * um

    def _add_warped(self, pixels: Float32Array) -> None:
        _, target = self.layers()
        planes = self._registering.planes
        if target is None or planes is None:
            return
        name = f"{planes.names[0]}, warped"
        layer = self._own(name)
        if layer is not None:
            self._viewer.layers.remove(layer)
        limits = tuple(float(x) for x in np.percentile(pixels, (1, 99.8)))
        self._viewer.add_layer(
            Image(
                pixels,
                name=name,
                affine=plane_to_world(target),
                units=target.units[-2:],
                colormap=OverlayStyle().over,
                blending="additive",
                contrast_limits=limits if limits[0] < limits[1] else None,
                metadata={REGISTRATION_KEY: name},
            )
        )

    # --- clicks ------------------------------------------------------------------------------

    def on_clicked(self, viewer: Any, event: Any) -> Any:
        """Select the match whose mark is clicked, unless the click drags the view."""
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = True
            yield
        source, target = self.layers()
        if dragged or not self._shows_matches or event.button != 1 or self._drawn is None:
            return
        if viewer.dims.ndisplay != 2 or source is None or target is None or not len(self._drawn):
            return
        place = np.asarray(event.position)[-2:]
        ends = self._ends(self._drawn, source, target)
        if self._beside is not None:  # either canvas draws one side of each match
            ends = ends[[1]] if viewer is _model(self._beside) else ends[[0]]
        away = np.linalg.norm(ends - place, axis=2).min(axis=0)
        nearest = int(away.argmin())
        if away[nearest] * viewer.scene.camera.zoom <= _CLICK_PX:
            self._registering.select(int(self._drawn.rows[nearest]))


def _model(beside: tuple[ViewerModel, Float64Array] | None) -> ViewerModel | None:
    return None if beside is None else beside[0]
