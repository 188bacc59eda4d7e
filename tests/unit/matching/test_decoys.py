"""Claims in galleries without partners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.decoys import decoy_claims
from napari_neurobridge.matching.propagation.propagate import (
    Propagation,
    PropagationProblem,
    run_propagation,
)

LANDMARKS = np.arange(8)


@pytest.fixture(scope="module")
def problem() -> PropagationProblem:
    """Half of the queries have a partner in a bent field."""
    rng = np.random.default_rng(4)
    gallery = rng.uniform(0, 1, (900, 3)) * [250, 300, 300]
    queries = gallery[:120] + 4 * np.sin(gallery[:120][:, [1, 2, 0]] / 60)
    queries += rng.normal(0, 1.5, queries.shape)
    left = np.r_[0:60, 120:900]
    pairs = np.column_stack([LANDMARKS, LANDMARKS])
    return PropagationProblem(queries, gallery[left], pairs)


@pytest.fixture(scope="module")
def found(problem: PropagationProblem) -> Propagation:
    return run_propagation(problem)


@pytest.mark.parametrize("kind", ["shift", "mirror"])
def test_hardly_anything_is_claimed_where_nothing_is(problem, found, kind):
    check = decoy_claims(problem, 0.05, kind, found=found)
    real = (found.posterior.confidence[8:60] > 0.5).mean()
    assert real > 0.8
    assert check.n_asked > 60
    assert check.share < 0.15
    assert check.n_decoys == (4 if kind == "shift" else 3)


def test_a_careless_program_is_found_out(problem, found):
    """One to which everything looks like everything claims in decoys, too."""
    careless = replace(problem, log_ratio=lambda _, candidates: np.full(candidates.shape, 4.0))
    honest = decoy_claims(problem, 0.05, found=found)
    assert decoy_claims(careless, 0.05).share > honest.share + 0.2


def test_growing_anew_claims_next_to_nothing(problem, found):
    check = decoy_claims(problem, 0.05, "mirror", found=found, rematch=True)
    assert check.share < 0.1


def test_the_same_seed_draws_the_same_decoys(problem, found):
    first, again, other = (decoy_claims(problem, 0.3, seed=s, found=found) for s in (1, 1, 2))
    assert first == again
    assert first.n_asked != other.n_asked


def test_a_decoy_of_another_kind_is_refused(problem, found):
    with pytest.raises(InputError, match="shift"):
        decoy_claims(problem, 0.05, "turn", found=found)  # type: ignore[arg-type]
