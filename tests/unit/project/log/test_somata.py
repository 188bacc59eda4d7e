from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.somata import (
    add_somata,
    delete_soma,
    delete_somata,
    move_soma,
    move_somata,
    record_detection,
)
from napari_neurobridge.types import SomaSource


def detect(project: Project, *centers: tuple[float, float, float], by: str = "anna") -> list[str]:
    """Record a run in fMOST and return the uids of its living somata."""
    record_detection(project, "fmost", np.reshape(centers, (-1, 3)), method="dog", annotator=by)
    return list(project.state().somata["fmost"])


def test_added_somata_are_numbered_and_returned(empty_project: Project) -> None:
    somata = add_somata(
        empty_project,
        "fmost",
        [(1, 2, 3), (4, 5, 6)],
        source=SomaSource.IMPORTED,
        source_index=[7, 8],
        index_base=1,
    )
    assert [soma.uid for soma in somata] == ["fm-00001", "fm-00002"]
    assert somata[1].center_um == (4.0, 5.0, 6.0)
    assert (somata[1].source_index, somata[1].index_base) == (8, 1)
    assert list(empty_project.state().somata["fmost"].values()) == somata


def test_no_somata_are_no_event(empty_project: Project) -> None:
    assert add_somata(empty_project, "fmost", [], source=SomaSource.MANUAL) == []
    assert empty_project.log.events() == []


def test_given_uids_are_kept_and_numbers_continue_after_them(empty_project: Project) -> None:
    def add(count: int, uids: list[str] | None = None) -> list[str]:
        centers = np.zeros((count, 3))
        placed = add_somata(empty_project, "fmost", centers, source=SomaSource.MANUAL, uids=uids)
        return [soma.uid for soma in placed]

    assert add(2, ["cell A", "fm-00041"]) == ["cell A", "fm-00041"]
    assert add(1) == ["fm-00042"]


@pytest.mark.parametrize(
    ("uids", "sentence"),
    [
        (["fm-00001", "b"], "in this project already"),
        (["tp-00001", "b"], "in this project already"),
        (["a", "a"], "occurs twice"),
        (["a", " "], "is empty"),
        (["a"], "need 2 uids"),
    ],
)
def test_uids_that_cannot_be(project: Project, uids: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        add_somata(project, "fmost", np.zeros((2, 3)), source=SomaSource.MANUAL, uids=uids)


def test_positions_must_be_finite_and_the_dataset_known(project: Project) -> None:
    with pytest.raises(InputError, match="NaN"):
        add_somata(project, "fmost", [(0, np.nan, 0)], source=SomaSource.MANUAL)
    with pytest.raises(InputError, match="its datasets: two_photon, fmost"):
        add_somata(project, "em", [(0, 0, 0)], source=SomaSource.MANUAL)


def test_numbers_are_not_reused_after_deletion_or_undo(project: Project) -> None:
    delete_soma(project, "fm-00005", annotator="anna")
    (soma,) = add_somata(project, "fmost", [(0, 0, 0)], source=SomaSource.MANUAL, annotator="anna")
    assert soma.uid == "fm-00006"
    annotate.undo(project, "anna")
    (soma,) = add_somata(project, "fmost", [(0, 0, 0)], source=SomaSource.MANUAL, annotator="anna")
    assert soma.uid == "fm-00007"
    with pytest.raises(InputError, match="already"):
        add_somata(project, "fmost", [(0, 0, 0)], source=SomaSource.MANUAL, uids=["fm-00005"])


def test_another_annotators_uids_cannot_meet_the_owners(project: Project) -> None:
    (soma,) = add_somata(project, "fmost", [(0, 0, 0)], source=SomaSource.MANUAL, annotator="ben")
    assert soma.uid.startswith("fm-00006-")
    (soma,) = add_somata(project, "fmost", [(0, 0, 0)], source=SomaSource.MANUAL, annotator="anna")
    assert soma.uid == "fm-00007"


def test_moving_keeps_the_uid_and_undo_moves_back(project: Project) -> None:
    before = project.state().soma("fm-00002")
    move_soma(project, "fm-00002", (1, 2, 3), annotator="anna")
    moved = project.state().soma("fm-00002")
    assert (moved.uid, moved.center_um) == ("fm-00002", (1.0, 2.0, 3.0))
    annotate.undo(project, "anna")
    assert project.state().soma("fm-00002") == before


def test_several_somata_move_and_go_in_one_step(project: Project) -> None:
    move_somata(project, ["fm-00001", "fm-00002"], np.ones((2, 3)), annotator="anna")
    delete_somata(project, ["fm-00001", "fm-00003"], annotator="anna")
    assert set(project.state().somata["fmost"]) == {"fm-00002", "fm-00004", "fm-00005"}
    annotate.undo(project, "anna")
    annotate.undo(project, "anna")
    assert project.state().soma("fm-00001").center_um == (0.0, 0.0, 0.0)


def test_only_living_somata_of_one_dataset_move(project: Project) -> None:
    with pytest.raises(InputError, match="one dataset"):
        delete_somata(project, ["fm-00001", "tp-00001"])
    annotate.accept(project, "tp-00001", "fm-00001")
    delete_soma(project, "fm-00001")
    with pytest.raises(InputError, match="was removed"):
        move_soma(project, "fm-00001", (0, 0, 0))
    with pytest.raises(InputError, match="cannot be moved to 2 positions"):
        move_somata(project, ["fm-00002"], np.zeros((2, 3)))


def test_deleting_a_paired_soma_leaves_a_tombstone_and_the_pair(project: Project) -> None:
    annotate.accept(project, "tp-00001", "fm-00001")
    delete_soma(project, "fm-00001")
    state = project.state()
    assert "fm-00001" not in state.somata["fmost"]
    assert set(state.tombstones) == {"fm-00001"}
    assert state.soma("fm-00001").center_um == (0.0, 0.0, 0.0)
    assert state.pairs == {"tp-00001": "fm-00001"}


def test_redetection_keeps_uids_within_three_micrometres(empty_project: Project) -> None:
    assert detect(empty_project, (0, 0, 0), (0, 0, 50)) == ["fm-00001", "fm-00002"]
    detect(empty_project, (0, 0, 53.01), (3.0, 0, 0))
    centers = {u: s.center_um for u, s in empty_project.state().somata["fmost"].items()}
    assert centers == {"fm-00001": (3.0, 0.0, 0.0), "fm-00003": (0.0, 0.0, 53.01)}


def test_only_the_mutually_nearest_keeps_the_uid(empty_project: Project) -> None:
    detect(empty_project, (0, 0, 0))
    detect(empty_project, (0, 0, 2), (0, 0, 1))
    centers = {u: s.center_um for u, s in empty_project.state().somata["fmost"].items()}
    assert centers == {"fm-00002": (0.0, 0.0, 2.0), "fm-00001": (0.0, 0.0, 1.0)}


def test_a_vanished_soma_with_a_verdict_is_a_tombstone_and_can_return(
    empty_project: Project,
) -> None:
    add_somata(empty_project, "two_photon", [(0, 0, 0)], source=SomaSource.MANUAL)
    detect(empty_project, (0, 0, 0), (0, 0, 50))
    annotate.accept(empty_project, "tp-00001", "fm-00002", annotator="anna")
    assert detect(empty_project, (0, 0, 0)) == ["fm-00001"]
    state = empty_project.state()
    assert set(state.tombstones) == {"fm-00002"}
    assert state.pairs == {"tp-00001": "fm-00002"}

    assert set(detect(empty_project, (0, 0, 0), (0, 0, 51))) == {"fm-00001", "fm-00002"}
    assert empty_project.state().tombstones == {}


def test_detection_leaves_placed_somata_alone(project: Project) -> None:
    before = project.state().soma("fm-00001")
    detect(project, (0, 0, 1), (90, 0, 0))
    somata = project.state().somata["fmost"]
    assert somata["fm-00001"] == before
    assert set(somata) == {f"fm-{number:05d}" for number in range(1, 7)}


def test_redetection_does_not_bring_back_what_a_person_deleted(empty_project: Project) -> None:
    detect(empty_project, (0, 0, 0), (0, 0, 50))
    delete_soma(empty_project, "fm-00001", annotator="ben")
    # Found again, once at its place and once more beside it; and a new one further away.
    found = detect(empty_project, (0, 0, 0.5), (0, 0, -2.9), (0, 0, 50), (0, 0, -3.1))
    assert found == ["fm-00002", "fm-00003"]
    assert empty_project.state().soma("fm-00003").center_um == (0.0, 0.0, -3.1)
    assert detect(empty_project, (0, 0, 0), (0, 0, 50)) == ["fm-00002"]

    # A person may change their mind, in either way.
    annotate.undo(empty_project, "ben")
    assert set(empty_project.state().somata["fmost"]) == {"fm-00001", "fm-00002"}
    annotate.redo(empty_project, "ben")
    (soma,) = add_somata(empty_project, "fmost", [(0, 0, 1)], source=SomaSource.MANUAL)
    assert set(detect(empty_project, (0, 0, 0), (0, 0, 50))) == {soma.uid, "fm-00002"}


def test_a_deleted_manual_soma_is_not_detected(empty_project: Project) -> None:
    add_somata(empty_project, "fmost", [(0, 0, 0)], source=SomaSource.MANUAL, annotator="ben")
    delete_soma(empty_project, "fm-00001", annotator="ben")
    assert detect(empty_project, (0, 0, 1)) == []
    annotate.undo(empty_project, "ben")
    assert empty_project.state().soma("fm-00001").source is SomaSource.MANUAL


def test_a_run_after_an_undone_one_gives_the_old_uids_back(empty_project: Project) -> None:
    add_somata(empty_project, "two_photon", [(0, 0, 0)], source=SomaSource.MANUAL)
    detect(empty_project, (0, 0, 0), (0, 0, 50), by="ben")
    annotate.accept(empty_project, "tp-00001", "fm-00002", annotator="anna")
    annotate.undo(empty_project, "ben")
    assert empty_project.state().somata["fmost"] == {}
    assert set(empty_project.state().tombstones) == {"fm-00002"}

    found = detect(empty_project, (0, 0, 50.5), (0, 0, 80), (0, 0, 0), by="ben")
    assert set(found) == {"fm-00001", "fm-00002", "fm-00003"}
    state = empty_project.state()
    assert state.soma("fm-00002").center_um == (0.0, 0.0, 50.5)
    assert (state.tombstones, state.pairs) == ({}, {"tp-00001": "fm-00002"})


def test_a_deletion_outlives_the_undone_run_that_found_the_soma(empty_project: Project) -> None:
    detect(empty_project, (0, 0, 0), (0, 0, 50), by="ben")
    delete_soma(empty_project, "fm-00001", annotator="anna")
    annotate.undo(empty_project, "ben")
    assert detect(empty_project, (0, 0, 0), (0, 0, 50), by="ben") == ["fm-00002"]


def test_a_run_that_finds_nothing_empties_what_detectors_found(empty_project: Project) -> None:
    detect(empty_project, (0, 0, 0))
    assert detect(empty_project) == []
    annotate.undo(empty_project, "anna")
    assert list(empty_project.state().somata["fmost"]) == ["fm-00001"]


def test_detection_keeps_radius_confidence_and_parameters(empty_project: Project) -> None:
    (event,) = record_detection(
        empty_project,
        "fmost",
        np.zeros((1, 3)),
        radius_um=np.array([6.5], dtype=np.float32),
        confidence=np.array([np.nan]),
        method="dog",
        params={"threshold": 0.1},
    )
    soma = empty_project.state().soma("fm-00001")
    assert (soma.radius_um, soma.confidence, soma.source) == (6.5, None, SomaSource.DETECTED)
    assert event.payload["params"] == {"threshold": 0.1}
