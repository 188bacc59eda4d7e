"""Pairs to learn from and to be tested on, as few as in paper 1, and kept in a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.pairs import simulate_pairs
from napari_neurobridge.training.protocol import Trials, draw_trials, reference_similarity
from napari_neurobridge.training.simulated_data import CELLS_PER_SCENE, EVALUATION_CELLS

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.types import Report

TRAIN_PAIRS, VALIDATION_PAIRS = 190, 30
"""As in paper 1, whose test set has 53 (`EVALUATION_CELLS`)."""

TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 200, 10, 100
"""Of split 0; no bundled model was trained on any of these scenes."""


@dataclass(frozen=True, eq=False)
class FewShotData:
    """The pairs of one split, and what every method is asked about them.

    Attributes
    ----------
    split : int
        Counts from 0.
    train, validation, test : PairSet
        190, 30 and 53 pairs of scenes of their own.
    validation_trials, test_trials : Trials
        Positives and negatives, the same for all methods.
    """

    split: int
    train: PairSet
    validation: PairSet
    test: PairSet
    validation_trials: Trials
    test_trials: Trials


def few_shot_data(
    split: int,
    level: str,
    folder: Path,
    *,
    training: bool = True,
    report: Report | None = None,
) -> FewShotData:
    """Simulate the pairs of a split, or read them where that was done before.

    Parameters
    ----------
    split : int
        Counts from 0; each has scenes that no other has.
    level : str
        Difficulty of the simulation.
    folder : Path
        Where files of pairs are kept.
    training : bool, default: True
        Whether anything will learn; otherwise no training pairs are made.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.
    """
    validation, test = (
        _pairs(count, seed + split, count, level, folder, report)
        for count, seed in (
            (VALIDATION_PAIRS, VALIDATION_SEED),
            (EVALUATION_CELLS, TEST_SEED),
        )
    )
    train = validation.take(np.zeros(0, dtype=int))
    if training:
        train = _pairs(TRAIN_PAIRS, TRAIN_SEED + split, CELLS_PER_SCENE, level, folder, report)
    return few_shot_split(split, train, validation, test)


def few_shot_split(split: int, train: PairSet, validation: PairSet, test: PairSet) -> FewShotData:
    """Put pairs together with the trials that the neutral reference chooses for them."""
    trials = (
        draw_trials(reference_similarity(pairs), pairs.scene, np.random.default_rng((split, part)))
        for part, pairs in enumerate((validation, test))
    )
    return FewShotData(split, train, validation, test, *trials)


def _pairs(
    count: int, seed: int, per_scene: int, level: str, folder: Path, report: Report | None
) -> PairSet:
    # Pairs of another version of the level are another file.
    path = folder / f"{level}-{named_level(level).digest()}-{seed:06d}-{count}x{per_scene}.npz"
    if not path.exists():
        simulate_pairs(
            count, seed=seed, level=level, cells_per_scene=per_scene, report=report
        ).save(path)
    # Read back even if it was just made, so that the rounding is the same either way.
    return PairSet.load(path)
