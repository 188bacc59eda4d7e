"""Growth of matches on fields whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.propagate import MatchProblem, PropagationParams, match, propagate
from napari_neurobridge.spaces.landmarks import Landmarks

SIZE = np.array([250.0, 400.0, 400.0])
PARAMS = PropagationParams(support=120)


@dataclass
class World:
    queries: np.ndarray
    gallery: np.ndarray
    partner: np.ndarray

    def problem(self, landmarks, **options) -> MatchProblem:
        pairs = np.column_stack([landmarks, self.partner[landmarks]])
        return MatchProblem(self.queries, self.gallery, pairs, **options)


@pytest.fixture(scope="module")
def world() -> World:
    """A field under an affine map and waves that no Gaussian process drew."""
    rng = np.random.default_rng(11)
    points = rng.uniform(0, 1, (1600, 3)) * SIZE
    linear = special_ortho_group.rvs(3, random_state=rng) @ np.diag([0.9, 1.05, 1.1])
    bent = points + 5 * np.sin(points[:, [1, 2, 0]] / 70)
    gallery = bent @ linear.T + [900, 300, -50] + rng.normal(0, 1.5, points.shape)
    chosen = rng.permutation(len(points))[:250]
    order = rng.permutation(len(points))
    partner = np.argsort(order)[chosen]
    return World(points[chosen], gallery[order], partner)


def landmarks(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(250, count, replace=False)


@pytest.mark.parametrize("count", [4, 10])
def test_nearly_all_cells_are_matched_from_few_landmarks(world, count):
    rows = landmarks(count)
    found = match(world.problem(rows), params=PARAMS)
    others = np.setdiff1d(np.arange(250), rows)
    right = found.posterior.best[others] == world.partner[others]
    assert right.mean() > 0.93
    assert abs(found.posterior.confidence[others].mean() - right.mean()) < 0.05
    error = np.linalg.norm(found.predicted_um - world.gallery[world.partner], axis=1)
    assert np.median(error) < 4
    assert found.p_detected > 0.9


def test_nothing_is_claimed_where_no_partner_exists(world):
    rows = landmarks(10)
    others = np.setdiff1d(np.arange(250), rows)
    keep = np.setdiff1d(np.arange(len(world.gallery)), world.partner[others])
    pairs = np.column_stack([rows, np.searchsorted(keep, world.partner[rows])])
    found = match(MatchProblem(world.queries, world.gallery[keep], pairs), params=PARAMS)
    assert (found.posterior.confidence[others] > 0.9).mean() < 0.02
    assert found.p_detected < 0.35


def test_a_wrong_landmark_is_found_and_does_no_harm(world):
    rows = landmarks(10)
    partner = world.partner[rows].copy()
    partner[2] = (partner[2] + 700) % len(world.gallery)
    problem = MatchProblem(world.queries, world.gallery, np.column_stack([rows, partner]))
    found = match(problem, params=PARAMS)
    assert problem.pairs[found.review()[0], 0] == rows[2]
    assert found.wrong.max() > 0.9
    others = np.setdiff1d(np.arange(250), rows)
    assert (found.posterior.best[others] == world.partner[others]).mean() > 0.93
    # The posterior of the wrongly paired query names the right soma.
    assert found.posterior.best[rows[2]] == world.partner[rows[2]]


def test_going_on_after_a_verdict_gives_what_a_fresh_start_gives(world):
    rows = landmarks(10)
    before = match(world.problem(rows[:9]), params=PARAMS)
    running = propagate(world.problem(rows), params=PARAMS, start=before)
    rounds = 0
    try:
        while True:
            progress = next(running)
            rounds += 1
            assert progress.attempts == 1
            assert 0 < progress.n_reached <= progress.n_queries
    except StopIteration as stop:
        resumed = stop.value
    fresh = match(world.problem(rows), params=PARAMS)
    assert rounds < 25
    assert (resumed.posterior.best == fresh.posterior.best).mean() > 0.97


def test_the_kernel_comes_from_the_landmarks_alone(world):
    rows = np.sort(landmarks(10))
    whole = match(world.problem(rows), params=PARAMS)
    pairs = np.column_stack([np.arange(10), world.partner[rows]])
    alone = match(MatchProblem(world.queries[rows], world.gallery, pairs), params=PARAMS)
    assert whole.growth.world.alignment.prior == alone.alignment.prior


def test_points_that_are_no_somata_are_landmarks_too(world):
    rows = landmarks(8)
    points = Landmarks(world.queries[rows], world.gallery[world.partner[rows]], 4.0)
    found = match(
        MatchProblem(world.queries, world.gallery, np.empty((0, 2), int), points=points),
        params=PARAMS,
    )
    assert (found.posterior.best == world.partner).mean() > 0.93
    assert len(found.wrong) == 8


def test_appearance_decides_between_neighbours(world):
    rows = landmarks(6)

    def looks(queries, candidates):
        return np.where(candidates == world.partner[queries][:, None], 3.0, -1.0)

    plain = match(world.problem(rows), params=PARAMS).posterior.best == world.partner
    seen = match(world.problem(rows, log_ratio=looks), params=PARAMS)
    assert (seen.posterior.best == world.partner).mean() >= max(plain.mean(), 0.98)


def test_pairs_of_unknown_somata_are_refused(world):
    with pytest.raises(InputError, match="does not exist"):
        MatchProblem(world.queries, world.gallery, [[0, len(world.gallery)]])
