"""Tiles as algorithm 1 adapts them: pools, training, evaluation, and the nearest source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import entr

from fixtures.patchworks import PATCHWORK_CONFIG, PATCHWORK_PARAMS, patchwork_tiles
from napari_neurobridge.active.adapt import AdaptParams, adapt, source_distances
from napari_neurobridge.active.samplers.by_name import SAMPLERS, SamplerName
from napari_neurobridge.active.segmentation import SegmentationTask, deepest_features
from napari_neurobridge.detection.unet import SegmenterNet, load_segmenter
from napari_neurobridge.detection.watershed import instances, variation_of_information
from napari_neurobridge.errors import InputError
from napari_neurobridge.training.segmenter_task import segmentation_loss


@pytest.fixture
def task(patchwork_sources) -> SegmentationTask:
    return SegmentationTask(
        patchwork_tiles(3), PATCHWORK_CONFIG, patchwork_sources, PATCHWORK_PARAMS
    )


def test_the_source_of_the_same_lines_is_nearest_and_needs_the_fewest_labels(task):
    distances = source_distances(task, ["bright", "dark"])
    assert list(distances) == ["dark", "bright"]
    assert distances["bright"].mmd2 > 5 * abs(distances["dark"].mmd2)
    untouched = {name: task.like(name).evaluate(task.start(name))["vi"] for name in distances}
    assert untouched["dark"] < 0.5 * untouched["bright"]
    params = AdaptParams(labels=2, steps=8, rounds=2)
    found = adapt(task.like("dark"), "dark", task.tiles.annotate, params)
    scratch = adapt(task.like("dark"), None, task.tiles.annotate, params)
    assert found.curve[-1].figures["vi"] < 0.5 * scratch.curve[-1].figures["vi"]


def test_evaluation_is_split_and_merge_of_the_held_out_tiles(task):
    task = task.like("dark")
    net = load_segmenter(task.sources["dark"])
    bits = []
    for corner in task.tiles.test:
        with torch.inference_mode():
            told = net(torch.from_numpy(task.tiles.seen([corner]))).sigmoid()[0].numpy()
        truth = task.tiles.truth(corner, boundaries=True)
        found = instances(told, "boundaries", net.config.watershed)
        bits.append(variation_of_information(truth, found))
    told = task.evaluate(task.start("dark"))
    np.testing.assert_allclose([told["split"], told["merge"]], np.mean(bits, axis=0), rtol=1e-5)
    assert told["vi"] == told["split"] + told["merge"]


def test_the_pool_is_seen_in_the_order_of_the_items(task):
    weights = task.start("dark")
    items = np.array([5, 2, 9], dtype=np.intp)
    seen = task.pool(weights, items, SamplerName.BADGE, seed=4)
    net = load_segmenter(task.sources["dark"])
    with torch.inference_mode():
        maps = net.finest(torch.from_numpy(task.tiles.seen([task.tiles.pool[i] for i in items])))
    np.testing.assert_allclose(seen.features, maps.mean(dim=(2, 3)).numpy(), atol=1e-5)
    assert seen.gradients is not None
    assert seen.gradients.shape == (3, 2 * PATCHWORK_CONFIG.width)
    alone = task.pool(weights, items, SamplerName.MEDIAN, seed=4)
    np.testing.assert_array_equal(alone.uncertainty, seen.uncertainty)
    assert 0 < seen.uncertainty.min() < seen.uncertainty.max() < entr([0.5, 0.5]).sum()
    for name, choose in SAMPLERS.items():
        pool = task.pool(weights, items, name, seed=4)
        assert len(choose(pool, 2, np.random.default_rng(0))) == 2


def test_the_gradients_are_those_of_the_last_layer(task):
    """Compare with torch's own gradients, of two logits of which one stays 0."""
    weights = task.start("dark")
    seen = task.pool(weights, np.array([7]), SamplerName.BADGE, seed=0)
    net = load_segmenter(task.sources["dark"])
    maps = net.finest(torch.from_numpy(task.tiles.seen([task.tiles.pool[7]]))).detach()
    logits = net.tell(maps)[:, 0].detach()
    both = torch.stack([torch.zeros_like(logits), logits], dim=1)
    guess = both.argmax(dim=1)
    layer = torch.zeros(2, maps.shape[1], requires_grad=True)
    shifted = both + torch.einsum("cf,bfhw->bchw", layer, maps)
    torch.nn.functional.cross_entropy(shifted, guess).backward()
    assert layer.grad is not None
    np.testing.assert_allclose(seen.gradients[0], layer.grad.numpy().ravel(), atol=1e-5)


def test_training_is_the_same_again_and_leaves_its_arguments_alone(task):
    weights = task.start("bright")
    before = {name: value.clone() for name, value in weights.items()}
    labels = dict(enumerate(task.tiles.annotate(range(2))))
    one, two = (task.train(weights, labels, 4, seed=9) for _ in range(2))
    other = task.train(weights, labels, 4, seed=10)
    for name, value in before.items():
        assert torch.equal(weights[name], value)
        assert torch.equal(one[name], two[name])
    assert not torch.equal(one["tell.weight"], other["tell.weight"])


def test_training_lowers_the_loss_on_its_labels(task):
    labels = dict(enumerate(task.tiles.annotate(range(2))))
    images = torch.from_numpy(task.tiles.seen(task.tiles.pool[:2]))
    wanted = torch.from_numpy(np.stack([labels[i].wanted for i in range(2)])).float()

    def loss(weights):
        net = SegmenterNet(PATCHWORK_CONFIG)
        net.load_state_dict(weights)
        with torch.inference_mode():
            return float(segmentation_loss(net.eval()(images), wanted))

    weights = task.start("bright")
    assert loss(task.train(weights, labels, 30, seed=0)) < 0.7 * loss(weights)


def test_features_are_the_maxima_of_the_deepest_maps(task):
    net = load_segmenter(task.sources["dark"])
    caught = []
    net.down[-1].register_forward_hook(lambda _module, _inputs, out: caught.append(out))
    found = deepest_features(net, task.tiles, task.tiles.pool[:2], at_once=1)
    expected = torch.cat(caught).flatten(2).amax(dim=2)
    np.testing.assert_array_equal(found, expected.numpy())
    assert found.shape == (2, PATCHWORK_CONFIG.width * 4)


def test_networks_of_several_planes_or_of_another_size_are_refused(task, patchwork_sources):
    deep = PATCHWORK_CONFIG.model_copy(update={"planes": 3})
    with pytest.raises(InputError, match="sees 3 planes at once"):
        SegmentationTask(task.tiles, deep)
    wide = PATCHWORK_CONFIG.model_copy(update={"width": 6})
    with pytest.raises(InputError, match="another size"):
        SegmentationTask(task.tiles, wide, patchwork_sources).start("dark")


def test_a_source_without_a_fingerprint_is_refused(task, tmp_path):
    from napari_neurobridge.models.weights import save_network

    save_network(SegmenterNet(PATCHWORK_CONFIG), PATCHWORK_CONFIG, tmp_path / "plain")
    plain = SegmentationTask(task.tiles, PATCHWORK_CONFIG, {"plain": tmp_path / "plain"})
    with pytest.raises(InputError, match="'plain' holds no fingerprint"):
        source_distances(plain, ["plain"])
