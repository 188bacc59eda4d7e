"""The plane of one side in the other's canvas: a net, and the line where it crosses the slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Vectors

from napari_neurobridge.viewer.canvases import SPACE_AXES, put_under_circles, shows_plane
from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.viewer.styles import PlaneStyle, sigma_rgba

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt
    from napari.components import ViewerModel

    from napari_neurobridge.spaces.plane_surface import PlaneSurface
    from napari_neurobridge.workbench.workbench import Workbench
    from napari_neurobridge.workflows.surface import MappedPlane

PLANE_KEY = "neurobridge_plane"
"""Metadata key by which `PlaneLayers` knows its own layers again."""

NET, CROSSING = "net", "crossing"

# napari slices a line by where it begins: the pieces of a mesh's side are short against a slab.
_PIECES = 5


def net_lines(
    surface: PlaneSurface,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the sides of all meshes in short pieces, as `napari.layers.Vectors` takes them.

    Returns
    -------
    lines : ndarray, shape (N, 2, 3)
        µm (z, y, x): where each piece begins, and its way to where it ends.
    sigma_um : ndarray, shape (N,)
        Standard deviation of the surface there.
    """
    ends = surface.vertices_um[surface.lines]
    way = np.repeat(np.diff(ends, axis=1) / _PIECES, _PIECES, axis=1)
    begins = ends[:, :1] + np.arange(_PIECES)[:, None] * way
    lines = np.stack([begins, way], axis=2).reshape(-1, 2, 3)
    return lines, np.repeat(surface.sigma_um[surface.lines].mean(axis=1), _PIECES)


class PlaneLayers:
    """Draws the plane of one side in the other's canvas, while it is wanted.

    Parameters
    ----------
    workbench : Workbench
        Shared state, which is only read.
    sides : callable
        Returns each canvas with the dataset that it shows.
    """

    def __init__(
        self, workbench: Workbench, sides: Callable[[], Iterable[tuple[ViewerModel, str]]]
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        self._draw_soon = OnceSoon(self._draw)
        workbench.plane.changed.connect(self._draw_soon)

    def watch(self, model: ViewerModel) -> None:
        """Follow a canvas when it shows another slice."""
        model.dims.events.point.connect(self._draw_soon)
        model.dims.events.order.connect(self._draw_soon)
        model.dims.events.ndisplay.connect(self._draw_soon)

    def _draw(self) -> None:
        plane = self._workbench.plane
        for model, dataset in self._sides():
            mapped = plane.mapped
            if not plane.wanted or plane.dataset in (None, dataset):
                for layer in _own_layers(model):
                    model.layers.remove(layer)
            elif mapped is None:
                # Emptied, not hidden: whether a layer is visible is the user's business.
                for layer in _own_layers(model):
                    if _is_new(layer, None):
                        layer.data = np.zeros((0, 2, 3))
            elif model.dims.ndim == SPACE_AXES:
                self._draw_net(model, mapped)
                self._draw_crossing(model, mapped)

    def _draw_net(self, model: ViewerModel, mapped: MappedPlane) -> None:
        layer = _layer(model, mapped, NET)
        if _is_new(layer, mapped):
            _put(layer, *net_lines(mapped.surface))

    def _draw_crossing(self, model: ViewerModel, mapped: MappedPlane) -> None:
        layer = _layer(model, mapped, CROSSING)
        depth = model.dims.order[0]
        where = float(model.dims.point[depth]) if shows_plane(model) else np.inf
        if _is_new(layer, (mapped, depth, where)):
            _put(layer, *mapped.surface.crossing(depth, where))


def _is_new(layer: Vectors, content: object) -> bool:
    """Return whether a layer shows other content yet; it is taken to show this from now on."""
    old, layer.metadata["drawn"] = layer.metadata.get("drawn", ""), content
    return bool(old != content)


def _put(layer: Vectors, lines: npt.NDArray[np.float64], sigma_um: npt.NDArray[np.float64]) -> None:
    layer.data = lines
    if len(lines):
        layer.edge_color = sigma_rgba(sigma_um)


def _layer(model: Any, mapped: MappedPlane, kind: str) -> Vectors:
    """Return a canvas's layer of a kind, a new one where there is none or somebody deleted it."""
    for layer in _own_layers(model):
        if layer.metadata[PLANE_KEY] == kind:
            return layer
    active = model.layers.selection.active
    words = "" if kind == NET else ", where it crosses the slice"
    layer = Vectors(
        np.zeros((0, 2, 3)),
        ndim=3,
        name=f"plane of {mapped.plane}{words}",
        metadata={DATASET_KEY: mapped.space, PLANE_KEY: kind},
        **PlaneStyle().as_kwargs(bold=kind == CROSSING),
    )
    put_under_circles(model, layer)
    # The keys act on the somata layer, so this one must not take its place.
    if active in model.layers:
        model.layers.selection.active = active
    return layer


def _own_layers(model: Any) -> list[Vectors]:
    return [layer for layer in model.layers if PLANE_KEY in layer.metadata]
