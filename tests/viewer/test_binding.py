"""Layers are views: edits become events, and nothing breaks when they go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Points
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from fixtures.projects import N_CELLS, ORIENTATION, true_partner
from fixtures.viewers import handle_events
from napari_neurobridge.project.log import annotate
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.viewer.styles import Mark


def _somata(opened: ViewerBinding) -> Points:
    return opened.viewer.layers["two_photon somata"]


def test_layers_carry_scale_and_units(opened: ViewerBinding) -> None:
    image = opened.viewer.layers["two_photon"]
    np.testing.assert_allclose(image.scale, (4.0, 2.0, 2.0))
    second = opened.second.model.layers["fmost"]
    np.testing.assert_allclose(second.scale, (2.0, 2.0, 4.0))
    for layer in (image, second, _somata(opened)):
        assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert len(_somata(opened).data) == N_CELLS


def test_the_fmost_canvas_is_turned_as_the_orientation_says(opened: ViewerBinding) -> None:
    model = opened.second.model
    assert ORIENTATION.axes == "+y+z-x"
    assert model.dims.order == (1, 0, 2)
    assert tuple(str(way) for way in model.scene.camera.orientation2d) == ("down", "left")
    opened.workbench.setup.set_orientation(Orientation(axes="+x-z+y"))
    assert model.dims.order == (2, 0, 1)
    assert tuple(str(way) for way in model.scene.camera.orientation2d) == ("up", "right")


def test_circles_lie_on_bright_blobs(opened: ViewerBinding) -> None:
    for model, name in ((opened.viewer, "two_photon"), (opened.second.model, "fmost")):
        image, somata = model.layers[name], model.layers[f"{name} somata"]
        pixels = np.asarray(image.data)
        index = np.round(somata.data / np.asarray(image.scale)).astype(int)
        at_somata = pixels[tuple(np.clip(index, 0, np.array(pixels.shape) - 1).T)]
        assert np.median(at_somata) > 5 * np.median(pixels)


def test_adding_moving_and_deleting_points_become_events(opened: ViewerBinding, qtbot: Any) -> None:
    project, layer = opened.workbench.project, _somata(opened)

    layer.add(np.array([[20.0, 30.0, 40.0]]))
    qtbot.waitUntil(lambda: len(project.state().somata["two_photon"]) == N_CELLS + 1)
    added = next(
        soma for soma in project.state().somata["two_photon"].values() if soma.source == "manual"
    )
    assert added.center_um[1:] == (30.0, 40.0), "its depth is that of the brightest plane there"
    qtbot.waitUntil(lambda: list(layer.features["uid"]).count(added.uid) == 1)

    row = list(layer.features["uid"]).index(added.uid)
    layer.selected_data = {row}
    layer.events.data(
        value=layer.data, action="changing", data_indices=(row,), vertex_indices=((),)
    )
    layer.data[row] = (21.0, 31.0, 41.0)
    layer.events.data(value=layer.data, action="changed", data_indices=(row,), vertex_indices=((),))
    qtbot.waitUntil(lambda: project.state().soma(added.uid).center_um == (21.0, 31.0, 41.0))

    layer.selected_data = {list(layer.features["uid"]).index(added.uid)}
    layer.remove_selected()
    qtbot.waitUntil(lambda: added.uid not in project.state().somata["two_photon"])

    opened.workbench.verdicts.undo()
    assert project.state().soma(added.uid).center_um == (21.0, 31.0, 41.0)
    qtbot.waitUntil(lambda: added.uid in set(layer.features["uid"]))


def test_deleting_a_layer_breaks_nothing(opened: ViewerBinding, qtbot: Any) -> None:
    opened.viewer.layers.remove(_somata(opened))
    opened.viewer.layers.remove("two_photon")
    opened.second.model.layers.clear()
    uid = next(iter(opened.workbench.project.state().somata["two_photon"]))
    opened.workbench.questions.select("two_photon", uid)
    qtbot.waitUntil(lambda: opened.workbench.questions.answer is not None, timeout=20_000)
    opened.workbench.verdicts.accept()
    assert len(opened.workbench.project.state().somata["two_photon"]) == N_CELLS
    qtbot.waitUntil(lambda: "two_photon somata" in opened.viewer.layers)
    assert len(_somata(opened).data) == N_CELLS, "the circles come back"


def test_a_click_on_a_canvas_without_layers_asks_nothing(opened: ViewerBinding, qtbot: Any) -> None:
    handle_events(qtbot)
    opened.viewer.layers.clear()
    native = opened.viewer.window._qt_viewer.canvas.native
    with qtbot.capture_exceptions() as raised:
        QTest.mouseMove(native, native.rect().center())
        QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=native.rect().center())
    assert raised == []
    assert opened.workbench.questions.query is None


def test_accepted_pairs_carry_the_same_number_on_both_sides(
    opened: ViewerBinding, qtbot: Any
) -> None:
    project = opened.workbench.project
    uid = list(project.state().somata["two_photon"])[3]
    annotate.accept(project, uid, true_partner(uid), annotator="me")
    opened.workbench.session.verdicts_changed.emit()
    for layer, name in (
        (_somata(opened), uid),
        (opened.second.model.layers["fmost somata"], true_partner(uid)),
    ):
        qtbot.waitUntil(lambda layer=layer: "1" in set(layer.features["label"]))
        row = layer.features.set_index("uid").loc[name]
        assert (row["label"], row["mark"]) == ("1", Mark.ACCEPTED)


def test_every_proxy_of_a_viewer_leads_to_one_workbench(viewer: Any, binding: Any) -> None:
    assert binding_for(viewer) is binding
    assert binding_for(viewer.__wrapped__) is binding


def test_two_viewers_do_not_share_anything(
    opened: ViewerBinding, make_napari_viewer_proxy: Any
) -> None:
    other = make_napari_viewer_proxy()
    second = binding_for(other)
    assert second is not opened
    assert second.workbench.project is None
    assert len(other.layers) == 0
    second.shut()
    assert opened.workbench.project is not None


def test_closing_the_docks_and_opening_them_again(opened: ViewerBinding, qtbot: Any) -> None:
    window = opened.viewer.window
    for name in ("Match (NeuroBridge)", "Data (NeuroBridge)"):
        window.remove_dock_widget(window.dock_widgets[name])
    uid = next(iter(opened.workbench.project.state().somata["two_photon"]))
    opened.workbench.questions.select("two_photon", uid)
    qtbot.waitUntil(lambda: opened.workbench.questions.answer is not None, timeout=20_000)
    opened.column.open(["Match"])
    dock = window.dock_widgets["Match (NeuroBridge)"]
    assert uid in dock.verdict_bar.header.text(), "a dock opened late shows what is being asked"
    assert dock.candidates.count() == 10, "nine candidates, and none of these"


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_clicking_an_fmost_soma_chooses_it(
    opened: ViewerBinding, qtbot: Any, offset: float
) -> None:
    questions = opened.workbench.questions
    questions.next_query()
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    listed = {candidate.uid for candidate in questions.answer.shown}
    somata = opened.workbench.project.state().somata["fmost"]
    uid, soma = next((uid, soma) for uid, soma in somata.items() if uid not in listed)
    z, y, x = soma.center_um
    questions.click("fmost", (z, y + offset, x), depth_axis=1)
    qtbot.waitUntil(lambda: questions.choice.uid == uid)
    assert questions.choice.rank > 9, "this one has no thumbnail"


def test_which_side_asks_does_not_depend_on_what_was_clicked_before(
    opened: ViewerBinding, qtbot: Any
) -> None:
    questions, state = opened.workbench.questions, opened.workbench.project.state()
    fmost = next(iter(state.somata["fmost"].values()))
    two_photon = next(iter(state.somata["two_photon"].values()))
    questions.click("fmost", fmost.center_um, depth_axis=1)
    assert questions.query is None, "an fMOST click alone asks nothing"
    questions.click("fmost", fmost.center_um, depth_axis=1, asks=True)
    assert questions.query.uid == fmost.uid
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    assert questions.answer.ranking.gallery_dataset == "two_photon"
    questions.click("two_photon", two_photon.center_um, depth_axis=0)
    assert questions.query.uid == two_photon.uid


def test_the_second_canvas_comes_back_after_its_dock_was_closed(
    opened: ViewerBinding, qtbot: Any
) -> None:
    window = opened.viewer.window
    window.remove_dock_widget(opened.second)
    assert "fMOST" not in window.dock_widgets
    opened.workbench.questions.next_query()
    qtbot.waitUntil(lambda: opened.workbench.questions.choice is not None, timeout=20_000)
    assert "fMOST" in window.dock_widgets
    qtbot.waitUntil(opened.second.isVisible)


def test_closing_the_window_stops_the_jobs_even_without_a_project(
    binding: ViewerBinding, qtbot: Any, tmp_path: Any
) -> None:
    jobs = binding.workbench.session.jobs
    arguments = ["simulate-pairs", str(tmp_path / "pairs.npz"), "--n", "100000", "--seed", "1"]
    jobs.start("simulate", arguments, lambda _: None)
    child = jobs._jobs["simulate"].stop.__self__._process
    binding.viewer.close()
    assert binding.closed
    qtbot.waitUntil(lambda: child.poll() is not None, timeout=30_000)


def test_the_second_canvas_has_tools_to_add_somata(opened: ViewerBinding, qtbot: Any) -> None:
    project, layer = opened.workbench.project, opened.second.model.layers["fmost somata"]
    opened.second.header.tools["add"].click()
    assert layer.mode == "add"
    layer.add(np.array([[10.0, 20.0, 30.0]]))
    qtbot.waitUntil(lambda: len(project.state().somata["fmost"]) == N_CELLS + 1)
    opened.second.header.tools["pan_zoom"].click()
    assert layer.mode == "pan_zoom"
