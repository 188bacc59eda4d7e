"""The first quarter of an hour of a new user, with the bundled model and no stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QListWidget, QPushButton

from napari_neurobridge.project.log.payload import EventKind
from napari_neurobridge.types import Verdict
from napari_neurobridge.viewer.registry import binding_for

_PATIENCE_MS = 240_000


@pytest.mark.slow
def test_open_sample_click_accept_undo(
    make_napari_viewer: Callable[..., Any], qtbot: Any, click_canvas: Callable[..., None]
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("napari-neurobridge", "simulated_scene")
    binding = binding_for(viewer)
    setup, questions = binding.workbench.setup, binding.workbench.questions
    qtbot.waitUntil(
        lambda: setup.index_state is not None and setup.index_state.complete, timeout=_PATIENCE_MS
    )
    qtbot.waitUntil(
        lambda: "two_photon" in viewer.layers and binding.second.header.image is not None
    )
    project = binding.workbench.project
    assert len(project.state().somata["two_photon"]) > 50
    assert len(project.state().somata["fmost"]) > 200

    clearest = questions.queue()[0].uid
    click_canvas(viewer, project.state().soma(clearest).center_um)
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=60_000)
    assert questions.query.uid == clearest
    dock = viewer.window.dock_widgets["Match (NeuroBridge)"]
    candidates = dock.findChild(QListWidget, "candidates")
    assert candidates.count() == 10, "none of these, and nine"
    assert not candidates.item(9).icon().isNull()

    accept = dock.findChild(QPushButton, "accept_button")
    QTest.mouseClick(accept, Qt.MouseButton.LeftButton)
    event = project.log.events()[-1]
    assert event.kind is EventKind.VERDICT
    assert event.content.verdict is Verdict.ACCEPT
    assert event.content.query_uid == clearest
    assert event.content.evidence.model_hash.startswith("compact@")
    assert project.state().pairs == {clearest: questions.choice.uid}

    undo = dock.findChild(QPushButton, "undo_button")
    QTest.mouseClick(undo, Qt.MouseButton.LeftButton)
    assert project.state().pairs == {}
    binding.shut()
