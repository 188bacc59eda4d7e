import numpy as np
import pytest

from napari_neurobridge.active import domain
from napari_neurobridge.active.domain import (
    distance_matrix,
    half_split_mmd2,
    mmd2,
    mmd2_test,
    own_network_distances,
    symmetrised,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import median_distance


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


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows of the kernels below."""
    monkeypatch.setattr(domain, "_BLOCK_NUMBERS", 1000)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_change_nothing():
    first, second = normal(140, 0), normal(90, 1, 0.3)
    blocks = list(domain._kernel_blocks(first, second, 2.5))
    assert [block.shape for block in blocks] == [(11, 90)] * 12 + [(8, 90)]
    assert mmd2(first, second, bandwidth=2.5) == pytest.approx(
        by_the_book(first, second, 2.5), abs=1e-12
    )


def test_coordinates_far_from_zero_do_not_cancel():
    first, second = normal(20, 0), normal(30, 1, 0.5)
    expected = mmd2(first, second, bandwidth=2.0)
    assert mmd2(first + 1e5, second + 1e5, bandwidth=2.0) == pytest.approx(expected, abs=1e-9)


def permuted_by_hand(
    first: np.ndarray, second: np.ndarray, permutations: int, rng: np.random.Generator
) -> float:
    """Compute each permutation's MMD² anew."""
    both, n = np.concatenate([first, second]), len(first)
    observed, as_large = by_the_book(first, second, 2.0), 1
    for _ in range(permutations):
        order = rng.permutation(len(both))
        value = by_the_book(both[order[:n]], both[np.sort(order[n:])], 2.0)
        as_large += value >= observed
    return as_large / (permutations + 1)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("shift", "n", "m"), [(0.0, 6, 9), (0.4, 12, 7), (3.0, 8, 8)])
def test_the_permutation_test_recomputes_every_permutation(shift, n, m):
    first, second = normal(n, 0), normal(m, 1, shift)
    found = mmd2_test(first, second, bandwidth=2.0, rng=np.random.default_rng(5), permutations=60)
    assert found.mmd2 == pytest.approx(by_the_book(first, second, 2.0), abs=1e-12)
    assert found.p_value == permuted_by_hand(first, second, 60, np.random.default_rng(5))
    assert found.floor == 1 / 61
    assert found.floor <= found.p_value <= 1


def test_p_values_are_even_for_one_distribution_and_small_for_two():
    values = [
        mmd2_test(
            normal(15, 2 * seed),
            normal(15, 2 * seed + 1),
            bandwidth=2.5,
            rng=np.random.default_rng(seed),
            permutations=99,
        ).p_value
        for seed in range(200)
    ]
    for level in (0.1, 0.25, 0.5, 0.75):
        share = float(np.mean(np.array(values) <= level))
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / len(values))
    apart = mmd2_test(
        normal(30, 0), normal(30, 1, 1.0), bandwidth=2.5, rng=np.random.default_rng(0)
    )
    assert apart.p_value == apart.floor == 1 / 1000


def test_each_network_compares_in_its_own_features():
    def seen_by(network: int, of: int) -> np.ndarray:
        """Network 1 has more features, and tells the domains better."""
        rows = normal(25, of, shift=0.5 * of, features=3)
        return rows if network == 0 else np.hstack([4 * rows, normal(25, 10 + of, shift=of)])

    features = [[seen_by(i, j) for j in range(2)] for i in range(2)]
    found = own_network_distances(features)
    widths = [median_distance(features[i][i]) for i in range(2)]
    expected = [
        [0.0, by_the_book(features[0][0], features[0][1], widths[0])],
        [by_the_book(features[1][1], features[1][0], widths[1]), 0.0],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[1, 0] > 1.2 * found[0, 1]
    assert np.array_equal(found, own_network_distances(features, bandwidths=widths))
    assert symmetrised(found)[0, 1] == symmetrised(found)[1, 0] == (found[0, 1] + found[1, 0]) / 2


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: mmd2(normal(5, 0), normal(5, 1), bandwidth=0.0), "has to be positive"),
        (
            lambda: mmd2_test(
                normal(5, 0),
                normal(5, 1),
                bandwidth=1.0,
                permutations=0,
                rng=np.random.default_rng(0),
            ),
            "at least one permutation",
        ),
        (lambda: own_network_distances([[normal(5, 0)], [normal(5, 0)]]), "all 2 domains"),
        (
            lambda: own_network_distances([[normal(5, 0)] * 2] * 2, bandwidths=[1.0]),
            "2 networks need 2 bandwidths, not 1",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()
