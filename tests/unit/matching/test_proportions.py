"""Intervals and bounds of shares, against scipy, published values and counting all samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.proportions import (
    area_interval,
    draws_needed,
    interval_in_percent,
    interval_in_words,
    most_wrong,
    wilson_interval,
)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case):
    k, n = case
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_five_of_five_leave_much_open():
    low, high = wilson_interval(1.0, 5)
    assert (low, high) == (pytest.approx(0.5655, abs=1e-4), 1.0)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_of_a_large_population_is_clopper_and_pearsons(case):
    k, n = case
    exact = stats.binomtest(k, n, alternative="less").proportion_ci(0.95, method="exact")
    assert most_wrong(k, n, 10**7) / 10**7 == pytest.approx(exact.high, abs=1e-4)


def test_149_without_an_error_suffice_for_two_percent():
    assert draws_needed(10**6, 0.02) == 149
    exact = stats.binomtest(0, 149, alternative="less").proportion_ci(0.95, method="exact")
    assert exact.high <= 0.02


@pytest.mark.parametrize("population", [1, 2, 7, 9])
def test_the_bound_of_a_finite_population_is_that_of_counting_all_samples(population):
    """An oracle without any formula: of each number of wrong ones, try every sample."""
    for n in range(1, population + 1):
        samples = list(itertools.combinations(range(population), n))
        for found in range(n + 1):
            possible = []
            for wrong in range(found, population - (n - found) + 1):
                few = sum(sum(one < wrong for one in sample) <= found for sample in samples)
                if few / len(samples) > 0.05 + 1e-12:
                    possible.append(wrong)
            assert most_wrong(found, n, population) == max(possible)


@given(
    st.integers(2, 60).flatmap(
        lambda m: st.tuples(st.just(m), st.integers(0, m), st.integers(1, m))
    )
)
def test_the_bound_fails_in_one_of_twenty_draws_at_most(case):
    population, wrong, n = case
    found = np.arange(max(0, n - (population - wrong)), min(n, wrong) + 1)
    chance = stats.hypergeom.pmf(found, population, wrong, n)
    missed = [most_wrong(int(k), n, population) < wrong for k in found]
    assert chance[missed].sum() <= 0.05 + 1e-9


@given(st.integers(1, 5000))
def test_a_small_population_never_needs_more_draws_than_a_large_one(population):
    n = draws_needed(population, 0.02)
    assert 1 <= n <= min(149, population)
    allowed = math.floor(0.02 * population + 1e-9)
    assert most_wrong(0, n, population) <= allowed
    assert n == 1 or most_wrong(0, n - 1, population) > allowed


@given(
    st.integers(1, 30_000).flatmap(
        lambda m: st.tuples(st.just(m), st.integers(1, min(m, 400)), st.integers(0, 12))
    )
)
def test_the_bound_agrees_with_scipys_law(case):
    population, n, found = case
    found = min(found, n)
    bound = most_wrong(found, n, population)
    assert stats.hypergeom.cdf(found, population, bound, n) > 0.05 - 1e-9
    if bound < population - (n - found):
        assert stats.hypergeom.cdf(found, population, bound + 1, n) <= 0.05 + 1e-9


def test_words_never_make_an_interval_narrower():
    assert interval_in_words((0.996, 1.0)) == "0.99 to 1.00"
    assert interval_in_words((0.5655, 0.8701)) == "0.56 to 0.88"
    assert interval_in_percent((0.5655, 1.0)) == "56 to 100 %"
    assert interval_in_percent((0.0, 0.0001), digits=1) == "0.0 to 0.1 %"
    assert interval_in_words((0.25, 0.75)) == "0.25 to 0.75"


def test_all_seen_is_certain():
    assert most_wrong(3, 40, 40) == 3


def test_an_area_of_one_is_no_certainty_and_many_cases_narrow_it():
    low, high = area_interval(1.0, 3, 3)
    assert low < 0.8
    assert high == 1.0
    # Hanley and McNeil's standard error, which holds for many cases.
    area, n = 0.9, 2000
    spread = 1 + (n - 1) * ((1 - area) / (2 - area) + area / (1 + area))
    error = math.sqrt(area * (1 - area) * spread / n**2)
    assert area_interval(area, n, n) == pytest.approx(
        (area - 1.96 * error, area + 1.96 * error), abs=1e-3
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(0.5, 0),
        lambda: wilson_interval(1.5, 3),
        lambda: area_interval(0.5, 0, 3),
        lambda: most_wrong(3, 2, 9),
        lambda: most_wrong(0, 0, 9),
        lambda: most_wrong(0, 10, 9),
        lambda: most_wrong(0, 9, 9, confidence=1.0),
        lambda: draws_needed(0, 0.02),
        lambda: draws_needed(10, 0.0),
    ],
)
def test_impossible_counts_are_refused_in_one_sentence(call):
    with pytest.raises(InputError, match=r"^[^.]*(\.\d[^.]*)*\.$"):
        call()
