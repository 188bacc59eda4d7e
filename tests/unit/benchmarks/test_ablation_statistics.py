import numpy as np
import pytest

from napari_neurobridge.benchmarks.ablation_statistics import ablation_rows


def runs(values, *, shift=(0.0, 0.0)):
    return [{"figure": np.asarray(values) + by} for by in shift]


def only(rows, condition):
    return next(row.figures["figure"] for row in rows if row.condition == condition)


@pytest.fixture
def hits():
    return (np.random.default_rng(0).random(400) < 0.5).astype(float)


def test_means_and_runs_are_those_of_the_queries(hits):
    row = only(ablation_rows({"full": runs(hits, shift=(0, 0.1))}, "full"), "full")
    assert row.mean == pytest.approx(hits.mean() + 0.05)
    assert row.runs == pytest.approx((hits.mean(), hits.mean() + 0.1))
    assert row.difference is None
    assert row.interval[0] < row.mean < row.interval[1]
    # That of a share of one half among 400: 1.96 standard errors to either side.
    assert row.interval[1] - row.interval[0] == pytest.approx(2 * 1.96 * 0.025, rel=0.15)


def test_a_difference_that_every_query_and_run_shares_is_certain(hits):
    rows = ablation_rows({"full": runs(hits), "other": runs(hits - 0.2)}, "full")
    other = only(rows, "other")
    assert other.difference == pytest.approx(-0.2)
    assert other.difference_interval == pytest.approx((-0.2, -0.2))


def test_what_an_initialisation_does_to_all_conditions_cancels(hits):
    shift = (-0.1, 0.1)
    rows = ablation_rows(
        {"full": runs(hits, shift=shift), "other": runs(hits - 0.2, shift=shift)}, "full"
    )
    assert only(rows, "other").difference_interval == pytest.approx((-0.2, -0.2))


def test_runs_that_scatter_widen_the_interval_by_the_law_of_t(hits):
    rows = ablation_rows(
        {"full": runs(hits, shift=(-0.1, 0.1)), "other": runs(hits - 0.2, shift=(0.1, -0.1))},
        "full",
    )
    # Variance 0.04 from one degree of freedom (t = 12.706), two means of two runs.
    reach = 12.706 * (2 * 0.04 / 2) ** 0.5
    assert only(rows, "other").difference_interval == pytest.approx((-0.2 - reach, -0.2 + reach))


def test_queries_that_disagree_widen_the_interval():
    rng = np.random.default_rng(1)
    full, other = (rng.random(50), rng.random(50))
    rows = ablation_rows({"full": runs(full), "other": runs(other)}, "full")
    low, high = only(rows, "other").difference_interval
    # Runs do not scatter, so all of it is from queries: sqrt(2 / 12 / 50), and t = 12.706.
    assert high - low == pytest.approx(2 * 12.706 * (2 / 12 / 50) ** 0.5, rel=0.25)


def test_one_initialisation_tells_no_interval(hits):
    rows = ablation_rows({"full": runs(hits)[:1], "other": runs(hits)[:1]}, "full")
    assert only(rows, "other").difference == 0
    assert only(rows, "other").difference_interval is None
