"""The Insight dock, clicked in a real viewer."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Points
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QPushButton

from fixtures.projects import true_partner
from fixtures.viewers import finish_jobs, handle_events, show_dock
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.viewer.attention_layers import CHANNEL_KEY, crop_layer
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docks import INSIGHT
from napari_neurobridge.widgets.insight import InsightWidget
from napari_neurobridge.widgets.insight_plots import Page
from napari_neurobridge.workbench.insight_steps import Channel

_PATIENCE_MS = 240_000

_EXPLAIN_BESIDE_A_CANVAS = """
import napari, numpy as np
from qtpy.QtWidgets import QApplication
from napari_neurobridge.workbench.models import EncoderCache

viewer = napari.Viewer(show=True)
for _ in range(20):
    QApplication.processEvents()
encoder = EncoderCache().current(None)
from napari_neurobridge.insight.attention import attention_maps
one, other = np.random.default_rng(0).random((2, 150, 150), dtype=np.float32)
maps = attention_maps(encoder, one, other)
assert maps.query_global.max() > 0 and maps.query_gate.sum() > 0.99
print("explained")
viewer.close()
"""


def _open_dock(binding: ViewerBinding, qtbot: Any) -> InsightWidget:
    # A project's own docks are open by now; this one is for when somebody asks.
    binding.column.open([*binding.column.open_names(), INSIGHT], front=INSIGHT)
    dock = show_dock(binding, INSIGHT)
    qtbot.waitUntil(dock.isVisible)
    return dock


@pytest.fixture
def dock(opened: ViewerBinding, qtbot: Any) -> InsightWidget:
    """The dock over a project without any pair."""
    return _open_dock(opened, qtbot)


@pytest.fixture
def evaluated(dock: InsightWidget, opened: ViewerBinding, qtbot: Any) -> InsightWidget:
    """The dock over eight pairs that were accepted and evaluated."""
    _accept(opened, 8)
    _press(dock, "evaluate_button")
    _wait_for_evaluation(opened, qtbot)
    return dock


@pytest.fixture
def fake_attention(opened: ViewerBinding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that need neither captum nor a network, each with one bright pixel."""
    # It imports torch, so after the canvases are there and their guard is up.
    from napari_neurobridge.insight import attention

    names = ("query_local", "query_global", "candidate_local", "candidate_global")
    maps = {name: np.zeros((150, 150), np.float32) for name in names}
    for column, pixels in enumerate(maps.values()):
        pixels[70, 60 + 10 * column] = 1
    gates = {side: np.array([0.3, 0.7], np.float32) for side in ("query_gate", "candidate_gate")}
    answer = attention.AttentionMaps(**maps, **gates, similarity=0.5)
    monkeypatch.setattr(attention, "attention_maps", lambda *_: answer)


def _accept(opened: ViewerBinding, count: int) -> None:
    project = opened.workbench.project
    for uid in list(project.state().somata["two_photon"])[:count]:
        annotate.accept(project, uid, true_partner(uid), annotator="me", force=True)
    opened.workbench.session.verdicts_changed.emit()


def _button(dock: InsightWidget, name: str) -> QPushButton:
    button = dock.findChild(QPushButton, name)
    assert button is not None
    return button


def _press(dock: InsightWidget, name: str) -> None:
    assert _button(dock, name).isEnabled()
    QTest.mouseClick(_button(dock, name), Qt.MouseButton.LeftButton)


def _turn_to(dock: InsightWidget, page: Page, qtbot: Any) -> None:
    button = dock.findChild(QPushButton, f"page_{page.name.lower()}")
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    handle_events(qtbot)


def _title(dock: InsightWidget) -> str:
    return dock.view.figure.get_suptitle()


def _empty_text(dock: InsightWidget) -> str:
    assert dock.stage.currentWidget() is dock.empty
    return dock.findChild(QLabel, "insight_empty").text()


def _status(dock: InsightWidget) -> str:
    return dock.findChild(QLabel, "status_text").text()


def _wait_for_evaluation(opened: ViewerBinding, qtbot: Any) -> None:
    insights = opened.workbench.insights
    qtbot.waitUntil(
        lambda: insights.evaluation is not None and insights.progress is None, timeout=_PATIENCE_MS
    )
    handle_events(qtbot)


def _ask(opened: ViewerBinding, uid: str, qtbot: Any) -> None:
    questions = opened.workbench.questions
    questions.select("two_photon", uid)
    qtbot.waitUntil(lambda: questions.choice is not None, timeout=_PATIENCE_MS)


def _click_point(dock: InsightWidget, place: Any, qtbot: Any) -> None:
    """Click a place in data coordinates with the real mouse."""
    dock.view.canvas.draw()
    axes = dock.view.figure.axes[0]
    x, y = axes.transData.transform(np.asarray(place))
    ratio = dock.view.canvas.device_pixel_ratio
    height = dock.view.figure.bbox.height
    at = QPoint(round(x / ratio), round((height - y) / ratio))
    QTest.mouseClick(dock.view.canvas, Qt.MouseButton.LeftButton, pos=at)
    handle_events(qtbot)


def test_an_empty_dock_says_what_to_do(binding: ViewerBinding, qtbot: Any) -> None:
    dock = _open_dock(binding, qtbot)
    assert "Open a project" in _empty_text(dock)
    for name in ("evaluate_button", "save_figure_button", "export_report_button"):
        assert not _button(dock, name).isEnabled()


def test_too_few_pairs_say_what_to_do(
    dock: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    assert "Accept at least 2 pairs" in _empty_text(dock)
    _accept(opened, 1)
    assert "1 so far" in _empty_text(dock)
    assert not _button(dock, "evaluate_button").isEnabled()
    _accept(opened, 2)
    assert "Evaluate accepted pairs" in _empty_text(dock)
    _press(dock, "evaluate_button")
    _wait_for_evaluation(opened, qtbot)
    assert "2 candidates" in dock.view.figure.axes[0].get_xlabel()
    _turn_to(dock, Page.CONFUSION, qtbot)
    assert "at least 4 pairs" in _empty_text(dock)


def test_every_page_shows_its_figure(evaluated: InsightWidget, qtbot: Any) -> None:
    facts = evaluated.findChild(QLabel, "insight_facts").text()
    assert "thumbnail" in facts
    assert "8 pairs" in facts
    assert "recall" in facts
    titles = {}
    for page in Page:
        if page not in (Page.ATTENTION, Page.RELIABILITY):
            _turn_to(evaluated, page, qtbot)
            titles[page] = _title(evaluated)
            assert evaluated.stage.currentWidget() is evaluated.view
    assert len(set(titles.values()) - {""}) >= 5, titles
    assert "8 queries" in titles[Page.TOP_K]


def test_audits_show_whether_probabilities_mean_what_they_say(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    _turn_to(evaluated, Page.RELIABILITY, qtbot)
    assert evaluated.stage.currentWidget() is evaluated.empty
    assert "0 of 5 audit questions" in evaluated.empty.text()
    project = opened.workbench.project
    uids = [uid for uid in project.state().somata["two_photon"] if uid not in project.state().pairs]
    for uid in uids[:5]:
        partner = true_partner(uid)
        evidence = VerdictEvidence(audit=True, first_uid=partner, first_probability=0.9)
        annotate.accept(project, uid, partner, annotator="me", evidence=evidence)
    opened.workbench.session.verdicts_changed.emit()
    qtbot.waitUntil(lambda: evaluated.stage.currentWidget() is evaluated.view, timeout=10_000)
    assert "5 matches" in _title(evaluated)


def test_new_pairs_ask_for_a_new_evaluation(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    facts = evaluated.findChild(QLabel, "insight_facts")
    assert "evaluate again" not in facts.text()
    _accept(opened, 9)
    assert "evaluate again" in facts.text()
    _press(evaluated, "evaluate_button")
    qtbot.waitUntil(lambda: "9 pairs" in facts.text(), timeout=_PATIENCE_MS)
    assert "evaluate again" not in facts.text()


def test_clicking_a_point_of_the_map_asks_about_its_cell(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    questions, insights = opened.workbench.questions, opened.workbench.insights
    _turn_to(evaluated, Page.MAP, qtbot)
    row = 5
    soma, partner = insights.subject.pairs[row]
    _click_point(evaluated, insights.evaluation.map[0][row], qtbot)
    assert questions.query.uid == soma.uid
    model = opened.viewer
    assert model.scene.camera.center[1:] == pytest.approx(soma.center_um[1:])

    _click_point(evaluated, insights.evaluation.map[1][row], qtbot)
    assert (questions.query.dataset, questions.query.uid) == ("fmost", partner.uid)
    _, rows, columns = opened.second.model.dims.order
    assert opened.second.model.scene.camera.center[1:] == pytest.approx(
        (partner.center_um[rows], partner.center_um[columns])
    )


def test_clicking_beside_the_points_asks_nothing(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    evaluation = opened.workbench.insights.evaluation
    _turn_to(evaluated, Page.MAP, qtbot)
    everything = np.concatenate(evaluation.map)
    corner = evaluated.view.figure.axes[0].viewLim.p0
    assert np.linalg.norm(everything - corner, axis=1).min() > 0
    _click_point(evaluated, corner + 1e-3, qtbot)
    assert opened.workbench.questions.query is None


def test_clicking_a_row_of_the_heat_map_asks_about_its_cell(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    _turn_to(evaluated, Page.HEAT_MAPS, qtbot)
    _click_point(evaluated, (1, 3), qtbot)
    soma, _ = opened.workbench.insights.subject.pairs[3]
    assert opened.workbench.questions.query.uid == soma.uid


def test_plain_measures_join_the_figures_and_can_be_cancelled(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "napari_neurobridge.training.plain_measures.plain_similarity",
        lambda measure, one, other: np.arange(float(len(other)), dtype=np.float32)[None],
    )
    insights = opened.workbench.insights
    cancel = _button(evaluated, "insight_cancel_button")
    assert not cancel.isVisible()
    _press(evaluated, "compare_button")
    assert cancel.isVisible()
    QTest.mouseClick(cancel, Qt.MouseButton.LeftButton)
    finish_jobs(opened, qtbot)
    assert insights.progress is None
    assert not insights.evaluation.has_plain_measures

    _press(evaluated, "compare_button")
    qtbot.waitUntil(lambda: insights.evaluation.has_plain_measures, timeout=_PATIENCE_MS)
    assert set(insights.evaluation.compared) == {
        "thumbnail", "nmi", "ssim", "pearson", "cosine", "mse"
    }  # fmt: skip
    _turn_to(evaluated, Page.BOXES, qtbot)
    labels = [text.get_text() for text in evaluated.view.figure.axes[0].get_yticklabels()]
    assert "nmi" in {label.lower() for label in labels}
    assert not _button(evaluated, "compare_button").isEnabled()


def test_attention_lies_over_the_pair_in_both_canvases(
    dock: InsightWidget, opened: ViewerBinding, qtbot: Any, fake_attention: None
) -> None:
    insights, questions = opened.workbench.insights, opened.workbench.questions
    _turn_to(dock, Page.ATTENTION, qtbot)
    assert "pick a candidate" in _empty_text(dock)
    uid = next(iter(opened.workbench.project.state().somata["two_photon"]))
    _ask(opened, uid, qtbot)
    active = opened.viewer.layers.selection.active
    _press(dock, "explain_button")
    qtbot.waitUntil(lambda: insights.attention is not None, timeout=_PATIENCE_MS)
    handle_events(qtbot)

    assert "0.50" in _title(dock)
    assert opened.viewer.layers.selection.active is active, "keys still act on the somata"
    for model in (opened.viewer, opened.second.model):
        layers = [layer for layer in model.layers if CHANNEL_KEY in layer.metadata]
        assert [layer.metadata[CHANNEL_KEY] for layer in layers] == list(Channel)
        assert isinstance(model.layers[-1], Points), "the circles stay on top"
        assert {str(unit) for layer in layers for unit in layer.units} == {"micrometer"}
        assert all(np.asarray(layer._slice.image.raw).max() > 0 for layer in layers), "in sight"

    box = dock.findChild(QCheckBox, "show_local")
    box.click()
    shown = {
        layer.metadata[CHANNEL_KEY]: layer.visible
        for model in (opened.viewer, opened.second.model)
        for layer in model.layers
        if CHANNEL_KEY in layer.metadata
    }
    assert shown == {Channel.LOCAL: False, Channel.GLOBAL: True}

    questions.choose(2)
    assert insights.attention is None, "the maps were about another candidate"
    for model in (opened.viewer, opened.second.model):
        assert not [layer for layer in model.layers if CHANNEL_KEY in layer.metadata]
    handle_events(qtbot)
    assert "Explain" in _empty_text(dock)


def test_an_explanation_that_comes_too_late_is_dropped(
    dock: InsightWidget, opened: ViewerBinding, qtbot: Any, fake_attention: None
) -> None:
    insights, questions = opened.workbench.insights, opened.workbench.questions
    first, second = list(opened.workbench.project.state().somata["two_photon"])[:2]
    _turn_to(dock, Page.ATTENTION, qtbot)
    _ask(opened, first, qtbot)
    _press(dock, "explain_button")
    questions.choose(3)
    assert insights.progress is None
    _ask(opened, second, qtbot)
    finish_jobs(opened, qtbot)
    assert insights.attention is None


@pytest.mark.parametrize("dataset", ["two_photon", "fmost"])
def test_a_map_lies_where_its_crop_was_cut(opened: ViewerBinding, dataset: str) -> None:
    orientation = opened.workbench.project.dataset(dataset).used_orientation.model_copy(
        update={"angle_deg": 20.0, "expansion": 0.9}
    )
    center = np.array([30.0, 100.0, 80.0])
    crop = np.zeros((150, 150), np.float32)
    crop[20, 110] = 1
    data, affine = crop_layer(crop, tuple(center), orientation)
    pixel = np.argwhere(data == 1)[0]
    offset = np.array([0.0, (20 - 74.5) * 0.8, (110 - 74.5) * 0.8])
    np.testing.assert_allclose(
        affine[:3, :3] @ pixel + affine[:3, 3], center + orientation.linear() @ offset
    )


def test_a_map_is_turned_as_its_crop_was_held_but_not_tilted(opened: ViewerBinding) -> None:
    orientation = opened.workbench.project.dataset("fmost").used_orientation
    center = np.array([30.0, 100.0, 80.0])
    crop = np.zeros((150, 150), np.float32)
    crop[20, 110] = 1
    turned = orientation.model_copy(update={"angle_deg": 20.0, "expansion": 0.9}).linear()
    tilt = np.deg2rad(10.0)
    tilted = turned @ [
        [np.cos(tilt), -np.sin(tilt), 0.0],
        [np.sin(tilt), np.cos(tilt), 0.0],
        [0.0, 0.0, 1.0],
    ]
    data, affine = crop_layer(crop, tuple(center), orientation, tilted)
    place = affine[:3, :3] @ np.argwhere(data == 1)[0] + affine[:3, 3] - center
    offset = tilted @ [0.0, (20 - 74.5) * 0.8, (110 - 74.5) * 0.8]
    depth = int(np.argmax(np.abs(orientation.linear()[:, 0])))
    assert place[depth] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(np.delete(place, depth), np.delete(offset, depth))
    # Seen from another side than the layer can show, it lies as the orientation says.
    flat = crop_layer(crop, tuple(center), orientation)[1]
    sideways = crop_layer(crop, tuple(center), orientation, np.roll(turned, 1, axis=1))[1]
    np.testing.assert_array_equal(sideways, flat)


def test_the_figure_follows_the_theme_and_is_saved_dark_on_white(
    evaluated: InsightWidget,
    opened: ViewerBinding,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def background() -> float:
        return float(np.mean(evaluated.view.figure.get_facecolor()[:3]))

    assert background() < 0.4
    opened.viewer.theme = "light"
    qtbot.waitUntil(lambda: background() > 0.6)
    opened.viewer.theme = "dark"
    qtbot.waitUntil(lambda: background() < 0.4)

    path = tmp_path / "figure.png"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    _press(evaluated, "save_figure_button")
    finish_jobs(opened, qtbot)
    from matplotlib.image import imread

    assert imread(path)[0, 0, :3].min() > 0.9
    assert str(path) in _status(evaluated)


def test_every_page_is_saved_as_a_picture_or_for_print(
    evaluated: InsightWidget,
    opened: ViewerBinding,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "Save page" in _button(evaluated, "save_figure_button").text()
    for page in set(Page) - {Page.RELIABILITY, Page.ATTENTION}:  # which have nothing to show yet
        _turn_to(evaluated, page, qtbot)
        path = tmp_path / f"{page.name}.pdf"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, p=path: (str(p), ""))
        _press(evaluated, "save_figure_button")
        finish_jobs(opened, qtbot)
        assert path.read_bytes().startswith(b"%PDF"), page
        assert str(path) in _status(evaluated)


def test_the_best_matches_hide_the_pair_of_a_random_check(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    from matplotlib.text import Text

    def named() -> str:
        return " ".join(text.get_text() for text in evaluated.view.figure.findobj(Text))

    _turn_to(evaluated, Page.BEST_MATCHES, qtbot)
    insights = opened.workbench.insights
    uid = insights.subject.pairs[insights.evaluation.exampled[0]][0].uid
    assert uid in named()
    opened.workbench.questions.select("two_photon", uid, audit=True)
    qtbot.waitUntil(lambda: uid not in named(), timeout=_PATIENCE_MS)


def test_no_interval_of_a_few_pairs_has_no_width(evaluated: InsightWidget) -> None:
    words = evaluated.findChild(QLabel, "insight_facts").text()
    assert "%" in words
    for low, high in re.findall(r"\((\d[\d.]*) to (\d[\d.]*)", words):
        assert float(low) < float(high), words
    assert "1.00 to 1.00" not in words


def test_what_fails_is_said_and_another_try_is_possible(
    dock: InsightWidget, opened: ViewerBinding, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_neurobridge.errors import InputError
    from napari_neurobridge.workbench.models import EncoderCache

    load = EncoderCache.load

    def fail(*_: Any) -> None:
        raise InputError("There is no such model.")

    _accept(opened, 4)
    monkeypatch.setattr(EncoderCache, "load", fail)
    _press(dock, "evaluate_button")
    qtbot.waitUntil(lambda: "no such model" in _status(dock), timeout=_PATIENCE_MS)
    assert "no such model" in _empty_text(dock)
    monkeypatch.setattr(EncoderCache, "load", load)
    _press(dock, "evaluate_button")
    _wait_for_evaluation(opened, qtbot)


def test_a_new_project_starts_anew(
    evaluated: InsightWidget, opened: ViewerBinding, qtbot: Any
) -> None:
    opened.workbench.session.set_project(None)
    handle_events(qtbot)
    assert "Open a project" in _empty_text(evaluated)


def test_the_report_is_written_by_a_child_process(
    evaluated: InsightWidget,
    opened: ViewerBinding,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        opened.workbench.session.jobs,
        "start",
        lambda name, arguments, on_finished: started.append((name, arguments)),
    )
    path = tmp_path / "report.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    _press(evaluated, "export_report_button")
    ((name, arguments),) = started
    assert name == "report"
    assert arguments[0] == "export"
    assert arguments[-2:] == ["--format", "report"]
    assert str(opened.workbench.project.path) in arguments


def test_the_dock_lies_on_the_match_dock(
    binding: ViewerBinding, project_folder: Path, qtbot: Any
) -> None:
    dock = _open_dock(binding, qtbot)
    window, docks = binding.viewer.window._qt_window, binding.viewer.window.dock_widgets
    match = docks["Match (NeuroBridge)"].parent()
    qtbot.waitUntil(lambda: dock.parent() in window.tabifiedDockWidgets(match))
    binding.workbench.setup.open_project(project_folder)
    qtbot.waitUntil(lambda: binding.second is not None, timeout=_PATIENCE_MS)
    handle_events(qtbot)
    assert dock.parent() in window.tabifiedDockWidgets(match), "the new canvas parts them not"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("captum") is None, reason="needs captum")
def test_a_real_network_is_explained_beside_a_canvas() -> None:
    """Torch, captum and timm load after Mesa has drawn; see `workbench.native`."""
    done = subprocess.run(
        [sys.executable, "-c", _EXPLAIN_BESIDE_A_CANVAS],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_MS / 1000,
        check=False,
    )
    assert "explained" in done.stdout, f"exit code {done.returncode}: {done.stderr[-500:]}"


def test_the_dock_opens_without_torch_and_matplotlib() -> None:
    code = (
        "import sys, napari_neurobridge.widgets.insight\n"
        "print({'torch', 'matplotlib', 'sklearn', 'captum'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
