"""The box of all cells: what a match brought, what the next step would, and how to stop one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QPushButton, QSlider

from fixtures.loops import Loop
from fixtures.points import PointsWorld
from napari_neurobridge.matching.match import Match
from napari_neurobridge.types import Report
from napari_neurobridge.widgets.match_all import MatchAllBox
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.match import Claims

WIDTH_PX = 400


@pytest.fixture
def workbench(points_world: PointsWorld, tmp_path: Path, loop: Loop) -> Iterator[Workbench]:
    """Opened on a project with six accepted pairs, matched."""
    workbench = Workbench(loop, annotator="me")
    workbench.session.set_project(points_world.project(tmp_path / "p.neurobridge", 6))
    loop.run_until(lambda: workbench.matches.match is not None and not workbench.matches.updating)
    yield workbench
    workbench.close()


@pytest.fixture
def box(workbench: Workbench, qtbot: Any) -> MatchAllBox:
    shown = MatchAllBox(workbench)
    qtbot.addWidget(shown)
    shown.resize(WIDTH_PX, 300)
    shown.show()
    return shown


def click(box: MatchAllBox, name: str) -> None:
    button = box.findChild(QPushButton, name)
    assert button.isVisible()
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_next_step_of_the_slider_is_told(box: MatchAllBox, workbench: Workbench) -> None:
    text, slider = box.findChild(QLabel, "next_cut_text"), box.findChild(QSlider, "fdr_slider")
    match = workbench.matches.match
    now, then = (len(Claims.of(match, fdr).pairs) for fdr in (0.01, 0.02))
    slider.setValue(1)
    expected = {0: "no more pairs", 1: "1 more pair"}.get(then - now, f"{then - now} more pairs")
    assert text.text() == f"At most 2 % wrong: {expected}"
    assert text.isVisible()
    slider.setValue(slider.maximum())
    assert not text.isVisible()
    assert box.minimumSizeHint().width() <= WIDTH_PX


def test_a_decoy_check_shows_how_far_it_is_and_is_stopped_where_it_was_begun(
    box: MatchAllBox, workbench: Workbench, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def decoys(match: Match, fdr: float, *, report: Report) -> None:
        report(2, 6, "decoy 3 of 6")
        assert go.wait(60)
        report(3, 6, "decoy 4 of 6")

    monkeypatch.setattr(Match, "decoys", decoys)
    click(box, "decoys_button")
    assert not box.findChild(QPushButton, "decoys_button").isEnabled()
    loop.run_until(lambda: "3 of 6" in box.findChild(QLabel, "job_text_decoys").text())
    click(box, "cancel_decoys")
    go.set()
    loop.run_until(lambda: not workbench.matches.checking)
    assert box.findChild(QPushButton, "decoys_button").isEnabled()
    assert "Decoy" not in box.findChild(QLabel, "match_all_text").text()


def test_a_cancelled_match_says_so_and_offers_another(
    box: MatchAllBox, workbench: Workbench, loop: Loop
) -> None:
    again = box.findChild(QPushButton, "match_again_button")
    assert not again.isVisible()
    workbench.matches.again()
    workbench.session.jobs.cancel("match")
    loop.run_until(lambda: not workbench.matches.updating)
    assert "was cancelled" in box.findChild(QLabel, "match_all_text").text()
    click(box, "match_again_button")
    loop.run_until(lambda: not workbench.matches.updating)
    assert not again.isVisible()
    assert "cancelled" not in box.findChild(QLabel, "match_all_text").text()
