"""Who is expected outside of what the other side shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.matching.bounds import Bounds
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.matching.ranking import rank_soma
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import SomaSource

places = st.tuples(*[st.floats(-60.0, 160.0)] * 3)


@given(place=places, deviation=st.floats(0.5, 30.0))
def test_outside_of_an_image_is_beyond_its_box_by_a_soma_and_a_deviation(place, deviation) -> None:
    bounds = Bounds.of_volume((100.0, 100.0, 100.0))
    margin = 7.0 + deviation
    beyond = max(max(-value, value - 100.0) for value in place)
    if abs(beyond - margin) < 1e-6:
        return
    (found,) = bounds.exclude([place], [deviation**2 * np.eye(3)])
    assert found == (beyond > margin)


def test_each_direction_counts_by_its_own_deviation() -> None:
    bounds = Bounds.of_volume((100.0, 100.0, 100.0))
    vague_in_depth = np.diag([40.0**2, 1.0, 1.0])
    deep, aside = (130.0, 50.0, 50.0), (50.0, 130.0, 50.0)
    assert bounds.exclude([deep, aside], [vague_in_depth] * 2).tolist() == [False, True]


@pytest.mark.parametrize("flat", [False, True])
def test_without_an_image_somata_bound_what_is_shown(flat) -> None:
    somata = np.random.default_rng(0).uniform(0.0, 100.0, (200, 3))
    if flat:
        somata[:, 0] = 50.0
    bounds = Bounds.of_somata(somata)
    sure = np.eye(3)
    assert not bounds.exclude(somata, np.tile(sure, (200, 1, 1))).any()
    assert bounds.exclude([(50.0, 50.0, 140.0)], [sure]).all()
    assert bounds.exclude([(90.0, 50.0, 50.0)], [sure]).all() == flat


def test_a_cell_beyond_the_other_side_is_told_in_ranking_and_match(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 8)
    annotate.add_somata(
        project, "two_photon", [(100.0, 160.0, 700.0)], source=SomaSource.MANUAL, annotator="me"
    )
    far = next(s.uid for s in project.state().somata["two_photon"].values() if s.source == "manual")
    match = match_datasets(project)
    outside = match.partners_outside("two_photon")
    side = match.side("two_photon")
    assert outside[side.rows[far]]
    paired = [side.rows[uid] for uid in points_world.partners]
    assert not outside[paired].any(), "cells that have a partner are inside"
    ranking = rank_soma(project, None, far, match=match)
    assert ranking.outside
    assert not rank_soma(project, None, "t000", match=match).outside
