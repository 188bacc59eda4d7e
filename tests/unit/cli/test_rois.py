"""``import-rois`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.rois import disks, write_roicat, write_suite2p
from napari_neurobridge.cli._run import run
from napari_neurobridge.project.folder import Project


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    masks = disks([(10, 12), (30, 60), (50, 20)], 5, (64, 80))
    return write_suite2p(tmp_path / "plane0", masks, iscell=[0.9, 0.1, 0.6], shape=(64, 80))


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in (*arguments, "--progress", "none")])
    return (code, *capsys.readouterr())


def test_rois_are_imported(empty_project: Project, plane: Path, capsys) -> None:
    request = ("import-rois", empty_project.path, plane, "--dataset", "two_photon")
    code, _, error = call(capsys, *request)
    assert code == 2
    assert error.endswith("says; give it with --pixel-um, or in µm (z y x) with --voxel-size.\n")
    place = ("--pixel-um", 0.5, "--z", 80)
    code, out, _ = call(capsys, *request, *place, "--json")
    assert code == 0
    found = json.loads(out)
    assert found == {
        "dataset": "two_photon",
        "format": "suite2p",
        "n_somata": 2,
        "n_in_file": 3,
        "kept_by": "iscell",
        "first_uid": "s2p-p0-00000",
        "notes": [],
    }
    code, out, _ = call(
        capsys, "import-rois", empty_project.path, plane, "--dataset", "fmost",
        "--voxel-size", 1, 0.5, 0.5, "--all",
    )  # fmt: skip
    assert "3 of 3 ROIs (suite2p; all) are somata of 'fmost' now" in out


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("--all", "--min-probability", 0.5), "choose one"),
        (("--voxel-size", 1, 1, 1, "--pixel-um", 1), "state one of them"),
        (("--pixel-um", -1), "positive"),
        (("--mask-axes", "zz"), "mask-axes"),
    ],
)
def test_bad_use_is_one_sentence(empty_project: Project, plane: Path, capsys, wrong, says) -> None:
    request = ("import-rois", empty_project.path, plane, "--dataset", "two_photon", *wrong)
    code, out, error = call(capsys, *request)
    assert (code, out) == (2, "")
    assert says in error
    assert not empty_project.state().somata["two_photon"]


def test_claims_are_imported_and_listed(
    empty_project: Project, plane: Path, tmp_path: Path, capsys
) -> None:
    labels = write_roicat(tmp_path / "r.json", [[4, -1, 5], [5, -1, 4]])
    request = ("import-matches", empty_project.path, labels)
    sessions = ("--session", "two_photon=0", "--session", "fmost=1")
    code, _, error = call(capsys, *request, *sessions)
    assert code == 2
    assert error.endswith("none of its somata; import them with 'neurobridge import-rois'.\n")
    for dataset in ("two_photon", "fmost"):
        imported = ("import-rois", empty_project.path, plane, "--dataset", dataset)
        assert call(capsys, *imported, "--pixel-um", 1)[0] == 0
    code, _, error = call(capsys, *request)
    assert code == 2
    assert error.endswith("state it twice with --session DATASET=N, counted from 0.\n")
    assert call(capsys, *request, "--session", "two_photon=x", "--session", "fmost=1")[0] == 2
    code, out, _ = call(capsys, *request, *sessions)
    assert code == 0
    assert out.startswith("2 pairs of 'two_photon' and 'fmost' are claims of ROICaT to review now")
    code, out, _ = call(capsys, "claims", empty_project.path, "--waiting", "--json")
    found = json.loads(out)
    assert found["n_waiting"] == 2
    assert found["claims"][0] == {
        "first_uid": "s2p-p0-00000",
        "second_uid": "fmost-s2p-p0-00002",
        "first_dataset": "two_photon",
        "second_dataset": "fmost",
        "program": "ROICaT",
        "score": None,
        "status": "waiting",
    }
    pair = ("s2p-p0-00000", "fmost-s2p-p0-00002")
    assert call(capsys, "annotate", empty_project.path, "--reject", *pair)[0] == 0
    assert json.loads(call(capsys, "claims", empty_project.path, "--waiting", "--json")[1]) == {
        "claims": found["claims"][1:],
        "n_waiting": 1,
    }


def test_points_are_added_to_a_dataset_with_an_image(
    capsys: pytest.CaptureFixture[str], project: Project, tmp_path: Path
) -> None:
    table = tmp_path / "points.csv"
    table.write_text("uid,z_um,y_um,x_um\na,1,2,3\nb,4,5,6\n")
    assert project.dataset("fmost").uri is not None
    before = set(project.state().somata["fmost"])
    request = ("import-points", project.path, table, "--dataset", "fmost")
    code, out, _ = call(capsys, *request, "--json")
    assert code == 0
    assert json.loads(out) == {"dataset": "fmost", "n_somata": 2, "first_uid": "a"}
    assert set(project.state().somata["fmost"]) == before | {"a", "b"}
