"""Spaces of a project follow the accepted pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fixtures.points import PointsWorld
from fixtures.projects import true_partner
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.match_datasets import match_datasets
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
    alignment = turned.alignment("two_photon", "fmost")
    assert str(alignment.made_from) == "the stated orientation"
    points = np.random.default_rng(0).uniform(0, 80, (5, 3))
    affine = turned.dataset("fmost").orientation.to_affine(
        source="two_photon",
        target="fmost",
        source_center_um=turned.volume("two_photon").center_um,
        target_center_um=turned.volume("fmost").center_um,
    )
    assert np.allclose(alignment.map_points(points), affine.map_points(points))
    back = turned.alignment("fmost", "two_photon")
    assert np.allclose(back.map_points(affine.map_points(points)), points)
    assert back.id == alignment.id
    linear = turned.linear("two_photon", "fmost")
    assert np.allclose(linear, turned.dataset("fmost").orientation.linear())
    assert np.allclose(turned.linear("fmost", "two_photon"), np.linalg.inv(linear))
    with pytest.raises(InputError, match="moon"):
        turned.alignment("two_photon", "moon")


def test_an_orientation_counts_as_stated_once_somebody_set_one(turned) -> None:
    assert turned.stated_linear("two_photon", "fmost") is not None
    turned.update_dataset("fmost", orientation=None)
    assert turned.stated_linear("two_photon", "fmost") is None
    assert np.array_equal(turned.linear("two_photon", "fmost"), np.eye(3))
    turned.set_orientation("fmost", Orientation())
    stated = turned.stated_linear("two_photon", "fmost")
    assert np.array_equal(stated, np.eye(3)), "the same axes, confirmed"


def test_two_pairs_shift_what_the_orientation_turns(turned) -> None:
    for uid in ("tp-00001", "tp-00002"):
        annotate.accept(turned, uid, true_partner(uid), annotator="me")
    assert turned.alignment("two_photon", "fmost").kind == "rigid"
    soma = turned.state().soma("tp-00007")
    partner = turned.state().soma(true_partner("tp-00007"))
    place = turned.map_points([soma.center_um], "two_photon", "fmost")[0]
    assert np.linalg.norm(place - partner.center_um) < 5


def test_a_match_is_the_alignment_of_all_until_a_pair_changes(
    points_world: PointsWorld, tmp_path
) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 6)
    before = project.alignment("two_photon", "fmost")
    match = match_datasets(project)
    current = project.alignment(*match.datasets)
    assert current is match.alignment
    assert current.id != before.id
    assert current.made_from.n_matches > 20
    another = Project.open(project.path).alignment(*match.datasets)
    assert another.id == current.id
    points = match.queries.centers_um
    np.testing.assert_allclose(another.map_points(points), current.map_points(points), atol=1e-9)
    np.testing.assert_allclose(another.expect(points)[1], current.expect(points)[1], atol=1e-9)
    annotate.reject(project, *next(iter(project.state().pairs.items())), annotator="another")
    after = project.alignment("two_photon", "fmost")
    assert after.made_from.n_pairs == 5
    assert after.made_from.n_matches == 0


@pytest.mark.parametrize("damage", [b"", b"PK nonsense", None])
def test_a_damaged_alignment_file_is_as_good_as_none(
    points_world: PointsWorld, tmp_path, damage
) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 6)
    fitted = project.alignment("two_photon", "fmost")
    match_datasets(project)
    (path,) = project.transforms_dir.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert Project.open(project.path).alignment("two_photon", "fmost").id == fitted.id


def test_a_folder_that_cannot_be_written_still_has_one_alignment(
    points_world: PointsWorld, tmp_path
) -> None:
    project = points_world.project(tmp_path / "p.neurobridge", 6)
    project.transforms_dir.rmdir()
    project.transforms_dir.write_text("a file where the folder should be")
    match = match_datasets(project)
    assert project.alignment(*match.datasets) is match.alignment


def test_a_dataset_needs_no_alignment_with_itself(turned) -> None:
    with pytest.raises(InputError, match="itself"):
        turned.alignment("fmost", "fmost")
    assert np.allclose(turned.map_points([(1, 2, 3)], "fmost", "fmost"), [(1, 2, 3)])
