"""The likelihood ratio of appearance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance import likelihood as appearance
from napari_neurobridge.matching.appearance.likelihood import (
    COHORT,
    FEWEST_TO_FIT_APPEARANCE,
    LIMIT,
    Margins,
    appearance_of,
    fit_appearance,
    pooled_fit,
)
from napari_neurobridge.matching.appearance.mutual import TEMPERATURE
from napari_neurobridge.models.model_folder import Likelihood, ModelCalibration

WEIGHT, OFFSET = 20.4, -0.15
KNOWN = ModelCalibration(likelihood=Likelihood(weight=WEIGHT, offset=OFFSET))

N, M = 150, 200


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scene(seed: int, noise: float = 1.0) -> tuple:
    """Queries are the first somata of the gallery, seen again; neighbours look alike."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 150, (M, 3))
    shared = np.sin(places @ rng.normal(0, 0.02, (3, 32)))
    gallery = shared + rng.normal(0, 1, (M, 32))
    queries = gallery[:N] + rng.normal(0, noise, (N, 32))
    return unit(queries), unit(gallery), places[:N] + 500, places


def known(count: int) -> np.ndarray:
    return np.column_stack([np.arange(count), np.arange(count)])


def test_margins_equal_a_loop_over_neighbours():
    first, second, here, there = scene(0)
    margins = Margins(first, second, here, there)

    def soft(values):
        return TEMPERATURE * (logsumexp(np.array(values) / TEMPERATURE) - np.log(len(values)))

    rng = np.random.default_rng(1)
    for query, candidate in zip(rng.integers(N, size=20), rng.integers(M, size=20), strict=True):
        around = np.argsort(np.linalg.norm(there - there[candidate], axis=1))[1 : COHORT + 1]
        rivals = np.argsort(np.linalg.norm(here - here[query], axis=1))[1 : COHORT + 1]
        usual = soft(second[around] @ first[query]) + soft(first[rivals] @ second[candidate])
        expected = first[query] @ second[candidate] - usual / 2
        got = margins(np.array([query]), np.array([[candidate]]))[0, 0]
        assert got == pytest.approx(expected, abs=1e-5)


def test_margins_are_the_same_one_by_one_and_in_large_galleries(monkeypatch):
    sides = scene(0)
    queries, candidates = np.arange(N), np.random.default_rng(2).integers(0, M, (N, 7))
    whole = Margins(*sides)(queries, candidates)
    monkeypatch.setattr(appearance, "_FEW_PAIRS", 0)
    monkeypatch.setattr(appearance, "_PAIRS_AT_ONCE", 50)
    margins = Margins(*sides)
    parts = np.vstack([margins(queries[[row]], candidates[[row]]) for row in range(N)])
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_a_fit_gives_the_likelihood_ratio():
    fitted = pooled_fit([(Margins(*scene(seed, noise=4.0)), known(N)) for seed in range(4)])
    margins = Margins(*scene(9, noise=4.0))
    found = fit_appearance(margins, known(0), prior=fitted)
    right = found.log_ratio(np.arange(N), np.arange(N)[:, None])[:, 0]
    near = np.argsort(np.linalg.norm(margins.gallery_um[:N, None] - margins.gallery_um, axis=2))
    wrong = found.log_ratio(np.arange(N), near[:, 1:9])
    assert right.mean() > 0.5 > -0.5 > wrong.mean()
    # A likelihood ratio is 1 on average where it is not the partner.
    assert np.exp(wrong).mean() == pytest.approx(1.0, abs=0.25)
    # Pairs at a ratio of r are r times as frequent among the right as among the wrong.
    for low, high in ((-2, 0), (0, 2)):
        n_right = ((right > low) & (right < high)).mean()
        n_wrong = ((wrong > low) & (wrong < high)).mean()
        assert np.exp(low) < n_right / n_wrong < np.exp(high)


def test_few_pairs_stay_near_what_the_model_states():
    margins = Margins(*scene(0, noise=6.0))
    nothing = appearance_of(margins, known(0), KNOWN)
    assert (nothing.weight, nothing.offset) == (WEIGHT, OFFSET)
    weights = [appearance_of(margins, known(count), KNOWN).weight for count in (4, 40, N)]
    # Crops that say little: the more pairs, the less they are trusted.
    assert WEIGHT > weights[0] > weights[1] > weights[2] > 0


def test_a_model_that_states_nothing_says_nothing_until_there_are_pairs_to_fit_to():
    margins = Margins(*scene(0, noise=4.0))
    unknown = ModelCalibration()
    assert appearance_of(margins, known(FEWEST_TO_FIT_APPEARANCE - 1), unknown) is None
    fitted = appearance_of(margins, known(N), unknown)
    truth = pooled_fit([(margins, known(N))])
    assert (fitted.weight, fitted.offset) == pytest.approx(truth, rel=0.2)


def test_ratios_are_bounded_and_silent_without_images():
    first, second, here, there = scene(0)
    first[3], second[5] = np.nan, 0.0
    found = appearance_of(Margins(first, second, here, there), known(20), KNOWN)
    everything = np.tile(np.arange(M), (N, 1))
    ratio = found.log_ratio(np.arange(N), everything)
    assert np.isfinite(ratio).all()
    assert np.abs(ratio).max() <= LIMIT
    assert (ratio[3] == 0).all()
    assert (ratio[:, 5] == 0).all()
    assert (ratio[0, 6:] != 0).all()


def test_sides_of_other_lengths_are_refused():
    first, second, here, there = scene(0)
    with pytest.raises(InputError, match="one embedding for each"):
        Margins(first[:-1], second, here, there)
    with pytest.raises(InputError, match="differ in length"):
        Margins(first[:, :-1], second, here, there)


def test_one_soma_on_either_side_is_enough_to_ask():
    one = np.ones((1, 4)) / 2
    margins = Margins(one, one, np.zeros((1, 3)), np.zeros((1, 3)))
    found = appearance_of(margins, known(1), KNOWN)
    assert np.isfinite(found.log_ratio(np.zeros(1, int), np.zeros((1, 1), int))).all()
