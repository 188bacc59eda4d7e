"""Which cell is asked next."""

from __future__ import annotations

from fixtures.projects import true_partner
from napari_neurobridge.active.queue import clearest_first
from napari_neurobridge.project import annotate
from napari_neurobridge.project.folder import Project
from napari_neurobridge.types import SomaSource


def _queue(project: Project) -> list[str]:
    return [item.uid for item in clearest_first(project.state(), "two_photon")]


def test_decided_cells_leave_the_queue_from_either_side(project: Project) -> None:
    first, second, third, fourth = _queue(project)[:4]
    annotate.accept(project, first, true_partner(first), annotator="me")
    annotate.accept(project, true_partner(second), second, annotator="me")
    annotate.none(project, third, annotator="me")
    annotate.unsure(project, fourth, true_partner(fourth), annotator="me")
    assert not {first, second, third, fourth} & set(_queue(project))
    annotate.undo(project, annotator="me")
    assert fourth in _queue(project)


def test_a_rejected_candidate_sends_the_cell_to_the_end(project: Project) -> None:
    first = _queue(project)[0]
    annotate.reject(project, first, true_partner(first), annotator="me")
    queue = clearest_first(project.state(), "two_photon")
    assert queue[-1].uid == first
    assert "rejected" in queue[-1].reason


def test_clear_cells_come_before_dim_ones(project: Project) -> None:
    known = set(_queue(project))
    annotate.record_detection(
        project,
        "two_photon",
        [(5.0, 5.0, 5.0), (70.0, 190.0, 210.0)],
        radius_um=[7.0, 7.0],
        confidence=[0.6, 0.9],
        method="dog",
        params={},
        annotator="me",
    )
    found = [uid for uid in _queue(project) if uid not in known]
    confidences = [project.state().soma(uid).confidence for uid in found]
    assert confidences == [0.9, 0.6]
    assert all(project.state().soma(uid).source is SomaSource.DETECTED for uid in found)
