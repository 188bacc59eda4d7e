"""``benchmark points``, ``points-speed`` and ``effort``."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import pytest

from napari_neurobridge.cli import main


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: object) -> dict[str, Any]:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options that name three tables of a field of which all partners are known."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(3)
    gallery = rng.uniform(0, 250, (400, 3))
    partner = rng.choice(400, 40, replace=False)
    queries = gallery[partner] * 1.05 + rng.normal(0, 1, (40, 3))
    for name, points in (("queries", queries), ("gallery", gallery)):
        lines = [f"{name[0]}{row},{z},{y},{x}" for row, (z, y, x) in enumerate(points)]
        (folder / f"{name}.csv").write_text("\n".join(["uid,z_um,y_um,x_um", *lines]))
    lines = [f"q{row},g{there}" for row, there in enumerate(partner)]
    (folder / "pairs.csv").write_text("\n".join(["query,gallery", *lines]))
    names = ("queries", "gallery", "pairs")
    return [part for name in names for part in (f"--{name}", folder / f"{name}.csv")]


def test_points_reports_each_draw_and_the_means(tables):
    result = answer("benchmark", "points", *tables, "--landmarks", 8, "--draws", 2)
    assert (result["n_queries"], result["n_gallery"], len(result["trials"])) == (40, 400, 2)
    assert result["top1_mean"] > 0.9
    assert result["log_score"] <= 0
    code, text, _ = call(
        "benchmark", "points", *tables, "--landmarks", 8, "--draws", 1, "--wrong", "near"
    )
    assert code == 0
    assert "one of them wrong (near)" in text
    assert "wrong_in_first_two" in text


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--wrong", "far"), "near, any"),
        (("--layout", "line"), "random, ball, plane"),
        (("--missing", 2), "between 0 and 1"),
        (("--draws", 0), "at least one"),
        (("--landmarks", 41), "no 41 landmarks"),
    ],
)
def test_senseless_requests_are_refused_in_one_line(tables, options, word):
    code, out, err = call("benchmark", "points", *tables, *options)
    assert (code, out) == (2, "")
    assert word in err
    assert len(err.splitlines()) == 1


def test_effort_shows_a_curve_for_each_queue(tables):
    request = ("benchmark", "effort", *tables, "--questions", 6, "--draws", 1, "--errors", 0)
    result = answer(*request, "--queues", "default, random")
    assert [row["queue"] for row in result["results"]] == ["default", "random"]
    for row in result["results"]:
        assert row["questions"] == [1, 2, 3, 4, 5, 6]
        assert row["right"][-1] > 0.8
    code, _, err = call(*request, "--queues", "luck")
    assert code == 2
    assert "luck" in err


def test_speed_says_time_and_memory():
    request = ("benchmark", "points-speed", "--queries", 60, "--gallery", 300)
    result = answer(*request)
    assert result["top1"] > 0.9
    assert min(result["seconds"], result["refit_seconds"]) > 0
    assert 0 < result["peak_memory_gb"] < 1
    assert call(*request, "--landmarks", 60)[0] == 2
