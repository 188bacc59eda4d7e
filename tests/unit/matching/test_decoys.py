"""Claims in galleries without partners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_neurobridge.matching.decoys import DecoyCheck, DecoyClaims, decoy_claims
from napari_neurobridge.matching.propagation.propagate import (
    Propagation,
    PropagationProblem,
    run_propagation,
)

LANDMARKS = np.arange(8)
PAIRS = np.column_stack([LANDMARKS, LANDMARKS])


@pytest.fixture(scope="module")
def problem() -> PropagationProblem:
    """Half of the queries have a partner in a bent field."""
    rng = np.random.default_rng(4)
    gallery = rng.uniform(0, 1, (900, 3)) * [250, 300, 300]
    queries = gallery[:120] + 4 * np.sin(gallery[:120][:, [1, 2, 0]] / 60)
    queries += rng.normal(0, 1.5, queries.shape)
    left = np.r_[0:60, 120:900]
    return PropagationProblem(queries, gallery[left], PAIRS)


@pytest.fixture(scope="module")
def found(problem: PropagationProblem) -> Propagation:
    return run_propagation(problem)


@pytest.fixture(scope="module")
def check(problem: PropagationProblem, found: Propagation) -> DecoyCheck:
    return decoy_claims(problem, 0.05, found=found)


@pytest.fixture(scope="module")
def plane() -> PropagationProblem:
    """Half of the queries have a partner in a single plane."""
    rng = np.random.default_rng(6)
    gallery = rng.uniform(0, 1, (600, 3)) * [0, 450, 450]
    queries = gallery[:160] + 3 * np.sin(gallery[:160] / 70)
    queries += rng.normal(0, 1.5, queries.shape) * [0, 1, 1]
    left = np.r_[0:80, 160:600]
    return PropagationProblem(queries, gallery[left], PAIRS)


def careless(problem: PropagationProblem) -> PropagationProblem:
    """As if the density of coincidences were 200 times lower than it is."""
    return replace(problem, log_ratio=lambda _, rows: np.full(rows.shape, np.log(200.0)))


def test_hardly_anything_is_claimed_where_nothing_is(found, check):
    real = (found.posterior.confidence[8:60] > 0.5).mean()
    assert real > 0.8
    assert check.n_decoys == 6
    assert len(check.claims) == 12
    assert check.n_asked >= 20
    assert check.share < 0.05


def test_a_careless_program_is_found_out(problem, found):
    """One to which everything looks like everything claims in decoys, too."""
    bad = careless(problem)
    honest = decoy_claims(problem, 0.05, found=found, judgings=("grown",))
    worse = decoy_claims(bad, 0.05, found=found, judgings=("grown",))
    assert worse.share > honest.share + 0.1


def test_a_density_too_low_for_a_plane_is_seen_within_it(plane):
    """Moved out of a plane, somata are none to claim, however careless the program."""
    found, bad = run_propagation(plane), careless(plane)
    honest = decoy_claims(plane, 0.05, found=found, judgings=("grown",))
    worse = decoy_claims(bad, 0.05, found=found, judgings=("grown",))
    assert all("within the plane" in row.decoy for row in worse.claims)
    assert worse.share > honest.share + 0.1


def test_the_same_chance_of_a_partner_is_asked_for_only_by_name(problem, found, check):
    """Cells whose partner alone is missing are claimed more often than where all are."""
    same = decoy_claims(problem, 0.3, found=found, judgings=("grown_same_chance",))
    anew = decoy_claims(problem, 0.3, found=found, judgings=("grown",))
    assert {row.judging for row in check.claims} == {"again", "grown"}
    assert sum(row.n_claimed for row in same.claims) > sum(row.n_claimed for row in anew.claims)


def test_who_follows_the_whole_constellation_does_not_err(problem, found):
    """Without landmarks to keep, a decoy that is matched again can be the true map, shifted."""
    crops = replace(
        problem,
        log_ratio=lambda queries, rows: np.where(queries[:, None] == rows, 0.0, -30.0),
    )
    again = decoy_claims(crops, 0.05, found=run_propagation(crops), judgings=("again",))
    assert again.n_claimed == 0


def test_the_worst_is_reported_with_its_name():
    check = DecoyCheck(
        (
            DecoyClaims("shifted 40 µm within the plane", "again", 2, 200),
            DecoyClaims("shifted 40 µm within the plane", "grown", 1, 200),
            DecoyClaims("mirrored in y within the plane", "again", 9, 100),
            DecoyClaims("mirrored in y within the plane", "grown", 1, 3),
        )
    )
    assert (check.n_claimed, check.n_asked, check.n_decoys) == (9, 100, 2)
    assert check.in_words() == (
        "worst of 2 decoys: 9 of 100 cells matched (mirrored in y within the plane, matched again)"
    )


def test_the_same_seed_draws_the_same_decoys(problem, found):
    first, again, other = (
        decoy_claims(problem, 0.3, seed=s, found=found, judgings=("grown",)) for s in (1, 1, 2)
    )
    assert first == again
    assert [r.n_asked for r in first.claims] != [r.n_asked for r in other.claims]


def test_progress_is_told_for_each_decoy(problem, found):
    told = []
    decoy_claims(
        problem,
        0.05,
        found=found,
        judgings=("grown",),
        report=lambda done, total, message: told.append((done, total, message)),
    )
    assert [done for done, _, _ in told] == list(range(6))
    assert told[-1] == (5, 6, "decoy 6 of 6")
