"""Somata of generated fields lie as they are asked to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_neurobridge.benchmarks.fields_tissue import (
    CLUSTERED_HARD_CORE_UM,
    HARD_CORE_UM,
    SomaLayout,
)

BOX = (200.0, 400.0, 400.0)


@pytest.mark.parametrize("clustered", [False, True])
def test_so_many_somata_keep_their_distance_in_the_box(clustered):
    somata = SomaLayout(BOX, 2500, clustered=clustered).draw(np.random.default_rng(0))
    assert somata.shape == (2500, 3)
    assert (np.abs(somata) <= np.array(BOX) / 2).all()
    apart = np.asarray(cKDTree(somata).query(somata, k=2)[0])[:, 1]
    least = CLUSTERED_HARD_CORE_UM if clustered else HARD_CORE_UM
    assert least <= apart.min() < least + 1.0


def test_clustered_somata_have_more_neighbours():
    def neighbours(*, clustered: bool) -> float:
        somata = SomaLayout(BOX, 1500, clustered=clustered).draw(np.random.default_rng(0))
        tree = cKDTree(somata)
        return tree.count_neighbors(tree, 20.0) / len(somata) - 1

    assert neighbours(clustered=True) > 2 * neighbours(clustered=False)


def test_layers_lie_where_they_are_stated():
    somata = SomaLayout((4.0, 400.0, 400.0), 301, layers_um=(-30.0, 0.0, 30.0)).draw(
        np.random.default_rng(0)
    )
    layer = np.round(somata[:, 0] / 30).astype(int)
    assert sorted(np.unique(layer, return_counts=True)[1].tolist()) == [100, 100, 101]
    assert (np.abs(somata[:, 0] - 30 * layer) <= 2.0).all()
