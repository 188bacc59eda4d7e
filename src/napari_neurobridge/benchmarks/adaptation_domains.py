"""The domains of the benchmark of adaptation: real sets by a file, and simulated ones."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.active.tiles import ImageSet, Tiles, cut_tiles, read_tiles
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.parsing import parse_model
from napari_neurobridge.simulation.levels import DOMAINS
from napari_neurobridge.training.segmented_scenes import cached_segmented_scene

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.types import Report

FIRST_SCENE = 90_000
"""Seed of a domain's first scene; no model of this project was trained on it."""
_POOL_SCENES, _TEST_SCENES = 2, 1
SCENE_UM = (30.0, 280.0, 280.0)
# Neighbouring planes show the same somata.
_EVERY = 2


class DomainFile(BaseModel, frozen=True, extra="forbid"):
    """Real sets by name; a path that is not absolute begins at the file."""

    domain: dict[str, ImageSet] = Field(min_length=1)


def read_domains(path: Path, *, tile_px: int, multiple: int) -> dict[str, Tiles]:
    """Return the sets that a TOML file names, cut into tiles.

    Raises
    ------
    InputError
        If the file or one of the sets cannot be read.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The file of domains {path} cannot be read: {error}.") from error
    file = parse_model(DomainFile, values, what=f"The file of domains {path}")
    found = {}
    for name, one in file.domain.items():
        # An absolute path stays as it is.
        at = {"images": path.parent / one.images, "labels": path.parent / one.labels}
        found[name] = read_tiles(one.model_copy(update=at), tile_px=tile_px, multiple=multiple)
    return found


def simulated_domains(
    cache: Path, *, tile_px: int, multiple: int, report: Report | None = None
) -> dict[str, Tiles]:
    """Return planes of two-photon scenes of each simulated domain; scenes are cached.

    Two scenes are the pool, a third is held out.
    """
    found = {}
    scenes = range(FIRST_SCENE, FIRST_SCENE + _POOL_SCENES + _TEST_SCENES)
    for done, level in enumerate(DOMAINS):
        if report is not None:
            report(done, len(DOMAINS), f"simulating {level}")
        sides = [cached_segmented_scene(s, level, SCENE_UM, cache).two_photon for s in scenes]
        images = np.concatenate([side.image[::_EVERY] for side in sides]).astype(np.float32)
        cells = np.concatenate([side.somata[::_EVERY] for side in sides])
        first_test = sum(len(side.image[::_EVERY]) for side in sides[:_POOL_SCENES])
        found[level] = cut_tiles(
            images,
            cells > 0,
            np.ones(cells.shape, dtype=bool),
            pool=range(first_test),
            test=range(first_test, len(images)),
            tile_px=tile_px,
            multiple=multiple,
            cells=cells.astype(np.int32),
        )
    return found
