"""The plane of a recording drawn in the fMOST canvas, from the dock's checkbox to the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QCheckBox

from fixtures.viewers import handle_events, show_dock
from napari_neurobridge.io.tables import write_points
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Role
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.plane_layers import PLANE_KEY
from napari_neurobridge.viewer.styles import SLAB_UM
from napari_neurobridge.workflows.setup import DatasetSource, create_project

N_CELLS = 90
WIDTH_UM, BEND_UM, DEPTH_UM = 400.0, 30.0, 150.0


def _sheet(points: np.ndarray) -> np.ndarray:
    """Return the depth of the true sheet below points (N, 3)."""
    return DEPTH_UM + BEND_UM * np.sin(points[:, 2] * 2 * np.pi / 600.0)


@pytest.fixture
def points_project_folder(tmp_path: Path, request: Any) -> Path:
    """A project of a plane of cells, which lie on a curved sheet among as many others."""
    rng = np.random.default_rng(8)
    cells = rng.uniform(0, [0.0, WIDTH_UM, WIDTH_UM], (N_CELLS, 3))
    there = cells + rng.normal(0, 0.5, cells.shape)
    there[:, 0] += _sheet(cells)
    others = rng.uniform(0, [2 * DEPTH_UM, WIDTH_UM, WIDTH_UM], (N_CELLS, 3))
    kind = getattr(request, "param", "in-vivo")
    if kind == "none":
        cells[:, 0] = rng.uniform(0, 100, N_CELLS)
    sides = [cells, np.vstack([there, others])]
    for name, side in zip(("tp", "fm"), sides[::-1] if kind == "ex-vivo" else sides, strict=True):
        write_points(tmp_path / f"{name}.csv", [f"{name}-{i:03d}" for i in range(len(side))], side)
    folder = tmp_path / "plane.neurobridge"
    create_project(
        folder,
        [
            DatasetSource("two_photon", Role.IN_VIVO, points=tmp_path / "tp.csv"),
            DatasetSource("fmost", Role.EX_VIVO, points=tmp_path / "fm.csv"),
        ],
    ).close()
    return folder


@pytest.fixture
def check(opened_points: ViewerBinding) -> QCheckBox:
    dock = show_dock(opened_points, "Match")
    return dock.findChild(QCheckBox, "plane_check")


def _accept(opened: ViewerBinding, qtbot: Any, numbers: range) -> None:
    for number in numbers:
        uids = f"tp-{number:03d}", f"fm-{number:03d}"
        annotate.accept(opened.workbench.project, *uids, annotator="fixture")
    opened.workbench.session.verdicts_changed.emit()
    matches = opened.workbench.matches
    qtbot.waitUntil(lambda: matches.match is not None and not matches.updating, timeout=30_000)
    handle_events(qtbot)


def _layers(model: Any) -> dict[str, Any]:
    return {x.metadata[PLANE_KEY]: x for x in model.layers if PLANE_KEY in x.metadata}


def _lies_at(layer: Any, depth_um: float) -> bool:
    return len(layer.data) > 0 and np.allclose(layer.data[:, 0, 0], depth_um)


def _show(opened: ViewerBinding, check: QCheckBox, qtbot: Any) -> dict[str, Any]:
    check.click()
    qtbot.waitUntil(lambda: len(_layers(opened.second.model)) == 2, timeout=20_000)
    return _layers(opened.second.model)


def test_the_plane_is_drawn_and_its_line_follows_the_slice(
    check: QCheckBox, opened_points: ViewerBinding, qtbot: Any
) -> None:
    assert check.isHidden(), "nothing is matched"
    _accept(opened_points, qtbot, range(12))
    assert not check.isHidden()
    assert check.text() == "Show the in-vivo plane"
    model = opened_points.second.model
    active = model.layers.selection.active
    layers = _show(opened_points, check, qtbot)
    assert "known within ±" in check.text()
    assert model.layers.selection.active is active, "the keys act on the somata"
    assert not _layers(opened_points.viewer), "it is drawn on the other side alone"

    net = layers["net"].data
    assert np.quantile(np.abs(net[:, 0, 0] - _sheet(net[:, 0])), 0.9) < 8.0
    shades = np.unique(layers["net"].edge_color.round(3), axis=0)
    assert len(shades) > 10, "the colour is that of the uncertainty"

    for asked in (DEPTH_UM - 20.0, DEPTH_UM + 10.0):
        model.dims.set_point(0, asked)
        depth, line = model.dims.point[0], layers["crossing"]
        qtbot.waitUntil(lambda d=depth, x=line: _lies_at(x, d))
        assert np.abs(_sheet(line.data[:, 0]) - depth).max() < 10.0
        assert len(line._view_indices) == len(line.data), "napari draws the whole line"
        drawn = net[layers["net"]._view_indices, 0, 0]
        assert len(drawn)
        assert np.abs(drawn - depth).max() <= SLAB_UM / 2
    model.dims.set_point(0, DEPTH_UM + 4 * BEND_UM)
    qtbot.waitUntil(lambda: len(layers["crossing"].data) == 0)

    model.dims.ndisplay = 3
    handle_events(qtbot)
    assert len(layers["net"]._view_indices) == len(net)
    model.dims.ndisplay = 2
    check.click()
    qtbot.waitUntil(lambda: not _layers(model))


def test_the_plane_follows_the_alignment(
    check: QCheckBox, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot, range(5))
    layers = _show(opened_points, check, qtbot)
    before = np.asarray(layers["net"].data)
    _accept(opened_points, qtbot, range(5, 20))
    qtbot.waitUntil(lambda: not np.array_equal(layers["net"].data, before))
    assert _layers(opened_points.second.model) == layers, "they are the same layers"


def test_a_random_check_hides_the_plane(
    check: QCheckBox, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot, range(12))
    layers = _show(opened_points, check, qtbot)
    questions = opened_points.workbench.questions
    questions.select("two_photon", "tp-050", audit=True)
    qtbot.waitUntil(lambda: all(len(x.data) == 0 for x in layers.values()), timeout=20_000)
    opened_points.second.model.dims.set_point(0, DEPTH_UM)
    handle_events(qtbot)
    assert len(layers["crossing"].data) == 0
    questions.select("two_photon", "tp-051")
    qtbot.waitUntil(lambda: len(layers["net"].data) > 0, timeout=20_000)


@pytest.mark.parametrize("points_project_folder", ["ex-vivo"], indirect=True)
def test_a_plane_of_the_other_side_is_drawn_in_the_first_canvas(
    check: QCheckBox, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot, range(12))
    assert check.text() == "Show the ex-vivo plane"
    check.click()
    qtbot.waitUntil(lambda: len(_layers(opened_points.viewer)) == 2, timeout=20_000)
    net = _layers(opened_points.viewer)["net"].data
    assert np.quantile(np.abs(net[:, 0, 0] - _sheet(net[:, 0])), 0.9) < 8.0
    assert not _layers(opened_points.second.model)


@pytest.mark.parametrize("points_project_folder", ["none"], indirect=True)
def test_a_volume_is_offered_no_plane(
    check: QCheckBox, opened_points: ViewerBinding, qtbot: Any
) -> None:
    _accept(opened_points, qtbot, range(12))
    assert check.isHidden()
