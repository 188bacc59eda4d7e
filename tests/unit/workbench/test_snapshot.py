"""What views may show of a question: everything, but in an audit nothing the program thinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.types import Basis, Candidate, Expected, NoneReason, Ranking
from napari_neurobridge.workbench.answers import N_SHOWN, Answer, Query
from napari_neurobridge.workbench.neighbours import Neighbour
from napari_neurobridge.workbench.snapshot import (
    AUDIT_REASON,
    NONE_OF_THESE,
    NoneLine,
    QuestionSnapshot,
    take_snapshot,
)

UIDS = [f"fm-{number}" for number in range(N_SHOWN)]
CENTERS = {uid: (float(row), 2.0 * row, 3.0 * row) for row, uid in enumerate(UIDS)}
PICTURES = {uid: np.full((2, 2), row / 10, np.float32) for row, uid in enumerate(UIDS)}
QUERY = Query("two_photon", (1.0, 2.0, 3.0), "tp-1")
AUDIT = replace(QUERY, audit=True)

shares = st.floats(0.0, 1.0)
optional = st.none() | shares


@st.composite
def judgements(draw: st.DrawFn) -> dict[str, object]:
    """Whatever a program may think of the same nine candidates."""
    order = draw(st.permutations(UIDS))
    candidates = tuple(
        Candidate(
            rank,
            uid,
            CENTERS[uid],
            similarity=draw(optional),
            residual_um=draw(optional),
            probability=draw(optional),
            in_set=draw(st.none() | st.booleans()),
        )
        for rank, uid in enumerate(order, start=1)
    )
    place = draw(st.tuples(shares, shares, shares))
    spread = draw(st.floats(1.0, 9.0))
    rows = tuple((spread * (r == 0), spread * (r == 1), spread * (r == 2)) for r in range(3))
    ranking = Ranking(
        "two_photon",
        "fmost",
        "tp-1",
        QUERY.center_um,
        candidates,
        p_none=draw(optional),
        none_in_set=draw(st.none() | st.booleans()),
        model=draw(st.sampled_from(["", "a@1", "b@2"])),
        basis=draw(st.sampled_from(Basis)),
        expected=draw(st.none() | st.just(Expected(place, rows))),
        outside=draw(st.booleans()),
        note=draw(st.sampled_from(["", "Too far from the accepted pairs."])),
    )
    cells = st.sampled_from(["tp-1", "tp-2", *UIDS])
    claimed_pair = Neighbour(
        2, ("tp-2", draw(st.sampled_from(UIDS))), {"two_photon": place, "fmost": place}, False
    )
    return {
        "ranking": ranking,
        "near": draw(st.none() | st.tuples(shares, st.integers(0, 99))),
        "claimed": draw(st.dictionaries(cells, shares)),
        "changed": draw(st.frozensets(cells)),
        "neighbours": (ACCEPTED, claimed_pair) if draw(st.booleans()) else (ACCEPTED,),
        "reason": draw(st.sampled_from(["", "asked because it may have no partner (81 %)"])),
    }


ACCEPTED = Neighbour(
    1, ("tp-7", "fm-70"), {"two_photon": (0.0, 0.0, 0.0), "fmost": (1.0, 1.0, 1.0)}, True
)


def _answer(query: Query, thought: dict[str, object]) -> Answer:
    ranking = thought["ranking"]
    bare = Answer(query, ranking, PICTURES["fm-0"], None, near=thought["near"])
    return replace(bare, candidate_crops=np.stack([PICTURES[one.uid] for one in bare.shown]))


def _snapshot(
    query: Query, thought: dict[str, object], picked: str | None = None
) -> QuestionSnapshot:
    answer = _answer(query, thought)
    return take_snapshot(
        query,
        answer,
        next((one for one in answer.shown if one.uid == picked), None),
        state=None,
        reason=thought["reason"],
        neighbours=thought["neighbours"],
        claimed=thought["claimed"],
        changed=thought["changed"],
    )


@given(one=judgements(), other=judgements(), picked=st.none() | st.sampled_from(UIDS))
def test_an_audit_looks_the_same_whatever_the_program_thinks(
    one: dict[str, object], other: dict[str, object], picked: str | None
) -> None:
    first, second = _snapshot(AUDIT, one, picked), _snapshot(AUDIT, other, picked)
    # Crops are equal to nothing but themselves, so their pixels are compared.
    assert replace(first, crops=None) == replace(second, crops=None)
    np.testing.assert_array_equal(first.crops.candidates, second.crops.candidates)
    assert first.reason == AUDIT_REASON


@given(judgements(), st.sampled_from(UIDS))
def test_an_audit_keeps_what_a_person_needs(thought: dict[str, object], picked: str) -> None:
    shown = _snapshot(AUDIT, thought, picked)
    assert shown.blind
    assert {line.uid for line in shown.candidates} == set(UIDS)
    assert [line.place for line in shown.candidates] == list(range(1, N_SHOWN + 1))
    for line, crop in zip(shown.candidates, shown.crops.candidates, strict=True):
        assert line.center_um == CENTERS[line.uid]
        np.testing.assert_array_equal(crop, PICTURES[line.uid])
    assert shown.neighbours == (ACCEPTED,)
    assert shown.candidates[shown.picked.place - 1].uid == shown.picked.uid == picked
    assert shown.none == NoneLine(after=N_SHOWN), "no number, no place in the order, not picked"


@given(judgements())
def test_every_other_question_shows_what_the_program_thinks(thought: dict[str, object]) -> None:
    shown, ranking = _snapshot(QUERY, thought), thought["ranking"]
    assert not shown.blind
    assert [line.uid for line in shown.candidates] == [one.uid for one in ranking.candidates]
    for line, candidate in zip(shown.candidates, ranking.candidates, strict=True):
        assert bool(line.chance) == (candidate.probability is not None)
        assert ("similarity" in line.measured) == (candidate.similarity is not None)
        assert ("distance" in line.measured) == (candidate.residual_um is not None)
    assert shown.claimed == thought["claimed"]
    assert shown.changed == thought["changed"]
    assert shown.neighbours == thought["neighbours"]
    assert shown.expected_place == ranking.expected
    assert bool(shown.none.chance) == (ranking.p_none is not None)
    assert (shown.none.reason is NoneReason.OUTSIDE) == ranking.outside == bool(shown.none.why)
    none = ranking.p_none or 0.0
    chances = [one.probability or 0.0 for one in ranking.candidates]
    assert shown.none.after == sum(chance >= none for chance in chances)
    assert shown.reason == thought["reason"]


def test_none_of_these_can_be_what_a_verdict_is_about() -> None:
    ranking = Ranking("two_photon", "fmost", "tp-1", QUERY.center_um, p_none=0.999, outside=True)
    for query in (QUERY, AUDIT):
        answer = Answer(query, ranking, None, None)
        shown = take_snapshot(query, answer, None, state=None, none_picked=True)
        assert shown.asked == (query, NONE_OF_THESE)
        assert shown.none.picked
        assert take_snapshot(query, answer, None, state=None).asked == (query, None)
    shown = take_snapshot(QUERY, Answer(QUERY, ranking, None, None), None, state=None)
    assert shown.none.chance == "> 99 %"
    assert shown.none.why == "expected outside the fMOST volume"


def test_the_order_of_an_audit_differs_from_cell_to_cell() -> None:
    candidates = tuple(Candidate(row + 1, uid, CENTERS[uid]) for row, uid in enumerate(UIDS))
    orders = set()
    firsts = set()
    for number in range(40):
        query = replace(AUDIT, uid=f"tp-{number}")
        ranking = Ranking("two_photon", "fmost", query.uid, query.center_um, candidates)
        shown = Answer(query, ranking, None, None).shown
        orders.add(tuple(one.uid for one in shown))
        firsts.add(shown[0].uid)
    assert len(orders) == 40
    assert len(firsts) > 5, "the first candidate may stand anywhere"


def test_what_stands_in_an_empty_list() -> None:
    ranking = Ranking("two_photon", "fmost", "tp-1", QUERY.center_um)
    told = {
        (query.audit, problem, answered): take_snapshot(
            query,
            Answer(query, ranking, None, None) if answered else None,
            None,
            state=None,
            problem=problem,
        ).message
        for query in (QUERY, AUDIT)
        for problem, answered in (("", False), ("No index.", False), ("", True))
    }
    assert told[False, "", False] == told[True, "", False] == "Ranking the candidates …"
    assert told[False, "No index.", False] == told[True, "No index.", False] == "No index."
    assert "expected place" in told[False, "", True]
    assert "expected" not in told[True, "", True]
    assert take_snapshot(None, None, None, state=None) == QuestionSnapshot()


def test_a_snapshot_cannot_be_written_to() -> None:
    shown = take_snapshot(QUERY, None, None, state=None, claimed={"tp-2": 0.9})
    with pytest.raises(AttributeError):
        shown.reason = "another"  # type: ignore[misc]
    with pytest.raises(TypeError):
        shown.claimed["tp-2"] = 0.1  # type: ignore[index]
