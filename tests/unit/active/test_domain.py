import numpy as np
import pytest

from napari_neurobridge.active.domain import (
    distance_matrix,
    half_split_mmd2,
    median_distance,
    mmd2,
)
from napari_neurobridge.errors import InputError


def normal(count: int, seed: int, shift: float = 0.0, features: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, features))


def by_the_book(first: np.ndarray, second: np.ndarray, bandwidth: float) -> float:
    """Gretton 2012, equation 3, term by term."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        squared = float(((a - b) ** 2).sum())
        widths = (0.5 * bandwidth, bandwidth, 2 * bandwidth)
        return sum(np.exp(-squared / (2 * width**2)) for width in widths) / 3

    def within(rows: np.ndarray) -> float:
        n = len(rows)
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        return sum(kernel(rows[i], rows[j]) for i, j in pairs) / (n * (n - 1))

    between = sum(kernel(a, b) for a in first for b in second) / (len(first) * len(second))
    return within(first) + within(second) - 2 * between


@pytest.mark.parametrize(("n", "m", "bandwidth"), [(2, 2, 1.0), (7, 11, 0.4), (12, 5, 3.0)])
def test_it_is_the_unbiased_estimate_of_the_literature(n, m, bandwidth):
    first, second = normal(n, 0), normal(m, 1, shift=0.5)
    expected = by_the_book(first, second, bandwidth)
    assert mmd2(first, second, bandwidth=bandwidth) == pytest.approx(expected, abs=1e-12)


def test_one_distribution_gives_zero_on_average_and_either_sign():
    values = np.array(
        [mmd2(normal(20, 2 * i), normal(25, 2 * i + 1), bandwidth=2.5) for i in range(400)]
    )
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert 0.2 < (values < 0).mean() < 0.8


def test_it_grows_with_the_distance():
    distances = [mmd2(normal(200, 0), normal(200, 1, s), bandwidth=2.5) for s in (0.3, 0.6, 1, 2)]
    assert distances[0] > 0
    assert np.all(np.diff(distances) > 0)
    # No farther than two sets that have nothing in common.
    assert mmd2(normal(50, 0), normal(50, 1, 1e6), bandwidth=2.5) < 2.0


def test_it_sees_more_than_the_means():
    narrow, wide = 0.5 * normal(200, 0), 1.5 * normal(200, 1)
    same = mmd2(normal(200, 2), normal(200, 3), bandwidth=2.5)
    assert mmd2(narrow, wide, bandwidth=2.5) > 10 * abs(same)


def test_neither_order_nor_place_nor_unit_matters():
    first, second = normal(15, 0), normal(15, 1, 0.5)
    expected = mmd2(first, second, bandwidth=2.0)
    assert mmd2(second, first, bandwidth=2.0) == pytest.approx(expected)
    assert mmd2(first[::-1] + 3, second + 3, bandwidth=2.0) == pytest.approx(expected)
    assert mmd2(7 * first, 7 * second, bandwidth=14.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second"), [((1, 4), (5, 4)), ((5, 4), (0, 4)), ((5, 4), (5, 3))]
)
def test_sets_that_cannot_be_compared_are_refused(first, second):
    with pytest.raises(InputError, match="at least two rows of equal length"):
        mmd2(np.zeros(first), np.zeros(second), bandwidth=1.0)


def test_the_bandwidth_is_the_median_distance_of_all_rows():
    rows = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert median_distance(rows[:2], rows[2:]) == pytest.approx(np.median([1, 3, 7, 2, 6, 4]))
    # Of large sets only some rows are compared.
    many = normal(6000, 0)
    assert median_distance(many) == pytest.approx(median_distance(many[:900]), rel=0.05)


def test_the_matrix_holds_every_pair_once():
    domains = [normal(30, 0), normal(40, 1, 1.0), normal(50, 2, 3.0)]
    matrix = distance_matrix(domains)
    bandwidth = median_distance(*domains)
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(matrix.diagonal(), np.zeros(3))
    assert matrix[0, 2] == pytest.approx(mmd2(domains[0], domains[2], bandwidth=bandwidth))
    assert matrix[0, 2] > matrix[0, 1] > 0


def test_halves_of_one_domain_lie_around_zero():
    features = normal(61, 0)
    splits = [
        half_split_mmd2(features, bandwidth=2.5, splits=200, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])
    assert splits[0].shape == (200,)
    assert splits[0].min() < 0 < splits[0].max()
    # Halves share no row, and random halves of a domain with two kinds of images still mix both.
    mixed = np.concatenate([features, features + 5])
    halves = half_split_mmd2(mixed, bandwidth=2.5, splits=100, rng=np.random.default_rng(0))
    assert abs(np.median(halves)) < 0.1 * mmd2(features, features + 5, bandwidth=2.5)


def test_too_few_images_for_two_halves_are_refused():
    with pytest.raises(InputError, match="at least two rows"):
        half_split_mmd2(normal(3, 0), bandwidth=1.0, splits=1, rng=np.random.default_rng(0))
