"""Simulated pairs to train and to test encoders on."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet, as_bytes
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.pairs import simulate_pairs
from napari_neurobridge.simulation.posed_pairs import CropPoses, simulate_posed_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.types import Report

ByteCrops: TypeAlias = npt.NDArray[np.uint8]
TrainingPairs: TypeAlias = tuple[ByteCrops, ByteCrops, npt.NDArray[np.int64]]
"""Two-photon crops and fMOST crops (N, P, P), 255 standing for 1, and scenes (N,).

Of cells in several poses, crops are (N, views, P, P).
"""

SHARD_PAIRS = 1920
CELLS_PER_SCENE = 64
EVALUATION_CELLS = 53


class PairSource(BaseModel, frozen=True, extra="forbid"):
    """Pairs of one kind: a part of the training data."""

    level: str = Field("paper", description="Difficulty of the simulation.")
    pairs: int = Field(gt=0, description="How many.")
    first_seed: int = Field(1000, description="Seed of the first shard; the others follow.")
    reconstructions: bool = Field(
        False, description="Fill the tissue with real neurons rather than procedural ones."
    )
    poses: tuple[CropPoses | None, ...] = Field(
        (),
        description="How the fMOST crops of each cell lie, all cut from one image; none for a "
        "pose as the level has it. Without any, each cell is cropped once.",
    )


def training_pairs(
    sources: Sequence[PairSource],
    cache: Path,
    *,
    morphologies: Sequence[Reconstruction] = (),
    report: Report | None = None,
) -> TrainingPairs:
    """Return the pairs of all sources, simulating the shards that are not cached yet.

    Parameters
    ----------
    sources : sequence of PairSource
        What to simulate.
    cache : Path
        Folder of the shards.
    morphologies : sequence of Reconstruction
        Real neurons, for the sources that want them.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.

    Raises
    ------
    InputError
        If a source wants real neurons and there are none, or sources differ in their number of
        poses.
    """
    if any(source.reconstructions for source in sources) and not morphologies:
        raise InputError("Some training pairs want real neurons; give a folder of SWC files.")
    if len({len(source.poses) for source in sources}) > 1:
        raise InputError("All training pairs must have the same number of poses.")
    parts: list[TrainingPairs] = []
    total, n_scenes = sum(source.pairs for source in sources), 0
    for source in sources:
        own = morphologies if source.reconstructions else ()
        for path, count, seed in _shards(source, cache):
            shard = _shard(source, path, count, seed, own, report)
            parts.append((shard[0], shard[1], shard[2] + n_scenes))
            n_scenes = int(parts[-1][2].max()) + 1
            if report is not None:
                report(sum(len(part[2]) for part in parts), total, "training pairs")
    two_photon, fmost, scenes = zip(*parts, strict=True)
    return np.concatenate(two_photon), np.concatenate(fmost), np.concatenate(scenes)


def held_out_pairs(seeds: Sequence[int], level: str) -> PairSet:
    """Simulate one scene of 53 cells for each seed."""
    return PairSet.joined(
        [
            simulate_pairs(
                EVALUATION_CELLS, seed=seed, level=level, cells_per_scene=EVALUATION_CELLS
            )
            for seed in seeds
        ]
    )


def _shard(
    source: PairSource,
    path: Path,
    count: int,
    seed: int,
    morphologies: Sequence[Reconstruction],
    report: Report | None,
) -> TrainingPairs:
    """Return the pairs of one shard, from its files if they are there, a file for each pose."""
    paths = [path.with_stem(f"{path.stem}-{view}") for view in range(len(source.poses))] or [path]
    if not all(one.exists() for one in paths):
        asked: dict[str, Any] = {
            "seed": seed,
            "level": source.level,
            "morphologies": morphologies,
            "cells_per_scene": CELLS_PER_SCENE,
            "report": report,
        }
        made = (
            simulate_posed_pairs(count, poses=source.poses, **asked)
            if source.poses
            else [simulate_pairs(count, **asked)]
        )
        for one, pairs in zip(paths, made, strict=True):
            pairs.save(one)
    sets = [PairSet.load(one) for one in paths]
    two_photon, fmost = (
        [as_bytes(side[:count]) for side in sides]
        for sides in ([one.two_photon for one in sets], [one.fmost for one in sets])
    )
    scene = sets[0].scene[:count]
    if not source.poses:
        return two_photon[0], fmost[0], scene
    return np.stack(two_photon, axis=1), np.stack(fmost, axis=1), scene


def _shards(source: PairSource, cache: Path) -> list[tuple[Path, int, int]]:
    """Return file, number of pairs and seed of each shard."""
    # Pairs of another version of the level are another file.
    kind = f"{source.level}{'-swc' if source.reconstructions else ''}"
    name = f"{kind}-{level(source.level).digest()}"
    if source.poses:
        poses = json.dumps([pose and pose.model_dump() for pose in source.poses])
        name += f"-{hashlib.sha256(poses.encode()).hexdigest()[:8]}"
    shards = []
    for index, start in enumerate(range(0, source.pairs, SHARD_PAIRS)):
        seed = source.first_seed + index
        count = min(SHARD_PAIRS, source.pairs - start)
        shards.append((cache / f"{name}-{seed:06d}.npz", count, seed))
    return shards
