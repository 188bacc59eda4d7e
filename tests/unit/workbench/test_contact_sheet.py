"""The contact sheet: pages, marks, one step of undo a page, and random checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.pictured import PicturedWorld
from napari_neurobridge.matching.wording import percent
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Verdict
from napari_neurobridge.workbench.sheet_page import HIDDEN, MOST_TILES, PageKind
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench(pictured_world: PicturedWorld, tmp_path: Path, loop: Loop) -> Iterator[Workbench]:
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(pictured_world.project(tmp_path / "p.neurobridge"))
    loop.run_until(lambda: settled(workbench))
    yield workbench
    workbench.close()
    workbench.project.close()


@pytest.fixture
def sheet(workbench: Workbench):
    workbench.contact_sheet.open()
    return workbench.contact_sheet


def settled(workbench: Workbench) -> bool:
    return workbench.matches.match is not None and not workbench.matches.updating


def pairs_of(sheet) -> list[tuple[str, str]]:
    return [tile.pair for tile in sheet.page.tiles]


def accepted(workbench: Workbench) -> set[tuple[str, str]]:
    return set(workbench.project.state().pairs.items())


def test_the_least_certain_claims_come_first_with_their_probability(workbench, sheet) -> None:
    known = {
        (pair.in_vivo_uid, pair.ex_vivo_uid): pair.probability
        for pair in workbench.matches.claims().pairs
        if not pair.accepted
    }
    shown = [known[pair] for pair in pairs_of(sheet)]
    assert shown == sorted(known.values())[: len(shown)]
    assert len(shown) == min(MOST_TILES, len(known)) == MOST_TILES
    assert sheet.page.tiles[0].caption == " – ".join(pairs_of(sheet)[0])
    assert sheet.page.tiles[0].chance == percent(shown[0])
    assert sheet.n_left == len(known)


def test_the_pictures_come_and_those_of_the_next_page_after_them(workbench, sheet, loop) -> None:
    loop.run_until(lambda: all(sheet.pictures(pair) is not None for pair in pairs_of(sheet)))
    one, other = pairs_of(sheet)[5]
    pictures = sheet.pictures((one, other))
    assert pictures.two_photon.dtype == np.uint8
    # The soma is a bright dot in the middle of both.
    for crop in (pictures.two_photon, pictures.fmost):
        middle = crop.shape[0] // 2
        near = crop[middle - 12 : middle + 12, middle - 12 : middle + 12]
        assert near.max() > 2 * np.median(crop)
    following = [pair for pair in waiting(workbench) if pair not in pairs_of(sheet)]
    loop.run_until(lambda: all(sheet.pictures(pair) is not None for pair in following[:48]))


def waiting(workbench) -> list[tuple[str, str]]:
    claims = [pair for pair in workbench.matches.claims().pairs if not pair.accepted]
    return [(p.in_vivo_uid, p.ex_vivo_uid) for p in sorted(claims, key=lambda p: p.probability)]


def test_closing_a_page_accepts_the_rest_in_one_step_and_matches_once(
    workbench, sheet, loop
) -> None:
    before, first = accepted(workbench), pairs_of(sheet)
    begun = []
    workbench.matches.match_changed.connect(
        lambda: begun.append(workbench.matches.updating) if workbench.matches.updating else None
    )
    sheet.mark(3)
    sheet.mark(7)
    sheet.mark(7)  # once more takes the mark away
    sheet.mark(11, Verdict.UNSURE)
    assert sheet.action == "Accept the rest, reject the 1 marked, leave 1 unsure"
    sheet.finish_page()
    bad, doubted = first[3], first[11]
    assert accepted(workbench) == before | (set(first) - {bad, doubted})
    said = {v.pair: v for v in workbench.project.state().verdicts if v.annotator == "me"}
    assert said[bad].verdict is Verdict.REJECT
    assert said[doubted].verdict is Verdict.UNSURE
    assert 0 < said[first[0]].evidence.probability < 1
    assert not said[first[0]].evidence.audit
    assert not set(first) & set(pairs_of(sheet))
    assert begun == [True]
    loop.run_until(lambda: settled(workbench))
    sheet.undo()
    assert accepted(workbench) == before
    # The page comes back as it was left.
    assert pairs_of(sheet) == first
    assert sheet.marks == {bad: Verdict.REJECT, doubted: Verdict.UNSURE}


def test_a_page_does_not_change_while_it_is_looked_at(workbench, sheet, loop) -> None:
    shown = pairs_of(sheet)
    sheet.mark(0)
    match = workbench.matches.match
    one, other = waiting(workbench)[-1]
    annotate.accept(workbench.project, one, other, annotator="me")
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: settled(workbench) and workbench.matches.match is not match)
    assert pairs_of(sheet) == shown
    assert sheet.marks.keys() == {shown[0]}


def test_what_was_decided_elsewhere_meanwhile_is_not_decided_again(workbench, sheet) -> None:
    gone, taken = pairs_of(sheet)[:2]
    annotate.reject(workbench.project, *gone, annotator="me")
    paired = {fmost for _, fmost in (*waiting(workbench), *accepted(workbench))}
    other = next(u for u in workbench.project.state().somata["fmost"] if u not in paired)
    annotate.accept(workbench.project, taken[0], other, annotator="me")
    workbench.session.verdicts_changed.emit()
    assert gone not in pairs_of(sheet)
    told = []
    workbench.session.notified.connect(lambda notice: told.append(notice.text))
    sheet.finish_page()
    assert (taken[0], other) in accepted(workbench)
    assert taken not in accepted(workbench)
    assert "left out 1" in told[-1]


def test_a_small_window_shows_fewer_and_loses_none(workbench, sheet) -> None:
    shown = pairs_of(sheet)
    sheet.mark(30)
    sheet.set_capacity(20)
    assert pairs_of(sheet) == shown[:20]
    before = accepted(workbench)
    sheet.finish_page()
    assert accepted(workbench) - before == set(shown[:20])
    sheet.set_capacity(48)
    assert shown[30] in pairs_of(sheet)
    assert sheet.marks == {shown[30]: Verdict.REJECT}


def test_a_blind_question_of_the_match_dock_hides_all_claims(workbench, sheet) -> None:
    """Otherwise the sheet would show which candidate the program holds for right."""
    shown = []
    sheet.page_changed.connect(shown.append)
    workbench.questions.select("two_photon", pairs_of(sheet)[0][0], audit=True)
    assert shown[-1].tiles == ()
    assert shown[-1].message == HIDDEN
    before = accepted(workbench)
    sheet.finish_page()
    assert accepted(workbench) == before
    workbench.questions.select("two_photon", waiting(workbench)[-1][0])
    assert len(shown[-1].tiles) == MOST_TILES


def test_points_without_images_are_told(points_world, tmp_path, loop) -> None:
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(points_world.project(tmp_path / "p.neurobridge", 8))
    loop.run_until(lambda: settled(workbench))
    workbench.contact_sheet.open()
    page = workbench.contact_sheet.page
    assert page.points_only
    assert "Pairs table" in page.message
    assert page.tiles == ()
    workbench.close()


def test_without_claims_it_says_what_to_do(project, loop) -> None:
    workbench = Workbench(loop, annotator="me")
    workbench.contact_sheet.open()
    assert "Open a project" in workbench.contact_sheet.page.message
    workbench.session.set_project(project)
    assert "accept a few pairs" in workbench.contact_sheet.page.message
    workbench.close()


def check_all(workbench, sheet, wrong: int = 0) -> None:
    for left in range(wrong, wrong + 10):
        if not sheet.page.tiles:
            return
        if left == wrong:
            for index in range(wrong):
                sheet.mark(index)
        sheet.finish_page()
    raise AssertionError("it has no end")


def test_a_random_check_is_blind_and_ends_with_a_certificate(workbench, sheet, tmp_path) -> None:
    left = sheet.n_left
    assert sheet.draws_for(0.1) < left
    sheet.start_check(0.1)
    assert sheet.page.kind is PageKind.CHECK
    assert not any(tile.chance for tile in sheet.page.tiles)
    drawn = workbench.project.state().checks[-1].drawn
    assert pairs_of(sheet) == list(drawn[:MOST_TILES])
    assert pairs_of(sheet) != [pair for pair in waiting(workbench) if pair in drawn]
    check_all(workbench, sheet)
    found = sheet.certificate
    assert found.reached
    assert (found.n, found.n_wrong, found.population) == (len(drawn), 0, left)
    assert sheet.page.message == found.in_words()
    assert "crops" in sheet.page.remark
    evidence = {
        v.pair: v.evidence for v in workbench.project.state().verdicts if v.annotator == "me"
    }
    assert all(evidence[pair].check == found.check for pair in drawn)
    assert not any(one.calibrates for one in evidence.values())


def test_a_wrong_pair_is_in_the_certificate_and_the_certificate_in_a_file(
    workbench, sheet, loop, tmp_path
) -> None:
    sheet.start_check(0.1)
    check_all(workbench, sheet, wrong=2)
    assert sheet.certificate.n_wrong == 2
    assert not sheet.certificate.reached
    sheet.save_certificate(tmp_path / "c.json")
    loop.run_until(lambda: (tmp_path / "c.json").exists())
    assert json.loads((tmp_path / "c.json").read_text())["n_wrong"] == 2


def test_a_check_that_was_left_is_gone_on_with_and_stays_hidden(workbench, sheet, loop) -> None:
    sheet.set_capacity(5)
    sheet.start_check(0.1)
    sheet.finish_page()
    asked = set(workbench.project.state().checks[-1].drawn[5:])
    sheet.turn_to_review()
    assert sheet.page.kind is PageKind.REVIEW
    assert sheet.can_go_on
    assert not asked & set(pairs_of(sheet))
    sheet.close()
    path = workbench.project.path
    workbench.session.set_project(None)
    workbench.setup.open_project(path)
    loop.run_until(lambda: workbench.project is not None and settled(workbench))
    sheet.open()
    assert sheet.page.kind is PageKind.CHECK
    assert set(pairs_of(sheet)) <= asked
