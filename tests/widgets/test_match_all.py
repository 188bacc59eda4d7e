"""Probabilities, the cut over all pairs, and blind questions, in a real viewer."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QWidget

from fixtures.projects import N_POINTS, accept_true_pairs, true_partner
from fixtures.viewers import handle_events, show_dock
from napari_neurobridge.matching.appearance.agreement import Agreement
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.layers import HINT_KEY
from napari_neurobridge.viewer.styles import MARK_RGBA, Mark
from napari_neurobridge.widgets.match import MatchWidget
from napari_neurobridge.workbench.matches import Matches
from napari_neurobridge.workbench.surroundings import N_DEVIATIONS

LANDMARKS = (0, 9, 18, 27, 36, 45)


@pytest.fixture
def dock(opened_points: ViewerBinding) -> MatchWidget:
    return show_dock(opened_points, "Match")


def _accept(opened: ViewerBinding, qtbot: Any, numbers: Any = LANDMARKS) -> None:
    accept_true_pairs(opened.workbench.project, numbers)
    opened.workbench.session.verdicts_changed.emit()
    _wait_for_match(opened, qtbot)


def _wait_for_match(opened: ViewerBinding, qtbot: Any) -> None:
    matches = opened.workbench.matches
    qtbot.waitUntil(lambda: matches.match is not None and not matches.updating, timeout=30_000)


def _ask(opened: ViewerBinding, qtbot: Any, uid: str, *, audit: bool = False) -> None:
    questions = opened.workbench.questions
    questions.select("two_photon", uid, audit=audit)
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    handle_events(qtbot)


def _line_of_none(dock: MatchWidget) -> str:
    texts = [dock.candidates.item(row).text() for row in range(dock.candidates.count())]
    return next(text for text in texts if "none of these" in text)


def _somata(opened: ViewerBinding, name: str) -> Any:
    model = opened.viewer if name == "two_photon" else opened.second.model
    return model.layers[f"{name} somata"]


def _marks(opened: ViewerBinding, name: str) -> dict[str, str]:
    features = _somata(opened, name).features
    return dict(zip(features["uid"], features["mark"], strict=True))


def test_the_probability_comes_first_and_says_why(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    _ask(opened_points, qtbot, "tp-00003")
    answer = opened_points.workbench.questions.answer
    text, tip = dock.candidates.item(0).text(), dock.candidates.item(0).toolTip()
    assert text.index("%") < text.index("fm-00003")
    assert f"distance {answer.shown[0].residual_um:.1f} µm" in text
    assert "similarity" not in text, "there are no crops"
    assert "this is the same cell: " in tip
    none = _line_of_none(dock)
    assert none.startswith("0   none of these")
    assert "%" in none
    assert dock.place.text().startswith("within ±")
    assert dock.crops.isHidden()
    assert dock.queue_order.text() == "Queue: least certain first"


def test_somata_within_the_expected_place_are_counted(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    _ask(opened_points, qtbot, "tp-00003")
    expected = opened_points.workbench.questions.answer.ranking.expected
    somata = opened_points.workbench.project.state().somata["fmost"].values()
    inverse = np.linalg.inv(expected.covariance_um2)
    offsets = np.array([soma.center_um for soma in somata]) - expected.center_um
    count = sum(float(o @ inverse @ o) <= N_DEVIATIONS**2 for o in offsets)
    assert dock.place.text().endswith(f": {count} som{'a' if count == 1 else 'ata'}")


def test_without_pairs_the_dock_says_why_there_are_no_probabilities(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _ask(opened_points, qtbot, "tp-00003")
    assert "needs accepted pairs" in dock.place.text()
    assert "%" not in dock.candidates.item(0).text()
    assert "distance " in dock.candidates.item(0).text()
    assert _line_of_none(dock) == "0   none of these"
    assert dock.queue_order.text() == "Queue: clearest first"
    box = dock.match_all
    assert "Accept one pair" in box.text.text()
    assert not box.start_button.isHidden()
    assert box.cut.isHidden()


def test_the_slider_moves_the_cut_and_recolours_both_sides(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    box, matches = dock.match_all, opened_points.workbench.matches
    assert box.start_button.isHidden()

    def claimed(percent: int) -> int:
        box.slider.setValue(percent)
        claims = matches.claims()
        assert matches.fdr == pytest.approx(percent / 100)
        assert box.text.text() == (
            f"{len(claims.pairs)} pairs: 6 accepted, {len(claims.pairs) - 6} matched "
            f"(about {claims.expected_false:.1f} of them wrong)"
        )
        uids = {p.in_vivo_uid for p in claims.pairs if not p.accepted}
        partners = {p.ex_vivo_uid for p in claims.pairs if not p.accepted}
        for name, wanted in (("two_photon", uids), ("fmost", partners)):
            qtbot.waitUntil(
                lambda name=name, wanted=wanted: (
                    {u for u, m in _marks(opened_points, name).items() if m == Mark.CLAIMED}
                    == wanted
                )
            )
        return len(uids)

    assert claimed(1) < claimed(20)
    layer = _somata(opened_points, "fmost")
    colors = dict(zip(layer.features["uid"], layer.border_color, strict=True))
    np.testing.assert_allclose(colors["fm-00009"], MARK_RGBA[Mark.ACCEPTED], atol=1e-6)
    marks = _marks(opened_points, "fmost")
    unmatched = next(uid for uid, mark in marks.items() if mark == Mark.UNMATCHED)
    np.testing.assert_allclose(colors[unmatched], MARK_RGBA[Mark.UNMATCHED], atol=1e-6)
    pairs = sorted(
        (p for p in matches.claims().pairs if not p.accepted), key=lambda p: p.probability
    )
    unsure, sure = colors[pairs[0].ex_vivo_uid], colors[pairs[-1].ex_vivo_uid]
    assert sure[:3].mean() > unsure[:3].mean(), "the darker the less sure"


def test_an_accepted_pair_changes_others_and_says_so(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    _ask(opened_points, qtbot, "tp-00003")
    questions, matches = opened_points.workbench.questions, opened_points.workbench.matches
    # Somebody else's cell, so that the cell it belongs to must look elsewhere.
    questions.choose_soma("fm-00005")
    qtbot.waitUntil(lambda: questions.choice is not None and questions.choice.uid == "fm-00005")
    before = {p.in_vivo_uid: p.ex_vivo_uid for p in matches.match.matched()}
    QTest.mouseClick(dock.findChild(QPushButton, "accept_button"), Qt.MouseButton.LeftButton)
    # It is improbable, so that the user is asked first.
    QTest.mouseClick(dock.findChild(QPushButton, "remedy_button"), Qt.MouseButton.LeftButton)
    assert not dock.updating_text.isHidden(), "said at once"
    _wait_for_match(opened_points, qtbot)
    assert dock.updating_text.isHidden()
    after = {p.in_vivo_uid: p.ex_vivo_uid for p in matches.match.matched()}
    changed = {uid for uid in before | after if before.get(uid) != after.get(uid)}
    assert {"tp-00003", "tp-00005"} <= changed
    n_others = len(changed - {"tp-00003"})
    status = dock.findChild(QLabel, "status_text").text()
    assert status.startswith("accepted tp-00003 ↔ fm-00005 · ")
    assert f"{n_others} other cell" in status

    def marked() -> set[str]:
        features = _somata(opened_points, "two_photon").features
        return set(features["uid"][features["changed"]])

    qtbot.waitUntil(lambda: marked() == changed)
    layer = _somata(opened_points, "two_photon")
    row = list(layer.features["uid"]).index("tp-00005")
    assert layer.face_color[row][3] > 0.3
    assert layer.face_color[list(layer.features["uid"]).index("tp-00009")][3] == 0
    opened_points.workbench.verdicts.undo()
    _wait_for_match(opened_points, qtbot)
    qtbot.waitUntil(lambda: "tp-00009" not in marked())


def _scores(dock: MatchWidget) -> list[str]:
    """Every text and tooltip of the dock with a number that the program thinks of this cell."""
    # The box below counts all cells, and says nothing about the one that is asked about.
    whole_field = {dock.match_all, *dock.match_all.findChildren(QWidget)}
    told = [
        getattr(widget, name)()
        for widget in dock.findChildren(QWidget)
        if widget not in whole_field
        for name in ("text", "toolTip")
        if callable(getattr(widget, name, None))
    ]
    for row in range(dock.candidates.count()):
        told += [dock.candidates.item(row).text(), dock.candidates.item(row).toolTip()]
    return [text for text in told if re.search(r"\d %|distance|similarity|expect|robab", text)]


def _where(model: Any) -> tuple[float, ...]:
    return (*model.dims.point, *model.scene.camera.center, model.scene.camera.zoom)


def test_an_audit_shows_nothing_that_the_program_thinks(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    opened_points.second.lock.click()
    _ask(opened_points, qtbot, "tp-00003")
    assert len(_scores(dock)) > 9, "what the test looks for is there in other questions"
    expected = opened_points.second.model.layers["fmost expected place"]
    qtbot.waitUntil(lambda: len(expected.data) > 0)
    qtbot.waitUntil(lambda: Mark.CLAIMED in _marks(opened_points, "fmost").values())

    fmost_view = _where(opened_points.second.model)
    _ask(opened_points, qtbot, "tp-00005", audit=True)
    questions = opened_points.workbench.questions
    assert questions.choice is None
    assert dock.candidates.currentRow() == -1
    assert _scores(dock) == []
    assert _where(opened_points.second.model) == fmost_view, "it would lead to the first one"
    lines = [dock.candidates.item(row) for row in range(dock.candidates.count())]
    assert lines.pop().text() == "0   none of these"
    for place, (line, candidate) in enumerate(
        zip(lines, questions.answer.shown, strict=True), start=1
    ):
        assert line.text().split() == [str(place), candidate.uid]
        assert line.toolTip() == ""
    assert dock.place.isHidden()
    assert "hidden" in dock.match_all.legend.text()
    assert "Random check" in dock.verdict_bar.header.text()
    assert "hidden" in dock.verdict_bar.header.text()

    assert len(expected.data) == 0
    for name in ("two_photon", "fmost"):
        marks = _marks(opened_points, name)
        assert not {Mark.CLAIMED, Mark.UNMATCHED} & set(marks.values())
        # napari shows the features of the circle under the mouse in its status bar.
        features = _somata(opened_points, name).features
        assert not features["changed"].any()
        assert features["probability"].isna().all()
    shown = {candidate.uid for candidate in questions.answer.shown}
    fmost = _marks(opened_points, "fmost")
    accepted = set(opened_points.workbench.project.state().pairs.values())
    free = {uid for uid in shown if uid not in accepted}
    assert {fmost[uid] for uid in free} == {Mark.CANDIDATE}
    for model in (opened_points.viewer, opened_points.second.model):
        for layer in model.layers:
            if layer.metadata.get(HINT_KEY) == "neighbours" and len(layer.data):
                assert layer.metadata["accepted"].all()

    QTest.keyClick(dock.candidates, Qt.Key.Key_2)
    assert questions.choice is questions.answer.shown[1]
    assert dock.candidates.currentRow() == 1
    opened_points.workbench.matches.set_fdr(0.2)
    opened_points.viewer.scene.camera.center = (0.0, 30.0, 30.0)
    qtbot.wait(100)
    assert _scores(dock) == []
    assert not {Mark.CLAIMED} & set(_marks(opened_points, "fmost").values())
    np.testing.assert_allclose(
        opened_points.second.model.scene.camera.center[1:],
        np.delete(questions.choice.center_um, opened_points.second.model.dims.order[0]),
    )

    QTest.mouseClick(dock.findChild(QPushButton, "accept_button"), Qt.MouseButton.LeftButton)
    _wait_for_match(opened_points, qtbot)
    qtbot.wait(100)
    assert _scores(dock) == [], "nor after the verdict"


def test_the_line_of_the_picked_candidate_is_marked_wherever_it_stands(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    _ask(opened_points, qtbot, "tp-00005", audit=True)
    shown = opened_points.workbench.questions.answer.shown
    place = next(p for p, candidate in enumerate(shown) if candidate.rank != p + 1)
    dock.candidates.setCurrentRow(place)
    assert opened_points.workbench.questions.choice is shown[place]
    assert dock.candidates.currentRow() == place


def test_no_pairs_are_saved_while_a_question_is_asked_blindly(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    """The table would name the partner that the program holds for right."""
    _accept(opened_points, qtbot)
    button = dock.match_all.save_button
    assert button.isEnabled()
    _ask(opened_points, qtbot, "tp-00005", audit=True)
    assert not button.isEnabled()
    assert "random check" in button.toolTip()
    _ask(opened_points, qtbot, "tp-00006")
    assert button.isEnabled()


def test_the_pairs_are_saved(
    dock: MatchWidget,
    opened_points: ViewerBinding,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _accept(opened_points, qtbot)
    path = tmp_path / "out.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    QTest.mouseClick(dock.match_all.save_button, Qt.MouseButton.LeftButton)
    status = dock.findChild(QLabel, "status_text")
    qtbot.waitUntil(lambda: "pairs to " in status.text(), timeout=10_000)
    with path.open() as handle:
        rows = list(csv.DictReader(handle))
    claims = opened_points.workbench.matches.claims()
    assert len(rows) == len(claims.pairs)
    assert sum(int(row["accepted"]) for row in rows) == len(LANDMARKS)
    right = [row["fmost_uid"] == true_partner(row["two_photon_uid"]) for row in rows]
    assert np.mean(right) > 0.8
    assert len(rows) > N_POINTS / 4


def test_looking_for_a_start_answers(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    matches = opened_points.workbench.matches
    QTest.mouseClick(dock.match_all.start_button, Qt.MouseButton.LeftButton)
    assert not dock.match_all.start_button.isEnabled()
    qtbot.waitUntil(lambda: not matches.updating, timeout=60_000)
    text = dock.match_all.text.text()
    if matches.match is None:
        assert text == matches.problem
        assert dock.match_all.start_button.isEnabled()
    else:
        assert "0 accepted" in text


def test_the_check_counts_claims_where_nothing_is_right(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot)
    button = dock.findChild(QPushButton, "decoys_button")
    text = dock.findChild(QLabel, "match_all_text")
    assert "Decoy check" not in text.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    matches = opened_points.workbench.matches
    qtbot.waitUntil(lambda: matches.decoys is not None, timeout=30_000)
    check = matches.decoys
    assert f"Decoy check: {check.in_words()}" in text.text()
    # The field is small: some 30 cells are asked in each decoy.
    assert sum(row.n_claimed for row in check.claims) < 0.05 * sum(
        row.n_asked for row in check.claims
    )
    matches.set_fdr(0.1)
    assert "Decoy check" not in text.text()
    assert button.isEnabled()


def test_the_agreement_of_pictures_and_places_is_told(
    dock: MatchWidget, opened_points: ViewerBinding, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _accept(opened_points, qtbot)
    text = dock.findChild(QLabel, "match_all_text")
    assert "Pictures" not in text.text(), "there are none"
    monkeypatch.setattr(Matches, "agreement", Agreement(100, 94, 12.0))
    opened_points.workbench.matches.match_changed.emit()
    assert "Pictures agree with places in 94 of 100 cells" in text.text()
