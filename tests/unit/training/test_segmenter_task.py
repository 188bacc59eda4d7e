"""Making the segmenter: scenes with their somata, windows of them, training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet, load_segmenter
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.scene_sources import SceneSource
from napari_neurobridge.training.segmented_scenes import (
    VOXEL_UM,
    SegmentedScene,
    SegmentedSide,
    cached_segmented_scene,
)
from napari_neurobridge.training.segmenter_draws import DrawParams, draw_example
from napari_neurobridge.training.segmenter_source import fixed_on_source
from napari_neurobridge.training.segmenter_task import (
    SegmenterTask,
    make_segmenter_folder,
    segmentation_loss,
    train_segmenter,
)

SIZE_UM = (40.0, 80.0, 80.0)
SOURCE = SceneSource(level="easy", first_seed=3, count=1)
TASK = SegmenterTask(
    model=SegmenterConfig(width=4, halvings=2, planes=3),
    draws=DrawParams(size_px=32),
    size_um=SIZE_UM,
    scenes=(SOURCE,),
    validation=SOURCE,
    batch=2,
    loop=LoopConfig(steps=6, warmup_steps=1, checkpoint_every=2, report_every=2),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Hold one scene."""
    folder = tmp_path_factory.mktemp("scenes")
    cached_segmented_scene(3, "easy", SIZE_UM, folder)
    return folder


@pytest.fixture(scope="module")
def scene(cache) -> SegmentedScene:
    return cached_segmented_scene(3, "easy", SIZE_UM, cache)


@pytest.mark.parametrize("side", ["two_photon", "fmost"])
def test_somata_lie_where_the_scene_says_and_are_as_large_as_balls(scene, side: str) -> None:
    held: SegmentedSide = getattr(scene, side)
    assert held.image.shape == held.somata.shape
    end = np.array(held.somata.shape) - 1
    inner = [
        voxel
        for voxel in np.rint(held.centers_um / VOXEL_UM).astype(int)
        if ((voxel >= 6) & (voxel <= end - 6)).all()
    ]
    assert inner
    numbers = [held.somata[tuple(voxel)] for voxel in inner]
    assert all(numbers)
    assert len(set(numbers)) == len(numbers)
    sizes = np.bincount(held.somata.ravel())[numbers] * VOXEL_UM**3
    # Mean radii of mouse somata are 5 to 10 µm.
    assert (sizes > 0.6 * 4 / 3 * math.pi * 5**3).all()
    assert (sizes < 1.6 * 4 / 3 * math.pi * 10**3).all()
    # Somata are brighter than what is around them.
    assert held.image[held.somata > 0].mean() > 1.5 * held.image[held.somata == 0].mean()


def test_the_cache_gives_back_what_was_made(cache, scene) -> None:
    (file,) = cache.glob("segmented-easy-*.npz")
    before = file.stat().st_mtime_ns
    again = cached_segmented_scene(3, "easy", SIZE_UM, cache)
    assert file.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.fmost.somata, scene.fmost.somata)


@pytest.mark.parametrize("single", [0.0, 1.0])
def test_windows_show_the_pixels_that_they_are_labelled_by(scene, single: float) -> None:
    params = DrawParams(size_px=32, single=single)
    bright, dark = [], []
    for number in range(20):
        images, somata = draw_example(scene, 5, params, np.random.default_rng(number))
        assert images.shape == (5, 32, 32)
        assert somata.shape == (32, 32)
        if single:
            np.testing.assert_array_equal(images[0], images[4])
        bright.append(images[2][somata])
        dark.append(images[2][~somata])
    assert np.concatenate(bright).mean() > np.concatenate(dark).mean() + 0.5


def test_a_window_is_decided_by_its_seed(scene) -> None:
    one, two = (
        draw_example(scene, 3, DrawParams(size_px=32), np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_the_loss_is_that_of_its_definition_over_what_is_known() -> None:
    logits, wanted = torch.randn(2, 4, 4), (torch.rand(2, 4, 4) > 0.5).float()
    known = torch.rand(2, 4, 4) > 0.3
    chance = logits.sigmoid()
    dice = (2 * (chance * wanted * known).sum() + 1) / (((chance + wanted) * known).sum() + 1)
    cross = functional.binary_cross_entropy(chance, wanted, reduction="none")[known].mean()
    torch.testing.assert_close(segmentation_loss(logits, wanted, known), cross + (1 - dice) / 2)
    everything = torch.ones_like(known)
    torch.testing.assert_close(
        segmentation_loss(logits, wanted), segmentation_loss(logits, wanted, everything)
    )


def test_a_stopped_training_ends_with_the_same_bits(cache, tmp_path) -> None:
    for file in cache.glob("segmented-*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = train_segmenter(TASK, cache)

    def stop(done: int, total: int, text: str) -> None:
        if text.startswith("loss") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_segmenter(TASK, tmp_path, report=stop)
    again = train_segmenter(TASK, tmp_path)
    for ours, theirs in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class Told(SegmenterNet):
    """Says what it was shown, made likelier or less: brightness is the truth here."""

    def forward(self, images):
        return 4 * (images[:, self.config.planes // 2] - 1)


def test_the_watershed_is_fixed_where_most_somata_are_found(scene) -> None:
    side = SegmentedSide(
        np.where(scene.fmost.somata > 0, 5, 0).astype(np.float16)
        + np.random.default_rng(0).normal(0, 0.3, scene.fmost.somata.shape).astype(np.float16),
        scene.fmost.somata,
        scene.fmost.centers_um,
    )
    params, figures = fixed_on_source(Told(TASK.model), [SegmentedScene(side, side)])
    assert figures["two_photon"] == figures["fmost"]
    assert figures["fmost"].precision == 1
    # Those at the faces are left out.
    assert figures["fmost"].recall > 0.7
    assert figures["fmost"].split + figures["fmost"].merge < 0.5
    assert params.distance_px == TASK.model.watershed.distance_px


def test_a_folder_is_made_with_a_card_that_tells_the_command(cache, tmp_path) -> None:
    make_segmenter_folder(tmp_path / "net", TASK, cache, command="the command")
    net = load_segmenter(tmp_path / "net")
    assert net.config.width == 4
    card = (tmp_path / "net" / "card.md").read_text(encoding="utf-8")
    assert "the command" in card
    assert "- 1 of level `easy`, seeds from 3" in card
    assert "| two_photon | " in card
