from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.claims import ClaimsImported
from napari_neurobridge.project.log.events import Event, Undone, UndoScope, VerdictGiven
from napari_neurobridge.project.log.fold import IncrementalFold, State, fold
from napari_neurobridge.project.log.notes import Note, NoteWritten
from napari_neurobridge.project.log.payload import EventKind, Payload
from napari_neurobridge.project.log.soma_events import (
    DetectionRun,
    PlacedSomata,
    RoiOrigin,
    SomaAdded,
    SomaDeleted,
    SomaMoved,
)
from napari_neurobridge.types import NoneReason, Role, SomaSource, Verdict

QUERIES = ("tp-00001", "tp-00002", "tp-00003")
CANDIDATES = ("fm-00001", "fm-00002", "fm-00003")
ANNOTATORS = ("anna", "ben")


def event(number: int, payload: Payload, annotator: str = "anna", tick: int | None = None) -> Event:
    """Make an event; ``tick`` is its time, by default its number."""
    tick = number if tick is None else tick
    return Event(
        id=f"{number:032x}",
        time=f"2026-01-01T00:00:{tick:02d}.000000+00:00",
        annotator=annotator,
        sequence=number + 1,
        kind=payload.kind,
        version=payload.version,
        payload=payload.model_dump(mode="json"),
    )


def verdict(
    kind: Verdict, query: str, candidate: str | None = None, revokes: tuple[str, ...] = ()
) -> VerdictGiven:
    from_two_photon = query.startswith("tp")
    sides = [("two_photon", Role.IN_VIVO), ("fmost", Role.EX_VIVO)]
    asked, other = sides if from_two_photon else sides[::-1]
    return VerdictGiven(
        verdict=kind,
        query_uid=query,
        query_dataset=asked[0],
        query_role=asked[1],
        candidate_uid=candidate,
        candidate_dataset=candidate and other[0],
        candidate_role=candidate and other[1],
        revokes=revokes,
        software_version="0",
    )


def accept(query: str, candidate: str, revokes: tuple[str, ...] = ()) -> VerdictGiven:
    return verdict(Verdict.ACCEPT, query, candidate, revokes)


def added(*uids: str, source: SomaSource = SomaSource.MANUAL) -> SomaAdded:
    dataset = "two_photon" if uids[0].startswith("tp") else "fmost"
    centers = [(0.0, 0.0, float(uid[-1])) for uid in uids]
    return SomaAdded(dataset=dataset, uids=list(uids), centers_um=centers, source=source)


def imported(uids: list[str], file: str) -> SomaAdded:
    origin = RoiOrigin(
        format="suite2p",
        file=file,
        sha256=file * 64,
        n_in_file=3,
        kept_by="iscell",
        voxel_size_um=(1.0, 1.0, 1.0),
        outlines=file * 16,
    )
    return added(*uids, source=SomaSource.IMPORTED).model_copy(update={"origin": origin})


def claims(program: str, queries: list[str], candidates: list[str]) -> ClaimsImported:
    return ClaimsImported(
        program=program,
        file="a",
        sha256="a" * 64,
        datasets=("two_photon", "fmost"),
        roles=(Role.IN_VIVO, Role.EX_VIVO),
        uids=list(zip(queries, candidates, strict=False)),
    )


def run(*uids: str, shift: float = 0.0) -> DetectionRun:
    centers = [(shift, 0.0, float(uid[-1])) for uid in uids]
    return DetectionRun(dataset="fmost", uids=list(uids), centers_um=centers, method="dog")


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Any log, also ones that no program would write; many events share a time."""
    ids = st.integers(0, 15).map(lambda number: f"{number:032x}")
    some_queries = st.lists(st.sampled_from(QUERIES), min_size=1, max_size=3, unique=True)
    some_candidates = st.lists(st.sampled_from(CANDIDATES), min_size=1, max_size=3, unique=True)
    either = st.one_of(some_queries, some_candidates)
    judged = st.sampled_from([Verdict.ACCEPT, Verdict.ACCEPT, Verdict.REJECT, Verdict.UNSURE])
    payloads = st.one_of(
        st.builds(lambda uids: added(*uids), either),
        st.builds(imported, either, st.sampled_from("ab")),
        st.builds(claims, st.sampled_from(("CellReg", "ROICaT")), some_queries, some_candidates),
        st.builds(lambda uids, shift: run(*uids, shift=shift), some_candidates, st.just(1.0)),
        st.builds(
            lambda uid, x: SomaMoved(dataset="fmost", uids=[uid], centers_um=[(0, 0, x)]),
            st.sampled_from(CANDIDATES),
            st.floats(0, 9),
        ),
        st.builds(
            lambda uid: SomaDeleted(dataset="fmost", uids=[uid]), st.sampled_from(CANDIDATES)
        ),
        st.builds(
            verdict,
            judged,
            st.sampled_from(QUERIES),
            st.sampled_from(CANDIDATES),
            st.lists(ids, max_size=2).map(tuple),
        ),
        st.builds(verdict, judged, st.sampled_from(CANDIDATES), st.sampled_from(QUERIES)),
        st.builds(verdict, st.just(Verdict.NONE), st.sampled_from(QUERIES + CANDIDATES)),
        st.builds(
            NoteWritten,
            uids=st.sampled_from([("tp-00001",), ("tp-00001", "fm-00001")]),
            text=st.sampled_from(["", "a", "b"]),
        ),
        st.builds(Undone, target=ids),
        st.builds(Undone, target=ids),
    )
    drawn = draw(
        st.lists(st.tuples(payloads, st.sampled_from(ANNOTATORS), st.integers(0, 9)), max_size=16)
    )
    return [
        event(number, payload, annotator, tick)
        for number, (payload, annotator, tick) in enumerate(drawn)
    ]


@given(data=st.data(), log=logs())
def test_any_order_of_arrival_folds_the_same(data: st.DataObject, log: list[Event]) -> None:
    shuffled = data.draw(st.permutations(log))
    assert fold(shuffled) == fold(log)


@given(data=st.data(), log=logs())
def test_union_folds_the_same_whichever_way(data: st.DataObject, log: list[Event]) -> None:
    mine = [e for e in log if data.draw(st.booleans())]
    theirs = [e for e in log if e not in mine or data.draw(st.booleans())]
    assert fold(mine + theirs) == fold(theirs + mine) == fold(log)


@given(log=logs())
def test_folding_as_events_arrive_equals_folding_at_once(log: list[Event]) -> None:
    incremental = IncrementalFold()
    for end in range(len(log) + 1):
        state = incremental.fold(log[:end])
    assert state == fold(log)


@given(log=logs())
def test_disputed_pairs_are_no_pairs_and_partners_are_unique(log: list[Event]) -> None:
    state = fold(log)
    assert state.disputed.isdisjoint(state.agreed)
    assert state.disputed.isdisjoint(state.pairs.items())
    assert len(set(state.pairs.values())) == len(state.pairs)
    assert not set(state.none) & {uid for pair in state.agreed for uid in pair}


@given(log=logs())
def test_living_and_gone_somata_are_apart_and_no_named_soma_is_a_gap(log: list[Event]) -> None:
    state = fold(log)
    living = {uid for somata in state.somata.values() for uid in somata}
    assert living.isdisjoint(state.retired)
    assert set(state.tombstones) <= state.retired
    placed = {uid for e in log if isinstance(e.content, PlacedSomata) for uid in e.content.uids}
    assert placed == living | state.retired
    for standing in state.verdicts:
        for uid in (standing.query_uid, standing.candidate_uid):
            assert uid not in placed or state.soma(uid).uid == uid


@given(log=logs())
def test_undo_then_redo_restores(log: list[Event]) -> None:
    """Whatever can be undone can be redone, for each annotator."""
    state = fold(log)
    for annotator in ANNOTATORS:
        if not state.undoable(annotator):
            continue
        (target,) = state.undoable(annotator)
        undo = event(40, Undone(target=target.id), annotator, tick=30)
        undone = fold([*log, undo])
        assert undone.redoable(annotator) == (undo,)
        redone = fold([*log, undo, event(41, Undone(target=undo.id), annotator, tick=31)])
        assert without_history(redone) == without_history(state)
        assert redone.undoable(annotator) == (target,)


@given(log=logs())
def test_undo_and_redo_by_hand_are_about_nothing_else(log: list[Event]) -> None:
    state = fold(log)
    for annotator in ANNOTATORS:
        target = state.undoable(annotator, UndoScope.HAND)
        done = state.histories[annotator].done if annotator in state.histories else ()
        assert target == tuple([e for e in done if e.content.by_hand][-1:])
        if not state.redoable(annotator, UndoScope.HAND):
            continue
        (redoable,) = state.redoable(annotator, UndoScope.HAND)
        redone = fold([*log, event(40, Undone(target=redoable.id), annotator, tick=30)])
        (action,) = redone.undoable(annotator, UndoScope.HAND)
        assert action.content.by_hand
        assert action not in done


@given(log=logs(), payload=st.sampled_from([accept("tp-00001", "fm-00002"), added("fm-00003")]))
def test_undo_of_the_latest_event_restores_what_was_before(
    log: list[Event], payload: Payload
) -> None:
    new = event(40, payload, "anna", tick=30)
    before, after = fold(log), fold([*log, new])
    assert after.undoable("anna") == (new,)
    undone = fold([*log, new, event(41, Undone(target=new.id), "anna", tick=31)])
    assert undone.verdicts == before.verdicts
    assert undone.somata == before.somata
    assert undone.agreed == before.agreed


def without_history(state: State) -> State:
    return replace(state, histories={})


def test_the_latest_verdict_of_an_annotator_counts() -> None:
    log = [event(0, accept("tp-00001", "fm-00001"))]
    assert fold(log).pairs == {"tp-00001": "fm-00001"}
    log.append(event(1, verdict(Verdict.REJECT, "tp-00001", "fm-00001")))
    assert fold(log).pairs == {}
    assert [v.verdict for v in fold(log).verdicts] == [Verdict.REJECT]


def test_a_pair_is_the_same_whichever_side_was_asked() -> None:
    log = [event(0, accept("fm-00001", "tp-00001"))]
    assert fold(log).pairs == {"tp-00001": "fm-00001"}
    log.append(event(1, verdict(Verdict.UNSURE, "tp-00001", "fm-00001")))
    assert fold(log).pairs == {}


def test_none_and_accept_replace_one_another() -> None:
    log = [
        event(0, accept("tp-00001", "fm-00001")),
        event(1, verdict(Verdict.NONE, "tp-00001").model_copy(update={"reason": NoneReason.CUT})),
    ]
    state = fold(log)
    assert (state.pairs, state.none) == ({}, {"tp-00001": NoneReason.CUT})
    log.append(event(2, accept("fm-00002", "tp-00001")))
    state = fold(log)
    assert (state.pairs, state.none) == ({"tp-00001": "fm-00002"}, {})
    assert state.asked == {"fm-00002"}


@pytest.mark.parametrize(
    "contradiction",
    [
        verdict(Verdict.REJECT, "tp-00001", "fm-00001"),
        verdict(Verdict.NONE, "tp-00001"),
        verdict(Verdict.NONE, "fm-00001"),
        accept("tp-00001", "fm-00002"),
        accept("tp-00002", "fm-00001"),
    ],
)
def test_annotators_who_clash_leave_the_pair_disputed(contradiction: VerdictGiven) -> None:
    state = fold([event(0, accept("tp-00001", "fm-00001")), event(1, contradiction, "ben")])
    assert ("tp-00001", "fm-00001") in state.disputed
    assert state.pairs == {}
    assert len(state.verdicts) == 2


def test_an_unsure_colleague_disputes_nothing() -> None:
    doubt = verdict(Verdict.UNSURE, "tp-00001", "fm-00001")
    state = fold([event(0, accept("tp-00001", "fm-00001")), event(1, doubt, "ben")])
    assert state.pairs == {"tp-00001": "fm-00001"}


def test_undo_by_hand_skips_detection_runs_and_imports() -> None:
    run = DetectionRun(dataset="fmost", uids=["fm-9"], centers_um=[(0, 0, 0)], method="dog")
    imported = added("fm-8").model_copy(update={"source": SomaSource.IMPORTED})
    log = [event(0, accept("tp-00001", "fm-00001")), event(1, run), event(2, imported)]
    assert fold(log).undoable("anna") == (log[2],)
    assert fold(log).undoable("anna", UndoScope.HAND) == (log[0],)
    for payload in (
        SomaDeleted(dataset="fmost", uids=["fm-9"]),
        SomaMoved(dataset="fmost", uids=["fm-9"], centers_um=[(1, 1, 1)]),
        added("fm-10"),
    ):
        edit = event(3, payload)
        assert fold([*log, edit]).undoable("anna", UndoScope.HAND) == (edit,)


def test_a_detection_run_does_not_forget_the_verdict_to_redo() -> None:
    run = DetectionRun(dataset="fmost", uids=["fm-9"], centers_um=[(0, 0, 0)], method="dog")
    log = [
        event(0, accept("tp-00001", "fm-00001")),
        event(1, Undone(target=f"{0:032x}")),
        event(2, run),
    ]
    assert fold(log).redoable("anna") == ()
    assert fold(log).redoable("anna", UndoScope.HAND) == (log[1],)
    log.append(event(3, accept("tp-00002", "fm-00002")))
    assert fold(log).redoable("anna", UndoScope.HAND) == ()


def test_an_undone_detection_run_is_not_redone_by_hand() -> None:
    run = DetectionRun(dataset="fmost", uids=["fm-9"], centers_um=[(0, 0, 0)], method="dog")
    log = [event(0, run), event(1, Undone(target=f"{0:032x}"))]
    assert fold(log).redoable("anna") == (log[1],)
    assert fold(log).redoable("anna", UndoScope.HAND) == ()


def test_revoking_sets_the_named_acceptance_aside_until_undone() -> None:
    first = event(0, accept("tp-00001", "fm-00001"))
    forced = event(1, accept("tp-00001", "fm-00002", revokes=(first.id,)), "ben")
    assert fold([first, forced]).pairs == {"tp-00001": "fm-00002"}
    undone = fold([first, forced, event(2, Undone(target=forced.id), "ben")])
    assert undone.pairs == {"tp-00001": "fm-00001"}


def test_one_only_takes_back_what_is_ones_own() -> None:
    log = [event(0, accept("tp-00001", "fm-00001")), event(1, Undone(target=f"{0:032x}"), "ben")]
    assert fold(log).pairs == {"tp-00001": "fm-00001"}


def test_a_new_action_forgets_what_could_be_redone() -> None:
    log = [event(0, accept("tp-00001", "fm-00001")), event(1, Undone(target=f"{0:032x}"))]
    assert fold(log).redoable("anna") == (log[1],)
    log.append(event(2, accept("tp-00002", "fm-00002")))
    assert fold(log).redoable("anna") == ()


def test_an_undo_of_a_redo_takes_back_again() -> None:
    log = [event(0, accept("tp-00001", "fm-00001"))]
    for number in range(1, 5):
        log.append(event(number, Undone(target=f"{number - 1:032x}")))
        assert bool(fold(log).pairs) == (number % 2 == 0)


def test_datasets_of_one_role_have_links_of_their_own() -> None:
    plane = VerdictGiven(
        verdict=Verdict.ACCEPT,
        query_uid="tp-00001",
        query_dataset="two_photon",
        query_role=Role.IN_VIVO,
        candidate_uid="stack-00007",
        candidate_dataset="stack",
        candidate_role=Role.IN_VIVO,
        software_version="0",
    )
    state = fold([event(0, plane), event(1, accept("tp-00001", "fm-00001"))])
    assert state.pairs == {"tp-00001": "fm-00001"}
    assert state.pairs_between("two_photon", "stack") == {"tp-00001": "stack-00007"}
    assert state.pairs_between("stack", "two_photon") == {"stack-00007": "tp-00001"}
    assert state.disputed == frozenset()


def test_a_run_replaces_detected_somata_but_none_that_a_person_placed_or_moved() -> None:
    log = [
        event(0, run("fm-00001", "fm-00002")),
        event(1, added("fm-00003")),
        event(2, SomaMoved(dataset="fmost", uids=["fm-00002"], centers_um=[(9, 9, 9)])),
        event(3, run("fm-00004")),
    ]
    state = fold(log)
    assert set(state.somata["fmost"]) == {"fm-00002", "fm-00003", "fm-00004"}
    assert state.soma("fm-00002").center_um == (9, 9, 9)
    assert set(state.vanished) == {"fm-00001"}


def test_an_undone_addition_that_a_verdict_names_is_a_tombstone() -> None:
    log = [
        event(0, added("fm-00001")),
        event(1, accept("tp-00001", "fm-00001"), "ben"),
        event(2, Undone(target=f"{0:032x}")),
    ]
    state = fold(log)
    assert state.somata == {}
    assert state.soma("fm-00001").center_um == (0, 0, 1)
    assert state.numbers == {"fm": 1}


def test_unknown_and_removed_somata_get_a_sentence() -> None:
    log = [event(0, added("fm-00001", "fm-00002"))]
    with pytest.raises(InputError, match=r"no soma 'fm-9' .* look like 'fm-00001'"):
        fold(log).soma("fm-9")
    with pytest.raises(InputError, match="detect or import somata first"):
        fold([]).soma("fm-9")
    log.append(event(1, SomaDeleted(dataset="fmost", uids=["fm-00001"])))
    with pytest.raises(InputError, match="was removed"):
        fold(log).soma("fm-00001")


@given(log=logs())
def test_claims_change_nothing_but_themselves(log: list[Event]) -> None:
    without = [e for e in log if e.kind is not EventKind.CLAIMS_IMPORTED]
    # An undo of an import must not be taken for one of something else, so ids stay as they are.
    with_claims, plain = fold(log), fold(without)
    assert plain.claims == ()
    kept = {"claims": (), "histories": plain.histories}
    assert replace(with_claims, **kept) == plain


def test_two_people_keep_a_note_each() -> None:
    pair = ("tp-00001", "fm-00001")
    log = [
        event(0, NoteWritten(uids=pair, text="old")),
        event(1, NoteWritten(uids=pair, text="dim"), "ben"),
        event(2, NoteWritten(uids=pair, text="new")),
    ]
    told = fold(log[::-1]).notes
    assert told == {
        pair: (
            Note("new", "anna", log[2].time, log[2].id),
            Note("dim", "ben", log[1].time, log[1].id),
        )
    }
    log.append(event(3, NoteWritten(uids=pair, text="")))
    assert [note.annotator for note in fold(log).notes[pair]] == ["ben"]
