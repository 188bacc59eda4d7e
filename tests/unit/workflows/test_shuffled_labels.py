"""A retrain on wrong pairs makes a model worse, and is not adopted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.fine_tune import FineTuneConfig
from napari_neurobridge.training.splits import Separation
from napari_neurobridge.workflows.train import TrainingRun
from napari_neurobridge.workflows.training_set import TrainingSet

PIXELS = 32
CONFIG = FineTuneConfig(
    strategy=Strategy.FULL, steps=40, validate_every=10, neurons=16, learning_rate=3e-3
)


def pairs_of_spots(n: int, seed: int) -> PairSet:
    """The same spots in either modality, as rings and as discs, each side with its own noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:PIXELS, :PIXELS]
    sides = np.zeros((2, n, PIXELS, PIXELS))
    for pair in range(n):
        for row, column in rng.uniform(4, PIXELS - 4, (5, 2)):
            distance = np.hypot(rows - row, columns - column)
            sides[0, pair] = np.maximum(sides[0, pair], np.exp(-((distance - 2.0) ** 2)))
            sides[1, pair] = np.maximum(sides[1, pair], distance < 3)
    sides[1] = ndimage.gaussian_filter(sides[1], (0, 1, 1))
    sides += rng.uniform(0, 0.6, sides.shape)
    first, second = np.clip(sides / 1.6, 0, 1).astype(np.float32)
    return PairSet(first, second, np.zeros(n, dtype=np.int64))


def training_set(seed: int, shuffle: tuple[str, ...] = ()) -> TrainingSet:
    rng = np.random.default_rng(seed)
    parts = {}
    for part, n in (("train", 36), ("validation", 16), ("test", 24)):
        pairs = pairs_of_spots(n, 10 * seed + len(parts))
        order = rng.permutation(n) if part in shuffle else np.arange(n)
        parts[part] = replace(pairs, fmost=pairs.fmost[order])
    return TrainingSet(**parts, separation=Separation.BLOCKS)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on right pairs, from random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    local = LocalConfig(window=32, widths=(8, 16), strides=(2, 2), blocks=(1, 1))
    config = EncoderConfig(
        name="tiny", crop_pixels=PIXELS, dim=32, views=1, channels="local", local_channel=local
    )
    (folder / "tiny").mkdir()
    save_model(DualChannelEncoder(config), folder / "tiny")
    run = TrainingRun(Encoder.load(folder / "tiny"), training_set(99), CONFIG, None, None)
    result = run.finish_beside(folder / "learned")
    assert result.adopted, "right pairs must make the model better"
    return folder / "learned"


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [("train",), ("train", "validation", "test")])
def test_labels_that_are_shuffled_are_never_adopted_in_ten_tries(
    learned: Path, tmp_path: Path, shuffled: tuple[str, ...]
) -> None:
    adopted = []
    for seed in range(10):
        data = training_set(seed, shuffled)
        config = CONFIG.model_copy(update={"seed": seed})
        run = TrainingRun(Encoder.load(learned), data, config, None, None)
        adopted.append(run.finish_beside(tmp_path / f"try-{seed}").adopted)
    assert adopted == 10 * [False]
