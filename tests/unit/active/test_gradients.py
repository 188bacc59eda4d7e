"""Gradient embeddings against automatic differentiation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_neurobridge.active.gradients import class_gradients, retrieval_gradients
from napari_neurobridge.errors import InputError


def test_class_gradients_are_those_of_the_last_layer():
    torch.manual_seed(0)
    features, layer = torch.randn(4, 5, dtype=torch.float64), torch.nn.Linear(5, 3).double()
    logits = layer(features)
    expected = []
    for row in range(4):
        loss = functional.cross_entropy(logits[row : row + 1], logits[row : row + 1].argmax(dim=1))
        (gradient,) = torch.autograd.grad(loss, layer.weight, retain_graph=True)
        expected.append(gradient.numpy().ravel())
    found = class_gradients(logits.softmax(dim=1).detach().numpy(), features.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_item_with_places_has_the_mean_gradient():
    torch.manual_seed(1)
    features = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    layer = torch.nn.Conv2d(4, 2, 1).double()
    logits = layer(features)
    expected = []
    for row in range(2):
        own = logits[row : row + 1]
        loss = functional.cross_entropy(own, own.argmax(dim=1))  # the mean over pixels
        (gradient,) = torch.autograd.grad(loss, layer.weight, retain_graph=True)
        expected.append(gradient.numpy().ravel())
    found = class_gradients(logits.softmax(dim=1).detach().numpy(), features.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("none", [-5.0, 0.2, 5.0])
def test_retrieval_gradients_are_those_of_the_query(none):
    torch.manual_seed(2)
    query = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    candidates = torch.randn(3, 4, 6, dtype=torch.float64)
    similarity = torch.einsum("nd,nkd->nk", query, candidates)
    logits = torch.cat([similarity, torch.full((3, 1), none, dtype=torch.float64)], dim=1)
    loss = functional.cross_entropy(logits, logits.argmax(dim=1), reduction="sum")
    (expected,) = torch.autograd.grad(loss, query)
    found = retrieval_gradients(logits.softmax(dim=1).detach().numpy(), candidates.numpy())
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)


def test_who_is_sure_learns_nothing():
    sure = np.array([[0.0, 1.0, 0.0]])
    assert not class_gradients(sure, np.ones((1, 2))).any()
    assert not retrieval_gradients(sure, np.ones((1, 2, 4))).any()


def test_the_probabilities_are_left_alone():
    probability = np.array([[0.2, 0.8]])
    class_gradients(probability, np.ones((1, 2)))
    assert probability.tolist() == [[0.2, 0.8]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="not of the same items and places"):
        class_gradients(np.ones((2, 3)), np.ones((3, 4)))
    with pytest.raises(InputError, match="not of the same items and places"):
        class_gradients(np.ones((2, 3, 4)), np.ones((2, 4, 5)))
    with pytest.raises(InputError, match="2 queries with 3 candidates have 4 probabilities"):
        retrieval_gradients(np.ones((2, 3)), np.ones((2, 3, 5)))
