"""From the project's state to what the layers draw: plain arrays, no viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pint
from napari.layers import Points
from pint.registry import LazyRegistry

from napari_neurobridge.viewer.styles import (
    CHANGED_FILL,
    MARK_COLORS,
    MARK_RGBA,
    SLAB_UM,
    UNITS,
    ImageStyle,
    Mark,
    SomataStyle,
    confidence_rgba,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Float32Array, Soma
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot
    from napari_neurobridge.workbench.workbench import Workbench

SOMATA_SUFFIX = " somata"
DATASET_KEY = "neurobridge_dataset"
"""Metadata key that `binding` writes, and by which it knows its own layers again."""


HINT_KEY = "neurobridge_hint"
"""Metadata key of layers that only explain, and hold no somata to be edited."""


LANDMARK_KEY = "neurobridge_landmarks"
"""Metadata key of layers that hold landmarks without a soma; their uids, by row."""


def is_somata_layer(layer: object) -> bool:
    """Return whether a layer holds a dataset's somata, which may be edited."""
    metadata = getattr(layer, "metadata", {})
    others = {HINT_KEY, LANDMARK_KEY}
    return isinstance(layer, Points) and DATASET_KEY in metadata and others.isdisjoint(metadata)


_SAMPLE = (16, 1024, 1024)


@dataclass(frozen=True)
class SomataTable:
    """Names and places of a dataset's somata, by row; 10⁵ of them take a moment to collect.

    Attributes
    ----------
    somata : mapping of str to Soma
        Of which it is; a state shares them with the next one for as long as none changes.
    uids : ndarray of object, shape (N,)
    centers_um : ndarray, shape (N, 3)
    rows : dict of str to int
        Where each uid is.
    """

    somata: Mapping[str, Soma]
    uids: np.ndarray
    centers_um: np.ndarray
    rows: Mapping[str, int]

    @classmethod
    def of(cls, somata: Mapping[str, Soma]) -> SomataTable:
        """Collect the somata of one dataset."""
        uids = np.empty(len(somata), dtype=object)
        uids[:] = list(somata)
        centers_um = np.array([soma.center_um for soma in somata.values()]).reshape(-1, 3)
        return cls(somata, uids, centers_um, {uid: row for row, uid in enumerate(somata)})

    def column(self, values: Mapping[str, object], default: object, dtype: type) -> np.ndarray:
        """Return one value for each row: by uid, or the default."""
        column: np.ndarray = np.full(len(self.uids), default, dtype=dtype)
        for uid, value in values.items():
            if (row := self.rows.get(uid)) is not None:
                column[row] = value
        return column


@dataclass(frozen=True)
class SomataView:
    """What a somata layer draws.

    Attributes
    ----------
    table : SomataTable
    features : DataFrame
        Columns ``uid``, ``mark``, ``label`` (the number of an accepted pair, alike on both
        sides, while no neighbours are numbered), ``probability`` of a claimed pair, and
        ``changed``, whether the latest verdict changed the most probable partner, or the next one
        would while that is previewed.
    """

    table: SomataTable
    features: pd.DataFrame

    @property
    def centers_um(self) -> np.ndarray:
        """µm (z, y, x) of the dataset's space, shape (N, 3)."""
        return self.table.centers_um

    @property
    def border_colors(self) -> np.ndarray:
        """RGBA of each soma, shape (N, 4)."""
        marks = pd.Categorical(self.features["mark"], categories=[str(mark) for mark in Mark])
        colors: np.ndarray = np.array([MARK_RGBA[mark] for mark in Mark])[marks.codes]
        claimed = (self.features["mark"] == str(Mark.CLAIMED)).to_numpy()
        colors[claimed] = confidence_rgba(self.features["probability"].to_numpy()[claimed])
        return colors

    @property
    def face_colors(self) -> np.ndarray:
        """RGBA of each soma's inside, shape (N, 4): clear but for what has changed."""
        colors = np.zeros((len(self.features), 4))
        colors[self.features["changed"].to_numpy(dtype=bool)] = CHANGED_FILL
        return colors


def somata_view(workbench: Workbench, dataset: str, table: SomataTable | None = None) -> SomataView:
    """Return the somata of one dataset, marked by what is known and asked about them.

    Parameters
    ----------
    workbench, dataset
    table : SomataTable, optional
        Of an earlier view; used where the somata are still the same.
    """
    assert workbench.project is not None
    state, shown = workbench.project.state(), workbench.questions.snapshot
    somata = state.somata.get(dataset, {})
    if table is None or table.somata is not somata:
        table = SomataTable.of(somata)
    marks, labels = _marks_and_labels(state, shown)
    changed = shown.changed if shown.would_change is None else shown.would_change
    plain = Mark.PLAIN if not shown.claimed else Mark.UNMATCHED
    marked = {uid: str(mark) for uid, mark in marks.items()}
    return SomataView(
        table=table,
        features=pd.DataFrame(
            {
                "uid": pd.Series(table.uids, dtype=object),
                "mark": pd.Series(table.column(marked, str(plain), object), dtype=object),
                "label": pd.Series(table.column(labels, "", object), dtype=object),
                "probability": table.column(shown.claimed, np.nan, np.float64),
                "changed": table.column(dict.fromkeys(changed, True), False, np.bool_),
            }
        ),
    )


def _marks_and_labels(
    state: State, shown: QuestionSnapshot
) -> tuple[Mapping[str, Mark], Mapping[str, str]]:
    marks: dict[str, Mark] = dict.fromkeys(shown.claimed, Mark.CLAIMED)
    marks |= dict.fromkeys(state.none, Mark.NO_PARTNER)
    labels: dict[str, str] = {}
    numbered = bool(shown.neighbours)
    for number, (query, partner) in enumerate(state.pairs.items(), start=1):
        for uid in (query, partner):
            marks[uid] = Mark.ACCEPTED
            # Two numbers on one circle would say nothing.
            labels[uid] = "" if numbered else str(number)
    for uid in (uid for pair in state.disputed for uid in pair):
        marks[uid] = Mark.DISPUTED
    # What is being asked right now is drawn over what is known.
    for candidate in shown.candidates:
        if marks.get(candidate.uid, Mark.CLAIMED) is Mark.CLAIMED:
            marks[candidate.uid] = Mark.CANDIDATE
    if shown.query is not None and shown.query.uid is not None:
        marks[shown.query.uid] = Mark.QUERY
    if shown.picked is not None:
        marks[shown.picked.uid] = Mark.CHOSEN
    return marks, labels


def load_image(project: Project, dataset: str) -> tuple[Any, dict[str, Any]]:
    """Return data and keyword arguments of `napari.layers.Image` for a dataset.

    Its contrast suits a slab of the usual thickness, whose brightest voxels a canvas shows.
    Opens the image and reads a part of it, so it belongs in a worker thread.

    Raises
    ------
    InputError
        If the image is gone, has changed, is damaged or holds NaN.
    """
    volume = project.volume(dataset)
    multiscale = len(volume.levels) > 1
    depth = project.dataset(dataset).used_orientation.axis_order[0]
    voxel_um = volume.level_scales_um[-1][depth]
    slabs = brightest_of_slabs(_sample(volume), depth, max(round(SLAB_UM / voxel_um), 1))
    return (list(volume.levels) if multiscale else volume.levels[0]), {
        "name": dataset,
        "multiscale": multiscale,
        "scale": volume.voxel_size_um,
        "contrast_limits": contrast_limits(slabs),
        "metadata": {DATASET_KEY: dataset},
        **ImageStyle().as_kwargs(),
    }


def _sample(volume: Volume) -> Float32Array:
    """Read a block in the middle of the coarsest level, of at most 16 million voxels."""
    level = len(volume.levels) - 1
    shape = volume.levels[level].shape
    start = tuple(max(0, (length - side) // 2) for length, side in zip(shape, _SAMPLE, strict=True))
    stop = tuple(
        min(length, first + side) for first, length, side in zip(start, shape, _SAMPLE, strict=True)
    )
    return volume.read(start, stop, level=level)


def brightest_of_slabs(pixels: Float32Array, axis: int, count: int) -> Float32Array:
    """Return the maximum of every ``count`` planes along an axis, the last slab being thinner."""
    return np.maximum.reduceat(pixels, range(0, pixels.shape[axis], count), axis=axis)


def somata_layer_kwargs(view: SomataView, dataset: str) -> dict[str, Any]:
    """Return keyword arguments of `napari.layers.Points` for a dataset's somata."""
    style = SomataStyle().as_kwargs()
    if labelled := _is_labelled(view):
        style["text"]["string"] = SomataStyle().label
    return {
        "name": dataset + SOMATA_SUFFIX,
        "features": view.features,
        "border_color": view.border_colors if len(view.features) else MARK_COLORS[Mark.PLAIN],
        "face_color": view.face_colors if len(view.features) else "transparent",
        "metadata": {DATASET_KEY: dataset, "labelled": labelled},
        "ndim": 3,
        **style,
    }


def is_drawn(layer: Points, view: SomataView) -> bool:
    """Return whether a somata layer shows a view already."""
    return np.array_equal(layer.data, view.centers_um) and view.features.equals(layer.features)


def show_labels(layer: Points, view: SomataView) -> None:
    """Let a somata layer write its labels, if it has any: writing takes napari a while."""
    labelled = _is_labelled(view)
    if labelled != layer.metadata["labelled"]:
        layer.text.string = SomataStyle().label if labelled else {"constant": ""}
        layer.metadata["labelled"] = labelled


def _is_labelled(view: SomataView) -> bool:
    return bool((view.features["label"] != "").any())


def load_units() -> pint.UnitRegistry[Any]:
    """Read the definitions of units, which napari needs before the first layer has one.

    That takes half a second in which a window would stand still, so it belongs in a worker
    thread. napari's own registry must not be loaded there: the main thread may need it while it
    is half done.
    """
    registry: pint.UnitRegistry[Any] = pint.UnitRegistry()
    registry.parse_units(UNITS[0])
    return registry


def use_units(registry: pint.UnitRegistry[Any]) -> None:
    """Give napari a registry that is loaded, unless it has loaded its own meanwhile."""
    if isinstance(pint.application_registry.get(), LazyRegistry):
        pint.set_application_registry(registry)


def contrast_limits(pixels: Float32Array) -> tuple[float, float]:
    """Return robust display limits: the 1st and 99.9th percentile."""
    low, high = np.percentile(pixels, (1.0, 99.9))
    return float(low), float(max(high, low + 1e-6))
