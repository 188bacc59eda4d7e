"""Adapting a model to new data by NeuroADDA, as a configuration file says."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from napari_neurobridge.active.adapt import AdaptParams, adapt, check_budget, source_distances
from napari_neurobridge.active.segmentation import SegmentationParams, SegmentationTask
from napari_neurobridge.active.segmentation_source import write_segmenter
from napari_neurobridge.active.tiles import ImageSet, read_tiles
from napari_neurobridge.detection.unet import SegmenterConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import SEGMENTER, ModelFolder
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.project.parsing import parse_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.active.adapt import CurvePoint
    from napari_neurobridge.types import Report

_RUN, _MODEL = "run", "model"


class AdaptFile(BaseModel, frozen=True, extra="forbid"):
    """What ``neurobridge adapt`` reads; paths that are not absolute begin at the file."""

    task: Literal["segmentation"] = Field(description="What is learned.")
    out: Path = Field(description="Folder of the run and of the model that it ends with.")
    sources: tuple[str, ...] = Field(
        min_length=1, description="Model folders, or names of models, to choose the nearest from."
    )
    data: ImageSet
    tile_px: int = Field(256, ge=16, description="Side of an item.")
    adapt: AdaptParams = AdaptParams()
    training: SegmentationParams = SegmentationParams()


@dataclass(frozen=True)
class AdaptedModel:
    """What came of it.

    Attributes
    ----------
    model : Path
        Folder of the adapted model.
    source : str
        What it started from, as the file names it.
    mmd2 : mapping of str to float
        Of each source to the pool, the nearest first.
    curve : tuple of CurvePoint
    """

    model: Path
    source: str
    mmd2: Mapping[str, float]
    curve: tuple[CurvePoint, ...]


def read_adapt_file(path: Path) -> AdaptFile:
    """Read a configuration, with every path from where the file lies.

    Raises
    ------
    InputError
        If it cannot be read, or with the first thing that does not fit.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The configuration {path} cannot be read: {error}.") from error
    file = parse_model(AdaptFile, values, what=f"The configuration {path}")
    here = path.parent
    # An absolute path stays as it is.
    data = {"images": here / file.data.images, "labels": here / file.data.labels}
    return file.model_copy(
        update={"out": here / file.out, "data": file.data.model_copy(update=data)}
    )


def adapt_from_file(path: Path, *, report: Report | None = None) -> AdaptedModel:
    """Choose the nearest source, run algorithm 1, and write the model.

    The labels file is the annotator. Where a tile that is asked about has no label in it yet,
    this stops with its place; once it is labelled, the same call goes on. So does one after a
    kill, with the same bits.

    Parameters
    ----------
    path : Path
        See `AdaptFile`.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Raises
    ------
    InputError
        If the file or the data cannot be read, a source is no segmenter of tiles with a
        fingerprint, labels are missing or of one class, or the pool is too small.
    """
    file = read_adapt_file(path)
    sources = {name: _found(name, path.parent) for name in file.sources}
    configs = {name: _config(name, folder) for name, folder in sources.items()}
    if len({config.target for config in configs.values()}) > 1:
        told = ", ".join(f"'{name}' {config.target}" for name, config in configs.items())
        raise InputError(f"The sources do not tell the same: {told}.")
    multiple = max(config.multiple for config in configs.values())
    tiles = read_tiles(file.data, tile_px=file.tile_px, multiple=multiple)
    first = next(iter(configs.values()))
    task = SegmentationTask(tiles, first, sources, file.training)
    check_budget(task, file.adapt)
    if report is not None:
        report(0, file.adapt.steps, "comparing the pool with the sources")
    distances = source_distances(task, file.sources)
    nearest = next(iter(distances))
    task = task.like(nearest)
    found = adapt(task, nearest, tiles.annotate, file.adapt, folder=file.out / _RUN, report=report)
    model = file.out / _MODEL
    card = f"# {file.out.name}\n\nAdapted from {nearest} with {file.adapt.labels} labelled tiles.\n"
    named = replace(task, config=task.config.model_copy(update={"name": file.out.name}))
    write_segmenter(named, found.weights, model, task.config.watershed, card=card)
    mmd2 = {name: distance.mmd2 for name, distance in distances.items()}
    return AdaptedModel(model, nearest, mmd2, found.curve)


def _found(name: str, here: Path) -> Path:
    """Return the folder of a source: a path from the file on, or a model by name."""
    if (here / name).is_dir() or "/" in name or "\\" in name:
        return find_model(here / name)
    return find_model(name)


def _config(name: str, folder: Path) -> SegmenterConfig:
    stored = ModelFolder.open(folder)
    stored.require_kind(SEGMENTER)
    return stored.config(SegmenterConfig)
