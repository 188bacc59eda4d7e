"""One question at a time: late answers, blind questions, the queue, clicks and depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.projects import true_partner
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import SomaSource
from napari_neurobridge.workbench import questions as module
from napari_neurobridge.workbench.answers import N_SHOWN
from napari_neurobridge.workbench.clicks import CLICK_HALF_SLAB_UM, CLICK_RADIUS_UM
from napari_neurobridge.workbench.questions import MAX_DEPTH_UM, Questions
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def empty(loop: Loop) -> Iterator[Workbench]:
    """A workbench without a project."""
    bench = Workbench(loop, annotator="me")
    yield bench
    bench.close()


@pytest.fixture
def workbench(empty: Workbench, project: Project) -> Workbench:
    """Opened on two images whose somata are known and indexed."""
    empty.session.set_project(project)
    return empty


@pytest.fixture
def points(empty: Workbench, points_project_folder: Path) -> Workbench:
    """Opened on two tables of points, which need no encoder."""
    empty.session.set_project(Project.open(points_project_folder))
    return empty


@pytest.fixture
def notices(empty: Workbench) -> list[Notice]:
    heard: list[Notice] = []
    empty.session.notified.connect(heard.append)
    return heard


def _uids(workbench: Workbench, dataset: str = "two_photon") -> list[str]:
    return list(workbench.project.state().somata[dataset])


def _ask(workbench: Workbench, loop: Loop, uid: str, *, audit: bool = False) -> Questions:
    dataset = workbench.project.state().soma(uid).dataset
    workbench.questions.select(dataset, uid, audit=audit)
    loop.run_until(lambda: workbench.questions.answer is not None)
    return workbench.questions


# --- answers and when they come ----------------------------------------------------------


def test_an_answer_proposes_its_first_candidate(workbench, loop) -> None:
    uid = _uids(workbench)[0]
    questions = _ask(workbench, loop, uid)
    assert (questions.query.uid, questions.query.dataset) == (uid, "two_photon")
    assert questions.answer.ranking.gallery_dataset == "fmost"
    assert len(questions.answer.shown) == N_SHOWN
    assert questions.choice is questions.answer.shown[0]
    assert questions.answer.candidate_crops.shape[0] == N_SHOWN


def test_only_the_cell_asked_last_is_answered(workbench, loop) -> None:
    questions, (first, second) = workbench.questions, _uids(workbench)[:2]
    answered: set[str] = set()

    def answered_last() -> bool:
        if questions.answer is not None:
            answered.add(questions.answer.query.uid)
        return second in answered

    questions.select("two_photon", first)
    questions.select("two_photon", second)
    assert questions.answer is None
    assert questions.choice is None
    loop.run_until(answered_last)
    loop.finish(workbench.session.jobs)
    assert answered == {second}
    assert questions.answer.query.uid == second


def test_crops_and_candidates_of_the_cell_before_do_not_come_back(workbench, loop) -> None:
    first, second = _uids(workbench)[:2]
    questions = _ask(workbench, loop, first)
    listed = {candidate.uid for candidate in questions.answer.shown}
    unlisted = next(uid for uid in _uids(workbench, "fmost") if uid not in listed)
    questions.look_deeper(8.0)
    questions.choose_soma(unlisted)
    questions.select("two_photon", second)
    loop.run_until(lambda: questions.answer is not None)
    loop.finish(workbench.session.jobs)
    assert questions.answer.query.uid == second
    assert questions.answer.depth_um == 0.0
    assert questions.choice is questions.answer.shown[0]


def test_why_there_is_no_answer_is_kept_until_the_next_question(workbench, loop, notices) -> None:
    shards = list(workbench.project.embeddings_dir.rglob("shard-*"))
    assert shards
    for path in shards:
        path.unlink()
    questions, uids = workbench.questions, _uids(workbench)
    questions.select("two_photon", uids[0])
    loop.run_until(lambda: bool(questions.problem))
    assert questions.answer is None
    assert notices[-1].is_error
    assert notices[-1].text == questions.problem
    questions.choose(1)
    assert questions.choice is None
    questions.select("two_photon", uids[1])
    assert questions.problem == ""


def test_an_unknown_soma_leaves_the_question_as_it_was(points, loop, notices) -> None:
    questions = _ask(points, loop, "tp-00003")
    answer = questions.answer
    questions.select("two_photon", "tp-99999")
    assert questions.answer is answer
    assert notices[-1].is_error
    assert "tp-99999" in notices[-1].text


def test_closing_the_project_ends_the_question(points, loop) -> None:
    questions = _ask(points, loop, "tp-00003")
    questions.select("two_photon", "tp-00004")
    points.session.set_project(None)
    loop.finish(points.session.jobs)
    assert (questions.query, questions.answer, questions.choice) == (None, None, None)
    assert questions.queue() == ()
    assert questions.progress() == (0, 0)


def test_time_counts_from_the_first_answer(workbench, loop, monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    questions = workbench.questions
    assert questions.seconds_spent() is None
    questions.select("two_photon", _uids(workbench)[0])
    clock[0] = 110.0
    # The loop's own clock stands still, too: wait for the answer alone.
    while questions.answer is None:
        loop._callbacks.get()()
    clock[0] = 115.0
    questions.look_deeper(4.0)
    while questions.answer.depth_um != 4.0:
        loop._callbacks.get()()
    assert questions.seconds_spent() == 5.0, "other crops are no other question"


# --- blind questions ---------------------------------------------------------------------


def test_an_audit_proposes_nothing_and_shuffles_the_same_way_each_time(workbench, loop) -> None:
    shuffled = []
    for uid in _uids(workbench)[:4]:
        questions = _ask(workbench, loop, uid, audit=True)
        answer = questions.answer
        assert answer.blind
        assert questions.choice is None
        order = [candidate.uid for candidate in answer.shown]
        ranked = [candidate.uid for candidate in answer.ranking.candidates[:N_SHOWN]]
        assert sorted(order) == sorted(ranked)
        shuffled.append(order != ranked)
        again = _ask(workbench, loop, uid, audit=True)
        assert [candidate.uid for candidate in again.answer.shown] == order
    assert sum(shuffled) >= 3


def test_clicking_the_cell_of_an_audit_does_not_uncover_it(workbench, loop) -> None:
    first, second = _uids(workbench)[:2]
    _ask(workbench, loop, first, audit=True)
    center = workbench.project.state().soma(first).center_um
    workbench.questions.click("two_photon", center, depth_axis=0)
    loop.run_until(lambda: workbench.questions.answer is not None)
    assert workbench.questions.answer.blind
    assert workbench.questions.choice is None
    assert not _ask(workbench, loop, second).answer.blind
    assert not _ask(workbench, loop, first).answer.blind, "asked anew, it is no audit"


def test_an_audit_stays_blind_when_it_is_ranked_again(workbench, loop) -> None:
    questions = _ask(workbench, loop, _uids(workbench)[0], audit=True)
    before = questions.answer
    workbench.setup.set_orientation(Orientation(axes="+y+z+x"))
    loop.run_until(lambda: questions.answer not in (None, before))
    assert questions.answer.blind
    assert questions.choice is None


def test_an_audit_does_not_follow_a_new_match_and_other_questions_do(points, loop) -> None:
    matches, questions = points.matches, points.questions

    def accept(number: int) -> None:
        uid = f"tp-{number:05d}"
        before = matches.match
        annotate.accept(points.project, uid, true_partner(uid), annotator="me")
        points.session.verdicts_changed.emit()
        loop.run_until(lambda: matches.match is not before and not matches.updating)
        loop.finish(points.session.jobs)

    for number in (0, 9, 18, 27):
        accept(number)
    blind = _ask(points, loop, "tp-00005", audit=True).answer
    accept(36)
    assert questions.answer is blind
    seen = _ask(points, loop, "tp-00007").answer
    questions.choose(3)
    picked = questions.choice.uid
    accept(45)
    loop.run_until(lambda: questions.answer is not seen)
    loop.finish(points.session.jobs)
    assert questions.answer.match is matches.match is not seen.match
    assert questions.choice.uid == picked, "what was picked stays picked"


# --- the queue ---------------------------------------------------------------------------


def test_space_asks_the_first_of_the_queue_then_others(points, loop) -> None:
    questions = points.questions
    order = [item.uid for item in questions.queue()]
    questions.next_query()
    first = questions.query.uid
    assert first == order[0]
    questions.next_query()
    assert questions.query.uid != first, "the cell that was asked is not asked twice in a row"
    left = [item.uid for item in questions.queue()]
    assert sorted(left) == sorted(order)
    assert set(left[-2:]) == {first, questions.query.uid}, "opened and undecided come last"


def test_why_a_cell_is_asked_is_said_of_those_that_the_queue_asked(points) -> None:
    questions = points.questions
    questions.next_query()
    assert questions.snapshot.reason == "imported, and not asked yet"
    questions.select("two_photon", questions.queue()[0].uid)
    assert questions.snapshot.reason == "", "somebody clicked it"


def test_the_fifth_question_is_an_audit(points, loop) -> None:
    for _ in range(5):
        points.questions.next_query()
        assert points.questions.query is not None
        query = points.questions.query
        annotate.none(points.project, query.uid, None, annotator="me")
        points.session.verdicts_changed.emit()
    assert query.audit


def test_progress_counts_what_was_decided(points) -> None:
    questions, project = points.questions, points.project
    assert questions.progress() == (0, 50)
    annotate.accept(project, "tp-00000", "fm-00000", annotator="me")
    annotate.none(project, "tp-00001", None, annotator="me")
    annotate.unsure(project, "tp-00002", "fm-00002", annotator="me")
    assert questions.progress() == (3, 50)
    annotate.reject(project, "tp-00003", "fm-00004", annotator="me")
    assert questions.progress() == (3, 50), "a rejected candidate decides nothing"
    assert "tp-00003" in {item.uid for item in questions.queue()}


def test_the_queue_is_sorted_anew_only_when_something_changed(points) -> None:
    before = points.questions.queue()
    assert points.questions.queue() is before
    annotate.none(points.project, before[0].uid, None, annotator="me")
    assert points.questions.queue() is not before
    assert before[0].uid not in {item.uid for item in points.questions.queue()}


def test_an_exhausted_queue_says_so(points, notices) -> None:
    for uid in _uids(points):
        annotate.none(points.project, uid, None, annotator="me")
    points.questions.next_query()
    assert points.questions.query is None
    (notice,) = notices
    assert "two-photon cell" in notice.text
    assert not notice.is_error


def test_without_a_project_nothing_is_asked(empty, notices) -> None:
    empty.questions.next_query()
    empty.questions.look_deeper(4.0)
    empty.questions.choose(1)
    assert empty.questions.query is None
    (notice,) = notices
    assert notice.is_error
    assert "open or create a project" in notice.text


# --- clicks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "depth_axis", "hit"),
    [
        ((0.0, 0.0, 0.0), 0, True),
        ((0.0, CLICK_RADIUS_UM - 0.1, 0.0), 0, True),
        ((0.0, CLICK_RADIUS_UM + 0.1, 0.0), 0, False),
        ((0.0, 0.8 * CLICK_RADIUS_UM, 0.8 * CLICK_RADIUS_UM), 0, False),
        ((CLICK_HALF_SLAB_UM - 0.1, 0.0, 0.0), 0, True),
        ((CLICK_HALF_SLAB_UM + 0.1, 0.0, 0.0), 0, False),
        ((CLICK_HALF_SLAB_UM - 0.1, 0.0, 0.0), 1, False),
        ((0.0, 0.0, CLICK_HALF_SLAB_UM - 0.1), 2, True),
    ],
)
def test_a_click_asks_about_a_soma_within_its_reach(
    empty, empty_project, notices, offset, depth_axis, hit
) -> None:
    (soma, _) = annotate.add_somata(
        empty_project,
        "two_photon",
        [(100.0, 100.0, 100.0), (300.0, 300.0, 300.0)],
        source=SomaSource.MANUAL,
    )
    empty.session.set_project(empty_project)
    position = tuple(np.add(soma.center_um, offset).tolist())
    empty.questions.click("two_photon", position, depth_axis=depth_axis)
    asked = None if empty.questions.query is None else empty.questions.query.uid
    assert asked == (soma.uid if hit else None)
    if not hit:
        assert "No soma here" in notices[-1].text


def test_of_two_somata_the_nearer_in_the_plane_is_asked(empty, empty_project) -> None:
    below, _beside = annotate.add_somata(
        empty_project,
        "two_photon",
        [(115.0, 100.0, 101.0), (100.0, 100.0, 105.0)],
        source=SomaSource.MANUAL,
    )
    empty.session.set_project(empty_project)
    empty.questions.click("two_photon", (100.0, 100.0, 100.0), depth_axis=0)
    assert empty.questions.query.uid == below.uid, "a click says little about depth"


def test_an_fmost_click_picks_a_candidate_and_shift_asks(points, loop, notices) -> None:
    questions = points.questions
    center = points.project.state().soma("fm-00090").center_um
    questions.click("fmost", center, depth_axis=0)
    assert questions.query is None
    assert "Click a two-photon cell first" in notices[-1].text
    _ask(points, loop, "tp-00003")
    questions.click("fmost", center, depth_axis=0)
    loop.run_until(lambda: questions.choice.uid == "fm-00090")
    assert questions.query.uid == "tp-00003"
    questions.click("fmost", center, depth_axis=0, asks=True)
    assert questions.query.uid == "fm-00090"
    loop.run_until(lambda: questions.answer is not None)
    assert questions.answer.ranking.gallery_dataset == "two_photon"


def test_a_candidate_cannot_be_picked_before_the_ranking_is_there(points, notices) -> None:
    points.questions.select("two_photon", "tp-00003")
    points.questions.choose_soma("fm-00003")
    assert points.questions.choice is None
    assert "rank" in notices[-1].text


# --- candidates, crops and depth ---------------------------------------------------------


@pytest.mark.parametrize("place", [-1, N_SHOWN + 1])
def test_a_place_that_is_not_shown_picks_nothing(points, loop, place) -> None:
    questions = _ask(points, loop, "tp-00003")
    questions.choose(2)
    questions.choose(place)
    assert questions.choice is questions.answer.shown[1]


def test_any_soma_of_the_gallery_can_be_picked(points, loop) -> None:
    questions = _ask(points, loop, "tp-00003")
    questions.choose_soma(questions.answer.shown[4].uid)
    assert questions.choice is questions.answer.shown[4]
    listed = {candidate.uid for candidate in questions.answer.shown}
    unlisted = next(uid for uid in _uids(points, "fmost") if uid not in listed)
    questions.choose_soma(unlisted)
    loop.run_until(lambda: questions.choice.uid == unlisted)
    assert questions.choice.rank > N_SHOWN


def test_depth_adds_up_before_crops_arrive_and_ends_at_its_limits(workbench, loop) -> None:
    questions = _ask(workbench, loop, _uids(workbench)[0])
    shallow = questions.answer
    questions.choose(3)
    for _ in range(3):
        questions.look_deeper(4.0)
    loop.run_until(lambda: questions.answer.depth_um == 12.0)
    assert not np.array_equal(questions.answer.query_crop, shallow.query_crop)
    assert questions.choice is shallow.shown[2], "what was picked stays picked"
    for _ in range(20):
        questions.look_deeper(-4.0)
    loop.run_until(lambda: questions.answer.depth_um == -MAX_DEPTH_UM)
    questions.look_deeper(4.0)
    loop.run_until(lambda: questions.answer.depth_um == 4.0 - MAX_DEPTH_UM)


def test_flicker_ends_with_the_question(points, loop) -> None:
    questions = _ask(points, loop, "tp-00003")
    questions.flicker()
    assert questions.flickered
    questions.flicker()
    assert not questions.flickered
    questions.flicker()
    questions.select("two_photon", "tp-00004")
    assert not questions.flickered


# --- somata that change meanwhile --------------------------------------------------------


def test_the_question_follows_its_soma_and_ends_with_it(points, loop) -> None:
    questions = _ask(points, loop, "tp-00003")
    points.verdicts.move_somata("two_photon", ["tp-00003"], [(1.0, 2.0, 3.0)])
    assert questions.query.center_um == (1.0, 2.0, 3.0)
    loop.run_until(lambda: questions.answer is not None)
    assert questions.answer.query.center_um == (1.0, 2.0, 3.0)
    points.verdicts.delete_somata("two_photon", ["tp-00003"])
    loop.finish(points.session.jobs)
    assert questions.query is None
    assert questions.answer is None


def test_a_new_soma_of_the_gallery_is_ranked_and_the_choice_stays(points, loop) -> None:
    questions = _ask(points, loop, "tp-00003")
    first = questions.answer
    questions.choose(4)
    picked = questions.choice.uid
    points.verdicts.add_somata("fmost", [questions.choice.center_um])
    assert questions.answer is None, "the ranking before lacks the new soma"
    loop.finish(points.session.jobs)
    assert questions.answer is not first
    assert questions.choice.uid == picked


def test_a_new_soma_beside_the_asked_one_takes_no_answer_away(points, loop) -> None:
    questions = _ask(points, loop, "tp-00003")
    questions.choose(4)
    picked = questions.choice
    points.verdicts.add_somata("two_photon", [(5.0, 5.0, 5.0)])
    assert questions.answer is not None
    assert questions.choice is picked
    loop.finish(points.session.jobs)
    assert questions.choice.uid == picked.uid
