"""Pairs of somata to learn from, and a toy of the training."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.registration.keypoints import Keypoints
from napari_neurobridge.registration.soma_pairs import SomaPairConfig, SomaPairNet
from napari_neurobridge.training.image_tasks import ImageTask
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.soma_pair_sets import (
    MARGIN_PX,
    SomaPairParams,
    SomaPairSet,
    draw_soma_pairs,
)
from napari_neurobridge.training.soma_pair_task import (
    SomaPairTask,
    augmented,
    judged,
    train_soma_pairs,
)

CONFIG = SomaPairConfig(width=4, crop_px=16)
SIDE = 240
SHIFT = np.array([6.0, -9.0])


class Told:
    """Stands for the feature network: it is told where the somata are."""

    def __init__(self, *places: np.ndarray) -> None:
        self.places = list(places)

    def describe(self, image: object) -> Told:
        return Told(self.places.pop(0))

    def somata(self, least_probability: float) -> Keypoints:
        return Keypoints.at(self.places[0])


def task_of(somata: np.ndarray) -> ImageTask:
    """Return two images that differ by a shift."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.indices((SIDE, SIDE)), axis=-1).astype(np.float64)
    images = []
    for move in (0, SHIFT):
        image = 0.02 * rng.standard_normal((SIDE, SIDE))
        for place in somata + move:
            image += np.exp(-0.5 * ((grid - place) ** 2).sum(axis=-1) / 16)
        images.append(image.astype(np.float32))
    truth = (grid + SHIFT).astype(np.float32)
    return ImageTask(images[0], images[1], truth, (somata, somata + SHIFT))


def test_right_pairs_look_alike_and_wrong_ones_are_those_of_the_search() -> None:
    somata = np.random.default_rng(1).uniform(30, SIDE - 30, (45, 2))
    told = Told(somata, somata + SHIFT)
    rng = np.random.default_rng(2)
    exact = SomaPairParams(linear_error=0.0)
    drawn = draw_soma_pairs(task_of(somata), told, CONFIG, exact, rng)  # type: ignore[arg-type]
    side = CONFIG.crop_px + 2 * MARGIN_PX
    assert drawn.crops.shape[1:] == (2, side, side)
    assert drawn.same.sum() >= 45
    assert (~drawn.same).sum() >= 45
    crops = drawn.crops.astype(np.float64)
    apart = np.abs(crops[:, 0] - crops[:, 1]).mean(axis=(1, 2))
    assert np.median(apart[drawn.same]) < 0.4 * np.median(apart[~drawn.same])


@pytest.mark.parametrize("count", [0, 12])
def test_too_few_somata_give_no_pairs(count) -> None:
    somata = np.random.default_rng(1).uniform(30, SIDE - 30, (count, 2))
    told = Told(somata, somata)
    drawn = draw_soma_pairs(
        task_of(somata),
        told,  # type: ignore[arg-type]
        CONFIG,
        SomaPairParams(),
        np.random.default_rng(0),
    )
    assert len(drawn) == 0


def toy_pairs(count: int, seed: int) -> SomaPairSet:
    """Right pairs show a stroke in both crops along one direction, wrong ones along two."""
    rng = np.random.default_rng(seed)
    side = CONFIG.crop_px + 2 * MARGIN_PX
    crops = np.zeros((count, 2, side, side), dtype=np.uint8)
    same = rng.random(count) < 0.5
    for row in range(count):
        upright = rng.random() < 0.5
        for one, along in enumerate((upright, upright if same[row] else not upright)):
            crops[row, one, side // 2 - 1 : side // 2 + 2] = 255
            if along:
                crops[row, one] = crops[row, one].T
    return SomaPairSet(crops, same)


def test_augmentation_keeps_the_two_crops_together() -> None:
    pairs = toy_pairs(60, 0)
    seen = augmented(pairs.crops, np.random.default_rng(0))
    assert seen.shape == (60, 2, 16, 16)
    upright = seen.std(axis=3).mean(axis=2) < seen.std(axis=2).mean(axis=2)
    np.testing.assert_array_equal(upright[:, 0] == upright[:, 1], pairs.same)


@pytest.mark.slow
def test_a_network_learns_what_is_alike_and_resumes(tmp_path) -> None:
    loop = LoopConfig(
        steps=60, learning_rate=5e-3, warmup_steps=5, checkpoint_every=30, report_every=30
    )
    task = SomaPairTask(model=CONFIG, batch=32, loop=loop)
    net = train_soma_pairs(task, toy_pairs(200, 0), tmp_path)
    tests = toy_pairs(80, 1)
    assert ((judged(net, tests.crops) > 0) == tests.same).mean() > 0.95
    again = train_soma_pairs(task, toy_pairs(200, 0), tmp_path)
    np.testing.assert_array_equal(judged(again, tests.crops), judged(net, tests.crops))
    assert isinstance(again, SomaPairNet)
