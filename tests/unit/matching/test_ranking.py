"""Rankings of somata and of bare positions, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.gallery import (
    embed_positions,
    index_project,
    load_gallery,
)
from napari_neurobridge.matching.ranking import locate_candidate, rank_position, rank_soma
from napari_neurobridge.project.folder import DatasetSpec, Project
from napari_neurobridge.project.log.annotate import add_somata, move_soma
from napari_neurobridge.types import Role, SomaSource


@pytest.fixture
def indexed(project: Project, encoder) -> Project:
    # The two images are equal, so that this cell's partner is the one at the same place.
    (center,) = [s.center_um for s in project.state().somata["two_photon"].values()][:1]
    add_somata(project, "fmost", [center], source=SomaSource.MANUAL)
    index_project(project, encoder)
    return project


@pytest.mark.parametrize(("uid", "partner"), [("tp-00001", "fm-00010"), ("fm-00010", "tp-00001")])
def test_the_partner_comes_first_in_both_directions(
    indexed: Project, encoder, uid: str, partner: str
) -> None:
    ranking = rank_soma(indexed, encoder, uid, k=3)
    assert ranking.candidates[0].uid == partner
    assert ranking.candidates[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert ranking.query_uid == uid
    assert {ranking.query_dataset, ranking.gallery_dataset} == {"two_photon", "fmost"}


def test_candidates_fall_and_count_from_one(indexed: Project, encoder) -> None:
    ranking = rank_soma(indexed, encoder, "tp-00002", k=100)
    similarities = [c.similarity for c in ranking.candidates]
    assert similarities == sorted(similarities, reverse=True)
    assert [c.rank for c in ranking.candidates] == list(range(1, 11))
    somata = indexed.state().somata["fmost"]
    assert all(somata[c.uid].center_um == c.center_um for c in ranking.candidates)
    assert ranking.model == "fake@0123456789ab"


def test_numbers_without_meaning_stay_unknown(indexed: Project, encoder) -> None:
    ranking = rank_soma(indexed, encoder, "tp-00002")
    assert ranking.p_none is None
    assert all(c.probability is None and c.residual_um is None for c in ranking.candidates)


def test_an_indexed_query_is_not_embedded_again(indexed: Project, encoder) -> None:
    before = encoder.n_embedded
    rank_soma(indexed, encoder, "tp-00001")
    assert encoder.n_embedded == before


def test_a_query_that_is_not_indexed_is_embedded(indexed: Project, encoder) -> None:
    (soma,) = add_somata(indexed, "two_photon", [(30.0, 60.0, 70.0)], source=SomaSource.MANUAL)
    ranking = rank_soma(indexed, encoder, soma.uid)
    by_position = rank_position(indexed, encoder, soma.center_um, "two_photon")
    assert ranking.candidates == by_position.candidates


def test_a_position_is_cropped_exactly_there(indexed: Project, encoder) -> None:
    z, y, x = indexed.state().soma("tp-00001").center_um
    position = (z, y + 4.0, x - 4.0)  # near a soma, and yet not on it
    ranking = rank_position(indexed, encoder, position, "two_photon", k=10)
    gallery = load_gallery(indexed, encoder, "fmost")
    expected = gallery.embeddings @ embed_positions(indexed, encoder, "two_photon", [position])[0]
    assert ranking.query_uid is None
    assert ranking.query_center_um == position
    similarities = [c.similarity for c in ranking.candidates]
    np.testing.assert_allclose(similarities, np.sort(expected)[::-1], atol=1e-6)


def test_a_position_at_the_border_is_padded(indexed: Project, encoder) -> None:
    assert rank_position(indexed, encoder, (0.0, 0.0, 0.0), "two_photon").candidates
    assert rank_position(indexed, encoder, (0.0, -59.0, 0.0), "two_photon").candidates


@pytest.mark.parametrize("position", [(0.0, -61.0, 0.0), (90.0, 10.0, 10.0)])
def test_a_position_without_any_pixel_is_refused(indexed: Project, encoder, position) -> None:
    with pytest.raises(InputError, match=r"outside 'two_photon', which spans 57 × 178 × 178 µm"):
        rank_position(indexed, encoder, position, "two_photon")


def test_a_located_candidate_is_that_of_the_whole_ranking(indexed: Project, encoder) -> None:
    everything = rank_soma(indexed, encoder, "tp-00002", k=100)
    short = rank_soma(indexed, encoder, "tp-00002", k=2)
    before = encoder.n_embedded
    located = [locate_candidate(indexed, encoder, short, c.uid) for c in everything.candidates]
    assert tuple(located) == everything.candidates
    assert encoder.n_embedded == before


def test_a_candidate_is_located_for_a_position_and_for_a_query_that_has_moved_since(
    indexed: Project, encoder
) -> None:
    position = indexed.state().soma("tp-00002").center_um
    z, y, x = position
    beside = rank_position(indexed, encoder, (z, y + 4.0, x), "two_photon", k=100)
    of_soma = rank_soma(indexed, encoder, "tp-00002", k=100)
    move_soma(indexed, "tp-00002", (z, y + 4.0, x))
    index_project(indexed, encoder)
    for ranking in (beside, of_soma):
        for candidate in ranking.candidates:
            located = locate_candidate(indexed, encoder, ranking, candidate.uid)
            assert located.similarity == pytest.approx(candidate.similarity, abs=1e-5)


def test_only_indexed_somata_of_the_gallery_are_located(indexed: Project, encoder) -> None:
    ranking = rank_soma(indexed, encoder, "tp-00002", k=2)
    (new,) = add_somata(indexed, "fmost", [(9.0, 9.0, 9.0)], source=SomaSource.MANUAL)
    for uid, sentence in (
        (new.uid, "not indexed for this model"),
        ("tp-00001", "lies in 'two_photon'"),
        ("fm-99999", "no soma 'fm-99999'"),
    ):
        with pytest.raises(InputError, match=sentence):
            locate_candidate(indexed, encoder, ranking, uid)
    encoder.hash = "f" * 12
    with pytest.raises(InputError, match="made with fake@0123456789ab; rank again"):
        locate_candidate(indexed, encoder, ranking, "fm-00001")


def test_unknown_names_are_refused(indexed: Project, encoder) -> None:
    with pytest.raises(InputError, match="tp-99999"):
        rank_soma(indexed, encoder, "tp-99999")
    with pytest.raises(InputError, match="elsewhere"):
        rank_position(indexed, encoder, (1.0, 1.0, 1.0), "elsewhere")
    with pytest.raises(InputError, match="another dataset"):
        rank_soma(indexed, encoder, "tp-00001", gallery="two_photon")


def test_a_soma_added_since_is_not_listed_and_many_are_too_many(indexed: Project, encoder) -> None:
    (new,) = add_somata(indexed, "fmost", [(9.0, 9.0, 9.0)], source=SomaSource.MANUAL)
    ranking = rank_soma(indexed, encoder, "tp-00001", k=100)
    assert len(ranking.candidates) == 10
    assert new.uid not in [candidate.uid for candidate in ranking.candidates]
    assert ranking.note.endswith("Not listed: 1 of 11 somata of 'fmost', not indexed.")
    add_somata(indexed, "fmost", [(9.0, 9.0, 30.0)], source=SomaSource.MANUAL)
    with pytest.raises(InputError, match="2 of 12 somata of 'fmost' are not indexed"):
        rank_soma(indexed, encoder, "tp-00001")


def test_points_without_an_image_cannot_be_ranked(tmp_path: Path, encoder) -> None:
    project = Project.create(
        tmp_path / "points.neurobridge",
        [
            DatasetSpec(name="two_photon", role=Role.IN_VIVO),
            DatasetSpec(name="fmost", role=Role.EX_VIVO),
        ],
    )
    for name in project.datasets:
        add_somata(project, name, np.ones((2, 3)), source=SomaSource.IMPORTED)
    with pytest.raises(InputError, match="has an image"):
        index_project(project, encoder)
    with pytest.raises(InputError, match="no image"):
        embed_positions(project, encoder, "fmost", [(0.0, 0.0, 0.0)])
