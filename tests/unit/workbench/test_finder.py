"""A cell is found by its uid, or by a place."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench.finder import nearest_uids
from napari_neurobridge.workbench.workbench import Workbench


@pytest.mark.parametrize(
    ("text", "dataset", "uid"),
    [
        ("tp-00007", "two_photon", "tp-00007"),
        ("  TP-00007 ", "two_photon", "tp-00007"),
        ("fm-00099", "fmost", "fm-00099"),
    ],
)
def test_a_cell_is_asked_about_by_its_uid(workbench, text, dataset, uid) -> None:
    assert workbench.finder.find(text)
    query = workbench.questions.query
    assert (query.dataset, query.uid) == (dataset, uid)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tp-00051", "'tp-00051' is not there; the nearest uids are tp-00049, tp-00048, tp-00047."),
        ("fm-1", "'fm-1' is not there; the nearest uids are fm-00001, fm-00000, fm-00002."),
        ("", "Type a uid, or a place"),
        ("1 2", "'1 2' is not there"),
        ("1 2 nan", "'1 2 nan' is not there"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(workbench, notices, text, sentence) -> None:
    assert not workbench.finder.find(text)
    assert sentence in notices[-1].text
    assert notices[-1].is_error
    assert workbench.questions.query is None


def test_a_removed_soma_is_said_to_be_removed(workbench, notices) -> None:
    annotate.delete_soma(workbench.project, "tp-00007", annotator="me")
    workbench.finder.find("tp-00007")
    assert "'tp-00007' was removed; the nearest uids are tp-00006, tp-00008" in notices[-1].text


@pytest.mark.parametrize("dataset", ["two_photon", "fmost"])
def test_a_place_is_looked_at_and_its_nearest_cell_asked_about(workbench, notices, dataset) -> None:
    looked: list[tuple[str, tuple[float, ...]]] = []
    workbench.questions.look_requested.connect(lambda name, place: looked.append((name, place)))
    somata = list(workbench.project.state().somata[dataset].values())
    place = np.round(np.add(somata[5].center_um, (1.0, 0.0, 0.0)), 2)
    away = [np.linalg.norm(np.subtract(soma.center_um, place)) for soma in somata]
    prefix = "" if dataset == "two_photon" else "fmost "
    assert workbench.finder.find(prefix + ", ".join(map(str, place)))
    assert workbench.questions.query.uid == somata[int(np.argmin(away))].uid
    assert looked[-1] == (dataset, tuple(place))
    assert f"{min(away):.0f} µm from that place" in notices[-1].text


def test_names_without_a_number_are_compared_by_their_start(workbench: Workbench) -> None:
    assert nearest_uids(workbench.project.state(), "t") == ["tp-00000", "tp-00001", "tp-00002"]


def test_without_a_project_nothing_is_found(workbench, notices) -> None:
    workbench.session.set_project(None)
    assert not workbench.finder.find("tp-00001")
    assert "No project is open" in notices[-1].text
