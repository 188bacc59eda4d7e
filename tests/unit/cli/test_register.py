"""``register``."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

from napari_neurobridge.cli import main
from napari_neurobridge.io.tables import read_points, write_points
from napari_neurobridge.project.folder import Project

SIDES = "two_photon", "fmost"


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def made(folder, here: np.ndarray, there: np.ndarray):
    """Make a project of two tables through the command line."""
    for name, points in zip(SIDES, (here, there), strict=True):
        uids = [f"{name[0]}{row:03d}" for row in range(len(points))]
        write_points(folder / f"{name}.csv", uids, points)
    path = folder / "p.neurobridge"
    tables = [f"--{name.replace('_', '-')}-points={folder / name}.csv" for name in SIDES]
    code, _, err = call("init", path, *tables)
    assert code == 0, err
    return path


def test_a_refusal_exits_with_3_and_applies_nothing(tmp_path) -> None:
    few = np.random.default_rng(1).uniform(0, 100, (6, 3))
    path = made(tmp_path, few, few + 5)
    code, text, err = call("register", path, "--apply", "--json")
    assert code == 3, err
    found = json.loads(text)
    assert found["decision"] == "refused"
    assert "at least 8 somata" in found["reason"]
    assert (found["transform"], found["applied"], found["residual_um"]) == (None, False, None)
    assert (found["n_initial"], found["n_verified"]) == (0, 0)
    assert not Project.open(path).state().registrations
    code, text, _ = call("register", path)
    assert code == 3
    assert text.startswith("Refused. ")


@pytest.mark.parametrize("wrong", ["+z+z+x", "+y+z-x,tilt=3"])
def test_a_wrong_orientation_is_told(tmp_path, wrong) -> None:
    few = np.random.default_rng(1).uniform(0, 100, (6, 3))
    code, text, err = call("register", made(tmp_path, few, few), "--orientation", wrong)
    assert (code, text) == (2, "")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_field_is_found_applied_and_taken_back(points_world, tmp_path) -> None:
    """The field is turned by 20° about the optical axis."""
    uids, cells = read_points(points_world.two_photon)
    there_uids, there = read_points(points_world.fmost)
    rows = [row for row, uid in enumerate(uids) if uid in points_world.partners]
    partners = [there_uids.index(points_world.partners[uids[row]]) for row in rows]
    known, own = there[partners], cells[rows]
    # The axes of that volume lie anyhow: they are turned onto the field's, but for 20°.
    left, _, right = np.linalg.svd((known - known.mean(axis=0)).T @ (own - own.mean(axis=0)))
    cos, sin = np.cos(0.35), np.sin(0.35)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ (left @ right).T
    volume, truth = there @ turn.T, known @ turn.T
    path = made(tmp_path, cells, volume)

    code, text, err = call("register", path, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert (found["decision"], found["applied"]) == ("accepted", False)
    assert found["n_initial"] >= found["n_verified"] > 60
    assert found["residual_um"] < 5
    assert not Project.open(path).state().registrations

    code, text, err = call("register", path, "--apply", "--annotator", "me")
    assert code == 0, err
    assert text.startswith("Accepted. ")
    mapped = Project.open(path).map_points(own, *SIDES)
    assert np.median(np.linalg.norm(mapped - truth, axis=1)) < 4
    code, _, err = call("annotate", path, "--undo", "--annotator", "me")
    assert code == 0, err
    assert not Project.open(path).state().registrations
