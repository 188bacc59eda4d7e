import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.embedding_map import embedding_map


def unit(n, seed, dim=16):
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_partners_that_are_alike_lie_together():
    first = unit(30, 0)
    second = first + 0.02 * unit(30, 1)
    one, other = embedding_map(first, second)
    assert one.shape == other.shape == (30, 2)
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    assert (apart.argmin(axis=1) == np.arange(30)).mean() > 0.95


def test_the_seed_decides():
    first, second = unit(8, 0), unit(8, 1)
    again = embedding_map(first, second, seed=3)
    np.testing.assert_array_equal(embedding_map(first, second, seed=3), again)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_pairs_have_a_map(n):
    one, other = embedding_map(unit(n, 0), unit(n, 1))
    assert np.isfinite(one).all()
    assert np.isfinite(other).all()


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(InputError, match="at least two pairs"):
        embedding_map(unit(1, 0), unit(1, 1))
    with pytest.raises(InputError, match="one vector of each side"):
        embedding_map(unit(3, 0), unit(4, 1))
    broken = unit(3, 0)
    broken[1, 2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        embedding_map(broken, unit(3, 1))
