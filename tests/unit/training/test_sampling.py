import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.training.sampling import BalancedSceneSampler


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    neurons=st.integers(1, 50),
    scenes_per_batch=st.integers(1, 8),
    seed=st.integers(0, 100),
    step=st.integers(0, 10_000),
)
def test_batches_are_distinct_balanced_and_repeatable(sizes, neurons, scenes_per_batch, seed, step):
    scenes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    neurons = min(neurons, len(scenes))

    def sampler():
        return BalancedSceneSampler(
            scenes, neurons=neurons, scenes_per_batch=scenes_per_batch, seed=seed
        )

    batch = sampler().batch(step)
    assert len(batch) == neurons == len(set(batch.tolist()))
    assert batch.min() >= 0
    assert batch.max() < len(scenes)
    np.testing.assert_array_equal(batch, sampler().batch(step))
    share = -(-neurons // min(scenes_per_batch, neurons))
    if min(sizes) >= share and len(sizes) >= -(-neurons // share):
        _, counts = np.unique(scenes[batch], return_counts=True)
        assert counts.max() <= share


def test_steps_differ_and_reach_every_pair():
    scenes = np.repeat(np.arange(5), 20)
    sampler = BalancedSceneSampler(scenes, neurons=20, scenes_per_batch=2)
    batches = [sampler.batch(step) for step in range(100)]
    assert set(np.concatenate(batches).tolist()) == set(range(100))
    assert not np.array_equal(batches[0], batches[1])


def test_too_few_pairs_is_one_sentence():
    with pytest.raises(InputError, match="needs 50 pairs and there are 3"):
        BalancedSceneSampler(np.zeros(3, int))
