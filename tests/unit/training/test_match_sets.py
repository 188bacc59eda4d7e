import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.training.match_sets import (
    MatchSetParams,
    draw_match_set,
    spoil_matches,
)

SMALL = MatchSetParams(size_um=(150.0, 250.0), depth_um=(60.0, 100.0), length_um=(90.0, 120.0))


@settings(deadline=None, max_examples=20)
@given(dims=st.sampled_from([2, 3]), seed=st.integers(0, 1000), count=st.integers(8, 60))
def test_a_match_is_right_if_it_ends_near_the_truth(dims: int, seed: int, count: int) -> None:
    drawn = draw_match_set(count, dims, SMALL, Key.of(seed))
    assert drawn.source_um.shape == drawn.target_um.shape == drawn.true_um.shape == (count, dims)
    off = np.linalg.norm(drawn.target_um - drawn.true_um, axis=1)
    assert np.array_equal(drawn.right, off <= 5.0)
    again = draw_match_set(count, dims, SMALL, Key.of(seed))
    assert np.array_equal(drawn.target_um, again.target_um)


@pytest.mark.parametrize("dims", [2, 3])
def test_without_displacement_the_truth_is_a_similarity(dims: int) -> None:
    params = SMALL.model_copy(update={"displacement_um": (0.0, 0.0), "wrong": (0.0, 0.0)})
    drawn = draw_match_set(40, dims, params, Key.of(3))
    ours, theirs = (
        np.linalg.norm(side[:, None] - side, axis=2) for side in (drawn.source_um, drawn.true_um)
    )
    apart = ours > 0
    ratio = theirs[apart] / ours[apart]
    assert np.ptp(ratio) < 1e-9
    assert 0.8 <= ratio[0] <= 1.25
    noise = (drawn.target_um - drawn.true_um).std()
    assert 0.4 < noise < 2.2


@pytest.mark.parametrize("dims", [2, 3])
def test_the_displacement_has_the_stated_size_and_is_smooth(dims: int) -> None:
    params = SMALL.model_copy(
        update={"scale": (1.0, 1.0), "angle_deg": 0.0, "displacement_um": (15.0, 15.0)}
    )
    for seed in range(5):
        drawn = draw_match_set(200, dims, params, Key.of(seed))
        moved = drawn.true_um - drawn.source_um
        assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(15.0)
        near = cKDTree(drawn.source_um).query(drawn.source_um, k=2)[1][:, 1]
        change = np.linalg.norm(moved - moved[near], axis=1)
        assert np.median(change) < 0.5 * 15.0


def test_the_stated_share_is_wrong_in_all_three_ways() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 500, (400, 2))
    params = MatchSetParams(wrong=(0.5, 0.5), noise_um=(0.5, 0.5))
    far, near, agreeing, share = 0, 0, 0, []
    for _ in range(10):
        drawn = spoil_matches(source, source, params, rng)
        share.append(drawn.right.mean())
        off = (drawn.target_um - source)[~drawn.right]
        length = np.linalg.norm(off, axis=1)
        far += int((length > 60).sum())
        near += int((length < 40).sum())
        next_to = np.linalg.norm(off[:, None] - off, axis=2) + 1e9 * np.eye(len(off))
        agreeing += int((next_to.min(axis=1) < 2).sum())
    assert np.mean(share) == pytest.approx(0.5, abs=0.03)
    assert min(far, near, agreeing) > 200


def test_no_field_is_left_without_a_mistake_that_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    source = rng.uniform(0, 500, (100, 3))
    for _ in range(20):
        drawn = spoil_matches(source, source, MatchSetParams(wrong=(0.8, 0.8)), rng)
        assert drawn.right.mean() < 0.35
