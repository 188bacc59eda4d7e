"""Few, contradictory, degenerate, mirrored and senseless landmarks and fields."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.propagation.propagate import PropagationProblem, run_propagation
from napari_neurobridge.spaces.landmarks import Landmarks
from point_world import PARAMS, World, landmarks, make_world

MIRROR = np.array([1.0, 1.0, -1.0])


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def linear_part(world: World) -> np.ndarray:
    """Return the true map's linear part, turned by eleven degrees."""
    ones = np.column_stack([world.queries, np.ones(250)])
    fitted = np.linalg.lstsq(ones, world.gallery[world.partner], rcond=None)[0][:3].T
    cosine, sine = np.cos(0.2), np.sin(0.2)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ fitted


def sure(found, level: float = 0.9) -> np.ndarray:
    return found.posterior.confidence > level


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_landmarks_claim_nothing_and_say_what_is_missing(world, count):
    found = run_propagation(world.problem(landmarks(count)), params=PARAMS)
    assert found.alignment.kind == "rigid"
    assert any("state an orientation" in note for note in found.notes)
    assert sure(found).mean() < 0.02


@pytest.mark.parametrize(("count", "kind"), [(2, "rigid"), (3, "similarity")])
def test_few_landmarks_and_a_rough_orientation_can_be_enough(world, count, kind):
    rows = landmarks(count)
    found = run_propagation(world.problem(rows), params=PARAMS, orientation=linear_part(world))
    assert found.alignment.kind == kind
    assert found.notes
    right = found.posterior.best == world.partner
    assert right[sure(found)].mean() > 0.95
    assert right.mean() > 0.9


def test_no_landmark_is_refused(world):
    with pytest.raises(InputError, match="at least one landmark"):
        run_propagation(PropagationProblem(world.queries, world.gallery, []))


def test_one_soma_of_two_landmarks_is_left_to_one_of_them(world):
    rows = landmarks(10)
    partner = world.partner[rows].copy()
    partner[3] = partner[7]
    problem = PropagationProblem(world.queries, world.gallery, np.column_stack([rows, partner]))
    found = run_propagation(problem, params=PARAMS)
    assert problem.pairs[found.review()[0], 0] == rows[3]
    order = np.flatnonzero(problem.pairs[:, 0] == rows[7])
    assert found.wrong[order[0]] < 0.5
    assert found.posterior.best[rows[3]] == world.partner[rows[3]]


def test_one_query_of_two_landmarks_keeps_the_right_one(world):
    rows = landmarks(10)
    extra = [rows[4], (world.partner[rows[4]] + 300) % len(world.gallery)]
    pairs = np.vstack([np.column_stack([rows, world.partner[rows]]), extra, extra])
    problem = PropagationProblem(world.queries, world.gallery, pairs)
    assert len(problem.pairs) == 11
    found = run_propagation(problem, params=PARAMS)
    assert problem.pairs[found.review()[0]].tolist() == extra


def on_a_line(world: World, count: int = 8) -> Landmarks:
    middle = world.queries.mean(axis=0)
    source = middle + np.linspace(-150, 150, count)[:, None] * np.array([0.0, 0.0, 1.0])
    ones = np.column_stack([world.queries, np.ones(250)])
    fitted = np.linalg.lstsq(ones, world.gallery[world.partner], rcond=None)[0]
    return Landmarks(source, np.column_stack([source, np.ones(count)]) @ fitted, 4.0)


def test_landmarks_on_a_line_leave_the_turn_about_it_open(world):
    problem = PropagationProblem(world.queries, world.gallery, [], points=on_a_line(world))
    found = run_propagation(problem, params=PARAMS)
    right = found.posterior.best == world.partner
    assert any("one direction" in note for note in found.notes)
    assert sure(found).mean() < 0.1 or right[sure(found)].mean() > 0.9
    stated = run_propagation(problem, params=PARAMS, orientation=linear_part(world))
    assert (stated.posterior.best == world.partner).mean() > 0.9


def test_identical_landmarks_count_once(world):
    row = landmarks(1)
    source = np.repeat(world.queries[row], 6, axis=0)
    target = np.repeat(world.gallery[world.partner[row]], 6, axis=0)
    problem = PropagationProblem(world.queries, world.gallery, [], points=Landmarks(source, target))
    found = run_propagation(problem, params=PARAMS)
    assert len(found.wrong) == 6
    assert found.alignment.kind == "rigid"
    assert any("twice" in note for note in found.notes)
    assert sure(found).mean() < 0.02


@pytest.mark.parametrize("count", [4, 10])
def test_mirrored_coordinates_are_matched_and_said(world, count):
    """Four landmarks cannot tell the handedness; the field they reach can."""
    pairs = world.problem(landmarks(count)).pairs
    found = run_propagation(
        PropagationProblem(world.queries * MIRROR, world.gallery, pairs), params=PARAMS
    )
    assert found.alignment.similarity.mirrored
    assert any("mirrored" in note for note in found.notes)
    assert (found.posterior.best == world.partner).mean() > 0.93
    more = world.problem(landmarks(count + 1)).pairs
    problem = PropagationProblem(world.queries * MIRROR, world.gallery, more)
    again = run_propagation(problem, params=PARAMS, start=found)
    assert any("mirrored" in note for note in again.notes)
    assert (again.posterior.best == world.partner).mean() > 0.93


def test_a_plane_of_landmarks_in_mirrored_coordinates_is_told_by_the_field(world):
    flat = np.argsort(np.abs(world.queries[:, 0] - 125))[:10]
    pairs = world.problem(flat).pairs
    found = run_propagation(
        PropagationProblem(world.queries * MIRROR, world.gallery, pairs), params=PARAMS
    )
    assert any("field is mirrored" in note for note in found.notes)
    assert (found.posterior.best == world.partner).mean() > 0.93
    plain = run_propagation(world.problem(flat), params=PARAMS)
    assert not any("is mirrored" in note for note in plain.notes)


def test_a_mirror_that_was_declared_away_is_said_and_nothing_wrong_is_claimed(world):
    pairs = world.problem(landmarks(10)).pairs
    problem = PropagationProblem(world.queries * MIRROR, world.gallery, pairs)
    found = run_propagation(problem, params=PARAMS, mirrored=False)
    assert any("landmarks say" in note for note in found.notes)
    claimed = sure(found)
    right = found.posterior.best[claimed] == world.partner[claimed]
    assert (~right).sum() < 0.05 * len(claimed)


def test_somata_that_are_there_twice_share_their_probability(world):
    twice = np.vstack([world.gallery, world.gallery[world.partner[:40]]])
    pairs = world.problem(landmarks(10)).pairs
    found = run_propagation(PropagationProblem(world.queries, twice, pairs), params=PARAMS)
    others = np.setdiff1d(np.arange(40), pairs[:, 0])
    assert found.posterior.confidence[others].max() < 0.6
    place = twice[found.posterior.best]
    assert (np.linalg.norm(place - twice[world.partner], axis=1) < 1e-9).mean() > 0.93


@pytest.mark.parametrize(
    ("queries", "gallery", "word"),
    [(1e-3, 1, "queries"), (1, 1e-3, "gallery"), (1e-3, 1e-3, "mm"), (1, 1e3, "nm")],
)
def test_other_units_are_noticed_whatever_the_landmarks(world, queries, gallery, word):
    with pytest.raises(InputError, match=word):
        PropagationProblem(
            world.queries * queries, world.gallery * gallery, [[0, world.partner[0]]]
        )


def test_senseless_fields_are_refused(world):
    broken = world.queries.copy()
    broken[5, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        PropagationProblem(broken, world.gallery, [[0, 0]])
    for pairs in ([[0.0, np.nan]], [[1, 2, 3]], [1, 2, 3]):
        with pytest.raises(InputError, match="Pairs are rows"):
            PropagationProblem(world.queries, world.gallery, pairs)
    for chance in (np.ones(3), np.full(250, np.nan), np.full(250, 1.5)):
        with pytest.raises(InputError, match="detection confidence"):
            PropagationProblem(world.queries, world.gallery, [[0, 0]], p_detected=chance)
    with pytest.raises(InputError, match="at least two somata"):
        run_propagation(PropagationProblem(world.queries, world.gallery[:1], [[0, 0]]))
