"""A project's somata matched at once, and read from either side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.points import PointsWorld
from fixtures.projects import true_partner
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.match import Match
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.matching.ranking import rank_position, rank_soma
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Basis


@pytest.fixture(scope="module")
def opened(points_world: PointsWorld, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return points_world.project(tmp_path_factory.mktemp("p") / "p.neurobridge", 8)


@pytest.fixture(scope="module")
def match(opened: Project) -> Match:
    return match_datasets(opened)


@pytest.fixture
def private(points_world: PointsWorld, tmp_path: Path) -> Project:
    return points_world.project(tmp_path / "p.neurobridge", 8)


def test_most_cells_find_their_partner_and_each_partner_once(points_world, match) -> None:
    pairs = match.matched()
    proposed = [pair for pair in pairs if not pair.accepted]
    known = [pair for pair in proposed if pair.in_vivo_uid in points_world.partners]
    right = [points_world.partners[pair.in_vivo_uid] == pair.ex_vivo_uid for pair in known]
    assert np.mean(right) > 0.93
    assert len({pair.ex_vivo_uid for pair in pairs}) == len(pairs)
    assert sum(pair.accepted for pair in pairs) == 8
    sure = [pair for pair in proposed if pair.probability > 0.9]
    assert np.mean([points_world.partners.get(p.in_vivo_uid) == p.ex_vivo_uid for p in sure]) > 0.95


def test_probabilities_add_up_in_both_directions(match) -> None:
    for uid in [*match.queries.uids[:40], *match.gallery.uids[:200]]:
        judged = match.judge(uid)
        assert judged.probability.sum() + judged.none + judged.beyond == pytest.approx(
            1.0, abs=1e-6
        )
        assert (np.diff(judged.probability) <= 0).all()


def test_both_directions_tell_the_same_probability(match) -> None:
    for uid in match.queries.uids[:20]:
        judged = match.judge(uid)
        there = match.gallery.uids[judged.rows[0]]
        back = match.judge(there)
        place = list(back.rows).index(match.queries.rows[uid])
        assert back.probability[place] == pytest.approx(judged.probability[0])


def test_the_expected_place_is_near_the_partner_from_either_side(points_world, match) -> None:
    for two_photon, fmost in points_world.some(30):
        for uid, side, partner in (
            (two_photon, match.gallery, fmost),
            (fmost, match.queries, two_photon),
        ):
            expected = match.expect(uid)
            miss = side.centers_um[side.rows[partner]] - np.array(expected.center_um)
            covariance = np.array(expected.covariance_um2)
            assert miss @ np.linalg.solve(covariance, miss) < 30
            assert np.linalg.eigvalsh(covariance).min() > 0


def test_distances_are_those_of_a_plain_search(match) -> None:
    for pair in match.matched()[:30]:
        expected = np.array(match.expect(pair.in_vivo_uid).center_um)
        everyone = np.linalg.norm(match.gallery.centers_um - expected, axis=1)
        row = match.gallery.rows[pair.ex_vivo_uid]
        assert pair.residual_um == pytest.approx(everyone[row])
        others = np.delete(everyone, row)
        assert pair.score_um == pytest.approx(others.min() - everyone[row])


def test_matches_grow_from_the_side_with_fewer_somata(points_world, tmp_path) -> None:
    turned = PointsWorld(
        points_world.fmost,
        points_world.two_photon,
        {fmost: two_photon for two_photon, fmost in points_world.partners.items()},
    )
    match = match_datasets(turned.project(tmp_path / "t.neurobridge", 8))
    assert match.queries.dataset == "fmost"
    proposed = [pair for pair in match.matched() if not pair.accepted and pair.probability > 0.9]
    assert len(proposed) > 60
    right = [turned.partners.get(pair.in_vivo_uid) == pair.ex_vivo_uid for pair in proposed]
    assert np.mean(right) > 0.95


def test_a_rejected_candidate_is_not_proposed_again(private, match) -> None:
    pair = next(pair for pair in match.matched() if not pair.accepted)
    annotate.reject(private, pair.ex_vivo_uid, pair.in_vivo_uid, annotator="me")
    judged = match_datasets(private).judge(pair.in_vivo_uid)
    assert match.gallery.rows[pair.ex_vivo_uid] not in judged.rows


def test_a_cell_without_partner_stays_alone_on_either_side(private, match) -> None:
    first, second = [pair for pair in match.matched() if not pair.accepted][:2]
    annotate.none(private, first.in_vivo_uid, annotator="me")
    annotate.none(private, second.ex_vivo_uid, annotator="me")
    again = match_datasets(private)
    assert again.judge(first.in_vivo_uid).none > 0.99
    assert again.gallery.rows[second.ex_vivo_uid] not in again.judge(second.in_vivo_uid).rows
    named = {uid for pair in again.matched() for uid in (pair.in_vivo_uid, pair.ex_vivo_uid)}
    assert not named & {first.in_vivo_uid, second.ex_vivo_uid}


def test_going_on_from_an_earlier_match_gives_much_the_same(private, points_world) -> None:
    before = match_datasets(private)
    accepted = dict(points_world.some(9))
    two_photon = next(u for u in accepted if u not in private.state().pairs)
    annotate.accept(private, two_photon, accepted[two_photon], annotator="me")
    resumed, anew = match_datasets(private, start=before), match_datasets(private)
    assert anew.alignment.id not in (before.alignment.id, resumed.alignment.id)
    there = anew.alignment.map_points(anew.queries.centers_um)
    miss = resumed.alignment.map_points(anew.queries.centers_um) - there
    assert np.median(np.linalg.norm(miss, axis=1)) < 1.0
    same = {p.in_vivo_uid: p.ex_vivo_uid for p in anew.matched() if p.probability > 0.5}
    agreed = [
        same.get(pair.in_vivo_uid) == pair.ex_vivo_uid
        for pair in resumed.matched()
        if pair.probability > 0.5
    ]
    assert np.mean(agreed) > 0.95


def test_a_ranking_of_points_alone_has_probabilities_and_no_likeness(
    opened, match, points_world
) -> None:
    two_photon, fmost = points_world.some(20)[-1]
    ranking = rank_soma(opened, None, two_photon, match=match)
    assert ranking.basis is Basis.PROBABILITY
    first = ranking.candidates[0]
    assert first.uid == fmost
    assert first.similarity is None
    assert first.in_set
    assert not any(c.in_set for c in ranking.candidates if c.probability < 1e-6)
    assert ranking.none_in_set == (first.probability < 0.9 and ranking.p_none > 0)
    assert first.residual_um == pytest.approx(
        np.linalg.norm(np.subtract(first.center_um, ranking.expected.center_um))
    )
    backwards = rank_soma(opened, None, fmost, match=match)
    assert backwards.candidates[0].uid == two_photon
    assert backwards.candidates[0].probability == pytest.approx(first.probability)


def test_a_bare_place_is_ranked_in_either_space(opened, match, points_world) -> None:
    state = opened.state()
    right = 0
    for pair in points_world.some(30):
        for here, there in (pair, pair[::-1]):
            soma = state.soma(here)
            ranking = rank_position(opened, None, soma.center_um, soma.dataset, match=match)
            assert ranking.p_none is not None
            right += ranking.candidates[0].uid == there
    assert right > 52


def test_without_a_match_points_are_ranked_by_distance(opened, points_world) -> None:
    two_photon, _ = points_world.some(1)[0]
    ranking = rank_soma(opened, None, two_photon, k=5)
    assert ranking.basis is Basis.DISTANCE
    assert ranking.p_none is None
    assert ranking.note
    distances = [candidate.residual_um for candidate in ranking.candidates]
    assert distances == sorted(distances)


def test_what_cannot_be_matched_says_why(points_world, tmp_path) -> None:
    project = points_world.project(tmp_path / "p.neurobridge")
    with pytest.raises(InputError, match="There is no dataset 'moon'"):
        match_datasets(project, in_vivo="moon")
    empty = Project.create(tmp_path / "e.neurobridge", list(project.datasets.values()))
    with pytest.raises(InputError, match="too few somata"):
        match_datasets(empty)


def test_nothing_is_claimed_among_decoys(match) -> None:
    check = match.decoys(0.05)
    assert sum(row.n_asked for row in check.claims) > 400
    assert check.share < 0.02


def test_a_contradicting_pair_leads_the_review(private, points_world, match) -> None:
    two_photon, fmost = points_world.some(9)[-1]
    row = match.gallery.rows[fmost]
    far = np.linalg.norm(match.gallery.centers_um - match.gallery.centers_um[row], axis=1).argmax()
    wrong = match.gallery.uids[int(far)]
    annotate.accept(private, two_photon, wrong, annotator="me")
    again = match_datasets(private)
    first = again.review()[0]
    assert (first.in_vivo_uid, first.ex_vivo_uid) == (two_photon, wrong)
    assert first.p_wrong > 0.5
    assert first.residual_um > 50
    assert any(two_photon in note for note in again.notes)
    assert match.notes == ()


def test_crops_count_where_both_sides_are_indexed(project_folder, thumbnail_encoder) -> None:
    project = Project.open(project_folder)
    uids = sorted(project.state().somata["two_photon"])
    for uid in uids[:4]:
        annotate.accept(project, uid, true_partner(uid), annotator="me")
    match = match_datasets(project, thumbnail_encoder)
    assert match.appearance is not None
    assert match.model.startswith("thumbnail")
    blind = match_datasets(project)
    assert blind.appearance is None
    assert blind.model == ""
    assert blind.agreement is None
    assert match.agreement is not None
    assert match.agreement.n_agree <= match.agreement.n_both <= len(uids) - 4
    right = [pair for pair in match.matched() if pair.ex_vivo_uid == true_partner(pair.in_vivo_uid)]
    assert len(right) >= len(uids) - 1


def test_a_second_match_keeps_what_was_computed_of_the_crops(
    project_folder, thumbnail_encoder
) -> None:
    project = Project.open(project_folder)
    uids = sorted(project.state().somata["two_photon"])
    for uid in uids[:4]:
        annotate.accept(project, uid, true_partner(uid), annotator="me")
    first = match_datasets(project, thumbnail_encoder)
    annotate.accept(project, uids[5], true_partner(uids[5]), annotator="me")
    again = match_datasets(project, thumbnail_encoder, start=first)
    assert again.appearance.margins is first.appearance.margins
    assert len(again.accepted) == 5


def test_the_outlook_is_every_answer_in_short(match) -> None:
    for side in (match.queries, match.gallery):
        summary = match.posterior_summary(side.dataset)
        for row, uid in enumerate(side.uids):
            judged = match.judge(uid)
            best = [*judged.probability[:2], 0.0, 0.0][:2]
            assert (summary.first[row], summary.second[row]) == pytest.approx(tuple(best))
            assert (summary.none[row], summary.beyond[row]) == pytest.approx(
                (judged.none, judged.beyond), abs=1e-9
            )
            share = np.array([*judged.probability, judged.none, judged.beyond])
            share = share[share > 0]
            assert summary.bits[row] == pytest.approx(-(share * np.log2(share)).sum(), abs=1e-6)
