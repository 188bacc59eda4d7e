"""What comes into a project from the window, and leaves it: layers, recent projects, exports."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QFileDialog, QLabel, QMenu, QPushButton

from fixtures.user import User
from napari_neurobridge.types import Role
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def bench(user: User) -> Workbench:
    """The workbench of a window in which the Data dock was opened from the menu."""
    user.menu("Plugins", "NeuroBridge", "Data")
    return binding_for(user.viewer).workbench


def _entries(menu: QMenu) -> dict[str, Any]:
    return {action.text(): action for action in menu.actions()}


def test_layers_become_a_project(
    user: User, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 4000, (12, 60, 60)).astype(np.uint16)
    user.viewer.add_image(stack, name="site 3", scale=(2, 1, 1), units=("um",) * 3)
    user.viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="photo")
    user.viewer.add_points(rng.uniform(0, 50, (30, 3)), name="brain cells", units=("um",) * 3)
    target = tmp_path / "site.ome.zarr"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    seen = user.choose(user.find(QPushButton, "two_photon_layer_button"), "site 3")
    assert seen[0] == "site 3  (image)"
    assert "colour image" in seen[1]
    assert seen[2] == "brain cells  (points)"
    user.wait(lambda: Role.IN_VIVO in bench.setup.draft.images)
    assert target.is_dir()
    user.choose(user.find(QPushButton, "fmost_layer_button"), "brain cells")
    user.wait(lambda: bench.setup.draft.complete)
    folder = tmp_path / "new.neurobridge"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder), ""))
    user.click(user.find(QPushButton, "create_button"))
    user.wait(lambda: bench.project is not None)
    project = bench.project
    assert project.dataset("two_photon").used_voxel_size_um == (2.0, 1.0, 1.0)
    assert len(project.state().somata["fmost"]) == 30
    assert "site 3" in user.viewer.layers, "the user's own layers stay"


def test_a_photo_cannot_be_chosen(user: User, bench: Workbench) -> None:
    user.viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="photo")
    user.choose(user.find(QPushButton, "two_photon_layer_button"), "photo")
    user.settle()
    assert not bench.setup.draft.images


def test_a_project_is_opened_again_and_one_that_is_gone_is_not_offered(
    user: User, bench: Workbench, points_project_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.neurobridge"
    shutil.copytree(points_project_folder, other)
    recent = user.find(QPushButton, "recent_button")
    assert user.choose(recent, "no project") == ["no project was opened yet"]
    for folder in (points_project_folder, other):
        bench.setup.open_project(folder)
        user.wait(lambda folder=folder: bench.project and bench.project.path == folder)
    user.show_tab("Data")
    seen = user.choose(recent, points_project_folder.name)
    assert seen == ["other.neurobridge", points_project_folder.name]
    user.wait(lambda: bench.project.path == points_project_folder)
    shutil.rmtree(other)
    recent.menu().aboutToShow.emit()
    gone = _entries(recent.menu())["other.neurobridge  (not found)"]
    assert not gone.isEnabled()
    assert user.find(QLabel, "project_name").text() == f"<b>{points_project_folder.name}</b>"


def test_tables_and_a_figure_of_the_pair_are_exported_from_the_dock(
    user: User,
    bench: Workbench,
    project_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = user.find(QPushButton, "export_button")
    assert not export.isEnabled(), "there is nothing to export yet"
    bench.setup.open_project(project_folder)
    user.wait(lambda: bench.project is not None and "two_photon" in user.viewer.layers)
    bench.questions.select("two_photon", "tp-00001")
    user.wait(lambda: bench.questions.snapshot.candidates)
    bench.questions.choose(1)
    user.show_tab("Data")

    def save_as(name: str) -> Path:
        # The dialog's name has no suffix: the usual one is added.
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / name), ""))
        return tmp_path / name

    status = user.find(QLabel, "status_text")
    verdicts = save_as("mine")
    seen = user.choose(export, "Verdicts")
    assert [text for text in seen if text][:4] == [
        "Somata of two_photon (CSV)…",
        "Somata of fmost (CSV)…",
        "Pairs (CSV)…",
        "Verdicts (CSV)…",
    ]
    user.wait(verdicts.with_suffix(".csv").exists)
    user.wait(lambda: "wrote mine.csv" in status.text())
    figure = save_as("pair.png")
    user.choose(export, "Figure of this pair")
    user.wait(figure.exists)
    user.wait(lambda: "wrote pair.png" in status.text())
    height, width = np.asarray(Image.open(figure)).shape[:2]
    assert width == 1200, "six inches"
    assert height > width, "crops above, canvases below"
    save_as("page.png")
    user.choose(export, "Insight: Top-k")
    user.wait(lambda: "Evaluate" in status.text() or "pairs" in status.text())
    assert not (tmp_path / "page.png").exists(), "there is nothing to draw yet"
