"""Back and forth through the cells that were asked about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

CELLS = ("tp-00001", "tp-00002", "tp-00003")


@pytest.fixture
def workbench(loop: Loop, points_project_folder: Path) -> Iterator[Workbench]:
    """Three cells were asked about."""
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(Project.open(points_project_folder))
    for uid in CELLS:
        bench.questions.select("two_photon", uid)
    yield bench
    bench.close()


def _asked(workbench: Workbench) -> str:
    return workbench.questions.query.uid


def test_back_and_forward(workbench: Workbench) -> None:
    visits = workbench.visits
    seen = [_asked(workbench)]
    for step in (visits.back, visits.back, visits.forward):
        step()
        seen.append(_asked(workbench))
    assert seen == ["tp-00003", "tp-00002", "tp-00001", "tp-00002"]
    assert visits.can_go_back
    assert visits.can_go_forward


def test_a_new_question_replaces_what_lay_ahead(workbench: Workbench) -> None:
    workbench.visits.back()
    workbench.questions.select("two_photon", "tp-00009")
    assert not workbench.visits.can_go_forward
    workbench.visits.back()
    assert _asked(workbench) == "tp-00002"


def test_there_is_an_end_and_it_is_said(workbench: Workbench) -> None:
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    workbench.visits.forward()
    assert "after this one" in heard[-1].text
    for _ in range(3):
        workbench.visits.back()
    assert "before this one" in heard[-1].text
    assert _asked(workbench) == "tp-00001"
    assert not workbench.visits.can_go_back


def test_removed_cells_are_passed_over(workbench: Workbench) -> None:
    annotate.delete_soma(workbench.project, "tp-00002", annotator="me")
    workbench.session.somata_were_changed("two_photon")
    workbench.visits.back()
    assert _asked(workbench) == "tp-00001"


def test_going_back_to_an_open_audit_keeps_it_blind(workbench: Workbench) -> None:
    workbench.questions.select("two_photon", "tp-00009", audit=True)
    workbench.questions.select("two_photon", "tp-00001")
    workbench.visits.back()
    assert workbench.questions.query.uid == "tp-00009"
    assert workbench.questions.snapshot.blind

    annotate.none(workbench.project, "tp-00009", annotator="me")
    workbench.visits.back()
    workbench.visits.forward()
    assert not workbench.questions.snapshot.blind, "it was decided"


def test_another_project_starts_anew(workbench: Workbench) -> None:
    workbench.session.set_project(None)
    assert not workbench.visits.can_go_back
    workbench.visits.back()
