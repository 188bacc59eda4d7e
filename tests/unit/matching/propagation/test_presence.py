"""The chance of a partner, by place."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.matching.propagation.presence import Presence

PRIOR = (9.0, 1.0)


def learned(places, none, own=None, rounds=12) -> Presence:
    presence = Presence.constant(places, PRIOR)
    own = np.ones(len(places)) if own is None else own
    for _ in range(rounds):
        presence = presence.updated(places, own, none)
    return presence


@pytest.fixture
def places() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 400, (300, 3))


def test_it_starts_with_the_prior(places):
    np.testing.assert_allclose(Presence.constant(places, PRIOR).at(places), 0.9)


def test_random_gaps_leave_it_constant(places):
    none = (np.random.default_rng(1).random(300) < 0.3).astype(float)
    presence = learned(places, none)
    expected = (8 + (1 - none).sum()) / (8 + 300)
    np.testing.assert_allclose(presence.at(places), expected, atol=0.01)


def test_few_cells_leave_it_constant(places):
    none = (places[:8, 0] > 200).astype(float)
    presence = learned(places[:8], none)
    assert np.ptp(presence.at(places)) < 0.05


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_falls_where_one_side_ends(places, axis):
    deep = places[:, axis] > 200
    presence = learned(places, deep.astype(float))
    chance = presence.at(places)
    assert chance[deep].mean() < 0.15
    assert chance[~deep].mean() > 0.85
    # Beyond what was seen it does not go on to rise or fall.
    outside = np.full((2, 3), 200.0)
    outside[:, axis] = [-5000, 5000]
    rim = np.full((2, 3), 200.0)
    rim[:, axis] = places[:, axis].min(), places[:, axis].max()
    np.testing.assert_allclose(presence.at(outside), presence.at(rim), rtol=1e-6)


def test_what_is_absent_by_its_own_fault_says_nothing_of_the_place(places):
    own = np.where(np.arange(300) < 150, 0.0, 1.0)
    presence = learned(places, (own == 0).astype(float), own)
    assert presence.at(places).min() > 0.93


def test_nothing_seen_changes_nothing(places):
    presence = Presence.constant(places, PRIOR)
    assert presence.updated(places[:0], np.empty(0), np.empty(0)) is presence
