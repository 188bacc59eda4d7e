"""Points that are each other's nearest."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.spaces.mutual_nearest import mutual_nearest


def test_nearest_pairs_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.uniform(0, 100, (60, 2)), rng.uniform(0, 100, (80, 2))
    away = np.linalg.norm(first[:, None] - second[None], axis=2)
    wanted = [
        (i, j)
        for i, j in np.ndindex(away.shape)
        if away[i, j] == away[i].min() == away[:, j].min() and away[i, j] <= 6
    ]
    assert sorted(map(tuple, mutual_nearest(first, second, 6.0).tolist())) == sorted(wanted)
    assert mutual_nearest(first[:0], second, 6.0).shape == (0, 2)
