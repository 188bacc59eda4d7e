from __future__ import annotations

import pytest

from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.project import Project, VerdictEvidence
from napari_neurobridge.project.log import annotate as act
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.project.log.notes import in_words
from napari_neurobridge.types import NoneReason, Verdict


def test_accept_undo_redo(project: Project) -> None:
    before = project.state()
    (event,) = act.accept(project, "tp-00001", "fm-00002", annotator="ben")
    accepted = project.state()
    assert accepted.pairs == {"tp-00001": "fm-00002"}
    assert accepted.undoable("ben") == (event,)

    (undo,) = act.undo(project, "ben")
    assert project.state().verdicts == before.verdicts == ()
    assert project.state().redoable("ben") == (undo,)

    act.redo(project, "ben")
    assert project.state() == accepted


def test_undo_and_redo_need_something(project: Project) -> None:
    with pytest.raises(InvalidActionError, match="nothing that 'ben' could undo") as caught:
        act.undo(project, "ben")
    assert not caught.value.forceable
    with pytest.raises(InvalidActionError, match="nothing that 'ben' could redo"):
        act.redo(project, "ben")


def test_undo_by_hand_leaves_the_detection_run(project: Project) -> None:
    act.accept(project, "tp-00001", "fm-00002", annotator="ben")
    act.record_detection(project, "fmost", [(50, 50, 50)], method="dog", annotator="ben")
    undone = act.undo(project, "ben", scope=UndoScope.HAND)
    assert act.describe_target(project, undone) == "accepted tp-00001 ↔ fm-00002"
    assert project.state().pairs == {}
    assert len(project.state().somata["fmost"]) == 6
    with pytest.raises(InvalidActionError, match="nothing that 'ben' could undo"):
        act.undo(project, "ben", scope=UndoScope.HAND)

    redone = act.redo(project, "ben", scope=UndoScope.HAND)
    assert act.describe_target(project, redone) == "accepted tp-00001 ↔ fm-00002"
    assert project.state().pairs == {"tp-00001": "fm-00002"}
    with pytest.raises(InvalidActionError, match="nothing that 'ben' could redo"):
        act.redo(project, "ben", scope=UndoScope.HAND)


def test_evidence_is_kept(project: Project) -> None:
    evidence = VerdictEvidence(rank=3, similarity=0.7, model_hash="abc", seconds=2.5, audit=True)
    act.reject(project, "tp-00001", "fm-00002", annotator="ben", evidence=evidence)
    (standing,) = project.state().verdicts
    assert standing.evidence == evidence
    assert (standing.verdict, standing.annotator) == (Verdict.REJECT, "ben")


def test_unsure_and_none_count_as_asked(project: Project) -> None:
    act.unsure(project, "tp-00001", "fm-00002")
    act.none(project, "tp-00002", NoneReason.UNLABELLED)
    state = project.state()
    assert state.asked == {"tp-00001", "tp-00002"}
    assert state.none == {"tp-00002": NoneReason.UNLABELLED}
    assert state.pairs == {}


@pytest.mark.parametrize(
    ("query", "candidate"),
    [("tp-00001", "fm-00002"), ("tp-00002", "fm-00001"), ("fm-00001", "tp-00003")],
)
def test_a_second_partner_must_be_forced(project: Project, query: str, candidate: str) -> None:
    (first,) = act.accept(project, "tp-00001", "fm-00001", annotator="anna")
    with pytest.raises(InvalidActionError, match="anna already accepted tp-00001") as caught:
        act.accept(project, query, candidate, annotator="ben")
    assert caught.value.forceable
    assert project.state().pairs == {"tp-00001": "fm-00001"}

    (forced,) = act.accept(project, query, candidate, annotator="ben", force=True)
    assert forced.payload["revokes"] == [first.id]
    assert set(project.state().pairs.items()) == {tuple(sorted((query, candidate)))[::-1]}
    assert project.state().disputed == frozenset()

    act.undo(project, "ben")
    assert project.state().pairs == {"tp-00001": "fm-00001"}


def test_forcing_against_two_pairs_sets_both_aside(project: Project) -> None:
    act.accept(project, "tp-00001", "fm-00001")
    act.accept(project, "tp-00002", "fm-00002")
    act.accept(project, "tp-00001", "fm-00002", force=True)
    assert project.state().pairs == {"tp-00001": "fm-00002"}


def test_accepting_again_is_no_conflict(project: Project) -> None:
    act.accept(project, "tp-00001", "fm-00001", annotator="anna")
    act.accept(project, "tp-00001", "fm-00001", annotator="anna")
    act.accept(project, "fm-00001", "tp-00001", annotator="ben")
    assert project.state().pairs == {"tp-00001": "fm-00001"}


def test_a_soma_is_free_again_after_its_pair_was_rejected(project: Project) -> None:
    act.accept(project, "tp-00001", "fm-00001", annotator="anna")
    act.reject(project, "tp-00001", "fm-00001", annotator="anna")
    act.accept(project, "tp-00001", "fm-00002", annotator="anna")
    assert project.state().pairs == {"tp-00001": "fm-00002"}


@pytest.mark.parametrize(
    ("query", "candidate", "sentence"),
    [
        ("tp-99999", "fm-00001", "no soma 'tp-99999'"),
        ("tp-00001", "fm-99999", "no soma 'fm-99999'"),
        ("tp-00001", "tp-00002", "both lie in dataset 'two_photon'"),
    ],
)
def test_impossible_pairs(project: Project, query: str, candidate: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        act.accept(project, query, candidate)
    assert caught.value.exit_code == 2
    assert project.state().verdicts == ()


def test_a_tombstone_gets_no_new_verdict(project: Project) -> None:
    act.accept(project, "tp-00001", "fm-00001", annotator="anna")
    act.delete_soma(project, "fm-00001", annotator="ben")
    before = project.state()
    for judge in (act.accept, act.reject, act.unsure):
        for pair in (("tp-00001", "fm-00001"), ("fm-00001", "tp-00002")):
            with pytest.raises(InputError, match="'fm-00001' was removed"):
                judge(project, *pair, annotator="anna")
    with pytest.raises(InputError, match="'fm-00001' was removed"):
        act.none(project, "fm-00001", annotator="anna")
    assert project.state() == before

    act.undo(project, "anna", scope=UndoScope.HAND)
    assert project.state().pairs == {}
    act.redo(project, "anna", scope=UndoScope.HAND)
    assert project.state().pairs == {"tp-00001": "fm-00001"}


def test_an_annotator_needs_a_name(project: Project) -> None:
    with pytest.raises(InputError, match="needs a name"):
        act.accept(project, "tp-00001", "fm-00001", annotator=" ")


# --- several verdicts at once ----------------------------------------------------------------


def _accepts(*pairs: tuple[str, str]) -> list[Judgement]:
    return [Judgement(Verdict.ACCEPT, *pair) for pair in pairs]


def test_verdicts_given_together_are_undone_and_redone_together(project: Project) -> None:
    act.accept(project, "tp-00003", "fm-00003", annotator="ben")
    both = _accepts(("tp-00001", "fm-00001"), ("tp-00002", "fm-00002"))
    none = Judgement(Verdict.NONE, "tp-00004", reason=NoneReason.CUT)
    act.judge_together(project, [*both, none], annotator="ben")
    judged = project.state()
    assert len(judged.pairs) == 3

    undone = act.undo(project, "ben", scope=UndoScope.HAND)
    assert act.describe_target(project, undone[:1]) == "accepted tp-00001 ↔ fm-00001"
    assert project.state().pairs == {"tp-00003": "fm-00003"}
    assert project.state().none == {}
    act.redo(project, "ben", scope=UndoScope.HAND)
    assert project.state().verdicts == judged.verdicts
    act.undo(project, "ben")
    act.undo(project, "ben")
    assert project.state().pairs == {}


def test_of_verdicts_given_together_all_count_or_none(project: Project) -> None:
    act.accept(project, "tp-00002", "fm-00003", annotator="anna")
    both = _accepts(("tp-00001", "fm-00001"), ("tp-00002", "fm-00002"))
    with pytest.raises(InvalidActionError, match="anna already accepted tp-00002") as caught:
        act.judge_together(project, both, annotator="ben")
    assert caught.value.forceable
    with pytest.raises(InputError, match="no soma 'fm-9'"):
        act.judge_together(project, _accepts(("tp-00001", "fm-00001"), ("tp-00002", "fm-9")))
    assert project.state().pairs == {"tp-00002": "fm-00003"}

    act.judge_together(project, both, annotator="ben", force=True)
    assert project.state().pairs == {"tp-00001": "fm-00001", "tp-00002": "fm-00002"}
    act.undo(project, "ben")
    assert project.state().pairs == {"tp-00002": "fm-00003"}


@pytest.mark.parametrize("second", [("tp-00001", "fm-00002"), ("tp-00002", "fm-00001")])
def test_verdicts_given_together_give_no_soma_two_partners(
    project: Project, second: tuple[str, str]
) -> None:
    wanted = _accepts(("tp-00001", "fm-00001"), second)
    with pytest.raises(InvalidActionError, match="a cell has one partner") as caught:
        act.judge_together(project, wanted, force=True)
    assert not caught.value.forceable
    assert project.state().verdicts == ()


def test_a_single_verdict_is_a_step_by_itself(project: Project) -> None:
    (event,) = act.judge_together(project, _accepts(("tp-00001", "fm-00001")))
    assert event.payload["step"] is None
    assert act.judge_together(project, []) == []


# --- reverting a given decision --------------------------------------------------------------


def test_an_earlier_decision_is_reverted_and_the_later_stay(project: Project) -> None:
    (first,) = act.accept(project, "tp-00001", "fm-00001", annotator="ben")
    act.accept(project, "tp-00002", "fm-00002", annotator="ben")
    reverted = act.revert(project, first.id, annotator="ben")
    assert act.describe_target(project, reverted) == "accepted tp-00001 ↔ fm-00001"
    assert project.state().pairs == {"tp-00002": "fm-00002"}
    act.redo(project, "ben")
    assert set(project.state().pairs) == {"tp-00001", "tp-00002"}


def test_what_was_decided_together_is_reverted_together(project: Project) -> None:
    judged = act.judge_together(
        project, _accepts(("tp-00001", "fm-00001"), ("tp-00002", "fm-00002")), annotator="ben"
    )
    act.accept(project, "tp-00003", "fm-00003", annotator="ben")
    act.revert(project, judged[1].id, annotator="ben")
    assert project.state().pairs == {"tp-00003": "fm-00003"}


def test_nothing_is_reverted_twice_or_by_somebody_else(project: Project) -> None:
    (event,) = act.accept(project, "tp-00001", "fm-00001", annotator="ben")
    with pytest.raises(InvalidActionError, match=f"of 'anna' with the id {event.id}"):
        act.revert(project, event.id, annotator="anna")
    act.revert(project, event.id, annotator="ben")
    with pytest.raises(InvalidActionError, match="undone already"):
        act.revert(project, event.id, annotator="ben")


# --- notes -----------------------------------------------------------------------------------


def _notes(project: Project) -> dict[tuple[str, ...], str]:
    return {uids: in_words(notes) for uids, notes in project.state().notes.items()}


def test_a_note_is_about_a_pair_whichever_side_is_named_first(project: Project) -> None:
    act.note(project, "fm-00002", "tp-00001", " near a \n vessel ", annotator="ben")
    pair = ("tp-00001", "fm-00002")
    assert _notes(project) == {pair: "near a vessel"}
    act.note(project, *pair, "no", annotator="ben")
    act.note(project, *pair, "bright", annotator="anna")
    act.note(project, "tp-00001", None, "twice?", annotator="anna")
    assert _notes(project) == {pair: "anna: bright; ben: no", ("tp-00001",): "twice?"}


def test_a_note_is_taken_away_and_undone(project: Project) -> None:
    pair = ("tp-00001", "fm-00002")
    act.note(project, *pair, "vessel", annotator="ben")
    assert act.note(project, *pair, "vessel", annotator="ben") == [], "it says that already"
    act.note(project, *pair, "", annotator="ben")
    assert _notes(project) == {}
    act.undo(project, "ben", scope=UndoScope.HAND)
    assert _notes(project) == {pair: "vessel"}
    act.undo(project, "ben", scope=UndoScope.HAND)
    assert _notes(project) == {}


def test_a_note_stays_with_a_soma_that_a_verdict_names(project: Project) -> None:
    act.accept(project, "tp-00001", "fm-00001")
    act.delete_soma(project, "fm-00001")
    act.note(project, "tp-00001", "fm-00001", "was an artefact")
    assert _notes(project) == {("tp-00001", "fm-00001"): "was an artefact"}


@pytest.mark.parametrize(
    ("uids", "sentence"),
    [(("tp-9", None), "no soma 'tp-9'"), (("tp-00001", "tp-00002"), "both lie in dataset")],
)
def test_notes_are_about_somata_and_pairs(
    project: Project, uids: tuple[str, str | None], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        act.note(project, *uids, "?")
