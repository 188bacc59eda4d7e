"""What the Match dock shows for one query."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_neurobridge.matching.appearance.gallery import index_project
from napari_neurobridge.project.crops import aligned_frame
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import SomaSource
from napari_neurobridge.workbench.answers import Query, answer_query


@pytest.mark.parametrize(("query", "dataset"), [("tp-00010", "two_photon"), ("fm-00010", "fmost")])
def test_the_fmost_side_is_shown_in_the_frame_of_the_alignment(
    tilted_project: Callable[[int], Project], thumbnail_encoder, query: str, dataset: str
) -> None:
    project = tilted_project(6)
    index_project(project, thumbnail_encoder)
    place = project.state().soma(query).center_um
    answer = answer_query(
        project, lambda: thumbnail_encoder, Query(dataset, place, query), depth_um=3.0
    )
    shown = [candidate.center_um for candidate in answer.shown]
    frame = aligned_frame(project, "fmost", "two_photon")
    fmost, crops = (
        (shown, answer.candidate_crops) if dataset == "two_photon" else ([place], answer.query_crop)
    )
    expected = project.crops("fmost", fmost, frame, depth_um=3.0)
    np.testing.assert_array_equal(np.reshape(crops, expected.shape), expected)
    assert not np.array_equal(expected, project.crops("fmost", fmost, depth_um=3.0))
    two_photon, crops = (
        ([place], answer.query_crop) if dataset == "two_photon" else (shown, answer.candidate_crops)
    )
    expected = project.crops("two_photon", two_photon, depth_um=3.0)
    np.testing.assert_array_equal(np.reshape(crops, expected.shape), expected)


def test_without_images_there_is_nothing_to_show(empty_project: Project) -> None:
    for name in empty_project.datasets:
        annotate.add_somata(empty_project, name, [(1.0, 2.0, 3.0)], source=SomaSource.MANUAL)
    answer = answer_query(
        empty_project, lambda: None, Query("two_photon", (1.0, 2.0, 3.0), "tp-00001")
    )
    assert answer.query_crop is None
    assert answer.candidate_crops is None
