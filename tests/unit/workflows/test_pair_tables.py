"""Tables of pairs, by uids and by places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import DatasetSpec, Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import Role, SomaSource, Verdict
from napari_neurobridge.workflows.claims import import_matches
from napari_neurobridge.workflows.export import export_tables
from napari_neurobridge.workflows.judgements import Judgement, judge_all, read_judgements
from napari_neurobridge.workflows.pair_tables import read_pair_table


@pytest.fixture(params=["two_photon", "site3"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """Three somata on each side, 20 µm apart; the first side has its usual name or another."""
    made = Project.create(
        tmp_path / "mouse.neurobridge",
        [
            DatasetSpec(name=request.param, role=Role.IN_VIVO),
            DatasetSpec(name="fmost", role=Role.EX_VIVO),
        ],
    )
    for name, prefix in ((request.param, "tp"), ("fmost", "fm")):
        centers_um = np.arange(3)[:, None] * (0.0, 20.0, 0.0) + (0.0, 0.0, 5.5)
        uids = [f"{prefix}-{number}" for number in range(3)]
        annotate.add_somata(
            made, name, centers_um, source=SomaSource.IMPORTED, uids=uids, annotator="a"
        )
    return made


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_judgements_are_read_in_order(project: Project, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufefffmost_uid,two_photon_uid,verdict,note\nfm-1,tp-1,,x\nfm-2,tp-2,reject,\n",
    )
    assert read_judgements(project, path) == [
        Judgement(Verdict.ACCEPT, "tp-1", "fm-1"),
        Judgement(Verdict.REJECT, "tp-2", "fm-2"),
    ]


PLACES = "two_photon_z_um,two_photon_y_um,two_photon_x_um,fmost_uid"


def test_a_place_names_the_soma_within_three_um(project: Project, tmp_path: Path) -> None:
    path = write(tmp_path, f"{PLACES}\n2.9,20,5.5,fm-0\n0,39,3.5,fm-2\n")
    table = read_pair_table(project, path)
    assert table.datasets == (project.in_vivo(), "fmost")
    assert table.pairs == [("tp-1", "fm-0"), ("tp-2", "fm-2")]
    path = write(tmp_path, f"{PLACES}\n0,20,5.5,fm-0\n3.1,40,5.5,fm-2\n")
    with pytest.raises(InputError, match=r"line 3, names no soma of .*: the nearest lies 3.1 µm"):
        read_pair_table(project, path)


def test_exported_pairs_can_be_imported_and_another_project_s_uids_are_noticed(
    project: Project, tmp_path: Path
) -> None:
    annotate.accept(project, "tp-1", "fm-2", annotator="a")
    export_tables(project, tmp_path / "out")
    path = tmp_path / "out" / "pairs.csv"
    assert read_pair_table(project, path).pairs == [("tp-1", "fm-2")]
    moved = write(tmp_path, path.read_text().replace(",20,", ",40,", 1))
    assert moved.read_text() != path.read_text()
    with pytest.raises(InputError, match="names 'tp-1', which lies 20 µm from the place"):
        read_pair_table(project, moved)


def test_the_same_table_is_accepted_or_only_claimed(project: Project, tmp_path: Path) -> None:
    path = write(tmp_path, f"{PLACES},score\n0,20,5.5,fm-0,0.9\n0,40,5.5,fm-2,0.5\n")
    import_matches(project, path)
    assert [claim.score for claim in project.state().claims] == [0.9, 0.5]
    assert not project.state().pairs
    judge_all(project, read_judgements(project, path), annotator="a")
    assert project.state().pairs == {"tp-1": "fm-0", "tp-2": "fm-2"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no table of pairs: it is empty"),
        ("two_photon_uid,fmost_uid\n", "no rows"),
        ("a,b\n1,2\n", "needs two columns of uids"),
        ("two_photon_uid,b\ntp-1,2\n", "needs two columns of uids"),
        ("two_photon_uid,fmost_uid\ntp-1\n", "line 2, has 1 field where the header has 2"),
        ("two_photon_uid,fmost_uid\ntp-1,fm-1\ntp-2,\n", "line 3, lacks a fmost_uid"),
        ("two_photon_uid,fmost_uid\ntp-1,fm-9\n", "line 2, names 'fm-9', which is no soma"),
        ("two_photon_uid,fmost_uid,verdict\ntp-1,fm-1,maybe\n", "'maybe'"),
        ("two_photon_uid,fmost_uid,verdict\ntp-1,fm-1,none\n", "'none'"),
        (f"{PLACES}\n0,20,far,fm-1\n", "'far', which is not a number"),
    ],
)
def test_a_table_that_names_no_pairs_is_refused(
    project: Project, tmp_path: Path, text: str, says: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=says):
        read_judgements(project, path)
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(InputError, match="no table of pairs"):
        read_judgements(project, path)


def test_a_side_without_somata_is_named(project: Project, tmp_path: Path) -> None:
    for number in range(3):
        annotate.delete_soma(project, f"tp-{number}", annotator="a")
    with pytest.raises(InputError, match="has no somata"):
        read_pair_table(project, write(tmp_path, f"{PLACES}\n0,20,5.5,fm-0\n"))
