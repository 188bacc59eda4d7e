"""A project's content written to tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points
from napari_neurobridge.project.folder import DatasetSpec, Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.types import NoneReason, Role, SomaSource
from napari_neurobridge.workflows.export import export_tables


@pytest.fixture
def points_project(tmp_path: Path) -> Project:
    """Three somata on each side, with coordinates that decimal text cannot shorten."""
    made = Project.create(
        tmp_path / "mouse.neurobridge",
        [
            DatasetSpec(name="two_photon", role=Role.IN_VIVO),
            DatasetSpec(name="fmost", role=Role.EX_VIVO),
        ],
    )
    rng = np.random.default_rng(0)
    for name in made.datasets:
        add = rng.uniform(0, 100, (3, 3))
        annotate.add_somata(made, name, add, source=SomaSource.IMPORTED, annotator="a")
    return made


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_exported_somata_come_back_as_points(points_project: Project, tmp_path: Path) -> None:
    export_tables(points_project, tmp_path / "out")
    uids, centers = read_points(tmp_path / "out" / "somata_fmost.csv")
    somata = points_project.state().somata["fmost"]
    assert uids == list(somata)
    np.testing.assert_array_equal(centers, [soma.center_um for soma in somata.values()])


def test_pairs_carry_the_evidence_of_their_acceptance(
    points_project: Project, tmp_path: Path
) -> None:
    evidence = VerdictEvidence(rank=2, similarity=0.75, model_hash="compact@abc", seconds=3.5)
    # Asked from the fMOST side: the two-photon columns hold the two-photon soma all the same.
    annotate.accept(points_project, "fm-00002", "tp-00001", annotator="b", evidence=evidence)
    for table_format in ("csv", "parquet"):
        export_tables(points_project, tmp_path, table_format)
    (row,) = pyarrow.parquet.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert (row["two_photon_uid"], row["fmost_uid"]) == ("tp-00001", "fm-00002")
    center = points_project.state().soma("tp-00001").center_um
    assert tuple(row[f"two_photon_{axis}_um"] for axis in "zyx") == center
    assert (row["similarity"], row["model"], row["annotator"]) == (0.75, "compact@abc", "b")
    assert row["probability"] is None
    (text,) = read_csv(tmp_path / "pairs.csv")
    assert {name: value or None for name, value in text.items()} == {
        name: None if value is None else str(value) for name, value in row.items()
    }


def test_verdicts_list_all_that_stand(points_project: Project, tmp_path: Path) -> None:
    annotate.reject(points_project, "tp-00001", "fm-00001", annotator="b")
    annotate.none(points_project, "tp-00002", NoneReason.CUT, annotator="b")
    export_tables(points_project, tmp_path)
    rows = read_csv(tmp_path / "verdicts.csv")
    assert [(r["verdict"], r["candidate_uid"], r["reason"]) for r in rows] == [
        ("reject", "fm-00001", ""),
        ("none", "", "cut"),
    ]


def test_notes_stand_beside_pairs_and_verdicts_and_in_a_table(
    points_project: Project, tmp_path: Path
) -> None:
    pair = ("tp-00001", "fm-00001")
    annotate.accept(points_project, *pair, annotator="anna")
    annotate.none(points_project, "tp-00002", annotator="anna")
    annotate.note(points_project, *pair, "dim, but sure", annotator="anna")
    annotate.note(points_project, *pair, "sure", annotator="ben")
    annotate.note(points_project, "tp-00002", None, "cut off", annotator="anna")
    annotate.note(points_project, "tp-00003", "fm-00003", "ask again", annotator="ben")
    export_tables(points_project, tmp_path)
    (row,) = read_csv(tmp_path / "pairs.csv")
    assert row["note"] == "anna: dim, but sure; ben: sure"
    assert [row["note"] for row in read_csv(tmp_path / "verdicts.csv")] == [
        "dim, but sure",
        "cut off",
    ]
    notes = read_csv(tmp_path / "notes.csv")
    assert [(row["uid"], row["partner_uid"], row["annotator"], row["note"]) for row in notes] == [
        (*pair, "anna", "dim, but sure"),
        (*pair, "ben", "sure"),
        ("tp-00002", "", "anna", "cut off"),
        ("tp-00003", "fm-00003", "ben", "ask again"),
    ]


def test_an_empty_table_keeps_its_columns(points_project: Project, tmp_path: Path) -> None:
    files = export_tables(points_project, tmp_path, "csv")
    pairs = next(path for path in files if path.stem == "pairs")
    with pairs.open(newline="", encoding="utf-8") as handle:
        (header,) = csv.reader(handle)
    assert {"two_photon_space", "two_photon_z_um", "fmost_space", "fmost_z_um"} <= set(header)


def test_export_refuses_what_it_cannot_do(points_project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'nwb2'; use csv or parquet"):
        export_tables(points_project, tmp_path, "nwb2")
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(InputError, match="is a file"):
        export_tables(points_project, taken)
