"""What other programs found, from a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_neurobridge as nb
from fixtures.rois import disks, write_roicat, write_suite2p
from napari_neurobridge.errors import InputError


def test_regions_and_claims_are_tables(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"uid,z_um,y_um,x_um\n{name}1,1,2,3\n")
    plane = write_suite2p(
        tmp_path / "plane0", disks([(9, 9), (30, 30)], 4, (64, 64)), iscell=[1, 0]
    )
    with nb.create(
        tmp_path / "p.neurobridge",
        two_photon_points=tmp_path / "a.csv",
        fmost_points=tmp_path / "b.csv",
    ) as p:
        found = p.import_rois(plane, "two_photon", pixel_um=0.5, z_um=40)
        assert found.index.tolist() == ["s2p-p0-00000"]
        assert found.loc["s2p-p0-00000", "z_um"] == 40
        assert len(p.somata("two_photon")) == 2
        with pytest.raises(InputError, match="choose one"):
            p.import_rois(plane, "fmost", pixel_um=0.5, every=True, min_probability=0.5)
        assert len(p.import_rois(str(plane), "fmost", voxel_size_um=(1, 0.5, 0.5), every=True)) == 2
        labels = write_roicat(tmp_path / "r.json", [[3, -1], [-1, 3]])
        assert p.import_matches(labels, {"two_photon": 0, "fmost": 1}) == 1
        (claim,) = p.claims().to_dict("records")
        assert (claim["first_uid"], claim["second_uid"]) == ("s2p-p0-00000", "fmost-s2p-p0-00001")
        assert (claim["program"], claim["status"]) == ("ROICaT", "waiting")
        assert len(p.pairs()) == 0
        p.accept(claim["first_uid"], claim["second_uid"])
        assert p.claims()["status"].tolist() == ["accepted"]


def test_points_and_pairs_are_imported_from_tables(
    points_project_folder: Path, tmp_path: Path
) -> None:
    project = nb.open(points_project_folder)
    points, pairs = tmp_path / "points.csv", tmp_path / "pairs.csv"
    points.write_text("uid,z_um,y_um,x_um\na,1,2,3\n")
    assert list(project.import_points(points, "fmost").index) == ["a"]
    pairs.write_text("two_photon_uid,fmost_z_um,fmost_y_um,fmost_x_um\ntp-00001,1.5,2,3\n")
    assert project.import_pairs(pairs) == 1
    assert project.folder.state().pairs == {"tp-00001": "a"}
