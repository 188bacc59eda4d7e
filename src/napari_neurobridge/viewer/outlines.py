"""The outlines of imported regions, one layer for each canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Vectors

from napari_neurobridge.project.outlines import outlines_of
from napari_neurobridge.viewer.canvases import put_under_circles
from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.viewer.styles import OutlineStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt
    from napari.components import ViewerModel

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.workbench import Workbench

OUTLINES_KEY = "neurobridge_outlines"
"""Metadata key by which `OutlineLayers` knows its own layers again."""

_SIDE_UM = 2.0
"""Masks have a corner at each pixel; an outline is drawn with sides of about this length."""


def outline_segments(
    outlines: Iterable[npt.NDArray[np.float32]],
) -> npt.NDArray[np.float32]:
    """Return the sides of closed polygons as `napari.layers.Vectors` takes them.

    Parameters
    ----------
    outlines : iterable of ndarray, each of shape (V, 3)
        µm (z, y, x), each in one plane, the first corner again at the end.

    Returns
    -------
    ndarray, shape (N, 2, 3)
        Where each side begins, and its way to the next corner.
    """
    sides = [np.zeros((0, 2, 3), dtype=np.float32)]
    for outline in outlines:
        length = np.linalg.norm(np.diff(outline, axis=0), axis=1).mean()
        step = max(1, round(_SIDE_UM / max(length, 1e-9)))
        corners = np.concatenate([outline[:-1:step], outline[:1]])
        sides.append(np.stack([corners[:-1], np.diff(corners, axis=0)], axis=1))
    return np.concatenate(sides).astype(np.float32)


class OutlineLayers:
    """Draws the outlines of each canvas's dataset, under the circles.

    As the single lines of one layer, since napari makes a mesh of each polygon of a Shapes layer.

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
        workbench.session.somata_changed.connect(self.draw)

    def draw(self, dataset: str) -> None:
        """Draw a dataset's outlines anew, once they are read in the background."""
        session, project = self._workbench.session, self._workbench.project
        if project is None or not self._has_outlines(project, dataset):
            return

        def read() -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
            found, problems = outlines_of(project, dataset)
            return outline_segments(found.values()), problems

        def show(result: tuple[npt.NDArray[np.float32], tuple[str, ...]]) -> None:
            if self._workbench.project is project:
                segments, problems = result
                self._show(dataset, segments)
                for problem in problems:
                    session.notify(problem)

        session.jobs.submit(f"outlines {dataset}", read, show, session.show_error)

    def _has_outlines(self, project: Project, dataset: str) -> bool:
        known = bool(project.state().origins.get(dataset))
        return known or any(_own_layer(m) for m, name in self._sides() if name == dataset)

    def _show(self, dataset: str, segments: npt.NDArray[np.float32]) -> None:
        for model, name in self._sides():
            if name != dataset:
                continue
            layer = _own_layer(model)
            if layer is not None:
                if not np.array_equal(layer.data, segments):
                    layer.data = segments
                continue
            if not len(segments):
                continue
            active = model.layers.selection.active
            layer = Vectors(
                segments,
                name=f"{dataset} outlines",
                metadata={DATASET_KEY: dataset, OUTLINES_KEY: True},
                **OutlineStyle().as_kwargs(),
            )
            put_under_circles(model, layer)
            # The keys act on the somata layer, so the outlines must not take its place.
            if active in model.layers:
                model.layers.selection.active = active


def _own_layer(model: Any) -> Vectors | None:
    own = (layer for layer in model.layers if OUTLINES_KEY in layer.metadata)
    return next(own, None)
