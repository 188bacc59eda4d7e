"""A segmenter of somata that has learned what people painted over an image of the project."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.model_folder import SEGMENTER, ModelFolder
from napari_neurobridge.project.painted import PaintedRegion, painted_regions
from napari_neurobridge.workflows.painted_cells import Painted, count_painted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.detection.unet import SegmenterNet
    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.painted_labels import PaintedParams
    from napari_neurobridge.types import Report

_NAME = "{dataset}-painted-{number}"


@dataclass(frozen=True)
class LearnedSegmenter:
    """What came of one training.

    Attributes
    ----------
    model : Path
        Folder of the new segmenter.
    origin : str
        Name and hash of the one that it was trained from.
    painted : Painted
        What it has learned.
    steps : int
        Updates of the weights.
    seconds : float
        Wall time of this run.
    """

    model: Path
    origin: str
    painted: Painted
    steps: int
    seconds: float


def learn_segmenter(
    project: Project,
    dataset: str,
    params: PaintedParams | None = None,
    *,
    labels: Path | None = None,
    model: str | None = None,
    report: Report | None = None,
) -> LearnedSegmenter:
    """Train a segmenter further on what was painted over a dataset's image.

    The new model is written to the project's models. Killed at any moment, the same call goes on
    from the last checkpoint, as long as nothing else is painted.

    Parameters
    ----------
    project : Project
        Its lock is held meanwhile.
    dataset : str
    params : PaintedParams, optional
    labels : Path, optional
        A TIFF of the image's shape to learn in place of what the project holds: 0 where nobody
        said anything, 1 for background, and any other number for somata.
    model : str, optional
        Name or path of the segmenter to start from; the bundled one unless given.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the dataset is unknown or has no image, background or somata are not painted, the model
        cannot be read, or another job holds the project.
    """
    from napari_neurobridge.detection.unet import load_segmenter
    from napari_neurobridge.models.current import bundled_model
    from napari_neurobridge.models.zoo import find_model
    from napari_neurobridge.training.painted_labels import (
        PaintedParams,
        planes_of_regions,
        train_on_labels,
    )

    params, began = params or PaintedParams(), time.monotonic()
    volume = project.volume(dataset)
    folder = bundled_model(SEGMENTER) if model is None else find_model(model, project)
    net = load_segmenter(folder)
    stored = ModelFolder.open(folder)
    origin = f"{stored.name}@{stored.hash}"
    with project.lock():
        regions = (
            painted_regions(project, dataset) if labels is None else [_read_labels(labels, volume)]
        )
        planes = planes_of_regions(volume, regions, net.config)
        key = _digest(origin, params, regions)
        checkpoint = project.runs_dir / f"segmenter-{dataset}-{key}.safetensors"
        learned = train_on_labels(
            net, planes, params, checkpoint=checkpoint, identity=key, report=report
        )
        config = learned.config.model_copy(
            update={"name": _new_name(project, dataset), "learned_from": dataset}
        )
        result = LearnedSegmenter(
            project.models_dir / config.name,
            origin,
            count_painted(regions, volume.voxel_size_um),
            params.loop.steps,
            time.monotonic() - began,
        )
        learned.config = config
        _write(learned, result, params)
        # Those of trainings that were stopped and will not go on: more has been painted since.
        for old in project.runs_dir.glob(f"segmenter-{dataset}-*.safetensors"):
            old.unlink(missing_ok=True)
    return result


def learned_segmenters(project: Project, dataset: str) -> list[str]:
    """Return the names of the segmenters that learned a dataset's painted labels, newest first."""
    found: list[tuple[int, str]] = []
    for path in project.models_dir.iterdir():
        try:
            values = ModelFolder.open(path).values if path.is_dir() else {}
        except InputError:  # of which `neurobridge models` tells
            continue
        if values.get("kind") == SEGMENTER and values.get("learned_from") == dataset:
            found.append((_number(path.name), path.name))
    return [name for _, name in sorted(found, reverse=True)]


def _read_labels(path: Path, volume: Volume) -> PaintedRegion:
    """Read labels of a whole image; axes that the file does not name are those of the image."""
    from napari_neurobridge.io.rois.label_image import read_labels
    from napari_neurobridge.training.painted_labels import whole_region

    try:
        labels, _ = read_labels(path)
    except InputError as error:
        if error.kind is not ErrorKind.UNKNOWN_AXES:
            raise
        labels, _ = read_labels(path, axes="zyx")
    return whole_region(volume, labels)


def _write(learned: SegmenterNet, result: LearnedSegmenter, params: PaintedParams) -> None:
    """Write the model folder."""
    from napari_neurobridge.models.weights import save_network
    from napari_neurobridge.training.made_by import made_by

    painted, loop = result.painted, params.loop
    made = made_by()
    with atomic_folder(result.model) as folder:
        stored = save_network(learned, learned.config, folder)
        stored.write_card(
            f"# {learned.config.name}\n\n"
            f"Says which pixels belong to somata in {learned.config.learned_from}. Trained from "
            f"{result.origin} on what was painted there: {painted.n_cells} cells "
            f"({painted.n_cell_voxels:,} voxels) and {painted.n_background_voxels:,} voxels of "
            f"background in {painted.n_regions} regions; nothing else had a say.\n\n"
            f"{loop.steps} steps of {params.batch} windows of {params.draws.size_px} pixels, "
            f"learning rate {loop.learning_rate:g}, seed {loop.seed}; napari-neurobridge "
            f"{made['version']}, torch {made['torch']}, {made['date']}. The watershed is the one "
            f"of {result.origin}. Weights {stored.hash}.\n\n"
            "How well it does where nothing was painted has not been measured.\n"
        )


def _new_name(project: Project, dataset: str) -> str:
    """Return a name that no model of the project has had, as far as its folder and log know."""
    known = [path.name for path in project.models_dir.iterdir()]
    known += [str(used.get("model", "")) for used in project.state().detected_with.values()]
    stem = _NAME.format(dataset=dataset, number="")
    number = max((_number(name) for name in known if name.startswith(stem)), default=0) + 1
    return _NAME.format(dataset=dataset, number=number)


def _number(name: str) -> int:
    found = re.search(r"-(\d+)$", name)
    return int(found[1]) if found else 0


def _digest(origin: str, params: PaintedParams, regions: Sequence[PaintedRegion]) -> str:
    """Return 16 hex digits that tell trainings apart."""
    digest = hashlib.sha256(f"{origin} {params.model_dump_json()}".encode())
    for region in regions:
        box = region.painted_box()
        if box is not None:
            corner = [a + part.start for a, part in zip(region.start, box, strict=True)]
            painted = np.ascontiguousarray(region.labels[box])
            digest.update(f"{corner} {painted.shape} {painted.dtype}".encode())
            digest.update(painted.tobytes())
    return digest.hexdigest()[:16]
