"""Listed somata are compared in the alignment's frame, all others in the index's."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.matching.appearance.gallery import (
    embed_positions,
    index_project,
    load_gallery,
)
from napari_neurobridge.matching.appearance.shortlist import (
    query_embedding,
    shortlist_embeddings,
)
from napari_neurobridge.matching.ranking import locate_candidate, rank_soma
from napari_neurobridge.project.crops import aligned_frame
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import SomaSource

INNER = ("00003", "00012", "00016", "00021")


@pytest.fixture
def aligned(tilted_project, encoder) -> Project:
    project = tilted_project(6)
    index_project(project, encoder)
    encoder.n_embedded = 0
    return project


def _similarity(project: Project, encoder, query: str, uid: str) -> float:
    ranking = rank_soma(project, encoder, query, k=24)
    return next(c.similarity for c in ranking.candidates if c.uid == uid)


@pytest.mark.parametrize(("query", "partner"), [("tp", "fm"), ("fm", "tp")])
def test_partners_look_more_alike_in_the_frame_of_the_alignment(
    tilted_project, encoder, query, partner
) -> None:
    found = {}
    for n_accepted in (0, 6):
        project = tilted_project(n_accepted)
        index_project(project, encoder)
        found[n_accepted] = np.mean(
            [
                _similarity(project, encoder, f"{query}-{number}", f"{partner}-{number}")
                for number in INNER
            ]
        )
    assert found[6] > found[0] + 0.02


def test_the_side_that_is_cut_again_is_the_fmost_one(aligned: Project, encoder) -> None:
    rank_soma(aligned, encoder, "tp-00010", k=5)
    assert encoder.n_embedded == 5
    encoder.n_embedded = 0
    rank_soma(aligned, encoder, "fm-00020", k=5)
    # The query, unless it was listed before; never the two-photon candidates.
    assert encoder.n_embedded <= 1


def test_nobody_is_cut_twice_under_one_alignment(aligned: Project, encoder) -> None:
    first = rank_soma(aligned, encoder, "tp-00010", k=5)
    encoder.n_embedded = 0
    assert rank_soma(aligned, encoder, "tp-00010", k=5) == first
    assert encoder.n_embedded == 0
    annotate.accept(aligned, "tp-00008", "fm-00008", annotator="test")
    rank_soma(aligned, encoder, "tp-00010", k=5)
    assert encoder.n_embedded == 5


def test_candidates_are_ordered_by_what_is_shown_of_them(aligned: Project, encoder) -> None:
    ranking = rank_soma(aligned, encoder, "tp-00010", k=8)
    similarities = [candidate.similarity for candidate in ranking.candidates]
    assert similarities == sorted(similarities, reverse=True)
    # And they are the eight of the index.
    indexed = load_gallery(aligned, encoder, "fmost")
    query = query_embedding(aligned, encoder, "two_photon", ranking.query_center_um, "tp-00010")
    rows, _ = indexed.search(query, 8)
    assert {candidate.uid for candidate in ranking.candidates} == {
        indexed.uids[row] for row in rows
    }


def test_a_candidate_is_located_with_the_similarity_it_is_listed_with(
    aligned: Project, encoder
) -> None:
    ranking = rank_soma(aligned, encoder, "tp-00010", k=3)
    for listed in ranking.candidates:
        assert locate_candidate(aligned, encoder, ranking, listed.uid) == listed
    whole = rank_soma(aligned, encoder, "tp-00010", k=24)
    other = whole.candidates[-1]
    located = locate_candidate(aligned, encoder, ranking, other.uid)
    assert located.similarity == pytest.approx(other.similarity, abs=1e-6)
    assert located.rank > 3


def test_embeddings_are_those_of_crops_in_the_frame(aligned: Project, encoder) -> None:
    uids = ["fm-00010", "fm-00011"]
    found = shortlist_embeddings(aligned, encoder, "fmost", [*uids, "fm-99999"], "two_photon")
    assert set(found) == set(uids)
    centers = [aligned.state().soma(uid).center_um for uid in uids]
    frame = aligned_frame(aligned, "fmost", "two_photon")
    assert frame.departs(centers).all()
    expected = embed_positions(aligned, encoder, "fmost", centers, frame=frame)
    np.testing.assert_allclose([found[uid] for uid in uids], expected, atol=1e-6)


def test_where_the_orientation_is_right_the_index_is_used(indexed_alike, encoder) -> None:
    rank_soma(indexed_alike, encoder, "tp-00001", k=5)
    assert encoder.n_embedded == 0


@pytest.fixture
def indexed_alike(project: Project, encoder) -> Project:
    """Two equal volumes: the accepted pairs agree with the orientation."""
    here = [soma.center_um for soma in project.state().somata["two_photon"].values()]
    added = annotate.add_somata(project, "fmost", here, source=SomaSource.MANUAL)
    for number, soma in enumerate(added, start=1):
        annotate.accept(project, f"tp-{number:05d}", soma.uid, annotator="test")
    index_project(project, encoder)
    encoder.n_embedded = 0
    return project
