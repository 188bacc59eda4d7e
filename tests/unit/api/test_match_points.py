"""Points matched without a project: `nb.match_points`."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neurobridge as nb
from napari_neurobridge.errors import InputError


def world(n_queries: int, n_gallery: int, seed: int = 0):
    """Return points, their noisy bent copies among others, and the partner of each."""
    rng = np.random.default_rng(seed)
    n_shared = min(n_queries, n_gallery)
    shared = rng.uniform(0, 400, (n_shared, 3))
    queries = np.vstack([shared, rng.uniform(0, 400, (n_queries - n_shared, 3))])
    there = shared[:, [1, 0, 2]] * [1.05, -0.95, 1.0] + 4 * np.sin(shared / 80) + [50, 900, 20]
    others = rng.uniform(there.min(0), there.max(0), (n_gallery - n_shared, 3))
    gallery = np.vstack([there + rng.normal(0, 1.0, there.shape), others])
    order = rng.permutation(n_gallery)
    return queries, gallery[order], np.argsort(order)[:n_shared]


@pytest.mark.parametrize(("n_queries", "n_gallery"), [(150, 220), (220, 150)])
def test_rows_are_those_of_the_arrays_whichever_is_longer(n_queries, n_gallery):
    queries, gallery, partner = world(n_queries, n_gallery)
    known = [(row, int(partner[row])) for row in (0, 20, 40, 60, 80, 100)]
    found = nb.match_points(queries, gallery, known)
    table = found.pairs(fdr=0.05)
    right = [
        g == partner[q]
        for q, g in zip(table["query"], table["gallery"], strict=True)
        if q < len(partner)
    ]
    assert len(table) > 0.6 * len(partner)
    assert np.mean(right) > 0.9
    assert set(known) <= set(zip(table["query"], table["gallery"], strict=True))
    assert found.candidates(5)["gallery"][0] == partner[5]
    mapped = found.map_points(queries[: len(partner)], "queries", "gallery")
    assert np.median(np.linalg.norm(mapped - gallery[partner], axis=1)) < 4
    back = found.map_points(mapped, "gallery", "queries")
    np.testing.assert_allclose(back, queries[: len(partner)], atol=1e-3)


def test_bad_input_is_one_sentence():
    queries, gallery, partner = world(60, 80)
    known = [(row, int(partner[row])) for row in range(6)]
    with pytest.raises(InputError, match="does not exist"):
        nb.match_points(queries, gallery, [(0, 999)])
    with pytest.raises(InputError, match="NaN"):
        nb.match_points(np.full((5, 3), np.nan), gallery, known)
    found = nb.match_points(queries, gallery, known)
    with pytest.raises(InputError, match="between"):
        found.map_points(queries, "queries", "moon")
    with pytest.raises(InputError, match="no query 60"):
        found.candidates(60)
    with pytest.raises(InputError, match="between 0 and 1"):
        found.pairs(fdr=5)
