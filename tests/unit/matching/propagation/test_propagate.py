"""Growth of matches on fields whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.propagation.propagate import (
    PropagationProblem,
    propagate,
    run_propagation,
)
from napari_neurobridge.spaces.landmarks import Landmarks
from point_world import PARAMS, SIZE, World, landmarks, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.mark.parametrize("count", [4, 10])
def test_nearly_all_cells_are_matched_from_few_landmarks(world, count):
    rows = landmarks(count)
    found = run_propagation(world.problem(rows), params=PARAMS)
    others = np.setdiff1d(np.arange(250), rows)
    right = found.posterior.best[others] == world.partner[others]
    assert right.mean() > 0.93
    assert abs(found.posterior.confidence[others].mean() - right.mean()) < 0.05
    error = np.linalg.norm(found.predicted_um - world.gallery[world.partner], axis=1)
    assert np.median(error) < 4
    assert found.mean_p_partner > 0.9


def test_nothing_is_claimed_where_no_partner_exists(world):
    rows = landmarks(10)
    others = np.setdiff1d(np.arange(250), rows)
    keep = np.setdiff1d(np.arange(len(world.gallery)), world.partner[others])
    pairs = np.column_stack([rows, np.searchsorted(keep, world.partner[rows])])
    found = run_propagation(
        PropagationProblem(world.queries, world.gallery[keep], pairs), params=PARAMS
    )
    assert (found.posterior.confidence[others] > 0.9).mean() < 0.02
    assert found.mean_p_partner < 0.35


def test_a_wrong_landmark_is_found_and_does_no_harm(world):
    rows = landmarks(10)
    partner = world.partner[rows].copy()
    partner[2] = (partner[2] + 700) % len(world.gallery)
    problem = PropagationProblem(world.queries, world.gallery, np.column_stack([rows, partner]))
    found = run_propagation(problem, params=PARAMS)
    assert problem.pairs[found.review()[0], 0] == rows[2]
    assert found.wrong.max() > 0.9
    others = np.setdiff1d(np.arange(250), rows)
    assert (found.posterior.best[others] == world.partner[others]).mean() > 0.93
    # The posterior of the wrongly paired query names the right soma.
    assert found.posterior.best[rows[2]] == world.partner[rows[2]]


def test_going_on_after_a_verdict_gives_what_a_fresh_start_gives(world):
    rows = landmarks(10)
    before = run_propagation(world.problem(rows[:9]), params=PARAMS)
    running = propagate(world.problem(rows), params=PARAMS, start=before)
    rounds = 0
    try:
        while True:
            progress = next(running)
            rounds += 1
            assert progress.attempt == 1
            assert 0 < progress.n_active <= progress.n_queries
    except StopIteration as stop:
        resumed = stop.value
    fresh = run_propagation(world.problem(rows), params=PARAMS)
    assert rounds < 25
    assert (resumed.posterior.best == fresh.posterior.best).mean() > 0.97


def test_a_start_with_another_gallery_lends_nothing(world):
    rows = landmarks(10)
    before = run_propagation(world.problem(rows), params=PARAMS)
    turned = world.problem(rows)
    order = np.argsort(world.gallery[:, 2])
    place = np.argsort(order)
    pairs = np.column_stack([turned.pairs[:, 0], place[turned.pairs[:, 1]]])
    other = PropagationProblem(world.queries, world.gallery[order], pairs)
    found = run_propagation(other, params=PARAMS, start=before)
    fresh = run_propagation(other, params=PARAMS)
    np.testing.assert_array_equal(found.posterior.best, fresh.posterior.best)
    np.testing.assert_array_equal(found.posterior.confidence, fresh.posterior.confidence)


def test_points_that_are_no_somata_are_landmarks_too(world):
    rows = landmarks(8)
    points = Landmarks(world.queries[rows], world.gallery[world.partner[rows]], 4.0)
    found = run_propagation(
        PropagationProblem(world.queries, world.gallery, np.empty((0, 2), int), points=points),
        params=PARAMS,
    )
    assert (found.posterior.best == world.partner).mean() > 0.93
    assert len(found.wrong) == 8


def test_appearance_decides_between_neighbours(world):
    rows = landmarks(6)

    def looks(queries, candidates):
        return np.where(candidates == world.partner[queries][:, None], 3.0, -1.0)

    plain = run_propagation(world.problem(rows), params=PARAMS).posterior.best == world.partner
    seen = run_propagation(world.problem(rows, log_ratio=looks), params=PARAMS)
    assert (seen.posterior.best == world.partner).mean() >= max(plain.mean(), 0.98)


def test_pairs_of_unknown_somata_are_refused(world):
    with pytest.raises(InputError, match="does not exist"):
        PropagationProblem(world.queries, world.gallery, [[0, len(world.gallery)]])


def test_a_wrong_answer_that_is_taken_back_leaves_no_trace(world):
    rows = landmarks(10)
    partner = world.partner[rows].copy()
    partner[-1] = world.partner[(rows[-1] + 1) % 250]
    pairs = np.column_stack([rows, partner])
    wrong = run_propagation(PropagationProblem(world.queries, world.gallery, pairs), params=PARAMS)
    undone = run_propagation(world.problem(rows[:-1]), params=PARAMS, start=wrong)
    assert len(undone.wrong) == 9
    fresh = run_propagation(world.problem(rows[:-1]), params=PARAMS)
    assert (undone.posterior.best == fresh.posterior.best).mean() > 0.97
    assert undone.evidence > fresh.evidence - 10


def test_going_back_to_four_landmarks_keeps_what_was_found(world):
    rows = landmarks(10)
    many = run_propagation(world.problem(rows), params=PARAMS)
    few = run_propagation(world.problem(rows[:4]), params=PARAMS, start=many)
    assert (few.posterior.best == world.partner).mean() > 0.93


def test_a_right_answer_wins_over_a_field_that_grew_wrongly(world):
    """Growth from landmarks that are all shifted alike, and then the truth."""
    rows = landmarks(14)
    tree = cKDTree(world.gallery)
    shifted = tree.query(world.gallery[world.partner[rows[:5]]] + [18.0, 0, 0])[1]
    first = np.column_stack([rows[:5], shifted])
    start = run_propagation(PropagationProblem(world.queries, world.gallery, first), params=PARAMS)
    pairs = np.vstack([first, np.column_stack([rows[5:], world.partner[rows[5:]]])])
    found = run_propagation(
        PropagationProblem(world.queries, world.gallery, pairs), params=PARAMS, start=start
    )
    assert (found.posterior.best == world.partner).mean() > 0.9


def test_a_start_of_other_somata_is_not_used(world):
    rows = landmarks(8)
    start = run_propagation(world.problem(rows), params=PARAMS)
    other = PropagationProblem(
        world.queries[:200], world.gallery, world.problem(rows[rows < 200]).pairs
    )
    alone = run_propagation(other, params=PARAMS)
    resumed = run_propagation(other, params=PARAMS, start=start)
    np.testing.assert_array_equal(resumed.posterior.best, alone.posterior.best)


def test_what_grew_from_too_little_is_not_gone_on_from(world):
    """Two pairs and an orientation that is wrong place the field wrongly; four pairs do not."""
    rows = landmarks(4, seed=3)
    running = propagate(world.problem(rows[:2]), params=PARAMS, orientation=np.eye(3))
    try:
        while True:
            next(running)
    except StopIteration as stop:
        astray = stop.value
    assert (astray.posterior.best == world.partner).mean() < 0.1
    found = run_propagation(world.problem(rows), params=PARAMS, start=astray)
    assert (found.posterior.best == world.partner).mean() > 0.9


def test_any_point_is_predicted(world):
    found = run_propagation(world.problem(landmarks(10)), params=PARAMS)
    alignment = found.grown_alignment("here", "there", orientation=False, n_pairs=10)
    rows = [0, 100, 249]
    own, around = alignment.expect_without_own(rows)
    np.testing.assert_allclose(own, found.predicted_um[rows])
    np.testing.assert_allclose(around, found.covariance_um2[rows])
    np.testing.assert_allclose(np.linalg.det(around), found.sigma_um[rows] ** 6)
    mean, covariance = alignment.expect(world.queries)
    assert covariance.shape == (250, 3, 3)
    # A query's own soft match moves the field a little towards its candidate.
    assert np.median(np.linalg.norm(mean - found.predicted_um, axis=1)) < 1.5
    between = (world.queries[:-1] + world.queries[1:]) / 2
    there = (world.gallery[world.partner[:-1]] + world.gallery[world.partner[1:]]) / 2
    close = np.linalg.norm(world.queries[:-1] - world.queries[1:], axis=1) < 120
    mean, covariance = alignment.expect(between)
    square = ((mean - there) ** 2).sum(axis=1) / covariance[:, 0, 0]
    assert square[close].mean() < 6
    far = alignment.expect(world.queries[:1] + 4000)[1]
    assert far[0, 0, 0] > 100 * covariance[0, 0, 0]


def test_where_one_side_ends_less_is_claimed_and_honestly(world):
    """The gallery holds no partner of the deep half: the chance falls there alone."""
    rows = landmarks(40)
    deep = world.queries[:, 0] > SIZE[0] / 2
    keep = np.ones(len(world.gallery), dtype=bool)
    keep[world.partner[deep]] = False
    rows = rows[~deep[rows]][:10]
    pairs = np.column_stack([rows, (np.cumsum(keep) - 1)[world.partner[rows]]])
    found = run_propagation(
        PropagationProblem(world.queries, world.gallery[keep], pairs), params=PARAMS
    )
    others = np.setdiff1d(np.arange(250), rows)
    there, here = others[deep[others]], others[~deep[others]]
    assert found.p_partner[there].mean() < 0.4
    assert found.p_partner[here].mean() > 0.8
    assert (found.posterior.confidence[there] > 0.9).mean() < 0.05
    assert (found.posterior.confidence[here] > 0.9).mean() > 0.7


def test_a_query_that_is_surely_no_soma_claims_nothing_and_teaches_nothing(world):
    rows = landmarks(10)
    chance = np.ones(250)
    chance[100:150] = 0.0
    chance[rows] = 1.0
    found = run_propagation(world.problem(rows, p_detected=chance), params=PARAMS)
    assert found.posterior.none[chance == 0] == pytest.approx(1.0)
    assert found.mean_p_partner > 0.9


def test_many_queries_join_what_a_part_of_them_found(world):
    rows = landmarks(10)
    few = run_propagation(world.problem(rows), params=replace(PARAMS, subset_size=120))
    right = few.posterior.best == world.partner
    assert right.mean() > 0.93
    assert few.active.mean() > 0.9
