"""The ghost cursor: a cross and two ellipses in one canvas, where the mouse in the other points."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from vispy.scene.visuals import Line

from napari_neurobridge.viewer.canvases import cursor_um, shows_plane
from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.viewer.hints import FAR_ALPHA, ellipse_um
from napari_neurobridge.viewer.styles import GhostStyle
from napari_neurobridge.workbench.ghost import depth_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.qt import QtViewer

    from napari_neurobridge.types import Expected
    from napari_neurobridge.viewer.header import CanvasHeader
    from napari_neurobridge.workbench.workbench import Workbench

# Over all layers.
_ORDER = 10**6


def ghost_lines(where: Expected, axes: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return a cross and the ellipses of one and two standard deviations, as short lines.

    Parameters
    ----------
    where : Expected
    axes : (int, int)
        The displayed rows and columns of (z, y, x).

    Returns
    -------
    ndarray, shape (N, 2, 2)
        Both ends of each line, µm along ``axes``.
    """
    center = np.array(where.center_um)[list(axes)]
    ring = ellipse_um(where, axes)
    rings = np.concatenate([ring, center + 2 * (ring - center)])
    ends = np.concatenate([np.roll(half, -1, axis=0) for half in np.split(rings, 2)])
    arms = GhostStyle().arm_um * np.eye(2)
    cross = np.stack([center - arms, center + arms], axis=1)
    return np.concatenate([np.stack([rings, ends], axis=1), cross])


class GhostMarks:
    """Draws the ghost cursor straight into a canvas's scene, and says where it is.

    A layer would do as well, but napari looks anew at all axes of a canvas whenever one of its
    layers reaches elsewhere, which takes 20 ms and moves the depth slider.

    Parameters
    ----------
    workbench : Workbench
        Shared state; it is told where the mouse is.
    sides : callable
        Returns each canvas with the dataset that it shows.
    """

    def __init__(
        self, workbench: Workbench, sides: Callable[[], list[tuple[ViewerModel, str]]]
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        self._canvases: dict[int, tuple[CanvasHeader, Line]] = {}
        self._over: int | None = None
        self._follow_soon = OnceSoon(self._follow)
        self._draw_soon = OnceSoon(self._draw)
        workbench.ghost.changed.connect(self._draw)

    def watch(
        self, model: ViewerModel, number: int, qt_viewer: QtViewer, header: CanvasHeader
    ) -> None:
        """Follow the mouse over a canvas; 0 is the two-photon one."""
        style = GhostStyle()
        line = Line(np.zeros((2, 2)), connect="segments", width=style.width_px, method="gl")
        line.set_gl_state("translucent", depth_test=False)
        line.order, line.visible = _ORDER, False
        line.parent = qt_viewer.canvas.view.scene
        self._canvases[number] = header, line
        model.mouse_move_callbacks.append(partial(self._on_mouse, number))
        model.cursor.events.position.connect(partial(self._on_position, number))
        model.events.mouse_over_canvas.connect(partial(self._on_left, number))
        for events in (model.dims.events.point, model.dims.events.order):
            events.connect(self._draw_soon)
        for events in (model.dims.events.margin_left, model.dims.events.ndisplay):
            events.connect(self._draw_soon)

    def line(self, number: int) -> Line:
        """Return what is drawn in a canvas."""
        return self._canvases[number][1]

    def release(self) -> None:
        """Draw no longer: the canvases are about to go."""
        self._workbench.ghost.changed.disconnect(self._draw)
        self._canvases.clear()

    # --- from the mouse to the workbench -------------------------------------------------

    def _on_mouse(self, number: int, *_: Any) -> None:
        self._over = number
        self._follow_soon()

    def _on_position(self, number: int, _: Any) -> None:
        if self._over == number:  # a canvas has a new place under a still mouse, too
            self._follow_soon()

    def _on_left(self, number: int, event: Any) -> None:
        if self._over == number and not event.value:
            self._over = None
            self._follow_soon()

    def _follow(self) -> None:
        if not self._canvases:
            return  # the window went while this waited, and so did who listens
        sides, ghost = self._sides(), self._workbench.ghost
        if self._over is None or self._over >= len(sides):
            ghost.leave()
            return
        model, dataset = sides[self._over]
        position = cursor_um(model)
        if position is None:
            ghost.leave()
        else:
            ghost.follow(dataset, position)

    # --- from the workbench to the canvases ----------------------------------------------

    def _draw(self) -> None:
        place = self._workbench.ghost.place
        shown = dict(enumerate(self._sides()))
        for number, (header, line) in self._canvases.items():
            model, dataset = shown.get(number, (None, ""))
            if model is None or place is None or place.dataset != dataset or not shows_plane(model):
                line.visible = False
                header.show_ghost("")
                continue
            words = self._depth_in_words(model, dataset, place.where)
            lines = ghost_lines(place.where, model.dims.order[1:])
            # The scene has x before y.
            line.set_data(pos=lines[..., ::-1].reshape(-1, 2), color=_colors(len(lines), words))
            line.visible = True
            z, y, x = place.where.center_um
            told = f"≈ z {z:.1f}  y {y:.1f}  x {x:.1f} µm"
            header.show_ghost(f"{told} · {words}" if words else told)

    def _depth_in_words(self, model: ViewerModel, dataset: str, where: Expected) -> str:
        project = self._workbench.project
        assert project is not None
        depth = model.dims.order[0]
        away = where.center_um[depth] - model.dims.point[depth]
        sign = project.dataset(dataset).used_orientation.axes[0]
        return depth_in_words(away if sign == "+" else -away, float(model.dims.margin_left[depth]))


def _colors(count: int, far: str) -> npt.NDArray[np.float32]:
    """Return the colours of both ends of each line: dark and bright in turn, faint where far."""
    style = GhostStyle()
    colors = np.array(style.colors, dtype=np.float32)[np.arange(count) // style.dash % 2]
    colors[:, 3] = FAR_ALPHA if far else 1.0
    return np.repeat(colors, 2, axis=0)
