"""The simplest map is taken that matches left out by whole blocks justify."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import choose_fit as module
from napari_neurobridge.spaces.choose_fit import FitKind, choose_fit, fit_kind, spatial_blocks
from napari_neurobridge.spaces.correspondences import Correspondences

SHEAR = np.array([[1.1, 0.05, 0.0], [0.0, 0.9, 0.1], [0.0, -0.1, 1.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def matches_of(rng, kind, count=100, flat=False, noise=1.5, **options):
    """Return noisy matches of a map that is as complex as a kind, and not more."""
    source = rng.uniform(0, 500, (count, 3)) * ([0, 1, 1] if flat else [1, 1, 1])
    linear = 1.1 * special_ortho_group.rvs(3, random_state=rng)
    if kind is not FitKind.SIMILARITY:
        linear = linear @ SHEAR
    target = source @ linear.T
    if kind is FitKind.THIN_PLATE:
        target += 10 * np.sin(source[:, [1, 2, 0]] / 90)
    return Correspondences(source, target + rng.normal(0, noise, source.shape), **options)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", FitKind)
@pytest.mark.parametrize("seed", range(4))
def test_the_kind_that_made_the_matches_is_chosen(kind, flat, seed):
    chosen = choose_fit(matches_of(np.random.default_rng(seed), kind, flat=flat))
    assert chosen.kind is kind
    assert [held.kind for held in chosen.held_out] == list(FitKind)
    assert chosen.notes == ()


def test_few_matches_justify_no_bending(rng):
    # A wave of 3 µm cannot be told from 6 matches.
    chosen = choose_fit(matches_of(rng, FitKind.THIN_PLATE, 6))
    assert chosen.kind is not FitKind.THIN_PLATE


def test_held_out_residuals_are_those_of_fits_without_the_fold(rng):
    matches = matches_of(rng, FitKind.AFFINE, 50)
    chosen = choose_fit(matches, folds=5)
    for held in chosen.held_out:
        for fold in range(5):
            out = chosen.blocks % 5 == fold
            fitted = fit_kind(held.kind, matches.take(~out))
            off = fitted.map_points(matches.source_um[out]) - matches.target_um[out]
            np.testing.assert_allclose(held.residuals_um[out], np.linalg.norm(off, axis=1))
        assert held.mean_um == pytest.approx(held.residuals_um.mean())


def test_whole_blocks_are_left_out_so_that_neighbours_do_not_leak(rng):
    # Clumps of matches that share their error: each clump's neighbours would tell it.
    clumps = rng.uniform(0, 500, (20, 3))
    shared = rng.normal(0, 12, (20, 3))
    source = (clumps[:, None] + rng.normal(0, 2, (20, 5, 3))).reshape(-1, 3)
    target = source + np.repeat(shared, 5, axis=0)
    chosen = choose_fit(Correspondences(source, target))
    # With random points left out, a thin plate would seem to be off by little.
    leaking = np.tile(np.arange(5), 20)
    plate = np.empty(100)
    matches = Correspondences(source, target)
    for fold in range(5):
        out = leaking == fold
        fitted = fit_kind(FitKind.THIN_PLATE, matches.take(~out))
        plate[out] = np.linalg.norm(fitted.map_points(source[out]) - target[out], axis=1)
    assert plate.mean() < 10 < chosen.held_out[2].mean_um
    assert chosen.kind is FitKind.SIMILARITY


def test_blocks_are_compact_and_even(rng):
    points = rng.uniform(0, 1, (203, 3)) * [1, 100, 400]
    blocks = spatial_blocks(points, 20)
    sizes = np.bincount(blocks)
    assert len(sizes) == 20
    assert sizes.min() >= 203 / 20 / 3
    within = np.mean([np.ptp(points[blocks == block, 2]) for block in range(20)])
    assert within < 100
    assert sorted(spatial_blocks(points[:7], 20)) == list(range(7))


def test_what_lies_at_one_place_stays_in_one_block(rng):
    points = np.repeat(rng.uniform(0, 300, (12, 3)), 4, axis=0)
    blocks = spatial_blocks(points, 6).reshape(12, 4)
    assert (blocks == blocks[:, :1]).all()


def test_a_better_mean_that_may_be_chance_is_not_enough(rng):
    blocks, weights = np.repeat(np.arange(20), 5), np.ones(100)
    simple = rng.uniform(4, 6, 100)
    for gain, spread, expected in ((0.1, 1.0, "similarity"), (1.0, 0.5, "affine")):
        by_block = gain + spread * np.tile([-1, 1], 10)
        held = {FitKind.SIMILARITY: simple, FitKind.AFFINE: simple - np.repeat(by_block, 5)}
        kind, measures = module._simplest(held, blocks, weights)
        assert kind == expected
        assert measures[1].gain_um == pytest.approx(gain)
        assert measures[1].gain_error_um == pytest.approx(spread / np.sqrt(19))


def test_rounding_justifies_no_bending(rng):
    source = rng.uniform(0, 500, (60, 3))
    target = source + np.array([3.0, 9.0, -4.0])
    assert choose_fit(Correspondences(source, target)).kind is FitKind.SIMILARITY


def test_outliers_without_weight_change_nothing(rng):
    clean = matches_of(rng, FitKind.AFFINE, 60)
    astray = Correspondences(
        np.vstack([clean.source_um, rng.uniform(0, 500, (20, 3))]),
        np.vstack([clean.target_um, rng.uniform(0, 500, (20, 3))]),
        np.repeat([1.0, 0.0], [60, 20]),
    )
    with_them, without = choose_fit(astray), choose_fit(clean)
    assert np.array_equal(with_them.transform.matrix, without.transform.matrix)
    assert np.isnan(with_them.held_out[0].residuals_um[60:]).all()
    assert (with_them.blocks[60:] == -1).all()
    assert with_them.held_out[1].mean_um == without.held_out[1].mean_um


@pytest.mark.parametrize("count", [1, 2, 3])
def test_up_to_three_matches_give_an_untested_similarity(rng, count):
    chosen = choose_fit(matches_of(rng, FitKind.SIMILARITY, count))
    assert chosen.kind is FitKind.SIMILARITY
    assert chosen.held_out == ()
    assert "nothing tests it" in chosen.notes[0]


def test_matches_that_no_fold_can_miss_give_an_untested_similarity():
    # Without the last one, the others lie on a line.
    places = np.array([[0, 0, 0], [0, 0, 100.0], [0, 0, 200.0], [0, 100.0, 100.0]])
    chosen = choose_fit(Correspondences(places, places + 5.0))
    assert chosen.kind is FitKind.SIMILARITY
    assert chosen.held_out == ()
    assert "do not extend as far" in chosen.notes[0]


def test_a_kind_that_cannot_be_fitted_is_told(rng):
    chosen = choose_fit(matches_of(rng, FitKind.AFFINE, 4, flat=True))
    assert chosen.kind is not FitKind.THIN_PLATE
    assert any(note.startswith("No thin plate was weighed:") for note in chosen.notes)


def test_matches_on_a_line_are_fitted(rng):
    line = rng.uniform(0, 400, (30, 1)) * np.array([0.0, 0.6, 0.8])
    chosen = choose_fit(Correspondences(line, line + rng.normal(0, 1, line.shape)))
    assert chosen.kind is FitKind.SIMILARITY
    np.testing.assert_allclose(chosen.transform.linear, np.eye(3), atol=0.05)


def test_a_thin_plate_that_folds_is_not_taken(rng, monkeypatch):
    def refuse(*_):
        raise InputError("The map folds at x 1.")

    monkeypatch.setattr(module, "require_no_folding", refuse)
    chosen = choose_fit(matches_of(rng, FitKind.THIN_PLATE))
    assert chosen.kind is FitKind.AFFINE
    assert "folds" in chosen.notes[0]


def test_a_mirrored_image_is_told(rng):
    matches = matches_of(rng, FitKind.SIMILARITY, flat=True)
    image = Correspondences(matches.source_um, matches.source_um * [1, 1, -1])
    assert choose_fit(image).turned_over
    assert not choose_fit(Correspondences(matches.source_um, matches.source_um)).turned_over


def test_names_of_spaces_stay(rng):
    chosen = choose_fit(matches_of(rng, FitKind.THIN_PLATE, source="a", target="b"))
    assert (chosen.transform.source, chosen.transform.target) == ("a", "b")


def test_one_fold_leaves_nothing_to_fit(rng):
    with pytest.raises(InputError, match="at least two folds"):
        choose_fit(matches_of(rng, FitKind.AFFINE), folds=1)
