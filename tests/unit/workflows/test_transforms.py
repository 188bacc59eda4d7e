"""What a project writes for NGFF, ITK and BigWarp maps as the project does."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_neurobridge as nb
from fixtures.projects import accept_true_pairs
from napari_neurobridge.cli._run import run
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points, write_points
from napari_neurobridge.io.transforms.bigwarp import read_bigwarp
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workflows.transforms import (
    MARGIN_UM,
    TransformRequest,
    dataset_corners,
    export_transform,
    read_transform,
)

sitk = pytest.importorskip("SimpleITK")


@pytest.fixture
def paired(points_project_folder):
    project = Project.open(points_project_folder)
    accept_true_pairs(project, range(6))
    yield project
    project.close()


@pytest.fixture
def oriented(points_project_folder):
    project = Project.open(points_project_folder)
    yield project
    project.close()


def places(project, name):
    return np.random.default_rng(0).uniform(*dataset_corners(project, name), size=(200, 3))


def by_file(project, written, points):
    found = read_transform(project, written.path, written.source, written.target)
    return found.map_points(points)


@pytest.mark.parametrize(
    ("step_um", "tolerance_um"), [(30.0, None), pytest.param(None, 0.01, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("transform_format", "version"), [("itk", "0.5"), ("ngff", "0.6")])
@pytest.mark.parametrize("way", [("two_photon", "fmost"), ("fmost", "two_photon")])
def test_an_elastic_alignment_is_written_as_exactly_as_it_says(
    paired, tmp_path, transform_format, version, way, step_um, tolerance_um
):
    request = TransformRequest(*way, ngff_version=version, step_um=step_um)
    written = export_transform(paired, tmp_path, transform_format, request)
    assert (written.source, written.target, written.kind) == (*way, "displacements")
    points = places(paired, way[0])
    away = np.linalg.norm(
        by_file(paired, written, points) - paired.map_points(points, *way), axis=1
    )
    assert away.max() <= (tolerance_um or 1.1 * written.error_um)


@pytest.mark.parametrize(
    ("transform_format", "version", "suffix"),
    [("itk", "0.5", ".tfm"), ("ngff", "0.6", ".ome.zarr")],
)
def test_an_orientation_alone_is_written_exactly(
    oriented, tmp_path, transform_format, version, suffix
):
    request = TransformRequest(ngff_version=version)
    written = export_transform(oriented, tmp_path, transform_format, request)
    assert written.path == tmp_path / f"two_photon--fmost{suffix}"
    points = places(oriented, "two_photon")
    expected = oriented.map_points(points, "two_photon", "fmost")
    assert np.abs(by_file(oriented, written, points) - expected).max() <= 1e-6


def test_the_box_holds_all_somata_and_a_margin(oriented):
    low, high = dataset_corners(oriented, "two_photon")
    somata = np.array([s.center_um for s in oriented.state().somata["two_photon"].values()])
    assert np.allclose(somata.min(axis=0) - low, MARGIN_UM)
    assert np.allclose(high - somata.max(axis=0), MARGIN_UM)


def test_an_image_is_in_the_box(project):
    low, high = dataset_corners(project, "fmost")
    extent = np.array(project.volume("fmost").extent_um)
    assert (low <= -MARGIN_UM).all()
    assert (high >= extent + MARGIN_UM).all()


def test_accepted_pairs_become_bigwarps_landmarks(paired, tmp_path):
    written = export_transform(paired, tmp_path / "marks.csv", "bigwarp")
    assert (written.source, written.target) == ("two_photon", "fmost")
    found = read_bigwarp(tmp_path / "marks.csv")
    somata = paired.state().somata
    pairs = sorted(paired.state().pairs_between("two_photon", "fmost").items())
    assert found.fixed_um.tolist() == [list(somata["two_photon"][a].center_um) for a, _ in pairs]
    assert found.moving_um.tolist() == [list(somata["fmost"][b].center_um) for _, b in pairs]
    assert found.active.all()


@pytest.mark.parametrize(
    ("name", "transform_format", "request_", "sentence"),
    [
        ("out", "ngff", TransformRequest(), r"0\.6 can say it"),
        ("map.tfm", "itk", TransformRequest(step_um=60), r"map\.h5"),
        ("map.csv", "itk", TransformRequest(), r"not map\.csv"),
        ("map.h5", "ngff", TransformRequest(ngff_version="0.6"), r"not map\.h5"),
        ("out", "itk", TransformRequest(target="brain"), "no dataset 'brain'"),
        ("out", "itk", TransformRequest(target="two_photon"), "no map to itself"),
        ("out", "itk", TransformRequest(step_um=-1), "positive number"),
        ("out", "minc", TransformRequest(), "no format 'minc'"),
    ],
)
def test_what_cannot_be_written_is_told(
    paired, tmp_path, name, transform_format, request_, sentence
):
    with pytest.raises(InputError, match=sentence):
        export_transform(paired, tmp_path / name, transform_format, request_)
    assert not list(tmp_path.glob("*.csv"))


def test_without_pairs_there_are_no_landmarks(oriented, tmp_path):
    with pytest.raises(InputError, match="no accepted pair"):
        export_transform(oriented, tmp_path, "bigwarp")


def test_a_shift_in_mm_is_pointed_out(oriented, tmp_path):
    corners = [dataset_corners(oriented, name).mean(axis=0) for name in ("two_photon", "fmost")]
    shift = corners[1] - corners[0] + 5000.0
    sitk.WriteTransform(
        sitk.TranslationTransform(3, (shift[::-1] / 1000).tolist()), str(tmp_path / "mm.tfm")
    )
    far = [(uid, soma.center_um) for uid, soma in oriented.state().somata["fmost"].items()]
    assert far
    # Moved by 5 mm, a dataset far away is met in mm alone.
    table = tmp_path / "far.csv"
    write_points(table, [f"far-{uid}" for uid, _ in far], np.array([c for _, c in far]) + 5000.0)
    from napari_neurobridge.types import Role
    from napari_neurobridge.workflows.setup import DatasetSource, add_dataset

    add_dataset(oriented, DatasetSource(name="far", role=Role.EX_VIVO, points=table))
    with pytest.raises(InputError, match=r"would put it there if its shift was in mm"):
        read_transform(oriented, tmp_path / "mm.tfm", "two_photon", "far")
    moved = read_transform(oriented, tmp_path / "mm.tfm", "two_photon", "far", unit="mm")
    assert np.allclose(moved.map_points([corners[0]]), corners[1] + 5000.0)


def answer(capsys, *arguments):
    assert run([*map(str, arguments), "--json", "--progress", "none"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_commands_write_a_map_and_map_by_it(paired, tmp_path, capsys):
    folder, out = paired.path, tmp_path / "map.h5"
    said = answer(capsys, "export", folder, out, "--format", "itk", "--step-um", 20)
    assert said["files"] == [str(out)]
    assert said["transform"]["kind"] == "displacements"
    assert said["transform"]["error_um"] > 0
    points = places(paired, "two_photon")
    write_points(tmp_path / "in.csv", [str(i) for i in range(len(points))], points)
    said = answer(
        capsys,
        "transform",
        folder,
        tmp_path / "in.csv",
        tmp_path / "out.csv",
        "--to",
        "fmost",
        "--by",
        out,
    )
    assert (said["alignment"], said["made_from"]) == (None, str(out))
    expected = paired.map_points(points, "two_photon", "fmost")
    assert np.linalg.norm(read_points(tmp_path / "out.csv")[1] - expected, axis=1).max() < 0.2


def test_the_command_says_how_to_ask_for_06(paired, tmp_path, capsys):
    assert run(["export", str(paired.path), str(tmp_path / "out"), "--format", "ngff"]) == 2
    error = capsys.readouterr().err
    assert error.rstrip().endswith("ask for that version with --ngff-version 0.6.")
    assert run(["export", str(paired.path), str(tmp_path / "out"), "--step-um", "3"]) == 2
    assert "a step belong to the formats ngff, itk and bigwarp" in capsys.readouterr().err


def test_the_api_writes_and_reads_a_map(paired, tmp_path):
    with nb.open(paired.path) as p:
        written = p.export_transform(
            tmp_path / "map.ome.zarr", "ngff", ngff_version="0.6", step_um=20
        )
        found = p.read_transform(written.path, "two_photon", "fmost")
        points = places(paired, "two_photon")
        away = found.map_points(points) - p.map_points(points, "two_photon", "fmost")
        assert np.linalg.norm(away, axis=1).max() <= 1.1 * written.error_um
