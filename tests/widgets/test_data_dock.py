"""The Data dock, from two dropped files to an open project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QWidget,
)
from roifile import ImagejRoi, roiwrite

from fixtures.rois import disks, write_roicat, write_suite2p
from fixtures.viewers import finish_jobs, show_dock
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Basis, Role
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.styles import FIELD_UM, SLAB_UM
from napari_neurobridge.widgets.data import DataWidget
from napari_neurobridge.workbench.checklist import Step
from napari_neurobridge.workbench.job_status import JobState
from napari_neurobridge.workflows.rois import RoiPlace, import_rois


@pytest.fixture
def dock(binding: ViewerBinding) -> DataWidget:
    return show_dock(binding, "Data")


def _drop(dock: DataWidget, paths: list[Path]) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    dock.dropEvent(
        QDropEvent(
            QPointF(QPoint(5, 5)),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )


def _click(button: QWidget) -> None:
    """Scroll to a button, as a person does, and click it."""
    for _ in range(3):
        QApplication.processEvents()
    parent = button.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    if parent is not None and button.isVisible():
        parent.ensureWidgetVisible(button)
        QApplication.processEvents()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def _mark(dock: DataWidget, step: Step) -> str:
    return dock.rows[step].mark.text()


def test_two_dropped_files_become_a_project(
    dock: DataWidget,
    binding: ViewerBinding,
    image_folder: Path,
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    thumbnail_encoder: object,
) -> None:
    create = dock.findChild(QPushButton, "create_button")
    assert not create.isEnabled()
    assert "drop" in dock.findChild(QLabel, "project_name").text()

    _drop(dock, [image_folder / "two_photon.tif", image_folder / "fmost.tif"])
    qtbot.waitUntil(create.isEnabled, timeout=10_000)
    assert [_mark(dock, step) for step in Step] == ["✓", "✓", "✓", "○", "○", "○"]

    folder = tmp_path / "mouse.neurobridge"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder), ""))
    _click(create)
    qtbot.waitUntil(lambda: binding.workbench.project is not None, timeout=10_000)
    assert binding.workbench.project.path == folder
    assert "mouse.neurobridge" in dock.findChild(QLabel, "project_name").text()
    qtbot.waitUntil(lambda: "two_photon" in binding.viewer.layers, timeout=10_000)
    assert {layer.name for layer in binding.viewer.layers} == {"two_photon", "two_photon somata"}
    assert not dock.rows[Step.ORIENTATION].form.isHidden(), "the next thing to do is open"
    assert dock.rows[Step.INDEX].form.isHidden()
    _click(dock.findChild(QPushButton, "orientation_button"))
    assert _mark(dock, Step.ORIENTATION) == "✓", "confirming the default counts"
    assert not dock.rows[Step.SOMATA].form.isHidden()


def test_a_dropped_project_is_opened(
    dock: DataWidget, binding: ViewerBinding, project_folder: Path, qtbot: Any
) -> None:
    _drop(dock, [project_folder])
    qtbot.waitUntil(lambda: binding.workbench.project is not None, timeout=10_000)
    assert binding.workbench.project.path == project_folder
    qtbot.waitUntil(lambda: _mark(dock, Step.INDEX) == "✓", timeout=20_000)
    assert [_mark(dock, step) for step in Step] == ["✓"] * len(Step)


def test_a_file_that_cannot_be_read_is_explained(
    dock: DataWidget, binding: ViewerBinding, tmp_path: Path, qtbot: Any
) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"not a picture")
    binding.workbench.setup.choose_image(Role.IN_VIVO, broken)
    status = dock.findChild(QLabel, "status_text")
    qtbot.waitUntil(lambda: "broken.tif" in status.text(), timeout=10_000)
    assert status.text().startswith("⚠")
    assert _mark(dock, Step.TWO_PHOTON) == "○"


def test_the_orientation_form_turns_the_second_canvas(opened: ViewerBinding, qtbot: Any) -> None:
    dock = show_dock(opened, "Data")
    form = dock.rows[Step.ORIENTATION].form
    assert form.form.value().axes == "+y+z-x"
    editor = form.form.findChild(object, "axes")
    editor.setValue("+x+z+y")
    _click(dock.findChild(QPushButton, "orientation_button"))
    assert opened.workbench.project.dataset("fmost").orientation.axes == "+x+z+y"
    assert opened.second.model.dims.order == (2, 0, 1)
    editor.setValue("+x+x+y")
    _click(dock.findChild(QPushButton, "orientation_button"))
    assert "must name z, y and x" in form.problem.text()
    assert opened.workbench.project.dataset("fmost").orientation.axes == "+x+z+y"


def test_the_same_axes_are_confirmed_with_one_button(opened: ViewerBinding) -> None:
    dock = show_dock(opened, "Data")
    project = opened.workbench.project
    project.update_dataset("fmost", orientation=None)
    opened.workbench.setup.checklist_changed.emit()
    assert "not stated" in dock.rows[Step.ORIENTATION].detail.text()
    button = dock.findChild(QPushButton, "confirm_same_axes_button")
    _click(button)
    assert dock.rows[Step.ORIENTATION].detail.text() == "same axes (confirmed)"
    assert project.dataset("fmost").orientation == Orientation()


def test_a_suggested_angle_is_used_only_when_asked(
    opened: ViewerBinding, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = show_dock(opened, "Data")
    workbench, form = opened.workbench, dock.rows[Step.ORIENTATION].form
    started: list[list[str]] = []
    answers = [
        {"orientation": None, "text": "The angle is not known."},
        {
            "orientation": Orientation(axes="+y+z-x", angle_deg=12).model_dump(mode="json"),
            "text": "Angle 12° is suggested.",
        },
    ]

    def start(name: str, arguments: list[str], on_finished: Any, **_: Any) -> None:
        started.append(arguments)
        on_finished(answers[len(started) - 1])

    monkeypatch.setattr(workbench.session.jobs, "start", start)
    suggest = dock.findChild(QPushButton, "suggest_angle_button")
    use = dock.findChild(QPushButton, "use_angle_button")
    assert suggest.isEnabled()
    _click(suggest)
    assert started == [["orient", str(workbench.project.path)]]
    assert form.suggestion.text() == "The angle is not known."
    assert use.isHidden()
    _click(suggest)
    assert "12°" in form.suggestion.text()
    assert workbench.project.dataset("fmost").orientation.angle_deg == 0, "nothing is done yet"
    _click(use)
    assert workbench.project.dataset("fmost").orientation.angle_deg == 12
    assert form.form.value().angle_deg == 12
    assert form.suggestion.isHidden(), "it was about the orientation before"


def test_dropping_an_image_on_an_open_project_asks_first(
    opened: ViewerBinding, image_folder: Path, qtbot: Any
) -> None:
    dock = show_dock(opened, "Data")
    project = opened.workbench.project
    _drop(dock, [image_folder / "two_photon.tif"])
    remedy = dock.findChild(QPushButton, "remedy_button")
    qtbot.waitUntil(remedy.isVisible)
    finish_jobs(opened, qtbot)
    assert opened.workbench.project is project
    _click(remedy)
    qtbot.waitUntil(lambda: opened.workbench.project is None, timeout=10_000)
    assert Role.IN_VIVO in opened.workbench.setup.draft.images


def test_a_typed_voxel_size_leaves_the_other_one_alone(
    dock: DataWidget, binding: ViewerBinding, image_folder: Path, qtbot: Any
) -> None:
    setup = binding.workbench.setup
    _drop(dock, [image_folder / "two_photon.tif", image_folder / "fmost.tif"])
    qtbot.waitUntil(lambda: setup.draft.complete, timeout=10_000)
    exact = (0.12345678901, 0.4567891, 0.05000000001)
    setup.set_voxel_size(Role.IN_VIVO, exact)
    form = dock.rows[Step.VOXEL_SIZES].form
    form.edits[Role.EX_VIVO].setValue((1.5, 0.65, 0.65))
    _click(form.apply_button)
    assert setup.draft.images[Role.IN_VIVO].voxel_size_um == exact
    assert setup.draft.images[Role.EX_VIVO].voxel_size_um == (1.5, 0.65, 0.65)


@pytest.mark.slow
def test_detect_runs_in_a_child_process(opened: ViewerBinding, qtbot: Any) -> None:
    dock = show_dock(opened, "Data")
    dock.rows[Step.SOMATA].title.setChecked(True)
    states: list[JobState] = []
    opened.workbench.session.job_changed.connect(lambda status: states.append(status.state))
    _click(dock.findChild(QPushButton, "detect_button"))
    qtbot.waitUntil(lambda: JobState.FINISHED in states, timeout=60_000)
    kinds = [event.kind for event in opened.workbench.project.log.events()]
    assert "detection_run" in kinds


def test_two_dropped_tables_become_a_project_that_can_be_matched(
    dock: DataWidget,
    binding: ViewerBinding,
    point_tables: Path,
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = dock.findChild(QPushButton, "create_button")
    _drop(dock, [point_tables / "fmost.csv", point_tables / "two_photon.csv"])
    qtbot.waitUntil(create.isEnabled, timeout=10_000)
    assert dock.rows[Step.TWO_PHOTON].detail.text() == "points only: 50 in two_photon.csv"
    assert dock.rows[Step.FMOST].detail.text() == "points only: 100 in fmost.csv"
    assert "none needed" in dock.rows[Step.VOXEL_SIZES].detail.text()
    assert [_mark(dock, step) for step in Step] == ["✓", "✓", "✓", "○", "○", "○"]

    folder = tmp_path / "points.neurobridge"
    suggested: list[str] = []

    def choose(_dock: object, _title: str, start: str, _filter: str) -> tuple[str, str]:
        suggested.append(start)
        return str(folder), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    _click(create)
    qtbot.waitUntil(lambda: binding.workbench.project is not None, timeout=10_000)
    assert suggested == [str(point_tables / "two_photon.neurobridge")]
    assert [_mark(dock, step) for step in Step] == ["✓", "✓", "✓", "○", "✓", "✓"]
    assert "not needed" in dock.rows[Step.INDEX].detail.text()
    assert dock.rows[Step.TWO_PHOTON].detail.text() == "points only"
    assert not dock.findChild(QPushButton, "detect_button").isEnabled()
    orientation = dock.rows[Step.ORIENTATION].form
    orientation.form.findChild(object, "axes").setValue("+y+z-x")
    _click(dock.findChild(QPushButton, "orientation_button"))
    assert [_mark(dock, step) for step in Step] == ["✓"] * len(Step)

    def somata_in_sight(model: Any, layer: Any) -> int:
        depth, rows, columns = model.dims.order
        near = np.abs(layer.data[:, depth] - model.dims.point[depth]) < SLAB_UM / 2
        away = layer.data[near][:, [rows, columns]] - model.scene.camera.center[1:]
        return int((np.abs(away) < FIELD_UM / 2).all(axis=1).sum())

    for model, name in ((binding.viewer, "two_photon"), (binding.second.model, "fmost")):
        layer = model.layers[f"{name} somata"]
        qtbot.waitUntil(lambda m=model, layer=layer: somata_in_sight(m, layer) > 0)
        # A test's window is narrow: at least the usual field then, and nothing smaller.
        assert 100 / FIELD_UM <= model.scene.camera.zoom <= 1000 / FIELD_UM

    questions, matches = binding.workbench.questions, binding.workbench.matches
    for _ in range(4):
        questions.next_query()
        qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
        uid = questions.query.uid
        questions.choose_soma(uid.replace("tp", "fm"))
        qtbot.waitUntil(
            lambda uid=uid: questions.choice is not None and questions.choice.uid[2:] == uid[2:],
            timeout=10_000,
        )
        binding.workbench.verdicts.accept()
        qtbot.waitUntil(lambda: not matches.updating, timeout=30_000)
    questions.select("two_photon", "tp-00040")
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    ranking = questions.answer.ranking
    assert ranking.basis is Basis.PROBABILITY
    assert "fm-00040" in {candidate.uid for candidate in ranking.candidates}


def test_a_points_button_takes_a_table_beside_an_image(
    dock: DataWidget,
    binding: ViewerBinding,
    image_folder: Path,
    point_tables: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = binding.workbench.setup
    setup.choose_image(Role.IN_VIVO, image_folder / "two_photon.tif")
    qtbot.waitUntil(lambda: Role.IN_VIVO in setup.draft.images, timeout=10_000)
    path = str(point_tables / "two_photon.csv")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    button = dock.findChild(QPushButton, "two_photon_points_button")
    _click(button)
    qtbot.waitUntil(lambda: Role.IN_VIVO in setup.draft.points, timeout=10_000)
    detail = dock.rows[Step.TWO_PHOTON].detail.text()
    assert "two_photon.tif" in detail
    assert "50 in two_photon.csv" in detail
    broken = image_folder / "two_photon.npy"
    setup.choose_points(Role.EX_VIVO, broken)
    status = dock.findChild(QLabel, "status_text")
    qtbot.waitUntil(lambda: status.text().startswith("⚠"), timeout=10_000)
    assert not setup.draft.complete


@pytest.fixture
def suite2p_plane(tmp_path: Path) -> Path:
    """ROIs in the pixels of the two-photon image of `opened`, the second of them no cell."""
    masks = disks([(20, 30), (40, 50), (60, 20)], 4, (100, 100))
    return write_suite2p(tmp_path / "plane0", masks, iscell=[1, 0, 1])


def test_rois_are_imported_with_a_button_and_drawn(
    opened: ViewerBinding, suite2p_plane: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = show_dock(opened, "Data")
    dock.rows[Step.SOMATA].title.setChecked(True)
    project, status = opened.workbench.project, dock.findChild(QLabel, "status_text")
    before = set(project.state().somata["two_photon"])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(suite2p_plane))
    press = dock.findChild(QPushButton, "import_roi_folder_button")
    _click(press)
    qtbot.waitUntil(lambda: "about one plane" in status.text())
    assert "type it as 'depth of ROIs'" in status.text()
    assert set(project.state().somata["two_photon"]) == before

    depth = dock.findChild(QLineEdit, "roi_depth")
    qtbot.keyClicks(depth, "deep")
    _click(press)
    assert "'deep' is no number of µm" in status.text()
    depth.clear()
    qtbot.keyClicks(depth, "24")
    _click(press)
    qtbot.waitUntil(lambda: "two_photon outlines" in opened.viewer.layers, timeout=20_000)
    new = set(project.state().somata["two_photon"]) - before
    assert new == {"s2p-p0-00000", "s2p-p0-00002"}
    layers = opened.viewer.layers
    outlines, somata = layers["two_photon outlines"], layers["two_photon somata"]
    assert layers.index(outlines) < layers.index(somata), "circles stay on top"
    assert layers.selection.active is somata, "keys act on the somata"
    for uid in new:
        z, y, x = project.state().soma(uid).center_um
        corners = outlines.data[:, 0]
        distance = np.linalg.norm(corners - (z, y, x), axis=1)
        assert z == 24
        # Pixels are 2 µm wide, so a disk of 4 pixels reaches to about 8 µm.
        assert 5 < distance.min() < 10


def test_dropped_rois_are_imported_when_asked(
    opened: ViewerBinding, tmp_path: Path, qtbot: Any
) -> None:
    dock = show_dock(opened, "Data")
    dock.findChild(QComboBox, "detect_dataset").setCurrentText("fmost")
    drawn = ImagejRoi.frompoints([(5, 5), (15, 5), (15, 15), (5, 15)])
    drawn.position = 3
    roiwrite(tmp_path / "RoiSet.zip", [drawn], name=["my cell"])
    project = opened.workbench.project
    _drop(dock, [tmp_path / "RoiSet.zip"])
    remedy = dock.findChild(QPushButton, "remedy_button")
    qtbot.waitUntil(remedy.isVisible)
    assert remedy.text() == "Import into fmost"
    assert "my cell" not in project.state().somata["fmost"]
    _click(remedy)
    qtbot.waitUntil(lambda: "my cell" in project.state().somata["fmost"])
    status = dock.findChild(QLabel, "status_text")
    qtbot.waitUntil(lambda: "imported 1 of 1 ROIs (ImageJ) into fmost" in status.text())


def test_rois_without_a_project_say_what_is_missing(
    dock: DataWidget, binding: ViewerBinding, suite2p_plane: Path
) -> None:
    _drop(dock, [suite2p_plane])
    status = dock.findChild(QLabel, "status_text")
    assert "No project is open" in status.text()
    assert not binding.workbench.setup.draft.images


def test_matches_of_other_programs_are_asked_about_and_not_believed(
    opened: ViewerBinding, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = show_dock(opened, "Data")
    dock.rows[Step.SOMATA].title.setChecked(True)
    project, status = opened.workbench.project, dock.findChild(QLabel, "status_text")
    path = write_roicat(tmp_path / "r.json", [[7], [-1, 7], [7, -1]])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    press = dock.findChild(QPushButton, "import_matches_button")
    _click(press)
    qtbot.waitUntil(lambda: "import them with Import ROIs" in status.text())

    for dataset, z_um in (("two_photon", 20.0), ("fmost", 30.0)):
        plane = write_suite2p(
            tmp_path / "plane0", disks([(20, 20), (30, 40)], 3, (60, 60)), iscell=[1, 1]
        )
        import_rois(project, dataset, plane, place=RoiPlace(z_um=z_um))
    dock.findChild(QSpinBox, "second_session").setValue(2)
    assert "session of fmost" in {label.text() for label in dock.findChildren(QLabel)}
    _click(press)
    qtbot.waitUntil(lambda: "1 claims of ROICaT to review" in status.text())
    (claim,) = project.state().claims
    assert claim.pair == ("s2p-p0-00000", "fmost-s2p-p0-00000")
    assert project.state().pairs == {}
    opened.workbench.questions.next_query()
    shown = opened.workbench.questions.snapshot
    assert shown.query.uid == "s2p-p0-00000"
    assert "ROICaT pairs it with fmost-s2p-p0-00000" in shown.reason
