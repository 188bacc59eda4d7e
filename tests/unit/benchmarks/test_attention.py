import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks.attention import benchmark_attention
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.simulation.pairs import simulate_pairs


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load(find_model("compact"))


@pytest.fixture(scope="module")
def pairs():
    return simulate_pairs(8, seed=301, level="paper", cells_per_scene=8)


@pytest.mark.slow
def test_maps_of_the_bundled_model_pass_the_sanity_tests(encoder, pairs):
    """The finish line: with random weights, or another candidate, the map is another."""
    pytest.importorskip("captum")
    found = benchmark_attention(encoder, pairs)
    assert found.n == 8
    for channel in (found.local, found.context):
        assert channel.random_weights < 0.5
        assert channel.other_candidate < 0.5
        assert channel.hidden_brightest > channel.hidden_random
        assert channel.hidden_brightest > channel.hidden_darkest


def test_random_numbers_of_others_are_left_alone(encoder, pairs):
    pytest.importorskip("captum")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = benchmark_attention(encoder, pairs, examples=2)
    assert torch.equal(torch.rand(3), expected)
    assert benchmark_attention(encoder, pairs, examples=2) == first


def test_one_pair_is_refused(encoder, pairs):
    with pytest.raises(InputError, match="at least two pairs"):
        benchmark_attention(encoder, pairs.take(np.array([0])))
