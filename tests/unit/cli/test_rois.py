"""``import-rois`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.rois import disks, write_suite2p
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
