"""All decisions and claims become rows of one table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.projects import accept_true_pairs
from napari_neurobridge.matching.matched_pairs import MatchedPair, ReviewedPair
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.claims import ClaimsImported
from napari_neurobridge.types import Role
from napari_neurobridge.workbench.pair_rows import Column, PairRow, PairStatus, RowKey, pair_rows

PAIR = ("tp-00001", "fm-00001")
SIDES = ("two_photon", "fmost")


@pytest.fixture
def project(points_project_folder):
    opened = Project.open(points_project_folder)
    yield opened
    opened.close()


def _matched(*pairs: tuple[str, str], accepted: bool = False) -> list[MatchedPair]:
    return [MatchedPair(*pair, 0.9, 3.25, 5.0, accepted) for pair in pairs]


def _rows(
    project: Project,
    claimed: Sequence[MatchedPair] = (),
    doubtful: Sequence[ReviewedPair] = (),
    *,
    blind: bool = False,
) -> dict[RowKey, PairRow]:
    rows = pair_rows(project.state(), claimed, doubtful, sides=SIDES, blind=blind)
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row for row in rows}


def _import(project: Project, program: str, *pairs: tuple[str, str]) -> None:
    claims = ClaimsImported(
        program=program,
        file="a.csv",
        sha256="a" * 64,
        datasets=SIDES,
        roles=(Role.IN_VIVO, Role.EX_VIVO),
        uids=list(pairs),
    )
    project.record("anna", lambda _state: [claims])


def test_decisions_have_their_status_and_who_decided_last(project: Project) -> None:
    annotate.accept(project, *PAIR, annotator="anna")
    annotate.unsure(project, *PAIR, annotator="ben")
    annotate.reject(project, "fm-00003", "tp-00002", annotator="anna")
    annotate.unsure(project, "tp-00004", "fm-00004", annotator="anna")
    annotate.none(project, "tp-00005", annotator="anna")
    annotate.none(project, "fm-00006", annotator="anna")
    rows = _rows(project)
    assert {key: (row.status, row.cells) for key, row in rows.items()} == {
        PAIR: (PairStatus.ACCEPTED, PAIR),
        ("tp-00002", "fm-00003"): (PairStatus.REJECTED, ("tp-00002", "fm-00003")),
        ("tp-00004", "fm-00004"): (PairStatus.UNSURE, ("tp-00004", "fm-00004")),
        ("tp-00005",): (PairStatus.NONE, ("tp-00005", "")),
        ("fm-00006",): (PairStatus.NONE, ("", "fm-00006")),
    }
    assert rows[PAIR].annotator == "anna, ben"
    assert not any(row.review for row in rows.values())


@pytest.mark.parametrize(
    ("against", "said"),
    [
        (lambda p: annotate.reject(p, *PAIR, annotator="ben"), "anna accepted, ben rejected"),
        (lambda p: annotate.none(p, "tp-00001", annotator="ben"), "ben: none for tp-00001"),
    ],
)
def test_a_disputed_pair_is_for_review_and_says_who_contradicts(project, against, said) -> None:
    annotate.accept(project, *PAIR, annotator="anna")
    against(project)
    row = _rows(project)[PAIR]
    assert (row.status, row.review, row.contradicts) == (PairStatus.DISPUTED, True, said)


def test_claims_of_the_match_stand_beside_decisions(project: Project) -> None:
    accept_true_pairs(project, [1])
    annotate.unsure(project, "tp-00002", "fm-00002", annotator="anna")
    claimed = _matched(PAIR, accepted=True) + _matched(("tp-00002", "fm-00002"))
    rows = _rows(project, claimed + _matched(("tp-00003", "fm-00003")))
    assert [row.status.value for row in rows.values()] == ["accepted", "unsure", "claimed"]
    assert {row.probability for row in rows.values()} == {0.9}
    assert rows["tp-00003", "fm-00003"].text(Column.RESIDUAL) == "3.2"
    assert rows["tp-00003", "fm-00003"].text(Column.PROBABILITY) == "90 %"
    assert rows["tp-00003", "fm-00003"].text(Column.TIME) == ""


def test_accepted_pairs_that_all_other_cells_contradict_are_for_review(project: Project) -> None:
    accept_true_pairs(project, [1, 2])
    rows = _rows(project, doubtful=[ReviewedPair(*PAIR, 0.97, 40.0)])
    assert {key: row.review for key, row in rows.items()} == {
        PAIR: True,
        ("tp-00002", "fm-00002"): False,
    }
    assert rows[PAIR].contradicts == "all other cells (97 %)"
    assert rows[PAIR].status is PairStatus.ACCEPTED
    assert [row.text(Column.STATUS) for row in rows.values()] == ["accepted ⚠", "accepted"]


def test_claims_of_other_programs_wait_for_review(project: Project) -> None:
    accept_true_pairs(project, [1])
    annotate.reject(project, "tp-00002", "fm-00002", annotator="anna")
    both = ("tp-00005", "fm-00005")
    _import(project, "ROICaT", PAIR, ("tp-00002", "fm-00002"), ("tp-00003", "fm-00003"), both)
    rows = _rows(project, _matched(both))
    assert {key for key, row in rows.items() if row.review} == {("tp-00003", "fm-00003"), both}
    waiting = rows["tp-00003", "fm-00003"]
    assert (waiting.status, waiting.annotator) == (PairStatus.REVIEW, "ROICaT")
    assert rows[both].status is PairStatus.CLAIMED


def test_programs_that_contradict_are_for_review_on_both_sides(project: Project) -> None:
    accept_true_pairs(project, [1])
    annotate.none(project, "tp-00007", annotator="anna")
    _import(
        project,
        "Track2p",
        ("tp-00001", "fm-00009"),
        ("tp-00004", "fm-00008"),
        ("tp-00007", "fm-00007"),
    )
    rows = _rows(project, _matched(("tp-00004", "fm-00004")))
    against = {key: row.contradicts for key, row in rows.items() if row.review}
    assert against == {
        PAIR: "Track2p: tp-00001 ↔ fm-00009",
        ("tp-00001", "fm-00009"): "accepted: tp-00001 ↔ fm-00001",
        ("tp-00004", "fm-00004"): "Track2p: tp-00004 ↔ fm-00008",
        ("tp-00004", "fm-00008"): "claimed: tp-00004 ↔ fm-00004",
        ("tp-00007", "fm-00007"): "none for tp-00007",
    }


def test_a_note_is_in_its_row_and_a_noted_pair_has_one(project: Project) -> None:
    accept_true_pairs(project, [1])
    annotate.note(project, *PAIR, "near a vessel", annotator="anna")
    annotate.note(project, "tp-00002", "fm-00003", "or this?", annotator="anna")
    annotate.note(project, "fm-00009", None, "big", annotator="anna")
    rows = _rows(project)
    assert {key: row.note for key, row in rows.items()} == {
        PAIR: "near a vessel",
        ("tp-00002", "fm-00003"): "or this?",
        ("fm-00009",): "big",
    }
    assert rows["tp-00002", "fm-00003"].status is PairStatus.NOTED
    assert rows[("fm-00009",)].cells == ("", "fm-00009")
    annotate.delete_soma(project, "fm-00009", annotator="anna")
    assert ("fm-00009",) not in _rows(project)


def test_a_blind_question_hides_what_programs_think(project: Project) -> None:
    accept_true_pairs(project, [1])
    annotate.note(project, *PAIR, "near a vessel", annotator="anna")
    _import(project, "Track2p", ("tp-00001", "fm-00009"), ("tp-00003", "fm-00003"))
    claimed = _matched(PAIR, accepted=True) + _matched(("tp-00004", "fm-00004"))
    (row,) = _rows(project, claimed, [ReviewedPair(*PAIR, 0.97, 40.0)], blind=True).values()
    assert (row.key, row.status, row.note) == (PAIR, PairStatus.ACCEPTED, "near a vessel")
    assert (row.probability, row.residual_um, row.contradicts, row.review) == (
        None,
        None,
        "",
        False,
    )


def test_rows_are_found_by_any_words_in_them(project: Project) -> None:
    accept_true_pairs(project, [1])
    annotate.note(project, *PAIR, "near a Vessel", annotator="anna")
    row = _rows(project)[PAIR]
    assert all(row.mentions(word) for word in ("tp-00001", "accepted", "fixture", "vessel"))
    assert not row.mentions("fm-00002")
