"""The command that measures calibration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from napari_neurobridge.cli import benchmark
from napari_neurobridge.errors import InputError


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    gallery = rng.uniform(0, 200, (300, 3))
    queries = gallery[:40] + rng.normal(0, 1.5, (40, 3))
    paths = [tmp_path / f"{name}.csv" for name in ("queries", "gallery", "pairs")]
    for path, points, letter in zip(paths, (queries, gallery), "qg", strict=False):
        table = pd.DataFrame(points, columns=["z_um", "y_um", "x_um"])
        table.insert(0, "uid", [f"{letter}{row}" for row in range(len(points))])
        table.to_csv(path, index=False)
    pairs = {"query": [f"q{row}" for row in range(40)], "gallery": [f"g{row}" for row in range(40)]}
    pd.DataFrame(pairs).to_csv(paths[2], index=False)
    return [str(path) for path in paths]


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    benchmark.register(app)
    return app


def test_tables_are_measured_and_drawn(app, tables, tmp_path):
    figure = tmp_path / "reliability.png"
    arguments = ["benchmark", "matching", "--part", "points", "--tables", *tables, "--draws", "1"]
    result = CliRunner().invoke(app, [*arguments, "--figure", str(figure), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    conditions = [(row["n_landmarks"], row["missing"] > 0.2) for row in found["results"]]
    assert conditions == [(n, missing) for n in (4, 6, 10) for missing in (False, True)]
    assert figure.stat().st_size > 0
    assert "| tables | 10 |" in found["markdown"]


def test_tables_belong_to_points(app, tables):
    for arguments in (["--part", "points"], ["--part", "images", "--tables", *tables]):
        result = CliRunner().invoke(app, ["benchmark", "matching", *arguments])
        assert isinstance(result.exception, InputError)
