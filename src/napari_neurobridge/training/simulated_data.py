"""Simulated pairs to train and to test encoders on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.pairs import simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.types import Report

ByteCrops: TypeAlias = npt.NDArray[np.uint8]
TrainingPairs: TypeAlias = tuple[ByteCrops, ByteCrops, npt.NDArray[np.int64]]
"""Two-photon crops and fMOST crops (N, P, P), 255 standing for 1, and scenes (N,)."""

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
        If a source wants real neurons and there are none.
    """
    if any(source.reconstructions for source in sources) and not morphologies:
        raise InputError("Some training pairs want real neurons; give a folder of SWC files.")
    parts: list[TrainingPairs] = []
    total, n_scenes = sum(source.pairs for source in sources), 0
    for source in sources:
        for path, count, seed in _shards(source, cache):
            if not path.exists():
                simulate_pairs(
                    count,
                    seed=seed,
                    level=source.level,
                    morphologies=morphologies if source.reconstructions else (),
                    cells_per_scene=CELLS_PER_SCENE,
                    report=report,
                ).save(path)
            shard = PairSet.load(path)
            scene = shard.scene[:count] + n_scenes
            parts.append((as_bytes(shard.two_photon[:count]), as_bytes(shard.fmost[:count]), scene))
            n_scenes = int(scene.max()) + 1
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


def as_bytes(crops: npt.NDArray[np.floating]) -> ByteCrops:
    """Store crops in [0, 1] in one byte per pixel."""
    levels: ByteCrops = np.round(np.clip(crops, 0, 1) * 255).astype(np.uint8)
    return levels


def _shards(source: PairSource, cache: Path) -> list[tuple[Path, int, int]]:
    """Return file, number of pairs and seed of each shard."""
    # Pairs of another version of the level are another file.
    kind = f"{source.level}{'-swc' if source.reconstructions else ''}"
    name = f"{kind}-{level(source.level).digest()}"
    shards = []
    for index, start in enumerate(range(0, source.pairs, SHARD_PAIRS)):
        seed = source.first_seed + index
        count = min(SHARD_PAIRS, source.pairs - start)
        shards.append((cache / f"{name}-{seed:06d}.npz", count, seed))
    return shards
