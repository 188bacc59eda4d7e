"""The Match dock, clicked in a real viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit, QListWidget, QPushButton

from fixtures.projects import true_partner
from fixtures.viewers import finish_jobs, show_dock
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.payload import EventKind
from napari_neurobridge.types import NoneReason, Verdict
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.widgets.crop_view import CropView
from napari_neurobridge.widgets.match import MatchWidget


@pytest.fixture
def dock(opened: ViewerBinding) -> MatchWidget:
    return show_dock(opened, "Match")


def _button(dock: MatchWidget, name: str) -> QPushButton:
    button = dock.findChild(QPushButton, f"{name}_button")
    assert button is not None
    return button


def _press(dock: MatchWidget, name: str) -> None:
    QTest.mouseClick(_button(dock, name), Qt.MouseButton.LeftButton)


def _wheel(turn: int) -> QWheelEvent:
    return QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(),
        QPoint(0, turn),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )


def _wait_for_answer(opened: ViewerBinding, qtbot: Any) -> None:
    questions = opened.workbench.questions
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)


def test_click_rank_accept_undo_redo(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any, click_canvas: Callable[..., None]
) -> None:
    project = opened.workbench.project
    soma = next(iter(project.state().somata["two_photon"].values()))

    click_canvas(opened.viewer, soma.center_um)
    _wait_for_answer(opened, qtbot)

    questions = opened.workbench.questions
    assert questions.query.uid == soma.uid
    assert soma.uid in dock.verdict_bar.header.text()
    candidates = dock.findChild(QListWidget, "candidates")
    assert candidates.count() == 10, "nine candidates, and none of these"
    assert not candidates.item(0).icon().isNull()
    assert not dock.crops.query_view.pixmap().isNull()

    rank = next(c.rank for c in questions.answer.shown if c.uid == true_partner(soma.uid))
    candidates.setCurrentRow(rank - 1)
    _press(dock, "accept")

    assert project.state().pairs == {soma.uid: true_partner(soma.uid)}
    verdict = [e for e in project.log.events() if e.kind is EventKind.VERDICT][-1].content
    assert verdict.verdict is Verdict.ACCEPT
    assert verdict.evidence.rank == rank
    assert verdict.evidence.similarity == pytest.approx(questions.choice.similarity)
    assert verdict.evidence.model_hash == "thumbnail@" + "0" * 12
    assert verdict.evidence.probability is None
    assert f"accepted {soma.uid}" in dock.verdict_bar.status.text.text()

    _press(dock, "undo")
    assert project.state().pairs == {}
    QTest.keyClick(candidates, Qt.Key.Key_Z, Qt.KeyboardModifier.ShiftModifier)
    assert project.state().pairs == {soma.uid: true_partner(soma.uid)}


def test_keys_judge_and_move_on(dock: MatchWidget, opened: ViewerBinding, qtbot: Any) -> None:
    questions, state = opened.workbench.questions, opened.workbench.project.state
    dock.candidates.setFocus()
    QTest.keyClick(dock.candidates, Qt.Key.Key_Space)
    _wait_for_answer(opened, qtbot)
    first = questions.query.uid

    QTest.keyClick(dock.candidates, Qt.Key.Key_3)
    assert questions.choice.rank == 3
    QTest.keyClick(dock.candidates, Qt.Key.Key_R)
    rejected = state().verdicts[-1]
    assert (rejected.verdict, rejected.candidate_uid) == (Verdict.REJECT, questions.choice.uid)

    QTest.keyClick(dock.candidates, Qt.Key.Key_U)
    assert state().verdicts[-1].verdict is Verdict.UNSURE

    dock.none_reason.setCurrentIndex(dock.none_reason.findData(NoneReason.CUT))
    QTest.keyClick(dock.candidates, Qt.Key.Key_N)
    assert state().none[first] is NoneReason.CUT

    QTest.keyClick(dock.candidates, Qt.Key.Key_Space)
    _wait_for_answer(opened, qtbot)
    assert questions.query.uid != first
    assert dock.queue_text.text() == "1 of 14 asked"


def test_a_text_field_keeps_its_letters(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    field = QLineEdit(dock)
    dock.layout().addWidget(field)
    field.setFocus()
    QTest.keyClicks(field, "azur")
    assert field.text() == "azur"
    assert opened.workbench.project.state().verdicts == ()


def test_a_second_partner_is_refused_and_may_be_forced(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    project = opened.workbench.project
    first, second = list(project.state().somata["two_photon"])[:2]
    annotate.accept(project, first, true_partner(second), annotator="other")
    opened.workbench.questions.select("two_photon", second)
    _wait_for_answer(opened, qtbot)
    opened.workbench.questions.choose_soma(true_partner(second))

    remedy = dock.findChild(QPushButton, "remedy_button")
    assert not remedy.isVisible()
    _press(dock, "accept")
    assert project.state().pairs == {first: true_partner(second)}
    assert remedy.isVisible()
    QTest.mouseClick(remedy, Qt.MouseButton.LeftButton)
    assert project.state().pairs == {second: true_partner(second)}
    assert not remedy.isVisible()


def test_a_way_out_is_withdrawn_when_another_cell_is_asked(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    project = opened.workbench.project
    first, second, third = list(project.state().somata["two_photon"])[:3]
    annotate.accept(project, first, true_partner(second), annotator="other")
    opened.workbench.questions.select("two_photon", second)
    _wait_for_answer(opened, qtbot)
    opened.workbench.questions.choose_soma(true_partner(second))
    _press(dock, "accept")
    remedy = dock.findChild(QPushButton, "remedy_button")
    assert remedy.isVisible()
    opened.workbench.questions.select("two_photon", third)
    assert not remedy.isVisible()
    _wait_for_answer(opened, qtbot)
    remedy.click()
    assert project.state().pairs == {first: true_partner(second)}


def test_picking_a_candidate_moves_the_fmost_canvas(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    opened.workbench.questions.next_query()
    _wait_for_answer(opened, qtbot)
    dock.candidates.setCurrentRow(4)
    choice = opened.workbench.questions.choice
    model = opened.second.model
    assert choice.rank == 5
    _, rows, columns = model.dims.order
    assert model.scene.camera.center[1:] == pytest.approx(
        (choice.center_um[rows], choice.center_um[columns])
    )
    # The slider moves in voxels, so it lands within half of one.
    depth = model.dims.order[0]
    assert model.dims.point[depth] == pytest.approx(choice.center_um[depth], abs=2.0)


def test_a_stale_ranking_is_dropped(dock: MatchWidget, opened: ViewerBinding, qtbot: Any) -> None:
    first, second = list(opened.workbench.project.state().somata["two_photon"])[:2]
    answers: list[str] = []
    opened.workbench.questions.snapshot_changed.connect(
        lambda shown: answers.append(shown.query.uid) if shown.candidates else None
    )
    opened.workbench.questions.select("two_photon", first)
    opened.workbench.questions.select("two_photon", second)
    _wait_for_answer(opened, qtbot)
    finish_jobs(opened, qtbot)
    assert set(answers) == {second}


def test_the_wheel_scrolls_both_crops_in_depth(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    questions = opened.workbench.questions
    questions.next_query()
    _wait_for_answer(opened, qtbot)
    before = questions.answer
    dock.crops.query_view.scrolled.emit(1)
    qtbot.waitUntil(lambda: questions.answer.depth_um == 4.0, timeout=10_000)
    assert not np.array_equal(questions.answer.query_crop, before.query_crop)
    assert not np.array_equal(questions.answer.candidate_crops, before.candidate_crops)
    assert "+4 µm" in dock.crops.query_caption.text()
    for _ in range(3):
        dock.crops.query_view.scrolled.emit(-1)
    qtbot.waitUntil(lambda: questions.answer.depth_um == -8.0, timeout=10_000)


@pytest.mark.parametrize(
    ("turns", "steps"), [([-120], [1]), ([120], [-1]), ([0], []), ([-40] * 3, [1])]
)
def test_small_wheel_turns_add_up(qtbot: Any, turns: list[int], steps: list[int]) -> None:
    view = CropView("white")
    qtbot.addWidget(view)
    heard: list[int] = []
    view.scrolled.connect(heard.append)
    for turn in turns:
        view.wheelEvent(_wheel(turn))
    assert heard == steps


def test_flicker_shows_the_candidate_in_the_querys_place(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    opened.workbench.questions.next_query()
    _wait_for_answer(opened, qtbot)
    dock.candidates.setFocus()
    before = dock.crops.query_view.pixmap().toImage()
    QTest.keyClick(dock.candidates, Qt.Key.Key_F)
    assert dock.crops.query_view.pixmap().toImage() != before
    QTest.keyClick(dock.candidates, Qt.Key.Key_F)
    assert dock.crops.query_view.pixmap().toImage() == before


def test_keys_act_in_the_canvas(dock: MatchWidget, opened: ViewerBinding, qtbot: Any) -> None:
    opened.workbench.questions.next_query()
    _wait_for_answer(opened, qtbot)
    opened.viewer.layers.selection.active = opened.viewer.layers["two_photon somata"]
    native = opened.viewer.window._qt_viewer.canvas.native
    dock.none_reason.setCurrentIndex(dock.none_reason.findData(NoneReason.OUTSIDE))
    uid = opened.workbench.questions.query.uid
    QTest.keyClick(native, Qt.Key.Key_2)
    assert opened.workbench.questions.choice.rank == 2
    QTest.keyClick(native, Qt.Key.Key_N)
    assert opened.workbench.project.state().none == {uid: NoneReason.OUTSIDE}
    QTest.keyClick(native, Qt.Key.Key_Z)
    assert opened.workbench.project.state().none == {}

    opened.viewer.layers.selection.active = opened.viewer.layers["two_photon"]
    QTest.keyClick(native, Qt.Key.Key_N)
    assert opened.workbench.project.state().none == {uid: NoneReason.OUTSIDE}, "on images, too"


def test_what_was_decided_is_shown_again(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    questions = opened.workbench.questions
    questions.next_query()
    _wait_for_answer(opened, qtbot)
    uid = questions.query.uid
    questions.choose(2)
    _press(dock, "reject")
    assert "rejected" in dock.candidates.item(1).text()
    questions.choose(1)
    partner = questions.choice.uid
    _press(dock, "accept")
    questions.next_query()
    _wait_for_answer(opened, qtbot)
    assert partner not in dock.verdict_bar.header.text()
    questions.select("two_photon", uid)
    _wait_for_answer(opened, qtbot)
    assert f"accepted as {partner}" in dock.verdict_bar.header.text()
    assert "accepted" in dock.candidates.item(0).text()


def test_why_there_is_no_ranking_is_said_in_the_list(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    for path in opened.workbench.project.embeddings_dir.rglob("shard-*.npz"):
        path.unlink()
    opened.workbench.questions.next_query()
    qtbot.waitUntil(lambda: bool(opened.workbench.questions.problem), timeout=20_000)
    assert "Index" in dock.candidates.item(0).text()
    assert dock.candidates.count() == 1


def test_a_new_gallery_soma_can_be_chosen_at_once(
    dock: MatchWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    questions, project = opened.workbench.questions, opened.workbench.project
    questions.next_query()
    _wait_for_answer(opened, qtbot)
    opened.workbench.verdicts.add_somata("fmost", [(10.0, 20.0, 30.0)])
    added = next(s for s in project.state().somata["fmost"].values() if s.source == "manual")
    _wait_for_answer(opened, qtbot)
    questions.choose_soma(added.uid)
    qtbot.waitUntil(lambda: questions.choice is not None and questions.choice.uid == added.uid)
    _press(dock, "accept")
    assert added.uid in project.state().pairs.values()


def test_an_empty_dock_says_what_to_do(binding: ViewerBinding, qtbot: Any) -> None:
    dock = show_dock(binding, "Match")
    assert "Open a project" in dock.verdict_bar.header.text()
    _press(dock, "accept")
    assert "Click a two-photon cell" in dock.verdict_bar.status.text.text()
    _press(dock, "next")
    assert "open or create a project" in dock.verdict_bar.status.text.text()
