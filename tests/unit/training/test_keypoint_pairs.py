"""Keypoints of two images and their true partners, and the tasks that are drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.registration.semantic_matcher import DescribedPoints
from napari_neurobridge.training.keypoint_pairs import (
    KeypointPair,
    KeypointTaskParams,
    draw_keypoint_task,
)

_SHIFT = np.array([30.0, -12.0])


def _pair(count: int = 60, seed: int = 0) -> KeypointPair:
    """Two thirds of the points have a partner, whose description is the same."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 300, (count, 2))
    words = rng.standard_normal((count, 8)).astype(np.float32)
    shared = np.arange(count) % 3 > 0
    order = rng.permutation(np.flatnonzero(shared))
    true = np.where(shared[:, None], places + _SHIFT, np.nan)
    true[0] = [900.0, 900.0]  # known, but nothing is there
    return KeypointPair(
        DescribedPoints(places, words, words[:, ::-1].copy()),
        DescribedPoints(places[order] + _SHIFT, words[order], words[order][:, ::-1].copy()),
        true,
    )


def test_partners_are_those_that_lie_where_the_truth_says() -> None:
    pair = _pair()
    partner = pair.partner()
    for row, true in enumerate(pair.true_um):
        away = np.linalg.norm(pair.target.positions_um - true, axis=1)
        near = np.flatnonzero(away < 1e-9)
        assert partner[row] == (near[0] if len(near) else -1)
    assert (partner >= 0).sum() == 40


def test_no_two_keypoints_share_a_partner() -> None:
    pair = _pair()
    crowded = KeypointPair(pair.source, pair.target, np.tile([100.0, 100.0], (60, 1)))
    partner = crowded.partner()
    assert (partner >= 0).sum() <= 1


def test_turned_round_the_partners_are_the_same() -> None:
    pair = _pair()
    partner, back = pair.partner(), pair.turned_round().partner()
    rows = np.flatnonzero(partner >= 0)
    np.testing.assert_array_equal(back[partner[rows]], rows)
    assert (back >= 0).sum() == len(rows)


def test_a_task_pairs_the_same_tissue() -> None:
    params = KeypointTaskParams()
    for seed in range(20):
        drawn = draw_keypoint_task(_pair(), params, np.random.default_rng(seed))
        partner = drawn.partner()
        rows = np.flatnonzero(partner >= 0)
        np.testing.assert_array_equal(drawn.source.local[rows], drawn.target.local[partner[rows]])
        np.testing.assert_array_equal(
            drawn.source.semantic[rows], drawn.target.semantic[partner[rows]]
        )
        # All that share a description and are shown on both sides are partners.
        words = {tuple(word): row for row, word in enumerate(drawn.target.local)}
        both = [row for row, word in enumerate(drawn.source.local) if tuple(word) in words]
        np.testing.assert_array_equal(rows, both)


def test_a_task_is_bent_anew_but_not_torn() -> None:
    bends = []
    for seed in range(6):
        drawn = draw_keypoint_task(_pair(), KeypointTaskParams(), np.random.default_rng(seed))
        partner = drawn.partner()
        rows = np.flatnonzero(partner >= 0)
        ends = drawn.target.positions_um[partner[rows]]
        step = ends - drawn.source.positions_um[rows]
        bends.append(np.sqrt(((step - step.mean(axis=0)) ** 2).sum(axis=1).mean()))
    assert min(bends) > 0.2
    assert max(bends) < 12.0
    assert len({round(bend, 3) for bend in bends}) == 6


def test_the_number_of_points_is_bounded_and_the_draw_repeatable() -> None:
    params = KeypointTaskParams(points=16)
    first, again = (
        draw_keypoint_task(_pair(200), params, np.random.default_rng(5)) for _ in range(2)
    )
    assert max(len(first.source), len(first.target)) <= 16
    np.testing.assert_array_equal(first.true_um, again.true_um)
    np.testing.assert_array_equal(first.target.positions_um, again.target.positions_um)


def test_a_pair_without_any_keypoint_stays_one() -> None:
    nothing = DescribedPoints(
        np.empty((0, 2)), np.empty((0, 8), np.float32), np.empty((0, 8), np.float32)
    )
    empty = KeypointPair(nothing, nothing, np.empty((0, 2)))
    drawn = draw_keypoint_task(empty, KeypointTaskParams(), np.random.default_rng(0))
    assert len(drawn.source) == len(drawn.target) == len(drawn.partner()) == 0


def test_a_file_holds_a_pair(tmp_path: Path) -> None:
    pair = _pair()
    pair.save(tmp_path / "pair.npz")
    stored = KeypointPair.load(tmp_path / "pair.npz")
    np.testing.assert_array_equal(stored.partner(), pair.partner())
    assert stored.source.positions_um == pytest.approx(pair.source.positions_um, abs=1e-3)
    np.testing.assert_allclose(stored.target.local, pair.target.local, atol=2e-3)
