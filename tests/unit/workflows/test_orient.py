"""The angle of a project's field, suggested from its images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from fixtures.projects import FourViewEncoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import DatasetSpec, Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Role, SomaSource
from napari_neurobridge.workflows import orient

VOXEL_UM = (10.0, 4.0, 4.0)
SHAPE = (5, 120, 120)
N_SOMATA = 30
TRUE = Orientation(axes="+z+y-x", angle_deg=-48.0)


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """One texture in two volumes, the second as `TRUE` says; only its axes are stated."""
    monkeypatch.setattr(orient, "load_encoder", lambda project, model: FourViewEncoder())
    rng = np.random.default_rng(5)
    plane = ndimage.gaussian_filter(rng.normal(size=SHAPE[1:]), 2.5)
    first = np.broadcast_to(plane, SHAPE)
    # The place in the first volume that each voxel of the second shows.
    voxel = np.array(VOXEL_UM)[:, None]
    middle = (np.array(SHAPE)[:, None] - 1) / 2 * voxel
    places = np.indices(SHAPE).reshape(3, -1) * voxel - middle
    back = (np.linalg.inv(TRUE.linear()) @ places + middle) / voxel
    second = ndimage.map_coordinates(first, back, order=1).reshape(SHAPE)
    specs = []
    for name, role, image in (
        ("two_photon", Role.IN_VIVO, first),
        ("fmost", Role.EX_VIVO, second),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, image.astype(np.float32), metadata={"axes": "ZYX"})
        specs.append(DatasetSpec(name=name, role=role, uri=str(path), voxel_size_um=VOXEL_UM))
    project = Project.create(tmp_path / "field.neurobridge", specs)
    cells = middle[:, 0] + rng.uniform(-1, 1, (N_SOMATA, 3)) * (10.0, 110.0, 110.0)
    turned = (cells - middle[:, 0]) @ TRUE.linear().T + middle[:, 0]
    for name, centers in (("two_photon", cells), ("fmost", turned)):
        annotate.add_somata(project, name, centers, source=SomaSource.IMPORTED)
    project.set_orientation("fmost", Orientation(axes=TRUE.axes))
    yield project
    project.close()


def test_the_angle_is_suggested_and_nothing_is_changed(field: Project) -> None:
    found = orient.suggest_angle(field, "any")
    assert found.orientation is not None
    assert found.orientation.angle_deg == pytest.approx(TRUE.angle_deg, abs=2)
    assert found.orientation.axes == TRUE.axes
    assert field.dataset("fmost").orientation == Orientation(axes=TRUE.axes)
    assert "is suggested" in found.in_words()
    assert f"{N_SOMATA} of {N_SOMATA} two-photon" in found.in_words()
    assert not list(field.embeddings_dir.iterdir()), "nothing is added to the index"


def test_the_angle_adds_to_the_one_that_is_stated(field: Project) -> None:
    """However the crops lie now, the same orientation is suggested."""
    orient.state_orientation(field, Orientation(axes=TRUE.axes, angle_deg=165.0))
    found = orient.suggest_angle(field, "any")
    assert found.orientation is not None
    assert found.orientation.angle_deg == pytest.approx(TRUE.angle_deg, abs=2)
    orient.state_orientation(field, found.orientation)
    assert orient.suggest_angle(field, "any").search.angle_deg == pytest.approx(0.0, abs=2)


def test_a_field_seen_in_the_mirror_gives_no_angle(field: Project) -> None:
    field.update_dataset("fmost", orientation=None)  # the same axes, which mirrors it
    found = orient.suggest_angle(field, "any")
    assert found.orientation is None
    assert found.in_words().startswith("The angle is not known.")
    assert "are needed" in found.in_words()


def test_many_somata_are_sampled_and_counted(
    field: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orient, "MOST_QUERIES", 25)
    monkeypatch.setattr(orient, "MOST_GALLERY", 28)
    found = orient.suggest_angle(field, "any")
    assert (found.search.n_queries, found.search.n_gallery) == (25, 28)
    assert (found.n_queries_total, found.n_gallery_total) == (N_SOMATA, N_SOMATA)
    assert "25 of 30 two-photon and 28 of 30 fMOST" in found.in_words()


def test_what_cannot_be_compared_is_said_in_one_sentence(empty_project: Project) -> None:
    with pytest.raises(InputError, match="'two_photon' has points but no image"):
        orient.suggest_angle(empty_project, "compact")


def test_a_side_without_somata_is_said(field: Project) -> None:
    for uid in list(field.state().somata["fmost"]):
        annotate.delete_soma(field, uid)
    with pytest.raises(InputError, match="'fmost' has no somata"):
        orient.suggest_angle(field, "any")
