from __future__ import annotations

import shutil
import sys
import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_neurobridge.errors import InputError
from napari_neurobridge.project import DatasetSpec, Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.manifest import dataset_spec, stored_uri
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Projection, Role, SomaSource

if TYPE_CHECKING:
    from pathlib import Path


def write_image(path: Path, seed: int = 0) -> Path:
    """Write a (3, 16, 24) stack of 2 × 1 × 0.5 µm voxels."""
    image = np.random.default_rng(seed).integers(0, 999, (3, 16, 24), dtype=np.uint16)
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeY": 1.0,
        "PhysicalSizeX": 0.5,
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "ZYX"},
    }
    tifffile.imwrite(path, image, ome=True, metadata=metadata)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "two_photon.ome.tif")


def spec_of(image: Path, **fields: object) -> DatasetSpec:
    return dataset_spec(name="two_photon", role=Role.IN_VIVO, uri=str(image), **fields)


def test_what_was_set_is_there_after_reopening(tmp_path: Path, image: Path) -> None:
    folder = tmp_path / "mouse.neurobridge"
    spec = spec_of(image, channel=0, projection=Projection.STD, orientation={"axes": "+y+x-z"})
    Project.create(folder, [spec]).close()
    project = Project.open(folder)
    stored = project.dataset("two_photon")
    assert stored.uri == "../two_photon.ome.tif"
    assert stored.voxel_size_um is None, "the file says it, no person"
    assert stored.file_voxel_size_um == stored.used_voxel_size_um == (2.0, 1.0, 0.5)
    assert stored.axes is None
    assert stored.fingerprint
    assert (stored.projection, stored.orientation.axes) == (Projection.STD, "+y+x-z")
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {
        "embeddings",
        "transforms",
        "models",
        "runs",
        "rois",
    }
    project.close()


def test_project_and_images_move_together(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    image = write_image(tmp_path / "before" / "two_photon.ome.tif")
    Project.create(tmp_path / "before" / "p", [spec_of(image)]).close()
    shutil.move(tmp_path / "before", tmp_path / "after")
    project = Project.open(tmp_path / "after" / "p")
    assert project.volume("two_photon").shape == (3, 16, 24)
    project.close()


def test_relative_uris_are_the_users(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = Project.create("sub/p", [dataset_spec(name="a", role="in_vivo", uri=image.name)])
    assert project.dataset("a").uri == "../../two_photon.ome.tif"
    project.close()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
@pytest.mark.parametrize(
    ("image", "uri"),
    [
        ("/data/m1/p/a.tif", "a.tif"),
        ("/data/m1/raw/a.tif", "../raw/a.tif"),
        ("/mnt/raw/a.tif", "/mnt/raw/a.tif"),
    ],
)
def test_only_near_images_are_stored_relative(image: str, uri: str) -> None:
    from pathlib import Path

    assert stored_uri(Path(image), Path("/data/m1/p")) == uri


def test_create_refuses_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.doc").touch()
    with pytest.raises(InputError, match="not empty"):
        Project.create(tmp_path / "used")
    (tmp_path / "empty").mkdir()
    Project.create(tmp_path / "empty").close()


def test_create_leaves_nothing_when_an_image_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no image .*gone\.tif"):
        Project.create(tmp_path / "p", [spec_of(tmp_path / "gone.tif")])
    assert list(tmp_path.iterdir()) == []


def test_open_explains_what_is_missing(tmp_path: Path, empty_project: Project) -> None:
    with pytest.raises(InputError, match="no project folder"):
        Project.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no NeuroBridge project"):
        Project.open(tmp_path)
    empty_project.close()
    (empty_project.path / "annotations.db").unlink()
    with pytest.raises(InputError, match="missing; restore"):
        Project.open(empty_project.path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("schema_version = 2", "schema_version = 3", "newer version .* update napari-neurobridge"),
        ("schema_version = 2", "schema_version = 'one'", "damaged"),
        ("schema_version = 2", "", "damaged"),
        ("in_vivo", "in_vitro", r"damaged: datasets\.0\.role"),
        ("datasets = [", "datasets = [[", "damaged"),
    ],
)
def test_open_explains_a_bad_manifest(
    empty_project: Project, old: str, new: str, sentence: str
) -> None:
    manifest = empty_project.path / "project.toml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=sentence):
        Project.open(empty_project.path)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "a/b"}, "made of letters"),
        ({"name": "CON"}, "made of letters"),
        ({"voxel_size_um": (1, 0, 1)}, "greater than 0"),
        ({"voxel_size_um": (1, 1)}, "required"),
        ({"orientation": {"axes": "zzz"}}, "must name z, y and x once"),
        ({"channel": -1}, "greater than or equal"),
    ],
)
def test_bad_fields_of_a_dataset_get_a_sentence(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        dataset_spec(**{"name": "a", "role": Role.IN_VIVO, **fields})


def test_datasets_by_name_and_role(empty_project: Project) -> None:
    empty_project.add_dataset(DatasetSpec(name="em", role=Role.EX_VIVO))
    assert list(empty_project.datasets) == ["two_photon", "fmost", "em"]
    assert (empty_project.in_vivo(), empty_project.ex_vivo()) == ("two_photon", "fmost")
    assert empty_project.state().somata["em"] == {}
    with pytest.raises(InputError, match="its datasets: two_photon, fmost, em"):
        empty_project.dataset("x")
    with pytest.raises(InputError, match="already has a dataset 'FMOST'"):
        empty_project.add_dataset(DatasetSpec(name="FMOST", role=Role.EX_VIVO))


def test_a_project_without_a_role_says_so(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p", [DatasetSpec(name="em", role=Role.EX_VIVO)])
    assert project.ex_vivo() == "em"
    with pytest.raises(InputError, match="no in-vivo dataset"):
        project.in_vivo()
    project.close()


def test_two_openers_do_not_overwrite_each_others_datasets(empty_project: Project) -> None:
    other = Project.open(empty_project.path)
    other.add_dataset(DatasetSpec(name="em", role=Role.EX_VIVO))
    empty_project.set_orientation("fmost", Orientation(angle_deg=30))
    manifest = tomllib.loads((empty_project.path / "project.toml").read_text())
    assert [entry["name"] for entry in manifest["datasets"]] == ["two_photon", "fmost", "em"]
    assert empty_project.dataset("fmost").orientation.angle_deg == 30
    other.close()


def test_update_dataset_checks_its_values(empty_project: Project) -> None:
    updated = empty_project.update_dataset("fmost", voxel_size_um=(2, 1, 1))
    assert updated.voxel_size_um == (2.0, 1.0, 1.0)
    with pytest.raises(InputError, match="greater than 0"):
        empty_project.update_dataset("fmost", voxel_size_um=(-2, 1, 1))
    with pytest.raises(InputError, match="no dataset 'x'"):
        empty_project.update_dataset("x", channel=1)


def test_an_image_that_was_moved_or_changed(tmp_path: Path, image: Path) -> None:
    project = Project.create(tmp_path / "p", [spec_of(image)])
    write_image(image, seed=1)
    with pytest.raises(InputError, match="has changed since it was added"):
        project.volume("two_photon")
    image.unlink()
    with pytest.raises(InputError, match="no longer at"):
        project.volume("two_photon")
    project.close()


def test_points_have_no_image(empty_project: Project) -> None:
    with pytest.raises(InputError, match="only points"):
        empty_project.volume("fmost")


def test_volume_is_opened_once_and_again_after_a_change(tmp_path: Path, image: Path) -> None:
    project = Project.create(tmp_path / "p", [spec_of(image)])
    volume = project.volume("two_photon")
    assert project.volume("two_photon") is volume
    project.update_dataset("two_photon", voxel_size_um=(4, 1, 1))
    assert project.volume("two_photon").voxel_size_um == (4.0, 1.0, 1.0)
    assert project.dataset("two_photon").used_voxel_size_um == (4.0, 1.0, 1.0)
    project.update_dataset("two_photon", voxel_size_um=None)
    assert project.volume("two_photon").voxel_size_um == (2.0, 1.0, 0.5)
    project.close()


def test_points_cross_spaces_by_the_orientation(tmp_path: Path, image: Path) -> None:
    fmost = DatasetSpec(name="fmost", role=Role.EX_VIVO)
    project = Project.create(tmp_path / "p", [spec_of(image), fmost])
    corners = [(0, 0, 0), (100, 60, 40)]
    annotate.add_somata(project, "fmost", corners, source=SomaSource.IMPORTED)
    project.set_orientation("fmost", Orientation(axes="+x+y-z", expansion=0.5))
    # The image's centre, (2, 7.5, 5.75) µm, falls on the points' centre, (50, 30, 20) µm.
    mapped = project.map_points([(2, 7.5, 5.75), (4, 7.5, 5.75)], "two_photon", "fmost")
    np.testing.assert_allclose(mapped, [(50, 30, 20), (50, 30, 21)])
    back = project.map_points(mapped, "fmost", "two_photon")
    np.testing.assert_allclose(back, [(2, 7.5, 5.75), (4, 7.5, 5.75)])
    project.close()


def test_state_is_cached_until_anybody_appends(project: Project) -> None:
    state = project.state()
    assert project.state() is state
    other = Project.open(project.path)
    annotate.accept(other, "tp-00001", "fm-00001", annotator="ben")
    assert project.state() is not state
    assert project.state().pairs == {"tp-00001": "fm-00001"}
    assert project.state() == other.state()
    other.close()
