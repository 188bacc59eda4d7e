"""Making a source for others to start from: a segmenter of tiles, as a model folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.active.segmentation import (
    SIDE,
    SegmentationTask,
    deepest_features,
    told_tiles,
)
from napari_neurobridge.detection.watershed import fit_watershed, watershed_grid
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.fingerprint import fingerprint_arrays
from napari_neurobridge.models.weights import save_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.active.adapt import Weights
    from napari_neurobridge.active.tiles import Corner
    from napari_neurobridge.detection.watershed import WatershedParams
    from napari_neurobridge.types import Report

_GRIDS = {
    "boundaries": watershed_grid(
        smooth_px=(1.0, 2.0), seed=(0.3, 0.5, 0.7), inside=(0.5,), distance_px=(6, 12),
        radius_px=(3.5,),
    ),
    "somata": watershed_grid(
        smooth_px=(0.5, 1.0), seed=(0.3, 0.5, 0.7), inside=(0.3, 0.5), distance_px=(3, 6)
    ),
}  # fmt: skip
_MOST_TILES = 8


def train_source(
    task: SegmentationTask,
    folder: Path,
    *,
    steps: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> None:
    """Train on all tiles of the pool, fix the watershed on the held-out ones, and write a model.

    Parameters
    ----------
    task : SegmentationTask
        Of the source's own tiles; its watershed is not used.
    folder : Path
        That is to be.
    steps, seed : int
    checkpoint : Path, optional
        To resume from if it exists, and to write to.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.

    Raises
    ------
    InputError
        If tiles are not labelled, or as `SegmentationTask.train` says.
    """
    labels = dict(enumerate(task.tiles.annotate(range(len(task)))))
    weights = task.train(
        task.start(None), labels, steps, seed=seed, checkpoint=checkpoint, report=report
    )
    write_segmenter(task, weights, folder, fixed_watershed(task, weights), card=_card(task, steps))


def write_segmenter(
    task: SegmentationTask,
    weights: Weights,
    folder: Path,
    watershed: WatershedParams,
    *,
    card: str,
) -> None:
    """Write weights as a model folder with the fingerprint of the task's pool."""
    config = task.config.model_copy(update={"watershed": watershed})
    net = task.network(weights)
    features = deepest_features(net, task.tiles, task.tiles.pool)
    with atomic_folder(folder) as temporary:
        written = save_network(net, config, temporary)
        written.write_fingerprint(fingerprint_arrays({SIDE: features}))
        written.write_card(card)


def fixed_watershed(task: SegmentationTask, weights: Weights) -> WatershedParams:
    """Return the settings of least variation of information on held-out tiles of the source."""
    net = task.network(weights)
    boundaries = task.config.target == "boundaries"
    told, truths = [], []
    for corner, found in told_tiles(net, task.tiles, _spread(task.tiles.test), task.params):
        truth = task.tiles.truth(corner, boundaries=boundaries)
        if truth.any():
            told.append(found)
            truths.append(truth)
    if not truths:
        raise InputError("The held-out sections hold no labelled cell to fix the watershed on.")
    return fit_watershed(told, truths, task.config.target, _GRIDS[task.config.target])[0]


def _spread(corners: Sequence[Corner]) -> Sequence[Corner]:
    return corners[:: -(-len(corners) // _MOST_TILES)]


def _card(task: SegmentationTask, steps: int) -> str:
    rows, columns = task.tiles.size
    return (
        f"# {task.config.name}\n\nA segmenter of {task.config.target}, trained for {steps} steps "
        f"on {len(task)} tiles of {rows} × {columns} pixels. Its watershed was fixed on "
        f"held-out tiles. The licence of the data is that of whoever trained it.\n"
    )
