"""Training a segmenter further on a few labels that a person painted."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field
from torch import nn

from napari_neurobridge.detection.segment import segmenter_grid
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.painted import BACKGROUND, UNLABELLED, PaintedRegion
from napari_neurobridge.training.loop import LoopConfig, train
from napari_neurobridge.training.segmenter_draws import (
    DrawParams,
    labels_at,
    seen_at,
    window_places,
)
from napari_neurobridge.training.segmenter_task import segmentation_loss

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
    from napari_neurobridge.detection.working_grid import WorkingGrid
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report

Bools = npt.NDArray[np.bool_]

_KINDS = ("background", "somata")


class PaintedParams(BaseModel, frozen=True, extra="forbid"):
    """How painted labels are learned."""

    draws: DrawParams = DrawParams(scale=(0.9, 1.1))
    batch: int = Field(4, gt=0, description="Windows in a step.")
    loop: LoopConfig = LoopConfig(
        steps=200,
        learning_rate=5e-4,
        warmup_steps=10,
        weight_decay=0.01,
        checkpoint_every=20,
        report_every=2,
    )


@dataclass(frozen=True, eq=False)
class PaintedPlane:
    """A plane with labels, and those about it, in the network's pixels.

    Attributes
    ----------
    values : ndarray of float32, shape (Z, Y, X)
        Intensities of the plane and of its neighbours.
    middle : int
        Which of these is the plane.
    step : float
        From one plane that the network sees to the next, in planes.
    labels : tuple of ndarray of bool, shape (Y, X)
        Where background was painted, and where somata.
    """

    values: Float32Array
    middle: int
    step: float
    labels: tuple[Bools, Bools]


def painted_planes(
    volume: Volume, labels: npt.NDArray[np.integer], config: SegmenterConfig
) -> list[PaintedPlane]:
    """Cut out what surrounds painted labels, in the network's pixels.

    Parameters
    ----------
    volume : Volume
        What was painted on.
    labels : ndarray of int, shape (Z, Y, X)
        Of the volume's finest level: 0 where nobody said anything, 1 for background, and any
        other number for somata, the same or another for each.
    config : SegmenterConfig

    Raises
    ------
    InputError
        If the labels are no whole numbers or of another shape, or lack background or somata.
    """
    return planes_of_regions(volume, [whole_region(volume, labels)], config)


def whole_region(volume: Volume, labels: npt.NDArray[np.integer]) -> PaintedRegion:
    """Return labels of a whole volume as a region; see `painted_planes`."""
    if labels.shape != volume.shape or labels.dtype.kind not in "iu":
        raise InputError(
            f"Labels of {volume.name} must be whole numbers of shape {volume.shape}, not "
            f"{labels.dtype} of shape {labels.shape}."
        )
    return PaintedRegion((0, 0, 0), labels)


def planes_of_regions(
    volume: Volume, regions: Sequence[PaintedRegion], config: SegmenterConfig
) -> list[PaintedPlane]:
    """Cut out what surrounds the painted labels of some regions; see `painted_planes`.

    Raises
    ------
    InputError
        If a region reaches beyond the volume, or all of them lack background or somata.
    """
    boxes = []
    for region in regions:
        if any(b > n for b, n in zip(region.stop, volume.shape, strict=True)):
            raise InputError(
                f"What is painted from voxel {region.start} on reaches beyond {volume.name}, whose "
                f"shape is {volume.shape}."
            )
        if (box := region.painted_box()) is not None:
            first = tuple(a + part.start for a, part in zip(region.start, box, strict=True))
            boxes.append((np.array(first), _of_each_kind(region.labels[box])))
    for number, kind in enumerate(_KINDS):
        if not any(painted[number].any() for _, painted in boxes):
            raise InputError(f"No {kind} is painted in {volume.name}; both kinds are needed.")
    grid = segmenter_grid(volume, config)
    return [plane for first, painted in boxes for plane in _planes(grid, first, painted, config)]


def _of_each_kind(labels: npt.NDArray[np.integer]) -> tuple[Bools, Bools]:
    """Return where labels say background, and where somata."""
    return labels == BACKGROUND, (labels != UNLABELLED) & (labels != BACKGROUND)


def _planes(
    grid: WorkingGrid,
    first: npt.NDArray[np.intp],
    painted: tuple[Bools, Bools],
    config: SegmenterConfig,
) -> list[PaintedPlane]:
    """Cut out the planes of one box, whose first voxel is ``first`` of the finest level."""
    steps = np.array(grid.voxel_um) / grid.volume.voxel_size_um
    low = (first / steps).astype(int)
    high = np.minimum(((first + painted[0].shape - 1) / steps).astype(int) + 1, grid.shape)
    low = np.minimum(low, high - 1)
    counts = [_counted(where, first, steps, low, high) for where in painted]
    background, somata = counts[0] > counts[1], (counts[1] >= counts[0]) & (counts[1] > 0)
    context = int(np.ceil((config.planes // 2) * config.plane_um / grid.voxel_um[0]))
    planes = []
    for row in np.flatnonzero((background | somata).any(axis=(1, 2))).tolist():
        above = max(low[0] + row - context, 0)
        below = min(low[0] + row + context + 1, grid.shape[0])
        (y0, x0), (y1, x1) = _box(background[row] | somata[row], low[1:], config.margin_px)
        y1, x1 = min(y1, grid.shape[1]), min(x1, grid.shape[2])
        labels = [np.zeros((y1 - y0, x1 - x0), dtype=np.bool_) for _ in _KINDS]
        for known, kind in zip(labels, (background, somata), strict=True):
            at = np.argwhere(kind[row]) + low[1:] - (y0, x0)
            known[tuple(at.T)] = True
        planes.append(
            PaintedPlane(
                grid.read((int(above), y0, x0), (int(below), y1, x1)),
                int(low[0] + row - above),
                config.plane_um / grid.voxel_um[0],
                (labels[0], labels[1]),
            )
        )
    return planes


def train_on_labels(
    net: SegmenterNet,
    planes: Sequence[PaintedPlane],
    params: PaintedParams | None = None,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    report: Report | None = None,
) -> SegmenterNet:
    """Return a copy of a network that has learned painted labels too.

    Pixels that nobody labelled have no say. Half of the windows are about background, half about
    somata, whatever was painted more. The statistics of batch normalisation stay those of the first
    training: those of a few painted places are not those of the image.

    Parameters
    ----------
    net : SegmenterNet
        To start from; left as it is.
    planes : sequence of PaintedPlane
        Of one volume or of several; both kinds of labels among them.
    params : PaintedParams, optional
    checkpoint : Path, optional
        To resume from if it exists, and to write to.
    identity : str
        What else decides the result; a checkpoint with another one is refused.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    """
    params = params or PaintedParams()
    learner = copy.deepcopy(net)
    normalising = [layer for layer in learner.modules() if isinstance(layer, nn.BatchNorm2d)]
    places = [[np.argwhere(plane.labels[kind]) for plane in planes] for kind in range(len(_KINDS))]

    def batch_loss(step: int, generator: torch.Generator) -> Tensor:
        for layer in normalising:
            layer.eval()
        rng = np.random.default_rng([params.loop.seed, step])
        drawn = [
            _window(planes, places[number % 2], net.config.planes, params.draws, rng)
            for number in range(params.batch)
        ]
        images, somata, known = (
            torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)
        )
        return segmentation_loss(learner(images), somata.float(), known)

    for done in train(learner, batch_loss, params.loop, checkpoint=checkpoint, identity=identity):
        if report is not None:
            report(done.step, done.steps, f"loss {done.loss:.3f}")
    return learner.eval()


def _window(
    planes: Sequence[PaintedPlane],
    places: Sequence[npt.NDArray[np.intp]],
    count: int,
    params: DrawParams,
    rng: np.random.Generator,
) -> tuple[Float32Array, Bools, Bools]:
    """Return images, somata and what is known of a window about a random label."""
    shares = np.array([len(some) for some in places], dtype=float)
    number = int(rng.choice(len(planes), p=shares / shares.sum()))
    plane = planes[number]
    jitter = rng.uniform(-1, 1, 2) * params.size_px / 4
    at = window_places(places[number][rng.integers(len(places[number]))] + jitter, params, rng)
    images = seen_at(plane.values, at, plane.middle, count=count, step=plane.step, rng=rng)
    background, somata = (labels_at(where, at) for where in plane.labels)
    return images, somata, background | somata


def _counted(
    where: Bools,
    first: npt.NDArray[np.intp],
    steps: npt.NDArray[np.float64],
    low: npt.NDArray[np.intp],
    high: npt.NDArray[np.intp],
) -> npt.NDArray[np.int32]:
    """Return how many labelled voxels lie in each voxel, from low to high, of a coarser grid."""
    counts = np.zeros(high - low, dtype=np.int32)
    at = np.clip(((np.argwhere(where) + first) / steps).astype(int), low, high - 1) - low
    np.add.at(counts, tuple(at.T), 1)
    return counts


def _box(
    where: Bools, low: npt.NDArray[np.intp], margin: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the corners of the labelled part of a plane, with a margin, half-open."""
    at = np.argwhere(where) + low
    first, last = np.maximum(at.min(axis=0) - margin, 0), at.max(axis=0) + 1 + margin
    return (int(first[0]), int(first[1])), (int(last[0]), int(last[1]))
