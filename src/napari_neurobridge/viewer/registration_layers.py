"""What a registration of two layers looks like in the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Points, Vectors

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
    selected_um: float = 14.0
    line_um: float = 1.0

    def as_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Points`."""
        return {"border_width": 0.15, "border_color": MARK_GROUND}

    def as_line_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `napari.layers.Vectors`."""
        return {"vector_style": "line", "opacity": 0.6}

    def marks(
        self, count: int, selected: int | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return border colours (N, 4) and sizes (N,), µm: the selected one orange and larger."""
        border = np.tile(rgba(MARK_GROUND), (count, 1))
        sizes = np.full(count, self.size_um)
        if selected is not None:
            border[selected], sizes[selected] = MARK_RGBA[Mark.CHOSEN], self.selected_um
        return border, sizes


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
        self._moved: tuple[Layer, Any] | None = None
        self._looks: list[tuple[Layer, str, Any]] = []
        self._drawn: VerifiedMatches | None = None
        registering.changed.connect(self._on_changed)
        registering.selected_changed.connect(self._on_selected)
        registering.warped.connect(self._add_warped)
        viewer.mouse_drag_callbacks.append(self._on_clicked)

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
        source, target = self._layers()
        affine, planes = self._registering.affine, self._registering.planes
        if overlaid and None not in (source, target, affine, planes):
            assert affine is not None
            assert planes is not None
            sizes = planes.source.pixel_um, planes.target.pixel_um
            wanted = plane_to_world(target) @ _in_pixels(affine.matrix[1:, 1:], *sizes)
            self._moved = (source, source.affine.affine_matrix.copy())
            source.affine = _moved(source, wanted)
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

    def look_at_selected(self) -> None:
        """Move the canvas to the match that is selected."""
        row = self._row_of_selected()
        source, target = self._layers()
        if row is None or self._drawn is None or source is None or target is None:
            return
        ends = self._ends(self._drawn, source, target)
        # In between, if both are to be seen at once; at the target's place where they coincide.
        self._viewer.scene.camera.center = (0.0, *ends[:, row].mean(axis=0))

    # --- drawing -----------------------------------------------------------------------------

    def _layers(self) -> tuple[Any, Any]:
        """Return the two layers of the result; None for one that is gone."""
        known = self._registering.layers or (None, None)
        source, target = (layer if layer in self._viewer.layers else None for layer in known)
        return source, target

    def _on_changed(self) -> None:
        self._drawn = self._registering.matches()
        if self.overlaid:
            self.overlay(True)  # by the map as it is now
        else:
            self._draw()

    def _draw(self) -> None:
        source, target = self._layers()
        self._drawn = shown = self._registering.matches()
        if not self._shows_matches or shown is None or source is None or target is None:
            for name in (LINES, SOURCE_POINTS, TARGET_POINTS):
                if (layer := self._own(name)) is not None:
                    self._viewer.layers.remove(layer)
            return
        active = self._viewer.layers.selection.active
        ends = self._ends(shown, source, target)
        units = target.units[-2:]
        colors = confidence_rgba(shown.confidence)
        lines = np.stack([ends[0], ends[1] - ends[0]], axis=1)
        width = self._style.line_um * self._world_per_um(target)
        drawn = self._put(LINES, lines, partial(Vectors, units=units))
        drawn.edge_width = width
        if len(lines):
            drawn.edge_color = colors
        for name, places, symbol in (
            (SOURCE_POINTS, ends[0], "disc"),
            (TARGET_POINTS, ends[1], "ring"),
        ):
            drawn = self._put(name, places, partial(Points, units=units))
            if len(places):
                drawn.face_color, drawn.symbol = colors, symbol
        self._on_selected()
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _put(self, name: str, data: Float64Array, make: Callable[..., Any]) -> Any:
        """Return a layer with these data, which is added if need be."""
        layer = self._own(name)
        if layer is None:
            style = self._style.as_line_kwargs() if name == LINES else self._style.as_kwargs()
            layer = make(data, name=name, metadata={REGISTRATION_KEY: name}, **style)
            self._viewer.add_layer(layer)
        else:
            layer.data = data
        return layer

    def _world_per_um(self, target: Any) -> float:
        """Return how long a µm of the target is in the viewer."""
        planes = self._registering.planes
        assert planes is not None
        return float(np.linalg.norm(plane_to_world(target)[:2, 0])) / planes.target.pixel_um

    def _own(self, name: str) -> Any:
        return next(
            (x for x in self._viewer.layers if x.metadata.get(REGISTRATION_KEY) == name), None
        )

    def _ends(self, shown: VerifiedMatches, source: Any, target: Any) -> Float64Array:
        """Return where both places of each match lie in the viewer, (2, K, 2)."""
        planes = self._registering.planes
        assert planes is not None
        return np.stack(
            [
                _to_world(layer, places / plane.pixel_um)
                for layer, places, plane in (
                    (source, shown.source_um, planes.source),
                    (target, shown.target_um, planes.target),
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
        _, target = self._layers()
        for name in (SOURCE_POINTS, TARGET_POINTS):
            layer = self._own(name)
            if layer is None or target is None or not len(layer.data):
                continue
            border, sizes_um = self._style.marks(len(layer.data), row)
            layer.border_color, layer.size = border, sizes_um * self._world_per_um(target)

    def _add_warped(self, pixels: Float32Array) -> None:
        _, target = self._layers()
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

    def _on_clicked(self, viewer: Any, event: Any) -> Any:
        """Select the match whose mark is clicked, unless the click drags the view."""
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = True
            yield
        source, target = self._layers()
        if dragged or not self._shows_matches or event.button != 1 or self._drawn is None:
            return
        if viewer.dims.ndisplay != 2 or source is None or target is None or not len(self._drawn):
            return
        place = np.asarray(event.position)[-2:]
        away = np.linalg.norm(self._ends(self._drawn, source, target) - place, axis=2).min(axis=0)
        nearest = int(away.argmin())
        if away[nearest] * viewer.scene.camera.zoom <= _CLICK_PX:
            self._registering.select(int(self._drawn.rows[nearest]))


def plane_to_world(layer: Layer) -> Float64Array:
    """Return the map from a layer's pixels (y, x) to where the viewer shows them, (3, 3)."""
    full = _data_to_world(layer)
    kept = [*range(layer.ndim - 2, layer.ndim), layer.ndim]
    return full[np.ix_(kept, kept)]


def _data_to_world(layer: Layer) -> Float64Array:
    n = layer.ndim
    offset = np.asarray(layer.data_to_world(np.zeros(n)), dtype=float)
    full = np.eye(n + 1)
    full[:n, n] = offset
    for axis, row in enumerate(np.eye(n)):
        full[:n, axis] = np.asarray(layer.data_to_world(row), dtype=float) - offset
    return full


def _to_world(layer: Layer, pixels: Float64Array) -> Float64Array:
    matrix = plane_to_world(layer)
    return np.asarray(pixels @ matrix[:2, :2].T + matrix[:2, 2])


def _in_pixels(affine_um: Float64Array, source_um: float, target_um: float) -> Float64Array:
    """Return a map (3, 3) of µm as one of pixels."""
    return np.diag([1 / target_um] * 2 + [1]) @ affine_um @ np.diag([source_um] * 2 + [1])


def _moved(layer: Layer, plane_wanted: Float64Array) -> Float64Array:
    """Return the affine that shows a layer's planes where they are wanted, depth as it was."""
    now = _data_to_world(layer)
    kept = [*range(layer.ndim - 2, layer.ndim), layer.ndim]
    wanted = now.copy()
    wanted[np.ix_(kept, kept)] = plane_wanted
    # What the layer does before its affine stays.
    return np.asarray(wanted @ np.linalg.inv(now) @ layer.affine.affine_matrix)
