"""What a person decides becomes one event each, and undo takes back that and nothing else."""

from __future__ import annotations

import pytest

from fixtures.loops import Loop
from fixtures.projects import N_POINTS, accept_true_pairs, true_partner
from napari_neurobridge.matching.wording import UNLIKELY
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import NoneReason, SomaSource, Verdict
from napari_neurobridge.workbench.answers import Query
from napari_neurobridge.workbench.workbench import Workbench

UID, OTHER = "tp-00003", "tp-00007"


@pytest.fixture
def changed(workbench: Workbench) -> list[str]:
    """Datasets whose somata were told to have changed."""
    heard: list[str] = []
    workbench.session.somata_changed.connect(heard.append)
    return heard


def _ask(workbench: Workbench, loop: Loop, uid: str, *, audit: bool = False) -> None:
    workbench.questions.select("two_photon", uid, audit=audit)
    loop.run_until(lambda: workbench.questions.answer is not None)


def _pick(workbench: Workbench, loop: Loop, uid: str) -> None:
    workbench.questions.choose_soma(uid)
    loop.run_until(lambda: getattr(workbench.questions.choice, "uid", None) == uid)


def _n_events(workbench: Workbench) -> int:
    return len(workbench.project.log.events())


# --- verdicts ----------------------------------------------------------------------------


def test_accepting_records_who_said_it_and_what_was_seen(workbench, loop) -> None:
    _ask(workbench, loop, UID)
    workbench.questions.choose(2)
    choice = workbench.questions.choice
    workbench.verdicts.accept()
    assert workbench.project.state().pairs == {UID: choice.uid}
    event = workbench.project.log.events()[-1]
    assert event.annotator == "me"
    evidence = event.content.evidence
    assert (evidence.rank, evidence.residual_um) == (2, choice.residual_um)
    assert evidence.probability is None, "there was no match to give one"
    assert evidence.model_hash is None, "there are no images to compare"
    assert not evidence.audit
    assert evidence.seconds >= 0


@pytest.mark.parametrize(
    ("act", "verdict"), [("reject", Verdict.REJECT), ("unsure", Verdict.UNSURE)]
)
def test_a_pair_that_is_not_accepted_is_kept_apart(workbench, loop, act, verdict) -> None:
    _ask(workbench, loop, UID)
    before = _n_events(workbench)
    getattr(workbench.verdicts, act)()
    assert _n_events(workbench) == before + 1
    state = workbench.project.state()
    assert state.pairs == {}
    (standing,) = state.verdicts
    candidate = workbench.questions.choice.uid
    assert (standing.query_uid, standing.candidate_uid) == (UID, candidate)
    assert standing.verdict is verdict


@pytest.mark.parametrize("reason", [None, NoneReason.NOT_A_CELL])
def test_none_needs_no_candidate_and_keeps_its_reason(workbench, loop, notices, reason) -> None:
    workbench.questions.select("two_photon", UID)
    workbench.verdicts.state_none_reason(reason)
    workbench.verdicts.none()
    assert workbench.project.state().none == {UID: reason}
    assert ("not a cell" in notices[-1].text) is (reason is not None)


def test_a_blind_verdict_is_recorded_as_one(workbench, loop) -> None:
    _ask(workbench, loop, UID, audit=True)
    workbench.questions.choose(1)
    shown = workbench.questions.choice
    workbench.verdicts.accept()
    evidence = workbench.project.state().verdicts[-1].evidence
    assert evidence.audit
    assert evidence.rank == shown.rank, "its rank, not the place where it was shown"


def test_what_the_match_thought_is_recorded_with_a_verdict(workbench, loop) -> None:
    for number in (0, 9, 18, 27, 36):
        annotate.accept(
            workbench.project, f"tp-{number:05d}", f"fm-{number:05d}", annotator="other"
        )
    matches = workbench.matches
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: matches.match is not None and not matches.updating)
    _ask(workbench, loop, UID)
    answer, match = workbench.questions.answer, matches.match
    workbench.questions.choose(2)
    choice = workbench.questions.choice
    workbench.verdicts.reject()
    evidence = workbench.project.state().verdicts[-1].evidence
    assert evidence.probability == choice.probability
    assert evidence.alignment_id == match.alignment.id
    assert (evidence.first_uid, evidence.first_probability) == match.first_uncalibrated(UID)
    assert evidence.mass_above == match.mass_above(UID, choice.uid)
    assert answer.match is match


# --- none is a candidate -----------------------------------------------------------------


@pytest.fixture
def matched(workbench: Workbench, loop: Loop) -> Workbench:
    """All cells matched from five pairs, and a cell far outside of the other side."""
    accept_true_pairs(workbench.project, (0, 9, 18, 27, 36))
    annotate.add_somata(
        workbench.project,
        "two_photon",
        [(50.0, 90.0, 500.0)],
        source=SomaSource.MANUAL,
        annotator="other",
    )
    workbench.session.somata_were_changed("two_photon")
    loop.run_until(lambda: workbench.matches.has_match and not workbench.matches.updating)
    return workbench


def _far_cell(workbench: Workbench) -> str:
    somata = workbench.project.state().somata["two_photon"].values()
    return next(soma.uid for soma in somata if soma.source is SomaSource.MANUAL)


def test_none_is_proposed_where_it_leads_and_accepted_with_its_reason(matched, loop) -> None:
    uid = _far_cell(matched)
    _ask(matched, loop, uid)
    questions = matched.questions
    assert questions.none_picked
    assert questions.choice is None
    assert questions.snapshot.none.after == 0
    assert "outside the fMOST volume" in questions.snapshot.none.why
    matched.verdicts.accept()
    assert matched.project.state().none == {uid: NoneReason.OUTSIDE}
    evidence = matched.project.state().verdicts[-1].evidence
    assert (evidence.rank, evidence.probability) == (None, None)
    assert evidence.mass_above is not None


def test_the_reason_that_a_person_states_counts(matched, loop) -> None:
    uid = _far_cell(matched)
    _ask(matched, loop, uid)
    matched.verdicts.state_none_reason(NoneReason.CUT)
    matched.verdicts.none()
    assert matched.project.state().none == {uid: NoneReason.CUT}
    _ask(matched, loop, UID)
    assert matched.verdicts.none_reason is None, "it was about another cell"


def test_a_key_picks_none_and_a_candidate_again(workbench, loop, notices) -> None:
    _ask(workbench, loop, UID)
    keys = workbench.key_actions()
    keys["0"]()
    assert workbench.questions.snapshot.none.picked
    assert workbench.questions.snapshot.picked is None
    keys["R"]()
    assert "Pick a candidate first" in notices[-1].text, "there is nothing to reject"
    keys["2"]()
    assert not workbench.questions.snapshot.none.picked
    keys["0"]()
    keys["A"]()
    assert workbench.project.state().none == {UID: None}


def test_what_is_picked_stays_picked_with_a_new_match(matched, loop) -> None:
    questions = matched.questions
    _ask(matched, loop, UID)
    questions.choose(0)
    before = questions.answer
    annotate.accept(matched.project, OTHER, true_partner(OTHER), annotator="other")
    matched.session.verdicts_changed.emit()
    loop.run_until(lambda: questions.answer not in (None, before))
    assert questions.none_picked


def test_in_an_audit_none_is_proposed_for_no_reason(matched, loop) -> None:
    uid = _far_cell(matched)
    _ask(matched, loop, uid, audit=True)
    assert not matched.questions.none_picked
    matched.questions.choose(0)
    matched.verdicts.accept()
    assert matched.project.state().none == {uid: None}


# --- a decision, then the next question --------------------------------------------------


@pytest.fixture
def hurried(matched: Workbench) -> Workbench:
    """The same, of a user whose decisions ask the next question."""
    matched.verdicts.set_then_next(True)
    return matched


@pytest.mark.parametrize("key", ["A", "U", "N"])
def test_a_decision_asks_the_next_question(hurried, loop, key) -> None:
    _ask(hurried, loop, UID)
    hurried.key_actions()[key]()
    assert [verdict.query_uid for verdict in hurried.project.state().verdicts][-1] == UID
    following = hurried.questions.query.uid
    assert following not in (UID, None)
    assert following in {item.uid for item in hurried.questions.queue()}
    hurried.key_actions()["Z"]()
    assert hurried.questions.query.uid == UID, "it comes back to what was undone"


def test_none_that_leads_is_decided_by_one_key(hurried, loop) -> None:
    uid = _far_cell(hurried)
    _ask(hurried, loop, uid)
    hurried.key_actions()["A"]()
    assert hurried.project.state().none == {uid: NoneReason.OUTSIDE}
    assert hurried.questions.query.uid != uid


def test_a_rejected_candidate_is_followed_by_the_next_line(hurried, loop) -> None:
    _ask(hurried, loop, UID)
    questions = hurried.questions
    hurried.verdicts.reject()
    assert questions.query.uid == UID, "the cell itself is not decided"
    assert questions.choice is questions.answer.shown[1]
    questions.choose(len(questions.answer.shown))
    hurried.verdicts.reject()
    assert questions.none_picked, "there is no other line"


def test_what_is_refused_stays_asked(hurried, loop, notices) -> None:
    _ask(hurried, loop, UID)
    _pick(hurried, loop, "fm-00077")
    hurried.verdicts.accept()
    assert hurried.questions.query.uid == UID
    _ask(hurried, loop, OTHER)
    refused = next(notice for notice in reversed(notices) if notice.remedy is not None)
    refused.remedy.apply()
    assert hurried.questions.query.uid == OTHER, "nobody waits for the next question"


def test_the_choice_to_go_on_is_remembered(workbench, loop) -> None:
    assert not workbench.verdicts.then_next
    _ask(workbench, loop, UID)
    workbench.verdicts.none()
    assert workbench.questions.query.uid == UID
    workbench.verdicts.set_then_next(True)
    again = Workbench(loop)
    assert again.verdicts.then_next
    again.close()


# --- what is asked twice -----------------------------------------------------------------


def test_an_improbable_pair_is_accepted_only_when_the_user_insists(matched, loop, notices) -> None:
    _ask(matched, loop, UID)
    _pick(matched, loop, "fm-00077")
    assert matched.questions.choice.probability < UNLIKELY
    pairs = dict(matched.project.state().pairs)
    matched.verdicts.accept()
    assert matched.project.state().pairs == pairs
    question = notices[-1]
    assert "< 1 %" in question.text
    assert question.remedy.label == "Accept all the same"
    # Pressed late, it is still about that pair.
    _ask(matched, loop, OTHER)
    question.remedy.apply()
    assert matched.project.state().pairs == pairs | {UID: "fm-00077"}
    matched.verdicts.undo()
    _ask(matched, loop, UID)
    _pick(matched, loop, "fm-00077")
    matched.verdicts.accept()
    assert matched.project.state().pairs == pairs | {UID: "fm-00077"}, "asked once"


def test_a_pair_that_is_insisted_on_may_still_need_another_set_aside(
    matched, loop, notices
) -> None:
    _ask(matched, loop, UID)
    _pick(matched, loop, "fm-00009")
    matched.verdicts.accept()
    notices[-1].remedy.apply()
    assert notices[-1].remedy.label == "Replace it"
    notices[-1].remedy.apply()
    pairs = matched.project.state().pairs
    assert pairs[UID] == "fm-00009"
    assert "tp-00009" not in pairs


def test_in_an_audit_nothing_is_asked_twice(matched, loop, notices) -> None:
    _ask(matched, loop, UID, audit=True)
    _pick(matched, loop, "fm-00077")
    matched.verdicts.accept()
    assert matched.project.state().pairs[UID] == "fm-00077"
    assert not notices[-1].is_error


# --- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize("act", ["accept", "reject", "unsure", "none"])
def test_without_a_question_nothing_is_recorded(workbench, notices, act) -> None:
    before = _n_events(workbench)
    getattr(workbench.verdicts, act)()
    assert _n_events(workbench) == before
    (notice,) = notices
    assert notice.is_error
    assert "Click a two-photon cell first" in notice.text


@pytest.mark.parametrize("act", ["accept", "reject", "unsure"])
def test_in_an_audit_nothing_is_judged_before_it_is_picked(workbench, loop, notices, act) -> None:
    _ask(workbench, loop, UID, audit=True)
    before = _n_events(workbench)
    getattr(workbench.verdicts, act)()
    assert _n_events(workbench) == before
    assert "Pick a candidate first" in notices[-1].text


def test_a_place_without_a_soma_cannot_be_judged(workbench, notices) -> None:
    workbench.questions.query = Query("two_photon", (1.0, 2.0, 3.0))
    workbench.verdicts.none()
    assert "soma" in notices[-1].text
    assert workbench.project.state().none == {}


def test_nothing_is_decided_without_a_project(workbench, notices) -> None:
    workbench.session.set_project(None)
    workbench.verdicts.undo()
    workbench.verdicts.redo()
    workbench.verdicts.add_somata("two_photon", [(1.0, 2.0, 3.0)])
    assert [notice.is_error for notice in notices] == [True] * 3
    assert {notice.text for notice in notices} == {
        "No project is open; open or create a project in the Data dock."
    }


def test_a_second_partner_is_refused_and_can_be_forced(workbench, loop, notices) -> None:
    partner = true_partner(UID)
    annotate.accept(workbench.project, OTHER, partner, annotator="other")
    _ask(workbench, loop, UID)
    _pick(workbench, loop, partner)
    workbench.verdicts.accept()
    assert workbench.project.state().pairs == {OTHER: partner}
    refusal = notices[-1]
    assert refusal.is_error
    assert OTHER in refusal.text
    # Pressed late, it is still about the pair that was refused.
    _ask(workbench, loop, "tp-00011")
    refusal.remedy.apply()
    assert workbench.project.state().pairs == {UID: partner}
    assert workbench.project.state().verdicts[-1].evidence.rank is not None
    workbench.verdicts.undo()
    assert workbench.project.state().pairs == {OTHER: partner}, "one step, there and back"


def test_what_cannot_be_forced_offers_nothing(workbench, loop, notices) -> None:
    _ask(workbench, loop, UID)
    partner = workbench.questions.choice.uid
    annotate.delete_somata(workbench.project, [partner], annotator="other")
    workbench.verdicts.accept()
    assert workbench.project.state().pairs == {}
    assert notices[-1].is_error
    assert notices[-1].remedy is None
    assert partner in notices[-1].text


# --- undo and redo -----------------------------------------------------------------------


def test_undo_and_redo_walk_through_the_decisions(workbench, loop, notices) -> None:
    decided = []
    for uid in (UID, OTHER):
        _ask(workbench, loop, uid)
        workbench.verdicts.none()
        decided.append(dict(workbench.project.state().none))
    workbench.verdicts.undo()
    assert workbench.project.state().none == decided[0]
    workbench.verdicts.undo()
    assert workbench.project.state().none == {}
    workbench.verdicts.undo()
    assert notices[-1].is_error
    assert "undo" in notices[-1].text
    for expected in decided:
        workbench.verdicts.redo()
        assert workbench.project.state().none == expected
    workbench.verdicts.redo()
    assert notices[-1].is_error
    assert workbench.project.state().none == decided[-1]


def test_a_new_decision_ends_what_could_be_redone(workbench, loop, notices) -> None:
    _ask(workbench, loop, UID)
    workbench.verdicts.none()
    workbench.verdicts.undo()
    _ask(workbench, loop, OTHER)
    workbench.verdicts.none()
    workbench.verdicts.redo()
    assert notices[-1].is_error
    assert set(workbench.project.state().none) == {OTHER}


def test_undo_leaves_others_and_what_no_hand_did(workbench, loop, notices) -> None:
    project = workbench.project
    _ask(workbench, loop, UID)
    workbench.verdicts.none()
    annotate.none(project, OTHER, None, annotator="other")
    annotate.record_detection(
        project, "two_photon", [(500.0, 500.0, 500.0)], method="test", annotator="me"
    )
    annotate.add_somata(
        project, "fmost", [(1.0, 2.0, 3.0)], source=SomaSource.IMPORTED, annotator="me"
    )
    n_somata = {name: len(somata) for name, somata in project.state().somata.items()}
    workbench.verdicts.undo()
    assert set(project.state().none) == {OTHER}
    workbench.verdicts.undo()
    assert notices[-1].is_error
    assert set(project.state().none) == {OTHER}
    assert {name: len(somata) for name, somata in project.state().somata.items()} == n_somata


# --- somata ------------------------------------------------------------------------------


def test_somata_are_edited_in_one_step_each(workbench, changed) -> None:
    project, verdicts = workbench.project, workbench.verdicts
    somata = project.state().somata["two_photon"]
    before = {uid: soma.center_um for uid, soma in somata.items()}
    verdicts.add_somata("two_photon", [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)])
    added = set(project.state().somata["two_photon"]) - set(before)
    assert {project.state().soma(uid).center_um for uid in added} == {
        (1.0, 2.0, 3.0),
        (4.0, 5.0, 6.0),
    }
    assert {project.state().soma(uid).source for uid in added} == {SomaSource.MANUAL}
    verdicts.move_somata("two_photon", [UID, OTHER], [(7.0, 7.0, 7.0), (8.0, 8.0, 8.0)])
    assert project.state().soma(OTHER).center_um == (8.0, 8.0, 8.0)
    verdicts.delete_somata("two_photon", [UID, *added])
    assert len(project.state().somata["two_photon"]) == N_POINTS - 1
    assert changed == ["two_photon"] * 3

    changed.clear()
    for _ in range(3):
        verdicts.undo()
    somata = project.state().somata["two_photon"]
    assert {uid: soma.center_um for uid, soma in somata.items()} == before
    assert changed == ["two_photon"] * 3, "the other side did not change"


def test_undoing_a_verdict_changes_no_somata(workbench, loop, changed) -> None:
    _ask(workbench, loop, UID)
    workbench.verdicts.accept()
    workbench.verdicts.undo()
    workbench.verdicts.redo()
    assert changed == []


def test_an_edit_that_is_refused_is_one_sentence_and_no_event(workbench, notices, changed) -> None:
    before = _n_events(workbench)
    workbench.verdicts.delete_somata("two_photon", [UID, "tp-99999"])
    workbench.verdicts.move_somata("two_photon", [UID], [(float("nan"), 0.0, 0.0)])
    assert _n_events(workbench) == before
    assert changed == []
    assert [notice.is_error for notice in notices] == [True, True]
    assert "tp-99999" in notices[0].text
    assert workbench.project.state().soma(UID) is not None
