"""``match``, ``queue`` and ``rank`` on projects of points, as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fixtures.points import PointsWorld
from napari_neurobridge.benchmarks.start_fields import StartFieldParams, draw_start_field
from napari_neurobridge.cli._run import run
from napari_neurobridge.io.tables import write_points
from napari_neurobridge.project.folder import Project


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert run([*map(str, arguments), "--json", "--progress", "none"]) == 0
    return json.loads(capsys.readouterr().out)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def project(points_world: PointsWorld, tmp_path: Path, capsys) -> Path:
    """Made by the commands alone, with eight accepted pairs."""
    folder, pairs = tmp_path / "p.neurobridge", tmp_path / "pairs.csv"
    with pairs.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerows([("two_photon_uid", "fmost_uid"), *points_world.some(8)])
    tables = "--two-photon-points", points_world.two_photon, "--fmost-points", points_world.fmost
    answer(capsys, "init", folder, *tables)
    answer(capsys, "annotate", folder, "--from", pairs)
    return folder


def test_claims_are_as_often_wrong_as_they_say(project, points_world, capsys) -> None:
    result = answer(capsys, "match", project, "--fdr", "0.05")
    with Path(result["pairs"]).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[:5] == [
        "two_photon_uid",
        "fmost_uid",
        "probability",
        "residual_um",
        "score_um",
    ]
    assert len(rows) == result["n_matched"]
    accepted = {row["two_photon_uid"]: row["fmost_uid"] for row in rows if row["accepted"] == "1"}
    assert accepted == dict(points_world.some(8))
    claimed = [row for row in rows if row["accepted"] == "0"]
    assert len(claimed) == result["n_matched"] - result["n_accepted"] > 70
    right = sum(points_world.partners.get(r["two_photon_uid"]) == r["fmost_uid"] for r in claimed)
    assert right / len(claimed) > 0.93
    assert result["expected_false"] == pytest.approx(
        sum(1 - float(row["probability"]) for row in claimed), abs=1e-3
    )
    assert result["expected_false"] <= 0.05 * len(claimed)


def test_the_worst_decoy_is_named_in_a_sentence_and_all_are_listed(project, capsys) -> None:
    decoys = answer(capsys, "match", project)["decoys"]
    assert decoys["n_decoys"] == 6
    assert len(decoys["all"]) == 12
    worst = {key: decoys[key] for key in ("decoy", "judging", "n_claimed", "n_asked")}
    assert any(worst.items() <= row.items() for row in decoys["all"])
    assert run(["match", str(project)]) == 0
    assert f"Decoy check: {decoys['text']}." in capsys.readouterr().out
    assert answer(capsys, "match", project, "--no-decoys")["decoys"] is None


def test_planes_are_matched_without_any_pair_turned_and_scaled(tmp_path, capsys) -> None:
    field = draw_start_field("plane in plane", StartFieldParams(missing=0.1), 3)
    tables = tmp_path / "here.csv", tmp_path / "there.csv"
    for path, points in zip(tables, (field.queries_um, field.gallery_um), strict=True):
        write_points(path, [f"{path.stem}-{row:04d}" for row in range(len(points))], points)
    folder = tmp_path / "p.neurobridge"
    answer(capsys, "init", folder, "--two-photon-points", tables[0], "--fmost-points", tables[1])
    result = answer(capsys, "match", folder, "--no-decoys")
    assert result["n_accepted"] == 0
    assert result["agreement"] is None
    with Path(result["pairs"]).open(newline="") as handle:
        pairs = [
            (int(row["two_photon_uid"][-4:]), int(row["fmost_uid"][-4:]))
            for row in csv.DictReader(handle)
        ]
    right = [field.partner[query] == soma for query, soma in pairs]
    assert np.mean(right) > 0.9
    assert len(pairs) > 0.7 * (field.partner >= 0).sum()


def test_a_stricter_cut_claims_fewer_and_writes_where_it_is_told(project, capsys, tmp_path) -> None:
    out = tmp_path / "mine" / "pairs.csv"
    strict = answer(capsys, "match", project, "--fdr", "0.001", "--out", out)
    assert strict["pairs"] == str(out)
    assert out.is_file()
    loose = answer(capsys, "match", project, "--fdr", "0.2")
    assert strict["n_matched"] < loose["n_matched"]
    assert Path(loose["pairs"]).is_relative_to(project / "runs")


def test_rank_gives_probabilities_from_either_side(project, points_world, capsys) -> None:
    two_photon, fmost = points_world.some(20)[-1]
    for here, there in ((two_photon, fmost), (fmost, two_photon)):
        ranked = answer(capsys, "rank", project, "--uid", here, "-k", 3)
        assert ranked["basis"] == "probability"
        assert ranked["candidates"][0]["uid"] == there
        assert ranked["candidates"][0]["similarity"] is None
        listed = sum(candidate["probability"] for candidate in ranked["candidates"])
        assert 0.8 < listed + ranked["p_none"] <= 1.0 + 1e-9
    soma = Project.open(project).state().soma(two_photon)
    ranked = answer(capsys, "rank", project, "--at", *soma.center_um)
    assert ranked["candidates"][0]["uid"] == fmost


def test_the_queue_says_whom_to_ask_and_why(project, capsys) -> None:
    queued = answer(capsys, "queue", project, "-n", 7)["queue"]
    assert len(queued) == 7
    # Eight were answered, so the second is the tenth.
    assert [item["audit"] for item in queued] == [False, True, *[False] * 4, True]
    bits = [item["uncertainty"] for item in queued if not item["audit"]]
    assert bits == sorted(bits, reverse=True)
    assert all(item["reason"] for item in queued)
    clearest = answer(capsys, "queue", project, "--strategy", "clearest", "-n", 1)["queue"]
    assert clearest[0]["uncertainty"] is None


def test_what_cannot_be_done_is_told_in_one_sentence(project, points_world, capsys) -> None:
    assert "between 0 and 1" in complaint(capsys, "match", project, "--fdr", "5")
    assert "moon" in complaint(capsys, "rank", project, "--uid", "moon")
    assert "Another dataset" in complaint(
        capsys, "rank", project, "--uid", "t001", "--gallery", "two_photon"
    ).replace("another", "Another")


def test_before_the_first_pair_cells_are_asked_in_order(points_world, tmp_path, capsys) -> None:
    folder = points_world.project(tmp_path / "p.neurobridge").path
    queued = answer(capsys, "queue", folder, "-n", 3)["queue"]
    assert [item["uncertainty"] for item in queued] == [None] * 3
    ranked = answer(capsys, "rank", folder, "--uid", "t001")
    assert ranked["basis"] == "distance"
    assert ranked["p_none"] is None
    assert ranked["note"]
