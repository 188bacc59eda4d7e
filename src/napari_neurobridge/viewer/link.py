"""The lock between the canvases: one moves, and the other shows the same tissue."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.spaces.jacobian import jacobian_of
from napari_neurobridge.viewer.canvases import SPACE_AXES, look_at, shows_plane
from napari_neurobridge.viewer.dispatch import OnceSoon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel

    from napari_neurobridge.workbench.workbench import Workbench

# A canvas that was moved rounds its place to a slice; what is less is no move of the user's.
_STILL_UM = 0.75
_STILL_ZOOM = 0.01
_STEP_UM = 10.0


class CanvasLink:
    """Moves each canvas along with the other while it is locked, by the project's alignment.

    In an audit it rests: where the other canvas went would tell what the program expects.

    Parameters
    ----------
    workbench : Workbench
        Shared state, which is only read.
    sides : callable
        Returns each canvas with the dataset that it shows.
    """

    def __init__(
        self, workbench: Workbench, sides: Callable[[], list[tuple[ViewerModel, str]]]
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        self.locked = False
        self._ready = False
        self._paused = False
        self._leader: int | None = None
        self._follow_soon = OnceSoon(self._follow)
        self._settled: dict[int, npt.NDArray[np.float64]] = {}
        workbench.matches.match_changed.connect(self._fit)

    def watch(self, model: ViewerModel, number: int) -> None:
        """Follow a canvas; 0 is the two-photon one."""
        moved = partial(self._on_moved, number)
        for events in (model.scene.camera.events.center, model.scene.camera.events.zoom):
            events.connect(moved)
        model.dims.events.point.connect(moved)

    def set_locked(self, locked: bool) -> None:
        """Lock or unlock; the fMOST canvas goes where the two-photon one is."""
        self.locked = locked
        self._fit(move=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the program move one canvas without the other."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before
            self._settle()

    def _fit(self, *, move: bool = False) -> None:
        """Fit the alignment in the background, since a move is to wait for nothing.

        A better alignment moves nothing by itself: somebody is looking at a candidate.
        """
        project, matches = self._workbench.project, self._workbench.matches
        self._ready = False
        if not self.locked or project is None or not matches.is_aligned or matches.updating:
            return
        source, target = project.in_vivo(), project.ex_vivo()

        def follow(_: object) -> None:
            self._ready = True
            if move:
                self._on_moved(0, force=True)

        self._workbench.session.jobs.submit(
            "lock",
            lambda: project.alignment(source, target),
            follow,
            self._workbench.session.show_error,
        )

    def _on_moved(self, number: int, _: Any = None, *, force: bool = False) -> None:
        if not self.locked or not self._ready or self._paused:
            return
        if not force and self._is_still(number):
            return
        self._leader = number
        self._follow_soon()

    def _is_still(self, number: int) -> bool:
        sides = self._sides()
        if number >= len(sides) or number not in self._settled:
            return False
        if sides[number][0].dims.ndim != SPACE_AXES:
            return True
        change = np.abs(_view(sides[number][0]) - self._settled[number])
        return bool((change[:3] < _STILL_UM).all() and change[3] < _STILL_ZOOM)

    def _follow(self) -> None:
        """Show in the other canvas what the one that moved shows."""
        leader, self._leader = self._leader, None
        sides, project = self._sides(), self._workbench.project
        blind = self._workbench.questions.snapshot.blind
        if leader is None or project is None or len(sides) < 2 or blind:
            return
        (model, dataset), (other, target) = sides[leader], sides[1 - leader]
        if not all(shows_plane(side) for side in (model, other)):
            return
        view = _view(model)
        alignment = project.alignment(dataset, target)
        try:
            here = alignment.map_points(view[:3])[0]
            # By how much the tissue is larger there; over all directions, so that the way back
            # undoes the way there.
            volume = abs(np.linalg.det(jacobian_of(alignment, view[:3], _STEP_UM)[0]))
        except NotInvertibleError:
            return  # far from all somata the alignment may fold: the other canvas stays
        larger = float(np.cbrt(volume))
        with self.paused():
            z, y, x = here.tolist()
            look_at(other, (z, y, x))
            other.scene.camera.zoom = float(np.exp(view[3])) / max(larger, 1e-3)

    def _settle(self) -> None:
        self._settled = {
            number: _view(model)
            for number, (model, _) in enumerate(self._sides())
            if model.dims.ndim == SPACE_AXES
        }


def _view(model: ViewerModel) -> npt.NDArray[np.float64]:
    """Return where a canvas looks, µm (z, y, x), and the logarithm of its magnification."""
    depth, rows, columns = model.dims.order
    camera = model.scene.camera
    view = np.zeros(4)
    view[depth] = model.dims.point[depth]
    view[rows], view[columns] = camera.center[-2:]
    view[3] = np.log(camera.zoom)
    return view
