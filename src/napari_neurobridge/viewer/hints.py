"""What the match explains in the canvases: numbered neighbours, and the expected place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.viewer.canvases import SPACE_AXES, shows_plane
from napari_neurobridge.viewer.dispatch import OnceSoon
from napari_neurobridge.viewer.layers import DATASET_KEY, HINT_KEY
from napari_neurobridge.viewer.styles import (
    MARK_RGBA,
    ExpectedStyle,
    Mark,
    NeighbourStyle,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Points, Shapes

    from napari_neurobridge.types import Expected
    from napari_neurobridge.workbench.neighbours import Neighbour
    from napari_neurobridge.workbench.workbench import Workbench

NEIGHBOURS, EXPECTED = "neighbours", "expected"

_N_VERTICES = 72
_CORNERS = np.array([(-1.0, 1.0), (-1.0, -1.0), (1.0, 1.0), (1.0, -1.0)])
_FAR_ENOUGH_UM = 40.0
"""Beyond this it does not matter how far another mark is; the first corner that has it is taken."""

FAR_ALPHA = 0.6
"""What lies above or below the slab is drawn, but faintly."""


def ellipse_um(expected: Expected, axes: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the outline of one standard deviation, seen along the axis that is left out.

    Parameters
    ----------
    expected : Expected
    axes : (int, int)
        The displayed axes of (z, y, x).

    Returns
    -------
    ndarray, shape (72, 2)
        µm along ``axes``: the shadow of the ellipsoid, whatever plane is displayed.
    """
    shown = list(axes)
    covariance = np.array(expected.covariance_um2)[np.ix_(shown, shown)]
    variance, directions = np.linalg.eigh(covariance)
    angle = np.linspace(0.0, 2 * np.pi, _N_VERTICES, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    spread = directions * np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(np.array(expected.center_um)[shown] + circle @ spread.T)


def badge_places(
    rings_um: npt.NDArray[np.float64], keep_clear_um: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return where numbers stand beside their rings and cover nothing that is asked about.

    Parameters
    ----------
    rings_um : ndarray, shape (N, 2)
        Centres, µm in the displayed plane.
    keep_clear_um : ndarray, shape (M, 2)
        The queried and the picked soma, and the expected place.

    Returns
    -------
    ndarray, shape (N, 2)
        At each ring the corner that is farthest from all others' rings and from what is to be
        kept clear.
    """
    corners = rings_um[:, None] + _CORNERS * NeighbourStyle().ring_um * 0.45
    others = np.concatenate([rings_um, keep_clear_um])
    distance = np.linalg.norm(corners[:, :, None] - others, axis=-1)
    same = np.arange(len(rings_um))
    distance[same, :, same] = np.inf
    nearest = distance.min(axis=2, initial=_FAR_ENOUGH_UM)
    return np.asarray(corners[same, nearest.argmax(axis=1)])


class Hints:
    """Keeps the explaining layers of both canvases as the workbench says.

    They hold nothing that could be edited: what lies above or below the displayed plane is
    drawn onto it, so each layer moves along with the plane.

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
        self._fit_badges_soon = OnceSoon(self._fit_all_badges)
        workbench.questions.snapshot_changed.connect(self._draw_soon)
        workbench.session.orientation_changed.connect(self._draw_soon)

    def watch(self, model: ViewerModel) -> None:
        """Follow a canvas when it shows another plane."""
        model.dims.events.point.connect(self._on_plane_changed)
        model.dims.events.margin_left.connect(self._on_plane_changed)
        model.scene.camera.events.zoom.connect(self._fit_badges_soon)
        model.dims.events.order.connect(self._draw_soon)
        model.dims.events.ndisplay.connect(self._draw_soon)

    def _draw(self) -> None:
        if self._workbench.project is None:
            return
        shown = self._workbench.questions.snapshot
        for model, dataset in self._sides():
            if model.dims.ndim != SPACE_AXES:
                continue
            active = model.layers.selection.active
            # What is drawn may widen the canvas's range, which it tells as a change of plane.
            with model.dims.events.point.blocker(self._on_plane_changed):
                self._draw_neighbours(model, dataset, shown.neighbours)
                here = shown.gallery == dataset
                self._draw_expected(model, dataset, shown.expected_place if here else None)
            # The keys act on the somata layer, so a hint must not take its place.
            if active in model.layers and model.layers.selection.active is not active:
                model.layers.selection.active = active

    def _draw_neighbours(
        self, model: ViewerModel, dataset: str, neighbours: tuple[Neighbour, ...]
    ) -> None:
        layer: Points | None = _hint(model, NEIGHBOURS)
        if self._is_drawn(model, dataset, layer, neighbours):
            return
        if layer is None:
            if not neighbours:
                return
            layer = model.add_points(
                np.zeros((0, 3)),
                name=f"{dataset} {NEIGHBOURS}",
                features={"number": np.zeros(0, dtype=object)},
                translate=_plane(model),
                metadata={DATASET_KEY: dataset, HINT_KEY: NEIGHBOURS},
                **NeighbourStyle().as_kwargs(),
            )
        layer.selected_data = set()
        if not neighbours or not shows_plane(model):
            # Emptied, not hidden: whether a layer is visible is the user's business.
            layer.data = np.zeros((0, 3))
            return
        depth, *plane = model.dims.order
        rings = np.array([pair.centers_um[dataset] for pair in neighbours])
        centers = np.concatenate([rings, rings])
        free = badge_places(rings[:, plane], self._asked_about(dataset, plane))
        centers[len(rings) :, plane] = free
        layer.metadata["depth_um"] = centers[:, depth].copy()
        layer.metadata["accepted"] = np.array([pair.accepted for pair in neighbours])
        layer.metadata["numbers"] = [pair.number for pair in neighbours]
        centers[:, depth] = 0.0
        _move(layer, _plane(model))
        layer.data = centers
        layer.size = np.full(2 * len(neighbours), NeighbourStyle().ring_um)
        _fit_badges(model, layer)
        self._put_on_plane(model, layer)
        layer.editable = False

    def _asked_about(self, dataset: str, plane: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the places in the plane that no number may cover, µm, shape (M, 2)."""
        shown = self._workbench.questions.snapshot
        places = []
        if shown.query is not None and shown.query.dataset == dataset:
            places.append(shown.query.center_um)
        if shown.gallery == dataset:
            places += [shown.picked.center_um] if shown.picked is not None else []
            places += [shown.expected_place.center_um] if shown.expected_place is not None else []
        return np.array(places).reshape(-1, 3)[:, plane]

    def _draw_expected(self, model: ViewerModel, dataset: str, expected: Expected | None) -> None:
        layer: Shapes | None = _hint(model, EXPECTED)
        if self._is_drawn(model, dataset, layer, expected):
            return
        if layer is None:
            if expected is None:
                return
            layer = model.add_shapes(
                ndim=3,
                translate=_plane(model),
                name=f"{dataset} {EXPECTED} place",
                metadata={DATASET_KEY: dataset, HINT_KEY: EXPECTED},
                **ExpectedStyle().as_kwargs(),
            )
        if expected is None or not shows_plane(model):
            layer.data = []
            return
        depth, rows, columns = model.dims.order
        outline = np.zeros((_N_VERTICES, 3))
        outline[:, [rows, columns]] = ellipse_um(expected, (rows, columns))
        _move(layer, _plane(model))
        style = ExpectedStyle()
        outlines = [outline for _ in style.colors]
        if len(layer.data):  # whose style they keep; setting it would triangulate them again
            layer.data = [(outline, "polygon") for outline in outlines]
        else:
            layer.add_polygons(
                outlines,
                edge_color=list(style.colors),
                edge_width=list(style.edge_widths_um),
                face_color="transparent",
            )
        layer.metadata["depth_um"] = np.array([expected.center_um[depth]])
        self._put_on_plane(model, layer)
        layer.editable = False

    def _is_drawn(
        self, model: ViewerModel, dataset: str, layer: Points | Shapes | None, content: object
    ) -> bool:
        """Return whether a layer shows its content already; it is taken to do so from now on."""
        if layer is None:
            return False
        camera, dims = model.scene.camera, model.dims
        clear = self._asked_about(dataset, dims.order[1:]).tobytes() if dims.ndim == 3 else b""
        new = (dataset, content, clear, dims.order, dims.ndisplay, camera.orientation2d)
        old, layer.metadata["drawn"] = layer.metadata.get("drawn"), new
        return bool(old == new)

    def _fit_all_badges(self) -> None:
        for model, _dataset in self._sides():
            if (layer := _hint(model, NEIGHBOURS)) is not None:
                _fit_badges(model, layer)

    def _on_plane_changed(self, _: object = None) -> None:
        for model, _dataset in self._sides():
            for layer in model.layers if model.dims.ndim == SPACE_AXES else ():
                if HINT_KEY in layer.metadata and len(layer.data):
                    self._put_on_plane(model, layer, recolour=False)

    def _put_on_plane(
        self, model: ViewerModel, layer: Points | Shapes, *, recolour: bool = True
    ) -> None:
        translate = _plane(model)
        _move(layer, translate)
        depth = model.dims.order[0]
        away = layer.metadata["depth_um"] - translate[depth]
        far = np.abs(away) > model.dims.margin_left[depth]
        if not recolour and np.array_equal(far, layer.metadata["far"]):
            return
        layer.metadata["far"] = far
        alpha = np.where(far, FAR_ALPHA, 1.0)
        if layer.metadata[HINT_KEY] == EXPECTED:
            layer.opacity = float(alpha[0])
            return
        accepted, style = layer.metadata["accepted"], NeighbourStyle()
        lines = np.array([MARK_RGBA[Mark.ACCEPTED if a else Mark.CLAIMED] for a in accepted] * 2)
        n = len(accepted)
        lines[:, 3] = alpha
        # A ring around nothing says nothing; the number tells where its soma is.
        lines[:n, 3] *= ~far[:n]
        rings = lines[:n].copy()
        rings[:, 3] *= np.where(accepted, style.fill, 0.0)
        badges = np.tile(style.badge, (n, 1))
        layer.border_color, layer.face_color = lines, np.concatenate([rings, badges])
        deeper = np.array(["↑", "↓"])[(away[n:] > 0).astype(int)]
        said = [
            f"{number}{way if hidden else ''}"
            for number, way, hidden in zip(layer.metadata["numbers"], deeper, far[n:], strict=True)
        ]
        layer.features = {"number": np.array([""] * n + said, dtype=object)}


def _fit_badges(model: ViewerModel, layer: Points) -> None:
    """Make the badges as large on the screen as the numbers on them, however magnified."""
    size = np.array(layer.size)
    size[len(size) // 2 :] = NeighbourStyle().badge_px / model.scene.camera.zoom
    if not np.allclose(size, layer.size):
        layer.size = size


def _move(layer: Points | Shapes, translate: npt.NDArray[np.float64]) -> None:
    """Move a layer, which napari takes a while for, only where it is not there already."""
    if not np.array_equal(layer.translate, translate):
        layer.translate = translate


def _plane(model: ViewerModel) -> npt.NDArray[np.float64]:
    """Return where the displayed plane lies along the axis that is left out, else 0."""
    depth = model.dims.order[0]
    offset = np.zeros(3)
    offset[depth] = model.dims.point[depth]
    return offset


def _hint(model: ViewerModel, kind: str) -> Any:
    """Return a canvas's layer of a kind; None where there is none, or somebody deleted it."""
    found = (layer for layer in model.layers if layer.metadata.get(HINT_KEY) == kind)
    return next(found, None)
