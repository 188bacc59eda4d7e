"""A person paints a few cells, has the detector learn them, and detects; real menus and clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QSpinBox,
    QToolButton,
)

from fixtures.user import LAPTOP_PX, User, pixel_of
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.models.zoo import CACHE_VARIABLE, DEFAULT_SEGMENTER
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.painted import painted_regions
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.registry import binding_for
from register_user import button, text_of

PATIENCE_MS = 300_000


@pytest.fixture
def binding(
    user: User, project_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ViewerBinding:
    """A project, opened from the Data dock's button, with the fold unfolded."""
    # A small segmenter that the child processes take for the bundled one.
    config = SegmenterConfig(width=2, halvings=1, planes=3)
    save_network(SegmenterNet(config), config, tmp_path / "models" / DEFAULT_SEGMENTER)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "models"))
    user.menu("Plugins", "NeuroBridge", "Data")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(project_folder))
    user.click(user.find(QPushButton, "open_button"))
    bound = binding_for(user.viewer)
    user.wait(lambda: bound.second is not None and bound.second.header.image is not None)
    user.wait(lambda: "two_photon" in user.viewer.layers)
    user.wait(lambda: bound.workbench.setup.index_state is not None)
    user.settle(60)
    user.show_tab("Data")
    for name in ("title_somata", "title_painted"):
        title = user.find(QToolButton, name)
        if not title.isChecked():
            user.reveal(title)
            user.click(title)
    user.settle(20)
    return bound


def labels_of(model: Any) -> Labels | None:
    return next((layer for layer in model.layers if isinstance(layer, Labels)), None)


def press(user: User, name: str) -> None:
    user.reveal(button(user, name))
    user.click(button(user, name))


def stroke(user: User, model: Any, canvas: Any, first_um: Any, last_um: Any) -> None:
    """Drag the mouse over a canvas."""
    begin, end = (pixel_of(canvas, model, place) for place in (first_um, last_um))
    native, left = canvas.canvas.native, Qt.MouseButton.LeftButton
    user.do(lambda: QTest.mouseMove(native, begin))
    user.do(lambda: QTest.mousePress(native, left, pos=begin))
    for share in (0.25, 0.5, 0.75, 1.0):
        at = begin + (end - begin) * share
        user.do(lambda at=at: QTest.mouseMove(native, at))
    user.do(lambda: QTest.mouseRelease(native, left, pos=end))


def paint(user: User, binding: ViewerBinding) -> Labels:
    """Paint a cell and some background on the two-photon canvas, as a person does."""
    viewer, painting = binding.viewer, binding.workbench.painting
    canvas = viewer.window._qt_viewer
    z, y, x = binding.paint.place_um("two_photon")
    stroke(user, viewer, canvas, (z, y - 4, x - 4), (z, y + 4, x + 4))
    user.wait(lambda: painting.painted("two_photon").n_cells == 1)
    press(user, "paint_background_button")
    stroke(user, viewer, canvas, (z, y - 30, x - 30), (z, y - 30, x + 30))
    user.wait(lambda: painting.painted("two_photon").enough)
    layer = labels_of(viewer)
    assert layer is not None
    return layer


def test_what_is_painted_is_kept_undone_and_comes_back(
    user: User, binding: ViewerBinding, project_folder: Path, tmp_path: Path
) -> None:
    viewer = binding.viewer
    assert user.window.width() <= LAPTOP_PX[0]
    assert user.window.height() <= LAPTOP_PX[1]
    assert text_of(user, "painted_text") == "Nothing is painted here yet."
    assert not button(user, "learn_button").isEnabled()
    assert not button(user, "paint_cell_button").isVisible()
    thick = viewer.dims.margin_left
    assert binding.keys.active

    press(user, "paint_button")
    user.wait(lambda: labels_of(viewer) is not None)
    assert button(user, "paint_button").text() == "Stop painting in two_photon"
    assert not binding.keys.active, "keys are napari's while somebody paints"
    assert max(viewer.dims.margin_left) == 0, "the plane that is painted is the one that is seen"
    layer = paint(user, binding)
    user.photograph(str(tmp_path / "painting.png"))
    assert layer.data.shape == binding.workbench.project.volume("two_photon").shape
    assert np.allclose(layer.scale, binding.workbench.project.volume("two_photon").voxel_size_um)
    assert set(np.unique(layer.data)) == {0, 1, 2}
    assert "1 cell and " in text_of(user, "painted_text")
    assert button(user, "learn_button").isEnabled()

    # On the disk already, as another program finds it.
    other = Project.open(project_folder)
    (kept,) = painted_regions(other, "two_photon")
    assert np.array_equal(kept.labels, layer.data)

    press(user, "undo_stroke_button")
    user.wait(lambda: not binding.workbench.painting.painted("two_photon").enough)
    assert text_of(user, "painted_text") == "1 cell painted; paint some background, too."
    (kept,) = painted_regions(other, "two_photon")
    assert set(np.unique(kept.labels)) == {0, 2}
    # napari's own undo counts too.
    layer.undo()
    user.wait(lambda: not painted_regions(other, "two_photon")[0].labels.any())
    layer.redo()
    user.wait(lambda: painted_regions(other, "two_photon")[0].labels.any())
    expected = layer.data.copy()

    press(user, "paint_button")
    user.wait(lambda: labels_of(viewer) is None)
    assert viewer.dims.margin_left == thick
    assert binding.keys.active
    press(user, "paint_button")
    user.wait(lambda: labels_of(viewer) is not None)
    assert np.array_equal(labels_of(viewer).data, expected)
    assert len(binding.workbench.painting.regions) == 1


def test_each_side_is_painted_along_its_own_axes_and_its_clicks_ask_about_no_cell(
    user: User, binding: ViewerBinding
) -> None:
    painting, questions = binding.workbench.painting, binding.workbench.questions
    press(user, "paint_button")
    user.wait(lambda: labels_of(binding.viewer) is not None)
    soma = next(iter(binding.workbench.project.state().somata["two_photon"].values()))
    before = questions.query
    user.click_canvas(binding.viewer.window._qt_viewer, binding.viewer, soma.center_um)
    user.wait(lambda: painting.painted("two_photon").n_cells == 1)
    user.settle(30)
    assert questions.query == before
    press(user, "paint_button")

    user.find(QComboBox, "detect_dataset").setCurrentText("fmost")
    press(user, "paint_button")
    second = binding.second.model
    user.wait(lambda: labels_of(second) is not None)
    assert labels_of(binding.viewer) is None
    place = np.array(binding.paint.place_um("fmost"))
    user.click_canvas(binding.second.qt_viewer, second, place)
    user.wait(lambda: painting.painted("fmost").n_cells == 1)
    at = np.argwhere(labels_of(second).data == 2) * labels_of(second).scale
    assert np.ptp(at[:, second.dims.order[0]]) == 0, "a plane as it is seen"
    assert np.abs(at.mean(axis=0) - place).max() < 5


@pytest.mark.slow
def test_it_learns_compares_and_detects_with_what_was_painted(
    user: User, binding: ViewerBinding, tmp_path: Path
) -> None:
    workbench = binding.workbench
    press(user, "paint_button")
    user.wait(lambda: labels_of(binding.viewer) is not None)
    paint(user, binding)
    steps = user.find(QSpinBox, "learn_steps")
    user.reveal(steps)
    user.type(steps, "2")
    user.press(Qt.Key.Key_Tab)
    press(user, "learn_button")
    assert not button(user, "learn_button").isEnabled()
    outcome = user.find(QLabel, "painted_outcome")
    user.wait(lambda: "has learned 1 cell" in outcome.text(), PATIENCE_MS)
    method = user.find(QComboBox, "detect_method")
    assert method.currentData() == "two_photon-painted-1"
    assert not user.find(QDoubleSpinBox, "soma_diameter").isEnabled()

    press(user, "compare_button")
    user.wait(lambda: "found by both" in outcome.text(), PATIENCE_MS)
    user.reveal(outcome)
    user.photograph(str(tmp_path / "compared.png"))
    before = dict(workbench.project.state().somata["two_photon"])

    press(user, "detect_button")
    user.wait(lambda: "now" in text_of(user, "status_text"), PATIENCE_MS)
    assert workbench.project.state().detected_with["two_photon"]["model"] == "two_photon-painted-1"
    assert set(before) <= set(workbench.project.state().somata["two_photon"])
