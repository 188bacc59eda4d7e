import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from napari_neurobridge.simulation.keyed import Key

INDEX = torch.arange(50_000)


def test_uniform_and_normal_numbers_have_their_distributions():
    assert kstest(Key.of(1).uniform(INDEX).numpy(), "uniform").pvalue > 1e-3
    assert kstest(Key.of(2).normal(INDEX).numpy(), "norm").pvalue > 1e-3
    assert kstest(Key.of(3).normal(INDEX, 3).numpy().ravel(), "norm").pvalue > 1e-3


def test_neighbouring_indices_keys_and_children_are_unrelated():
    key = Key.of(7)
    rows = [
        key.normal(INDEX),
        key.normal(INDEX + 1),
        Key.of(8).normal(INDEX),
        key.child("noise").normal(INDEX),
        key.child("label").normal(INDEX),
        key.child(0).normal(INDEX),
        key.child(1).normal(INDEX),
        *key.child(2).normal(INDEX, 4).unbind(dim=1),
    ]
    correlation = np.corrcoef(torch.stack(rows).numpy())
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(INDEX))


@given(st.permutations(range(20)))
def test_a_number_belongs_to_its_index_in_whatever_company(order):
    key = Key.of(5)
    index = torch.tensor(order)
    assert torch.equal(key.uniform(index), key.uniform(torch.arange(20))[index])
    assert torch.equal(key.normal(index, 5), key.normal(torch.arange(20), 5)[index])


def test_seeds_of_several_parts_differ_in_each():
    words = {Key.of(a, b).word for a in range(30) for b in range(30)}
    assert len(words) == 900


def test_a_key_gives_a_generator_of_its_own():
    first, again = (Key.of(3).child("x").rng().random(4) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, Key.of(3).child("y").rng().random(4))


def test_known_numbers_stay_known():
    """A change of the mixing function would change every scene that a seed stands for."""
    assert Key.of(1, 2).child("somata").word == 3447305968684988809
    assert Key.of(0).uniform(torch.tensor([0, 1, 2])).tolist() == pytest.approx(
        [0.281761, 0.652448, 0.701212], rel=1e-5
    )
    assert Key.of(0).normal(torch.tensor([0, 1, 2])).tolist() == pytest.approx(
        [-0.577623, 0.391928, 0.527889], rel=1e-5
    )
