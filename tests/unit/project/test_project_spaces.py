"""Spaces of a project follow the accepted pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fixtures.points import PointsWorld
from fixtures.projects import true_partner
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.spaces import Orientation


@pytest.fixture
def turned(project_folder: Path) -> Iterator[Project]:
    """Two volumes of the same cells, the orientation between them stated."""
    project = Project.open(project_folder)
    yield project
    project.close()


def test_accepted_pairs_take_the_place_of_the_orientation(
    points_world: PointsWorld, tmp_path
) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 10)
    state = project.state()
    pairs = points_world.some(60)[10:]
    here, there = (
        np.array([state.soma(uid).center_um for uid in uids]) for uids in zip(*pairs, strict=True)
    )
    miss = np.linalg.norm(project.map_points(here, "two_photon", "fmost") - there, axis=1)
    assert np.median(miss) < 8
    back = project.map_points(there, "fmost", "two_photon")
    assert np.allclose(project.map_points(back, "two_photon", "fmost"), there, atol=1e-3)


def test_the_alignment_is_refitted_only_when_a_landmark_changes(
    points_world: PointsWorld, tmp_path
) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 6)
    first = project.alignment("two_photon", "fmost")
    uid = next(iter(project.state().somata["two_photon"]))
    annotate.none(project, uid, annotator="me")
    assert project.alignment("two_photon", "fmost") is first
    accepted = project.state().pairs
    annotate.reject(project, *next(iter(accepted.items())), annotator="another")
    again = project.alignment("two_photon", "fmost")
    assert again is not first
    assert len(again.landmarks) == 5  # a disputed pair is no landmark


def test_without_pairs_the_orientation_leads(turned) -> None:
    assert turned.alignment("two_photon", "fmost") is None
    linear = turned.linear("two_photon", "fmost")
    assert np.allclose(linear, turned.dataset("fmost").orientation.linear())
    assert np.allclose(turned.linear("fmost", "two_photon"), np.linalg.inv(linear))
    with pytest.raises(InputError, match="moon"):
        turned.alignment("two_photon", "moon")


def test_an_orientation_counts_as_stated_once_somebody_set_one(turned) -> None:
    assert turned.stated_linear("two_photon", "fmost") is not None
    turned.set_orientation("fmost", Orientation())
    assert turned.stated_linear("two_photon", "fmost") is None


def test_two_pairs_shift_what_the_orientation_turns(turned) -> None:
    for uid in ("tp-00001", "tp-00002"):
        annotate.accept(turned, uid, true_partner(uid), annotator="me")
    assert turned.alignment("two_photon", "fmost").kind == "rigid"
    soma = turned.state().soma("tp-00007")
    partner = turned.state().soma(true_partner("tp-00007"))
    place = turned.map_points([soma.center_um], "two_photon", "fmost")[0]
    assert np.linalg.norm(place - partner.center_um) < 5
