"""Uncertainty under dropout, pass by pass, and what it leaves of the model."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from napari_neurobridge.active.uncertainty import (
    candidate_probabilities,
    dropout_switched_on,
    dropout_uncertainty,
    item_entropy,
    mean_predictions,
)
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError


def network(rate: float = 0.5) -> nn.Sequential:
    """A small segmenter with both kinds of layers that behave otherwise in training."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout2d(rate))
    return nn.Sequential(*layers, nn.Conv2d(8, 2, 1))


IMAGES = torch.rand(7, 1, 5, 6, generator=torch.Generator().manual_seed(1))


def entropy_by_hand(probability: np.ndarray) -> list[float]:
    """Equations 3 and 4 of NeuroADDA, pixel by pixel."""
    found = []
    for item in probability:
        pixels = item.reshape(len(item), -1).T
        found.append(sum(-sum(p * math.log(p) for p in pixel) for pixel in pixels) / len(pixels))
    return found


def test_it_is_the_entropy_of_the_mean_of_all_passes():
    model = network()
    passes = []

    def predict(rows: slice) -> torch.Tensor:
        passes.append(model(IMAGES[rows]).softmax(dim=1))
        return passes[-1]

    (mean,) = mean_predictions(model, predict, 7, passes=5, batch_size=7)
    assert len(passes) == 5
    assert not torch.allclose(passes[0], passes[1])
    np.testing.assert_allclose(mean, torch.stack(passes).mean(dim=0).numpy(), atol=1e-6)
    np.testing.assert_allclose(item_entropy(mean), entropy_by_hand(mean), atol=1e-6)


def test_batches_cover_all_items_and_a_seed_settles_the_result():
    model, images = network(), IMAGES

    def predict(rows: slice) -> torch.Tensor:
        return model(images[rows]).softmax(dim=1)

    first, again, other = (
        dropout_uncertainty(model, predict, 7, passes=4, batch_size=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first.shape == (7,)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first > 0).all()
    assert (first < math.log(2)).all()
    assert dropout_uncertainty(model, predict, 0).shape == (0,)


def test_only_dropout_is_on_and_every_layer_is_left_as_it_was():
    model = network()
    model.train()
    model[0].eval()
    modes = [module.training for module in model.modules()]
    statistics = model[1].running_mean.clone()
    seen = []

    def predict(rows: slice) -> torch.Tensor:
        seen.append([module.training for module in model.modules()])
        return model(IMAGES[rows]).softmax(dim=1)

    state = torch.get_rng_state()
    for _ in mean_predictions(model, predict, 7, passes=2, batch_size=4):
        assert [module.training for module in model.modules()] == modes
    assert seen == [[False, False, False, True, False]] * 4
    assert torch.equal(model[1].running_mean, statistics)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes


def test_modes_are_restored_after_an_error():
    model = network().eval()
    model[1].train()
    with pytest.raises(KeyError), dropout_switched_on(model):
        raise KeyError("it fails")
    assert [module.training for module in model] == [False, True, False, False]


@pytest.mark.parametrize("model", [nn.Linear(2, 2), network(rate=0.0)])
def test_a_model_without_dropout_is_refused_at_once(model):
    with pytest.raises(InputError, match="The model has no dropout layer"):
        mean_predictions(model, lambda rows: torch.ones(1, 1), 1)


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"batch_size": 0}])
def test_no_pass_is_no_answer(wrong):
    with pytest.raises(InputError, match="at least one pass"):
        mean_predictions(network(), lambda rows: IMAGES[rows], 1, **wrong)


def test_entropy_is_zero_for_the_sure_and_greatest_for_who_knows_nothing():
    sure, unsure = np.array([[0.0, 1.0, 0.0]]), np.full((1, 3), 1 / 3)
    assert item_entropy(sure) == [0.0]
    assert item_entropy(unsure)[0] == pytest.approx(math.log(3))
    half = np.stack([np.array([[1.0, 0.5]]), np.array([[0.0, 0.5]])], axis=1)
    assert item_entropy(half)[0] == pytest.approx(math.log(2) / 2)


def test_candidates_and_none_share_the_probability():
    queries = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]])
    (found,) = candidate_probabilities(queries, candidates, temperature=0.2, none_similarity=0.6)
    weights = [math.exp(s / 0.2) for s in (1.0, 0.6, 0.0, 0.6)]
    np.testing.assert_allclose(found.numpy(), np.array(weights) / sum(weights), atol=1e-6)


def test_retrieval_by_an_encoder_with_dropout():
    torch.manual_seed(0)
    config = EncoderConfig(
        crop_pixels=24,
        dim=16,
        channels="local",
        dropout=0.4,
        local_channel=LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(0,)),
    )
    model = DualChannelEncoder(config).eval()
    crops = torch.rand(5, 1, 24, 24)
    with torch.inference_mode():
        vectors = model(torch.rand(5 * 3, 1, 24, 24)).view(5, 3, 16)

    def predict(rows: slice) -> torch.Tensor:
        return candidate_probabilities(
            model(crops[rows]), vectors[rows], temperature=0.05, none_similarity=0.9
        )

    found = dropout_uncertainty(model, predict, 5, passes=6, batch_size=2)
    assert found.shape == (5,)
    assert (found > 0).all()
    assert (found < math.log(4)).all()
    with pytest.raises(InputError, match="no dropout layer"):
        plain = DualChannelEncoder(config.model_copy(update={"dropout": 0.0}))
        dropout_uncertainty(plain, predict, 5)
