"""Which growth wins, on fields that the first one alone gets wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_neurobridge.benchmarks.fields import GeneratedField, make_field
from napari_neurobridge.matching.calibration import claimable
from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.propagation.growth import GrowthSearch, better, clearly_better
from napari_neurobridge.matching.propagation.problem import PropagationParams, PropagationProblem
from napari_neurobridge.matching.propagation.propagate import run_propagation
from napari_neurobridge.matching.propagation.setup import PropagationSetup
from napari_neurobridge.matching.propagation.state import PropagationState
from napari_neurobridge.spaces.fit import fit_alignment


def problem_of(field: GeneratedField, count: int | None = None) -> PropagationProblem:
    landmarks = field.draw_landmarks(np.random.default_rng(field.seed), count)
    return PropagationProblem(field.pairs.queries_um, field.pairs.gallery_um, landmarks)


def beginning(problem: PropagationProblem) -> PropagationState:
    alignment = fit_alignment(problem.landmarks)
    params = PropagationParams()
    setup = PropagationSetup.of(
        problem, CandidateField(problem.gallery_um), alignment, params.n_inducing
    )
    return PropagationState.initial(setup, params, alignment.wrong_of(problem.landmarks))


def ended(growth) -> PropagationState:
    while True:
        try:
            next(growth)
        except StopIteration as end:
            return end.value


def share_right(field: GeneratedField, state: PropagationState) -> float:
    able = (field.pairs.partner >= 0) & ~state.setup.paired
    return float(field.right(state.query_posterior()[0].best)[able].mean())


def test_regions_that_the_first_growth_gets_wrong_are_found():
    field = make_field("missing-60", 1)
    problem = problem_of(field)
    first = beginning(problem)
    alone = ended(GrowthSearch(lambda _: first).run(first))
    found = run_propagation(problem)
    assert share_right(field, alone) < 0.85
    assert share_right(field, found.state) > 0.93
    assert found.evidence > alone.evidence


def test_cells_moved_away_from_the_landmarks_are_not_followed():
    """All other cells of a plane shifted within it: a bend would lead from the landmarks there."""
    field = make_field("plane", 0)
    problem = problem_of(field, 4)
    kept = problem.pairs[:, 1]
    for step in ([0, 40, 0], [0, -28, 28], [0, 0, -40]):
        moved = problem.gallery_um + np.array(step, dtype=float)
        moved[kept] = problem.gallery_um[kept]
        found = run_propagation(replace(problem, gallery_um=moved))
        free = ~found.state.setup.paired
        claimed = free.copy()
        claimed[free] = claimable(found.posterior.confidence[free], 0.05)
        assert claimed.mean() < 0.15
        # Who finds a soma where it was moved to does not err.
        wrong = claimed & ~field.right(found.posterior.best)
        assert wrong.mean() < 0.02


def test_a_state_that_contradicts_the_landmarks_loses_whatever_it_explains():
    state = beginning(problem_of(make_field("plane", 0)))
    contrary = replace(state, wrong=np.ones_like(state.wrong))
    assert not contrary.heeds_landmarks
    assert better(contrary, state) is state
    assert better(state, contrary) is state
    assert clearly_better(contrary, state)
    assert not clearly_better(state, contrary)


def test_a_state_is_not_clearly_better_than_itself():
    state = beginning(problem_of(make_field("plane", 0)))
    assert not clearly_better(state, state)


def test_noise_is_learned():
    for kind, low, high in (("volume", 1.0, 2.3), ("noise-5", 3.5, 7.0)):
        found = run_propagation(problem_of(make_field(kind, 0)))
        grown = found.grown_alignment("here", "there", orientation=False, n_pairs=10)
        assert low < grown.prior.sigma_um < high
