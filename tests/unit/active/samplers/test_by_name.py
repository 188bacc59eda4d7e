"""What every sampler has to keep, and those that look at uncertainty alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.active.samplers.by_name import SAMPLERS, SamplerName
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.errors import InputError


def drawn_pool(n: int, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    return Pool(rng.exponential(size=n), rng.normal(size=(n, 3)), rng.normal(size=(n, 4)))


def test_every_name_has_its_sampler():
    assert set(SAMPLERS) == set(SamplerName)
    assert [str(name) for name in SAMPLERS] == ["random", "min", "median", "max", "badge", "clue"]


@pytest.mark.parametrize("name", SamplerName)
@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 12), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_rows_are_different_as_many_as_asked_and_the_same_again(name, n, share, seed):
    pool, count = drawn_pool(n, seed), 1 + int(share * (n - 1))
    first, again = (SAMPLERS[name](pool, count, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == (count,)
    assert len(set(first.tolist())) == count
    assert 0 <= first.min() <= first.max() < n
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", SamplerName)
def test_what_cannot_be_chosen_is_refused(name):
    rng = np.random.default_rng(0)
    for count in (0, -1, 4):
        with pytest.raises(InputError, match=f"{count} items cannot be chosen from a pool of 3"):
            SAMPLERS[name](drawn_pool(3), count, rng)
    with pytest.raises(InputError, match="The pool holds no item"):
        SAMPLERS[name](drawn_pool(0), 1, rng)


def sorted_by(pool: Pool, key) -> list[int]:
    return sorted(range(len(pool)), key=lambda row: (key(pool.uncertainty[row]), row))


@pytest.mark.parametrize("values", [[0.3, 0.1, 0.7, 0.2, 0.9], [0.5, 0.2, 0.5, 0.2], [1.0]])
def test_uncertainty_orders_the_questions_and_ties_go_by_row(values):
    pool, rng = Pool(np.array(values)), np.random.default_rng(0)
    ordered = sorted(values)
    middle = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    expected = {
        SamplerName.MIN: sorted_by(pool, lambda u: u),
        SamplerName.MAX: sorted_by(pool, lambda u: -u),
        SamplerName.MEDIAN: sorted_by(pool, lambda u: abs(u - middle)),
    }
    for name, rows in expected.items():
        for count in range(1, len(values) + 1):
            assert SAMPLERS[name](pool, count, rng).tolist() == rows[:count]


def test_random_items_are_drawn_evenly():
    rng, draws = np.random.default_rng(0), 3000
    counts = np.zeros((4, 4))
    for _ in range(draws):
        rows = SAMPLERS[SamplerName.RANDOM](drawn_pool(4), 4, rng)
        counts[rows, np.arange(4)] += 1
    assert np.abs(counts / draws - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / draws)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"uncertainty": np.ones((2, 2))}, "one uncertainty for each item"),
        ({"uncertainty": np.array([0.1, np.nan])}, "The uncertainty of the pool hold"),
        ({"uncertainty": np.array([0.1, -0.1])}, "negative in places"),
        ({"features": np.ones((3, 2))}, "features of a pool of 2 items have the shape"),
        ({"gradients": np.ones(2)}, "gradients of a pool of 2 items have the shape"),
        ({"gradients": np.full((2, 2), np.inf)}, "The gradients of the pool hold"),
    ],
)
def test_a_pool_that_does_not_fit_is_refused(values, words):
    with pytest.raises(InputError, match=words):
        Pool(**{"uncertainty": np.ones(2), **values})
