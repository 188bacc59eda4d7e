"""Instances of probabilities, and how far two segmentations are from each other."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_neurobridge.detection.watershed import (
    WatershedParams,
    fit_watershed,
    instances,
    variation_of_information,
    watershed_grid,
)
from napari_neurobridge.errors import InputError

segmentations = arrays(np.int32, (5, 6), elements=st.integers(0, 4))


def entropies(truth: np.ndarray, found: np.ndarray, background: bool) -> tuple[float, float]:
    """Add up H(found | truth) and H(truth | found), pixel pair by pixel pair."""
    pairs = [
        (int(a), int(b)) for a, b in zip(truth.flat, found.flat, strict=True) if background or a
    ]
    both, total = Counter(pairs), len(pairs)
    of_truth, of_found = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    split = -sum(n / total * math.log2(n / of_truth[a]) for (a, _), n in both.items())
    merge = -sum(n / total * math.log2(n / of_found[b]) for (_, b), n in both.items())
    return split, merge


@settings(max_examples=200, deadline=None)
@given(segmentations, segmentations, st.booleans())
def test_variation_of_information_is_that_of_its_definition(
    truth: np.ndarray, found: np.ndarray, background: bool
) -> None:
    if not truth.any():
        truth[0, 0] = 1
    told = variation_of_information(truth, found, background=background)
    assert told == pytest.approx(entropies(truth, found, background), abs=1e-9)


def test_a_cell_that_is_cut_is_split_and_two_that_are_joined_are_merged() -> None:
    one, two = np.ones((4, 4), int), np.repeat([[1, 1, 2, 2]], 4, axis=0)
    assert variation_of_information(one, two) == pytest.approx((1.0, 0.0))
    assert variation_of_information(two, one) == pytest.approx((0.0, 1.0))
    # What is found on the truth's background counts when it is asked to.
    beside = np.where(two == 2, 0, 1)
    assert variation_of_information(beside, two) == pytest.approx((0.0, 0.0))
    assert variation_of_information(beside, one, background=True) == pytest.approx((0.0, 1.0))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        variation_of_information(np.ones((2, 3), int), np.ones((3, 2), int))
    with pytest.raises(InputError, match="holds no cell"):
        variation_of_information(np.zeros((2, 3), int), np.ones((2, 3), int))


def bumps(centers: list[tuple[float, ...]], shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Draw probabilities of somata: 1 in the middle, .5 at the rim."""
    grid = np.stack(np.indices(shape), axis=-1)
    away = [np.linalg.norm(grid - center, axis=-1) for center in centers]
    return (0.5 ** (np.min(away, axis=0) / radius) ** 2).astype(np.float32)


def test_touching_somata_are_told_apart_and_background_is_left() -> None:
    centers = [(10.0, 10.0), (10.0, 18.0), (28.0, 24.0)]
    found = instances(bumps(centers, (40, 40), 4.0), "somata", WatershedParams())
    assert found.max() == 3
    assert sorted(found[int(y), int(x)] for y, x in centers) == [1, 2, 3]
    assert found[10, 13] == found[10, 10]
    assert found[10, 15] == found[10, 18]
    assert found[0, 39] == found[35, 5] == 0


def test_coarse_planes_are_cut_as_fine_ones() -> None:
    centers = [(10.0, 12.0, 12.0), (22.0, 12.0, 14.0), (22.0, 30.0, 30.0)]
    fine = bumps(centers, (32, 40, 40), 4.0)
    whole = instances(fine, "somata", WatershedParams())
    coarse = instances(fine[::2], "somata", WatershedParams(), spacing=(2.0, 1.0, 1.0))
    assert whole.max() == coarse.max() == 3
    for z, y, x in np.array(centers, int):
        ours = (whole == whole[z, y, x])[::2]
        theirs = coarse == coarse[z // 2, y, x]
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.85


def test_small_and_unlikely_ones_are_dropped() -> None:
    image = bumps([(10.0, 10.0), (30.0, 30.0)], (40, 40), 4.0)
    image[30:, 30:] *= 0.3
    image[:, 21:] *= 0.6
    assert instances(image, "somata", WatershedParams(seed=0.7)).max() == 1
    assert instances(image, "somata", WatershedParams(radius_px=8)).max() == 0


def cells_between_lines() -> tuple[np.ndarray, np.ndarray]:
    """Draw twelve cells and the boundaries between them."""
    rows, columns = np.indices((60, 80))
    truth = 1 + (rows // 20) * 4 + columns // 20
    lines = (rows % 20 < 2) | (columns % 20 < 2)
    return np.where(lines, 0, truth), lines.astype(np.float32)


def test_boundaries_become_cells_that_fill_the_image() -> None:
    truth, lines = cells_between_lines()
    noisy = np.clip(lines * 0.8 + np.random.default_rng(0).uniform(0, 0.2, lines.shape), 0, 1)
    grid = watershed_grid(seed=(0.3, 0.5, 0.7), inside=(0.5,), distance_px=(3, 6))
    params, cost = fit_watershed([noisy.astype(np.float32)], [truth], "boundaries", grid)
    found = instances(noisy.astype(np.float32), "boundaries", params)
    assert (found > 0).all()
    assert found.max() == 12
    assert cost == pytest.approx(sum(variation_of_information(truth, found)))
    assert cost < 0.05


def test_the_settings_of_least_cost_are_chosen_the_first_of_equal_ones() -> None:
    truth, lines = cells_between_lines()
    grid = [WatershedParams(seed=seed) for seed in (0.1, 0.2, 0.3)]
    costs = iter((2.0, 1.0, 1.0))
    chosen = fit_watershed([lines], [truth], "boundaries", grid, cost=lambda *_: next(costs))
    assert chosen == (grid[1], 1.0)
    with pytest.raises(InputError, match="a truth for each image"):
        fit_watershed([lines], [], "boundaries", grid)


def test_the_least_size_is_a_ball_in_a_volume_and_a_disc_in_a_plane() -> None:
    grid = np.stack(np.indices((21, 21, 21)), axis=-1) - 10
    ball = (np.linalg.norm(grid, axis=-1) <= 4).astype(np.float32)
    for image in (ball, ball[10], ball[10:11]):
        kept, dropped = (
            instances(image, "somata", WatershedParams(radius_px=radius)).max()
            for radius in (3.5, 4.5)
        )
        assert (kept, dropped) == (1, 0)
    coarse = ball[::2]
    spacing = (2.0, 1.0, 1.0)
    assert instances(coarse, "somata", WatershedParams(radius_px=3.5), spacing=spacing).max() == 1
    assert instances(coarse, "somata", WatershedParams(radius_px=4.5), spacing=spacing).max() == 0
