"""Rejected candidates in a batch: each crop is of the neuron that it shows, and of no other."""

import numpy as np
import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.losses import CircleObjective
from napari_neurobridge.training.rejected import (
    BatchRows,
    RejectedPairs,
    number_neurons,
    with_rejected,
)
from napari_neurobridge.training.sampling import BalancedSceneSampler

TRAINING = [("tp-1", "fm-1"), ("tp-2", "fm-2"), ("tp-3", "fm-3")]


def crops(n, seed=0):
    sides = np.random.default_rng(seed).random((2, n, 8, 8), dtype=np.float32)
    return PairSet(sides[0], sides[1], np.zeros(n, dtype=np.int64))


def test_a_soma_has_one_number_wherever_it_is_seen():
    rejected = [("tp-2", "fm-9"), ("tp-8", "fm-9"), ("tp-8", "fm-3"), ("tp-1", "fm-2")]
    numbers = number_neurons(rejected, TRAINING)
    assert numbers[0, 0] == 1  # of the second training pair
    assert numbers[2, 1] == 2
    assert numbers[3].tolist() == [0, 1]
    assert numbers[0, 1] == numbers[1, 1] >= len(TRAINING)
    assert numbers[1, 0] == numbers[2, 0] >= len(TRAINING)
    assert numbers[1, 0] != numbers[1, 1]


def test_one_neuron_cannot_be_rejected_as_itself():
    with pytest.raises(InputError, match="two neurons"):
        RejectedPairs(crops(1), np.array([[4, 4]]))
    with pytest.raises(InputError, match="two neurons for each"):
        RejectedPairs(crops(2), np.array([[4, 5]]))


def test_batches_hold_so_many_rejected_pairs_after_the_others_and_a_step_is_repeatable():
    rejected = RejectedPairs(crops(6, 1), np.arange(12).reshape(6, 2) + 20)
    sampler = BalancedSceneSampler(np.zeros(20, dtype=int), neurons=8)
    batches = BatchRows(sampler, rejected, most=4, seed=3)
    rows, neurons = batches.batch(5)
    again, _ = BatchRows(sampler, rejected, most=4, seed=3).batch(5)
    assert np.array_equal(rows, again)
    assert rows[:8].tolist() == sampler.batch(5).tolist()
    drawn = rows[8:] - 20
    assert len(set(drawn)) == 4
    assert neurons[0][:8].tolist() == neurons[1][:8].tolist() == rows[:8].tolist()
    assert neurons[0][8:].tolist() == rejected.neurons[drawn, 0].tolist()
    assert neurons[1][8:].tolist() == rejected.neurons[drawn, 1].tolist()
    assert len(with_rejected(crops(20), rejected)) == 26


def test_without_any_a_batch_is_what_it_was():
    sampler = BalancedSceneSampler(np.zeros(9, dtype=int), neurons=4)
    rows, neurons = BatchRows(sampler, None, most=4, seed=0).batch(1)
    assert neurons is None
    assert rows.tolist() == sampler.batch(1).tolist()


def test_the_loss_pushes_a_rejected_candidate_away_and_no_crop_of_the_same_neuron():
    torch.manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(4, 16), dim=1) for _ in range(2))
    plain = CircleObjective(gamma=8.0, mine=False)
    labels = np.stack([np.arange(4)] * 2)
    assert float(plain(a, b)) == pytest.approx(float(plain(a, b, labels)))

    candidate = (a[0] + 0.3 * torch.randn(16)).detach()
    both = (torch.cat((a, a[:1])), torch.cat((b, candidate[None])))
    both[1].requires_grad_(True)
    neurons = np.array([[0, 1, 2, 3, 0], [0, 1, 2, 3, 9]])
    plain(*both, neurons).backward()
    # A step against the gradient takes the candidate away from the cell, the partner towards it.
    step = -both[1].grad
    assert float(step[4] @ a[0]) < 0
    assert float(step[0] @ a[0]) > 0
