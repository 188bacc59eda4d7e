import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.mutual import mutual_similarity


def by_the_formula(similarity, temperature):
    """The geometric mean of both softmaxes, entry by entry."""
    weights = np.exp(similarity / temperature)
    result = np.empty_like(weights)
    for i, j in np.ndindex(weights.shape):
        chosen = weights[i, j] / weights[i].sum() * weights[i, j] / weights[:, j].sum()
        result[i, j] = np.log(chosen) / 2
    return result


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_it_is_the_mean_of_both_log_softmaxes(n, m, seed):
    similarity = np.random.default_rng(seed).uniform(-1, 1, (n, m))
    expected = by_the_formula(similarity, 0.1)
    np.testing.assert_allclose(mutual_similarity(similarity, temperature=0.1), expected)


def test_general_likeness_of_a_crop_counts_half():
    rng = np.random.default_rng(0)
    partners = np.eye(20) * 0.25 + rng.normal(0, 0.005, (20, 20))
    # Some candidates are a little like every query.
    dull = partners + rng.uniform(0, 0.4, (1, 20))
    right = np.arange(20)
    assert (dull.argmax(axis=1) == right).mean() < 0.85
    assert (mutual_similarity(dull).argmax(axis=1) == right).mean() > 0.9
    assert (mutual_similarity(partners).argmax(axis=1) == right).all()


def test_groups_are_matrices_of_their_own():
    similarity = np.random.default_rng(1).uniform(-1, 1, (5, 5))
    group = np.array([0, 1, 0, 1, 1])
    whole = mutual_similarity(similarity, group)
    for name in (0, 1):
        own = np.flatnonzero(group == name)
        alone = mutual_similarity(similarity[np.ix_(own, own)])
        np.testing.assert_allclose(whole[np.ix_(own, own)], alone)
    assert np.isneginf(whole[group[:, None] != group[None, :]]).all()


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="2 groups do not fit"):
        mutual_similarity(np.zeros((3, 3)), np.array([0, 1]))
