"""A match as a pool: its gradients against differences, and the queue against the samplers."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.active.match_pool import match_pool
from napari_neurobridge.active.queue import QueueStrategy, waiting_questions
from napari_neurobridge.active.samplers.badge import badge
from napari_neurobridge.active.samplers.clue import clue
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.matching.match import Match
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate


@pytest.fixture(scope="module")
def matched(points_world, tmp_path_factory) -> tuple[Project, Match]:
    project = points_world.project(tmp_path_factory.mktemp("queue") / "p.neurobridge", 6)
    return project, match_datasets(project)


def by_difference(match: Match, dataset: str, uid: str) -> np.ndarray:
    """Return the gradient of a cell's cross-entropy by the affine map, by central differences.

    A candidate's log odds are minus half its squared distance from the predicted place, plus what
    else is known of it; those of none stay.
    """
    here, there = match.side(dataset), match.others_of(dataset)
    judged, row = match.judge(uid), here.rows[uid]
    away = here.centers_um - here.centers_um.mean(axis=0)
    known = np.append(1.0, away[row] / np.linalg.norm(away, axis=1).max())
    start = match.map_points(here.centers_um[row : row + 1], dataset, there.dataset)[0]
    shares = np.append(judged.probability, judged.none + judged.beyond)
    other = np.log(np.maximum(shares, 1e-300))
    places = there.centers_um[judged.rows]
    other[:-1] += ((places - start) ** 2).sum(axis=1) / 2
    best = int(shares.argmax())

    def loss(change: np.ndarray) -> float:
        place = start + change.reshape(3, 4) @ known
        logits = other.copy()
        logits[:-1] -= ((places - place) ** 2).sum(axis=1) / 2
        return float(np.logaddexp.reduce(logits) - logits[best])

    step = 1e-4
    sides = [[loss(sign * step * one) for sign in (1, -1)] for one in np.eye(12)]
    return np.array([(up - down) / (2 * step) for up, down in sides])


@pytest.mark.parametrize("dataset", ["two_photon", "fmost"])
def test_gradients_are_those_of_the_map_that_predicts_places(matched, dataset: str) -> None:
    _, match = matched
    pool = match_pool(match, dataset)
    side = match.side(dataset)
    assert len(pool) == len(side)
    assert pool.uncertainty == pytest.approx(match.posterior_summary(dataset).bits, abs=1e-9)
    for uid in side.uids[::17]:
        expected = by_difference(match, dataset, uid)
        found = pool.gradients[side.rows[uid]]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_sure_cell_has_a_short_gradient(matched) -> None:
    _, match = matched
    pool = match_pool(match, "two_photon")
    length = np.linalg.norm(pool.gradients, axis=1)
    order = np.argsort(pool.uncertainty)
    surest, doubtful = order[: len(order) // 4], order[-len(order) // 4 :]
    assert np.median(length[surest]) < 0.1 * np.median(length[doubtful])


def test_the_queue_asks_as_badge_draws_after_what_is_answered(matched) -> None:
    project, match = matched
    items = waiting_questions(project.state(), "two_photon", "fmost", match, QueueStrategy.BADGE)
    rows = match.side("two_photon").rows
    waiting = {rows[item.uid] for item in items}
    answered = sorted(set(rows.values()) - waiting)
    assert answered
    drawn = badge(
        match_pool(match, "two_photon"), 20, np.random.default_rng(0), after=answered
    ).tolist()
    assert [rows[item.uid] for item in items[:20]] == drawn
    bits = [item.uncertainty for item in items[20:]]
    assert bits == sorted(bits, reverse=True)
    entropy = waiting_questions(
        project.state(), "two_photon", "fmost", match, QueueStrategy.ENTROPY
    )
    assert {item.uid for item in items} == {item.uid for item in entropy}
    assert [item.uid for item in items[:20]] != [item.uid for item in entropy[:20]]


def test_the_queue_asks_as_clue_chooses(matched) -> None:
    project, match = matched
    items = waiting_questions(project.state(), "two_photon", "fmost", match, QueueStrategy.CLUE)
    rows, pool = match.side("two_photon").rows, match_pool(match, "two_photon")
    waiting = np.array(sorted(rows[item.uid] for item in items))
    left = Pool(pool.uncertainty[waiting], features=pool.features[waiting])
    chosen = waiting[clue(left, 20, np.random.default_rng(0))].tolist()
    assert [rows[item.uid] for item in items[:20]] == chosen


def test_what_is_answered_changes_what_is_asked_next(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 6)
    match = match_datasets(project)

    def asked() -> list[str]:
        state, by = project.state(), QueueStrategy.BADGE
        return [item.uid for item in waiting_questions(state, "two_photon", "fmost", match, by)]

    first = asked()
    annotate.none(project, first[0], annotator="me")
    assert first[0] not in asked()
    assert sorted(asked()) == sorted(first[1:])


def test_without_a_match_the_clearest_come_first(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 6)
    for strategy in (QueueStrategy.BADGE, QueueStrategy.CLUE):
        items = waiting_questions(project.state(), "two_photon", "fmost", None, strategy)
        assert items == waiting_questions(
            project.state(), "two_photon", "fmost", None, QueueStrategy.CLEAREST
        )
