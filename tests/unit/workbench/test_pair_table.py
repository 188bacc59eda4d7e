"""The table of decisions and claims: narrowed, sorted, judged; and what an audit hides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from fixtures.projects import accept_true_pairs, true_partner
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Verdict
from napari_neurobridge.workbench.pair_rows import Column, PairRow
from napari_neurobridge.workbench.pair_table import Chip
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

ACCEPTED = (0, 9, 18, 27, 36, 45)


@pytest.fixture
def workbench(loop: Loop, points_project_folder: Path) -> Iterator[Workbench]:
    """Opened on two tables of points, with six accepted pairs, matched, the table in sight."""
    project = Project.open(points_project_folder)
    accept_true_pairs(project, ACCEPTED)
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(project)
    bench.pairs.watch(True)
    loop.run_until(lambda: bench.matches.has_match and not bench.matches.updating)
    yield bench
    bench.close()


@pytest.fixture
def notices(workbench: Workbench) -> list[Notice]:
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    return heard


def _row(workbench: Workbench, *key: str) -> PairRow:
    return next(row for row in workbench.pairs.rows if row.key == key)


def _claimed(workbench: Workbench) -> list[PairRow]:
    return [row for row in workbench.pairs.rows if Chip.CLAIMED.holds(row)]


def _shown(workbench: Workbench, column: Column = Column.IN_VIVO) -> list[PairRow]:
    return [workbench.pairs.rows[number] for number in workbench.pairs.arranged(column)]


def test_the_table_holds_what_the_match_claims_and_people_decided(workbench: Workbench) -> None:
    counts = workbench.pairs.counts()
    claims = workbench.matches.claims()
    assert counts[Chip.ACCEPTED] == len(ACCEPTED)
    assert counts[Chip.CLAIMED] == len(claims.pairs) - len(ACCEPTED) > 0
    assert len(workbench.pairs.rows) == len(claims.pairs)
    annotate.none(workbench.project, "tp-00001", annotator="me")
    workbench.session.verdicts_changed.emit()
    assert workbench.pairs.counts()[Chip.NONE] == 1


def test_a_hidden_table_is_collected_once_it_is_seen(workbench: Workbench) -> None:
    workbench.pairs.watch(False)
    before = workbench.pairs.rows
    annotate.none(workbench.project, "tp-00001", annotator="me")
    workbench.session.verdicts_changed.emit()
    assert workbench.pairs.rows is before
    workbench.pairs.watch(True)
    assert workbench.pairs.counts()[Chip.NONE] == 1


def test_many_rows_are_collected_in_the_background(workbench, loop, monkeypatch) -> None:
    monkeypatch.setattr("napari_neurobridge.workbench.pair_table.MANY_ROWS", 1)
    annotate.none(workbench.project, "tp-00001", annotator="me")
    workbench.session.verdicts_changed.emit()
    assert workbench.pairs.counts()[Chip.NONE] == 0, "nothing is waited for"
    loop.run_until(lambda: workbench.pairs.counts()[Chip.NONE] == 1)


def test_chips_and_words_narrow_it(workbench: Workbench) -> None:
    table = workbench.pairs
    annotate.note(workbench.project, "tp-00009", "fm-00009", "Near a vessel", annotator="me")
    workbench.session.verdicts_changed.emit()
    table.narrow([Chip.ACCEPTED])
    assert {row.cells[0] for row in _shown(workbench)} == {f"tp-{n:05d}" for n in ACCEPTED}
    table.narrow(words=" VESSEL ")
    assert [row.cells[0] for row in _shown(workbench)] == ["tp-00009"]
    table.narrow([Chip.CLAIMED])
    assert _shown(workbench) == []
    table.narrow([Chip.CLAIMED, Chip.ACCEPTED], "")
    assert len(_shown(workbench)) == len(table.rows)


def test_empty_cells_come_last_whichever_way_it_is_sorted(workbench: Workbench) -> None:
    annotate.none(workbench.project, "tp-00001", annotator="me")
    workbench.session.verdicts_changed.emit()
    table = workbench.pairs
    up, down = (
        [
            table.rows[n].value(Column.RESIDUAL)
            for n in table.arranged(Column.RESIDUAL, descending=d)
        ]
        for d in (False, True)
    )
    assert up[-1] is down[-1] is None
    assert up[:-1] == sorted(up[:-1]) == down[:-1][::-1]


def test_to_show_it_narrows_it_and_asks_for_it(workbench: Workbench) -> None:
    asked: list[None] = []
    workbench.pairs.show_requested.connect(lambda: asked.append(None))
    workbench.pairs.narrow(words="vessel")
    workbench.pairs.show("review")
    assert (workbench.pairs.chips, workbench.pairs.words) == ({Chip.REVIEW}, "")
    assert asked


def test_pairs_that_the_notes_of_the_match_name_are_for_review(workbench, loop) -> None:
    wrong = ("tp-00020", "fm-00040")
    annotate.accept(workbench.project, *wrong, annotator="me", force=True)
    workbench.session.verdicts_changed.emit()
    matches = workbench.matches
    loop.run_until(lambda: not matches.updating)
    assert any(all(uid in note for uid in wrong) for note in matches.notes), matches.notes
    workbench.pairs.show("review")
    assert [row.key for row in _shown(workbench)] == [wrong]


def test_a_row_asks_about_its_cell_with_its_partner_picked(workbench, loop) -> None:
    places: list[str] = []
    workbench.questions.look_requested.connect(lambda dataset, _: places.append(dataset))
    row = _claimed(workbench)[-1]
    workbench.pairs.ask(row)
    loop.run_until(lambda: workbench.questions.choice is not None)
    shown = workbench.questions.snapshot
    assert (shown.query.uid, shown.picked.uid) == row.key
    assert places == ["two_photon", "fmost"]
    workbench.pairs.ask(row)
    assert workbench.questions.snapshot is shown, "it is asked about already"


def test_a_row_of_a_cell_without_partner_asks_about_it(workbench, loop) -> None:
    annotate.none(workbench.project, "fm-00099", annotator="me")
    workbench.session.verdicts_changed.emit()
    row = _row(workbench, "fm-00099")
    workbench.pairs.ask(row)
    assert workbench.questions.query.dataset == "fmost"
    loop.run_until(lambda: workbench.questions.answer is not None)
    assert workbench.questions.none_picked
    assert workbench.pairs.is_asked(row)
    workbench.questions.choose(1)
    assert not workbench.pairs.is_asked(row)


def test_a_row_of_a_noted_cell_leaves_open_what_its_partner_is(workbench, loop) -> None:
    annotate.note(workbench.project, "tp-00003", None, "two cells?", annotator="me")
    workbench.session.verdicts_changed.emit()
    row = _row(workbench, "tp-00003")
    workbench.pairs.ask(row)
    loop.run_until(lambda: workbench.questions.choice is not None)
    assert workbench.questions.choice.uid == true_partner("tp-00003")
    assert workbench.pairs.is_asked(row)


def test_an_audit_hides_claims_and_is_not_uncovered_by_a_row(workbench, loop) -> None:
    cell = _claimed(workbench)[0].key[0]
    annotate.reject(workbench.project, cell, "fm-00077", annotator="me")
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: not workbench.matches.updating)
    workbench.questions.select("two_photon", cell, audit=True)
    assert {row.annotator for row in workbench.pairs.rows} == {"fixture", "me"}
    assert all(row.value(Column.PROBABILITY) is None for row in workbench.pairs.rows)
    assert workbench.pairs.counts()[Chip.CLAIMED] == 0
    workbench.pairs.ask(_row(workbench, cell, "fm-00077"))
    loop.run_until(lambda: workbench.questions.choice is not None)
    assert workbench.questions.snapshot.blind
    assert workbench.questions.snapshot.claimed == {}
    workbench.questions.select("two_photon", "tp-00000")
    assert workbench.pairs.counts()[Chip.CLAIMED] > 0


def test_what_is_on_its_way_does_not_uncover_an_audit(workbench, loop, monkeypatch) -> None:
    monkeypatch.setattr("napari_neurobridge.workbench.pair_table.MANY_ROWS", 1)
    annotate.none(workbench.project, "tp-00001", annotator="me")
    workbench.session.verdicts_changed.emit()
    workbench.questions.select("two_photon", "tp-00002", audit=True)
    done: list[None] = []
    workbench.session.jobs.submit("last", lambda: None, done.append, print, beside=True)
    loop.run_until(lambda: bool(done) and not workbench.matches.updating)
    assert workbench.pairs.counts()[Chip.CLAIMED] == 0


def test_several_rows_are_judged_in_one_step(workbench: Workbench, notices: list[Notice]) -> None:
    rows = _claimed(workbench)[:3]
    workbench.pairs.decide(rows, Verdict.ACCEPT)
    state = workbench.project.state()
    assert {row.key for row in rows} <= set(state.pairs.items())
    evidence = {v.pair: v.evidence for v in state.verdicts}[rows[0].key]
    assert evidence.probability == rows[0].value(Column.PROBABILITY)
    assert evidence.alignment_id
    assert "accepted 3 pairs" in notices[-1].text
    workbench.verdicts.undo()
    assert len(workbench.project.state().pairs) == len(ACCEPTED)


def test_several_cells_are_found_without_partner(workbench: Workbench) -> None:
    cells = [row.key[0] for row in _claimed(workbench)[:2]]
    workbench.pairs.decide(_claimed(workbench)[:2], Verdict.NONE)
    assert set(workbench.project.state().none) == set(cells)


def test_a_pair_that_contradicts_is_refused_and_may_replace(workbench, notices) -> None:
    annotate.unsure(workbench.project, "tp-00001", "fm-00000", annotator="me")
    workbench.session.verdicts_changed.emit()
    rows = [_row(workbench, "tp-00001", "fm-00000"), _claimed(workbench)[0]]
    workbench.pairs.decide(rows, Verdict.ACCEPT)
    assert len(workbench.project.state().pairs) == len(ACCEPTED)
    assert notices[-1].is_error
    notices[-1].remedy.apply()
    assert workbench.project.state().pairs["tp-00001"] == "fm-00000"
    assert "tp-00000" not in workbench.project.state().pairs


def test_cells_without_partner_cannot_be_accepted(workbench, notices) -> None:
    annotate.none(workbench.project, "tp-00001", annotator="me")
    workbench.session.verdicts_changed.emit()
    none = _row(workbench, "tp-00001")
    workbench.pairs.decide([none], Verdict.ACCEPT)
    assert notices[-1].is_error
    workbench.pairs.decide([none, _claimed(workbench)[0]], Verdict.REJECT)
    assert "rejected 1 pair;" in notices[-1].text
    assert "1 without a partner" in notices[-1].text


def test_a_note_is_written_on_a_row(workbench: Workbench) -> None:
    pair = ("tp-00000", true_partner("tp-00000"))
    annotate.note(workbench.project, *pair, "dim", annotator="ben")
    workbench.pairs.write_note(_row(workbench, *pair), "sure")
    row = _row(workbench, *pair)
    assert row.note == "ben: dim; me: sure"
    assert workbench.pairs.own_note(row) == "sure"
    workbench.verdicts.undo()
    assert _row(workbench, *pair).note == "dim"
