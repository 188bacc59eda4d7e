"""How often pictures and places name the same cell."""

import numpy as np
import pytest

from napari_neurobridge.matching.appearance.agreement import (
    Agreement,
    agreement_of,
    compare_witnesses,
)
from napari_neurobridge.matching.appearance.likelihood import Appearance, Margins
from napari_neurobridge.matching.propagation.propagate import PropagationProblem, run_propagation

N = 200


def draw(seed: int, alike: float) -> tuple[np.ndarray, np.ndarray, Margins]:
    """A plane seen twice, row by row; pictures of partners share so much."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 300, (N, 3)) * (0, 1, 1)
    vectors = rng.standard_normal((N, 24))
    there = alike * vectors + (1 - alike) * rng.standard_normal((N, 24))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (vectors, there)]
    return places, places + np.array([0.0, 20.0, -10.0]), Margins(*unit, places, places)


def test_pictures_of_the_same_cells_confirm_right_claims_and_contradict_wrong_ones():
    _, there, margins = draw(0, 0.9)
    rows = np.arange(N)
    right = compare_witnesses(rows, there, there, margins)
    assert right.n_both > 0.9 * N
    assert right.share > 0.98
    wrong = compare_witnesses(np.roll(rows, 1), there, there, margins)
    assert wrong.share < 0.05


def test_pictures_that_say_nothing_agree_as_often_as_chance_says():
    found = []
    for seed in range(20):
        _, there, margins = draw(seed, 0.0)
        found.append(compare_witnesses(np.arange(N), there, there, margins))
    agree, chance = sum(f.n_agree for f in found), sum(f.by_chance for f in found)
    assert sum(f.n_both for f in found) > 500
    assert agree == pytest.approx(chance, abs=4 * chance**0.5)


def test_a_lone_soma_is_no_choice_and_a_cell_without_picture_has_no_say():
    _, there, margins = draw(1, 0.9)
    alone = there * (1, 100, 100)
    assert compare_witnesses(np.arange(N), alone, alone, margins).n_both == 0
    nothing = np.zeros((N, 24))
    blind = Margins(nothing, nothing, there, there)
    assert compare_witnesses(np.arange(N), there, there, blind) == Agreement(0, 0, 0.0)


def test_places_claim_without_the_pictures_that_grew_the_match():
    here, there, _ = draw(2, 0.0)
    pairs = np.column_stack([np.arange(0, N, 20)] * 2)
    # Pictures that call each cell its neighbour's partner, and shout.
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N, 24))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    misled = Appearance(Margins(vectors, np.roll(vectors, 1, axis=0), here, there), 5.0, 0.0)
    problem = PropagationProblem(here, there, pairs, log_ratio=misled.log_ratio)
    found = run_propagation(problem)
    told = agreement_of(found, misled.margins, without=pairs[:, 0].tolist())
    assert told.n_both > 20
    assert told.share < 0.1


def test_it_is_told_in_one_sentence():
    assert str(Agreement(100, 94, 12.3)) == (
        "Pictures agree with places in 94 of 100 cells where both speak (about 12 by chance)."
    )
    assert "too few cells to compare them (3)" in str(Agreement(3, 3, 1.0))
