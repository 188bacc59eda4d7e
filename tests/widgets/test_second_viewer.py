"""What somebody else does in the same project is seen here."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtWidgets import QLabel

from fixtures.user import User
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.presence import WindowPresence
from napari_neurobridge.types import SomaSource
from napari_neurobridge.viewer.log_timer import PERIOD_MS
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def bench(user: User, points_project_folder: Path) -> Workbench:
    user.menu("Plugins", "NeuroBridge", "Data")
    workbench = binding_for(user.viewer).workbench
    workbench.setup.open_project(points_project_folder)
    user.wait(lambda: workbench.project is not None)
    return workbench


def test_another_window_is_named_and_its_work_is_drawn(
    user: User, bench: Workbench, points_project_folder: Path
) -> None:
    words = user.find(QLabel, "others_text")
    assert not words.isVisible()
    colleague = WindowPresence(points_project_folder, "ben")
    colleague.refresh()
    user.wait(words.isVisible, timeout_ms=10 * PERIOD_MS)
    assert words.text() == "Also open elsewhere, in another window: both stay in step."

    other = Project.open(points_project_folder)
    layer = user.viewer.layers["two_photon somata"]
    before = len(layer.data)
    annotate.add_somata(
        other, "two_photon", [(1.0, 2.0, 3.0)], source=SomaSource.MANUAL, annotator="ben"
    )
    user.wait(lambda: len(layer.data) == before + 1, timeout_ms=10 * PERIOD_MS)
    detail = user.find(QLabel, "detail_somata")
    user.wait(lambda: f"{before + 1} in two_photon" in detail.text())

    colleague.leave()
    user.wait(lambda: not words.isVisible(), timeout_ms=10 * PERIOD_MS)


def test_a_closed_viewer_looks_no_longer(
    user: User, bench: Workbench, points_project_folder: Path
) -> None:
    binding = binding_for(user.viewer)
    user.wait(lambda: list((points_project_folder / "open").glob("*.json")))
    binding.shut()
    assert not binding._log_timer.isActive()
    assert not list((points_project_folder / "open").glob("*.json"))
