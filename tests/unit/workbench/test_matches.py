"""The match follows each verdict in the background, and questions follow the match."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.points import PointsWorld
from napari_neurobridge.matching import match_datasets as match_datasets_module
from napari_neurobridge.matching.calibration import audits_of
from napari_neurobridge.matching.constellation.matcher import ConstellationMatch
from napari_neurobridge.matching.match import Match
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Basis, Report
from napari_neurobridge.workbench.job_status import JobState, JobStatus
from napari_neurobridge.workbench.reasons import why
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.match import Claims


@pytest.fixture
def workbench(points_world: PointsWorld, tmp_path: Path, loop: Loop) -> Iterator[Workbench]:
    """Opened on a project with eight accepted pairs, matched."""
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(points_world.project(tmp_path / "p.neurobridge", 8))
    loop.run_until(lambda: settled(workbench))
    yield workbench
    workbench.close()


def settled(workbench: Workbench) -> bool:
    return workbench.matches.match is not None and not workbench.matches.updating


def ask(workbench: Workbench, loop: Loop, uid: str) -> None:
    workbench.questions.select("two_photon", uid)
    loop.run_until(lambda: workbench.questions.answer is not None)


def test_a_verdict_changes_the_match_and_says_what_it_rested_on(
    workbench, loop, points_world
) -> None:
    before = workbench.matches.match
    two_photon, fmost = points_world.some(9)[-1]
    ask(workbench, loop, two_photon)
    assert workbench.questions.answer.ranking.basis is Basis.PROBABILITY
    assert workbench.questions.choice.uid == fmost
    shown = workbench.questions.choice
    workbench.verdicts.accept()
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not before)
    assert (two_photon, fmost) in workbench.project.state().pairs.items()
    evidence = workbench.project.state().verdicts[-1].evidence
    assert evidence.probability == shown.probability
    assert evidence.residual_um == shown.residual_um
    assert (evidence.first_uid, evidence.first_probability) == (fmost, shown.probability)
    assert evidence.alignment_id == before.alignment.id != workbench.matches.match.alignment.id
    assert not evidence.audit
    workbench.verdicts.undo()
    after = workbench.matches.match
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not after)
    assert workbench.matches.match.alignment.made_from.n_pairs == before.alignment.made_from.n_pairs


def test_what_a_verdict_changed_is_told(workbench, loop) -> None:
    match = workbench.matches.match
    pair = next(pair for pair in match.matched() if not pair.accepted)
    ask(workbench, loop, pair.in_vivo_uid)
    workbench.verdicts.reject()
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not match)
    assert pair.in_vivo_uid in workbench.matches.changed
    assert len(workbench.matches.changed) < 15


def test_an_unsure_verdict_is_no_reason_to_match_again(workbench, loop) -> None:
    match = workbench.matches.match
    ask(workbench, loop, match.queries.uids[0])
    workbench.verdicts.unsure()
    assert not workbench.matches.updating
    assert workbench.matches.match is match


def test_the_cut_decides_what_is_claimed(workbench) -> None:
    matches = workbench.matches
    told = []
    matches.claims_changed.connect(lambda: told.append(matches.fdr))
    usual = matches.claims()
    matches.set_fdr(0.001)
    assert told == [0.001]
    assert len(matches.claims().pairs) < len(usual.pairs)
    assert matches.claims().expected_false < usual.expected_false
    partners = matches.partners()
    for pair in matches.claims().pairs:
        assert partners[pair.in_vivo_uid] == (pair.ex_vivo_uid, pair.probability)
        assert partners[pair.ex_vivo_uid] == (pair.in_vivo_uid, pair.probability)


def test_neighbours_carry_one_number_on_both_sides_and_accepted_ones_come_first(workbench) -> None:
    state = workbench.project.state()
    soma = state.somata["two_photon"]["t010"]
    neighbours = workbench.matches.neighbours("two_photon", soma.center_um, soma.uid)
    assert [neighbour.number for neighbour in neighbours] == list(range(1, len(neighbours) + 1))
    assert len(neighbours) == 6
    flags = [neighbour.accepted for neighbour in neighbours]
    assert flags == sorted(flags, reverse=True)
    for neighbour in neighbours:
        assert soma.uid not in neighbour.uids
        for uid, name in zip(neighbour.uids, ("two_photon", "fmost"), strict=True):
            assert neighbour.centers_um[name] == state.soma(uid).center_um


def test_an_audit_shows_the_candidates_shuffled_and_picks_none(workbench, loop) -> None:
    uid = workbench.matches.match.queries.uids[3]
    ask(workbench, loop, uid)
    usual = [candidate.uid for candidate in workbench.questions.answer.shown]
    workbench.questions.select("two_photon", uid, audit=True)
    loop.run_until(lambda: workbench.questions.answer is not None)
    answer = workbench.questions.answer
    assert answer.blind
    assert workbench.questions.snapshot.blind
    assert workbench.questions.snapshot.picked is None
    assert workbench.questions.choice is None
    assert sorted(c.uid for c in answer.shown) == sorted(usual)
    assert [c.uid for c in answer.shown] != usual
    workbench.questions.choose(2)
    chosen = workbench.questions.choice
    assert chosen is answer.shown[1]
    workbench.verdicts.accept()
    evidence = workbench.project.state().verdicts[-1].evidence
    assert evidence.audit
    assert evidence.rank == chosen.rank
    assert evidence.probability == chosen.probability
    assert evidence.residual_um == chosen.residual_um
    assert evidence.first_uid == usual[0]
    surer = [c.probability for c in answer.shown if c.probability > chosen.probability]
    assert evidence.mass_above >= sum(surer) > 0


def test_every_fifth_question_is_an_audit(workbench, loop) -> None:
    audits = []
    for _ in range(6):
        workbench.questions.next_query()
        loop.run_until(lambda: workbench.questions.answer is not None)
        audits.append(workbench.questions.query.audit)
        workbench.verdicts.none()
        loop.run_until(lambda: settled(workbench))
    # Eight cells were answered before.
    assert audits == [False, True, False, False, False, False]


def test_without_a_pair_there_is_no_match_and_no_problem(points_world, tmp_path, loop) -> None:
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(points_world.project(tmp_path / "p.neurobridge"))
    ask(workbench, loop, "t001")
    assert workbench.matches.match is None
    assert not workbench.matches.updating
    assert not workbench.matches.problem
    assert workbench.questions.answer.ranking.basis is Basis.DISTANCE
    assert workbench.questions.answer.candidate_crops is None
    workbench.close()


def test_the_tooltip_gives_every_number_a_meaning(workbench, loop) -> None:
    ask(workbench, loop, workbench.matches.match.queries.uids[0])
    ranking = workbench.questions.answer.ranking
    text = why(ranking, ranking.candidates[0])
    assert "this is the same cell: " in text
    assert "µm from the place that the other matches predict (±" in text
    assert "no soma is this cell: " in text
    assert "Similarity" not in text


def test_audits_become_a_reliability_diagram(workbench, loop, points_world) -> None:
    insights = workbench.insights
    assert insights.reliability is None
    uids = [uid for uid in points_world.partners if uid not in workbench.project.state().pairs][:6]
    for uid in uids:
        workbench.questions.select("two_photon", uid, audit=True)
        loop.run_until(lambda: workbench.questions.answer is not None)
        workbench.questions.choose_soma(points_world.partners[uid])
        loop.run_until(lambda: workbench.questions.choice is not None)
        workbench.verdicts.accept()
        loop.run_until(lambda: settled(workbench))
    assert insights.n_audits == 6
    measured = insights.reliability
    assert measured.n == 6
    assert measured.bins[-1].right > 0.8


def test_a_start_without_any_pair_is_dropped_once_four_are_accepted(
    points_world, tmp_path, loop, monkeypatch
) -> None:
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(points_world.project(tmp_path / "p.neurobridge"))
    project = workbench.project
    rows = [
        {uid: row for row, uid in enumerate(sorted(project.state().somata[name]))}
        for name in ("two_photon", "fmost")
    ]
    true = np.array([(rows[0][a], rows[1][b]) for a, b in points_world.some(20)])

    def looked(queries_um, gallery_um, *, orientation, report) -> ConstellationMatch:
        nothing = true[:0]
        return ConstellationMatch(
            true, np.ones(20), True, "", 900.0, 1.0, nothing[:, 0], nothing, np.empty(0)
        )

    monkeypatch.setattr(
        "napari_neurobridge.matching.constellation.matcher.match_constellation", looked
    )
    workbench.matches.find_start()
    loop.run_until(lambda: settled(workbench))
    match = workbench.matches.match
    assert len(match.proposals) == 20
    assert match.review() == ()
    assert not any(pair.accepted for pair in match.matched())
    assert workbench.matches.claims().n_accepted == 0
    right = [points_world.partners.get(p.in_vivo_uid) == p.ex_vivo_uid for p in match.matched()]
    assert np.mean(right) > 0.85
    annotate.none(project, points_world.some(20)[-1][0], annotator="me")
    z, y, x = project.state().somata["fmost"]["f001"].center_um
    workbench.verdicts.add_somata("fmost", [(z + 50.0, y, x)])
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not match)
    match = workbench.matches.match
    assert len(match.proposals) == 19
    named = {pair.in_vivo_uid for pair in match.matched()}
    assert points_world.some(20)[-1][0] not in named
    for number, (two_photon, fmost) in enumerate(points_world.some(20)[:4], start=1):
        before = workbench.matches.match
        annotate.accept(project, two_photon, fmost, annotator="me")
        workbench.session.verdicts_changed.emit()
        loop.run_until(lambda before=before: workbench.matches.match is not before)
        match = workbench.matches.match
        assert len(match.accepted) == number
        # Those accepted are proposals no more.
        assert len(match.proposals) == (19 - number if number < 4 else 0)
    workbench.close()


def test_a_start_that_is_not_found_says_why(points_world, tmp_path, loop) -> None:
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(points_world.project(tmp_path / "p.neurobridge"))
    heard = []
    workbench.session.notified.connect(heard.append)
    workbench.matches.find_start()
    loop.run_until(lambda: bool(heard))
    assert heard[0].is_error
    assert "do not say how the fields lie" in heard[0].text
    assert workbench.matches.match is None
    assert workbench.matches.problem == heard[0].text
    workbench.close()


def test_an_audit_rests_on_the_match_it_was_asked_by(workbench, loop, points_world) -> None:
    """Rejecting the first candidate must not make the second the program's first choice."""
    before = workbench.matches.match
    uid = points_world.some(12)[-1][0]
    workbench.questions.select("two_photon", uid, audit=True)
    loop.run_until(lambda: workbench.questions.answer is not None)
    first, probability = before.first_uncalibrated(uid)
    workbench.questions.choose_soma(first)
    workbench.verdicts.reject()
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not before)
    other = next(c.uid for c in workbench.questions.answer.shown if c.uid != first)
    workbench.questions.choose_soma(other)
    workbench.verdicts.accept()
    evidence = workbench.project.state().verdicts[-1].evidence
    assert (evidence.first_uid, evidence.first_probability) == (first, probability)
    assert evidence.mass_above >= probability
    assert evidence.alignment_id == before.alignment.id
    assert [
        audit.right for audit in audits_of(workbench.project.state(), "two_photon", "fmost")
    ] == [False]


def test_a_new_match_leaves_what_is_picked_and_how_deep_one_looks(
    workbench, loop, points_world
) -> None:
    uid = workbench.matches.match.queries.uids[5]
    looked = []
    workbench.questions.look_requested.connect(lambda dataset, place: looked.append(dataset))
    ask(workbench, loop, uid)
    assert looked == ["two_photon", "fmost"]
    picked = workbench.questions.choice.uid
    workbench.questions.look_deeper(8.0)
    loop.run_until(lambda: workbench.questions.answer.depth_um == 8.0)
    answer, before = workbench.questions.answer, workbench.matches.match
    annotate.reject(workbench.project, uid, picked, annotator="another")
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: workbench.questions.answer is not answer)
    assert workbench.matches.match is not before
    assert workbench.questions.choice.uid == picked
    loop.run_until(lambda: workbench.questions.choice.probability == 0.0)
    assert workbench.questions.choice.uid == picked
    assert workbench.questions.answer.depth_um == 8.0
    assert looked == ["two_photon", "fmost"], "no canvas is moved under somebody's eyes"
    workbench.questions.choose(1)
    assert looked[2:] == ["fmost"], "but when a key is pressed"


def test_an_audit_stays_blind_when_its_cell_is_clicked_or_moved(workbench, loop) -> None:
    uid = workbench.matches.match.queries.uids[7]
    workbench.questions.select("two_photon", uid, audit=True)
    workbench.questions.select("two_photon", uid)
    assert workbench.questions.query.audit
    z, y, x = workbench.project.state().soma(uid).center_um
    workbench.verdicts.move_somata("two_photon", [uid], [(z, y, x + 1.0)])
    assert workbench.questions.query.center_um == (z, y, x + 1.0)
    assert workbench.questions.query.audit


def test_a_bug_in_matching_is_told_and_does_not_wait_for_good(workbench, loop, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("singular matrix")

    heard = []
    workbench.session.notified.connect(heard.append)
    monkeypatch.setattr("napari_neurobridge.matching.match_datasets.match_datasets", broken)
    uid = workbench.matches.match.queries.uids[2]
    annotate.none(workbench.project, uid, annotator="me")
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: not workbench.matches.updating)
    assert "singular matrix" in workbench.matches.problem
    assert heard[-1].is_error


def test_one_soma_is_never_claimed_twice(workbench, loop, points_world) -> None:
    """Not even where a person gave it to the wrong cell."""
    (one, _), (other, taken) = points_world.some(14)[-2:]
    if taken in workbench.project.state().pairs.values():
        pytest.skip("the draw holds it already")
    before = workbench.matches.match
    annotate.accept(workbench.project, one, taken, annotator="me", force=True)
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not before)
    pairs = workbench.matches.match.matched()
    assert len({pair.ex_vivo_uid for pair in pairs}) == len(pairs)
    assert (other, taken) not in {(pair.in_vivo_uid, pair.ex_vivo_uid) for pair in pairs}


@pytest.fixture
def slow_decoys(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A decoy check that reports, and then waits until it may go on."""
    go = threading.Event()

    def decoys(match: Match, fdr: float, *, report: Report) -> None:
        report(0, 6, "decoy 1 of 6")
        assert go.wait(60)
        report(1, 6, "decoy 2 of 6")
        pytest.fail("it went on")

    monkeypatch.setattr(Match, "decoys", decoys)
    yield go
    go.set()


def statuses_of(workbench: Workbench) -> list[JobStatus]:
    heard: list[JobStatus] = []
    workbench.session.job_changed.connect(heard.append)
    return heard


def test_a_decoy_check_stops_without_a_word_when_the_cut_moves(
    workbench: Workbench, loop: Loop, slow_decoys: threading.Event
) -> None:
    matches, notices, heard = workbench.matches, [], statuses_of(workbench)
    workbench.session.notified.connect(notices.append)
    matches.check_decoys()
    loop.run_until(lambda: heard[-1].total == 6)
    assert matches.checking
    matches.set_fdr(0.1)
    assert heard[-1].state is JobState.CANCELLED
    assert not matches.checking
    slow_decoys.set()
    loop.finish(workbench.session.jobs)
    assert matches.decoys is None
    assert notices == []


def test_a_decoy_check_can_be_cancelled(
    workbench: Workbench, loop: Loop, slow_decoys: threading.Event
) -> None:
    matches, notices, told = workbench.matches, [], []
    workbench.session.notified.connect(notices.append)
    matches.check_decoys()
    matches.claims_changed.connect(lambda: told.append(matches.checking))
    workbench.session.jobs.cancel("decoys")
    slow_decoys.set()
    loop.run_until(lambda: told == [False])
    assert notices == []


def test_a_cancelled_match_leaves_the_one_before_and_can_be_made_again(
    workbench: Workbench, loop: Loop, points_world: PointsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches, before, go = workbench.matches, workbench.matches.match, threading.Event()
    real = match_datasets_module.match_datasets

    def slow(project: Project, encoder: object, *, report: Report, **options: object) -> Match:
        assert go.wait(60)
        report(0, 1, "matching")
        return real(project, encoder, report=report, **options)

    monkeypatch.setattr(match_datasets_module, "match_datasets", slow)
    two_photon, fmost = points_world.some(9)[-1]
    annotate.accept(workbench.project, two_photon, fmost, annotator="me")
    workbench.session.verdicts_changed.emit()
    assert matches.updating
    workbench.session.jobs.cancel("match")
    go.set()
    loop.run_until(lambda: not matches.updating)
    assert matches.cancelled
    assert matches.match is before
    matches.again()
    loop.run_until(lambda: not matches.updating)
    assert not matches.cancelled
    assert len(matches.match.accepted) == len(before.accepted) + 1


def test_the_next_cut_says_how_many_more_pairs_it_brings(workbench: Workbench) -> None:
    matches = workbench.matches
    for fdr, further in ((0.001, 0.01), (0.05, 0.1), (0.07, 0.1), (0.1, 0.2)):
        matches.set_fdr(fdr)
        cut, more = matches.next_cut()
        assert cut == further
        claims = len(Claims.of(matches.match, further).pairs)
        assert more == claims - len(matches.claims().pairs)
    matches.set_fdr(0.2)
    assert matches.next_cut() is None
    workbench.session.set_project(None)
    assert matches.next_cut() is None
