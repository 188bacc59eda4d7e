"""Training a segmenter further on a few labels that a person painted."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field

from napari_neurobridge.detection.segment import segmenter_grid
from napari_neurobridge.errors import InputError
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
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.types import Float32Array, Report

Bools = npt.NDArray[np.bool_]

UNLABELLED, BACKGROUND = 0, 1
"""What painted labels mean: nobody said anything of 0, 1 is background, all others are somata."""
_KINDS = ("background", "somata")


class PaintedParams(BaseModel, frozen=True, extra="forbid"):
    """How painted labels are learned."""

    draws: DrawParams = DrawParams(scale=(0.9, 1.1))
    batch: int = Field(4, gt=0, description="Windows in a step.")
    loop: LoopConfig = LoopConfig(
        steps=200, learning_rate=5e-4, warmup_steps=10, weight_decay=0.01, report_every=10
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
    if labels.shape != volume.shape or labels.dtype.kind not in "iu":
        raise InputError(
            f"Labels of {volume.name} must be whole numbers of shape {volume.shape}, not "
            f"{labels.dtype} of shape {labels.shape}."
        )
    painted = [labels == BACKGROUND, (labels != UNLABELLED) & (labels != BACKGROUND)]
    for kind, where in zip(_KINDS, painted, strict=True):
        if not where.any():
            raise InputError(f"No {kind} is painted in {volume.name}; both kinds are needed.")
    grid = segmenter_grid(volume, config)
    steps = np.array(grid.voxel_um) / volume.voxel_size_um
    counts = [_counted(where, steps, grid.shape) for where in painted]
    coarse = (counts[0] > counts[1], (counts[1] >= counts[0]) & (counts[1] > 0))
    context = int(np.ceil((config.planes // 2) * config.plane_um / grid.voxel_um[0]))
    depth, height, width = grid.shape
    planes = []
    for row in np.flatnonzero((coarse[0] | coarse[1]).any(axis=(1, 2))).tolist():
        first, last = max(row - context, 0), min(row + context + 1, depth)
        here = (coarse[0][row], coarse[1][row])
        low, high = _box(here[0] | here[1], config.margin_px)
        planes.append(
            PaintedPlane(
                grid.read((first, *low), (last, min(high[0], height), min(high[1], width))),
                row - first,
                config.plane_um / grid.voxel_um[0],
                (here[0][_span(low, high)], here[1][_span(low, high)]),
            )
        )
    return planes


def train_on_labels(
    net: SegmenterNet,
    planes: Sequence[PaintedPlane],
    params: PaintedParams | None = None,
    *,
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> SegmenterNet:
    """Return a copy of a network that has learned painted labels too.

    Pixels that nobody labelled have no say. Half of the windows are about background, half about
    somata, whatever was painted more.

    Parameters
    ----------
    net : SegmenterNet
        To start from; left as it is.
    planes : sequence of PaintedPlane
        Of one volume or of several; both kinds of labels among them.
    params : PaintedParams, optional
    checkpoint : Path, optional
        To resume from if it exists, and to write to.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    """
    params = params or PaintedParams()
    learner = copy.deepcopy(net)
    places = [[np.argwhere(plane.labels[kind]) for plane in planes] for kind in range(len(_KINDS))]

    def batch_loss(step: int, generator: torch.Generator) -> Tensor:
        rng = np.random.default_rng([params.loop.seed, step])
        drawn = [
            _window(planes, places[number % 2], net.config.planes, params.draws, rng)
            for number in range(params.batch)
        ]
        images, somata, known = (
            torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)
        )
        return segmentation_loss(learner(images), somata.float(), known)

    for done in train(learner, batch_loss, params.loop, checkpoint=checkpoint):
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
    where: Bools, steps: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> npt.NDArray[np.int32]:
    """Return how many labelled voxels lie in each voxel of a coarser grid."""
    counts = np.zeros(shape, dtype=np.int32)
    at = np.minimum((np.argwhere(where) / steps).astype(int), np.array(shape) - 1)
    np.add.at(counts, tuple(at.T), 1)
    return counts


def _box(where: Bools, margin: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the corners of the labelled part of a plane, with a margin, half-open."""
    at = np.argwhere(where)
    low, high = np.maximum(at.min(axis=0) - margin, 0), at.max(axis=0) + 1 + margin
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _span(low: tuple[int, int], high: tuple[int, int]) -> tuple[slice, slice]:
    return slice(low[0], high[0]), slice(low[1], high[1])
