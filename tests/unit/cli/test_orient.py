"""``orient``, and what ``init`` says of an orientation that nobody stated."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fixtures.projects import ORIENTATION, ThumbnailEncoder
from napari_neurobridge.cli import main
from napari_neurobridge.matching.appearance.pose_search import AngleSearch
from napari_neurobridge.project.folder import Project
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.workflows import orient


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def stated(folder: Path) -> Orientation | None:
    project = Project.open(folder)
    orientation = project.dataset("fmost").orientation
    project.close()
    return orientation


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> AngleSearch:
    """What the search says of any project."""
    search = AngleSearch(12.0, 0.6, 0.1, 0.02, 30, 40)

    def suggest(project: Project, model: str, *, report: object) -> orient.AngleSuggestion:
        turned = project.dataset("fmost").used_orientation.model_copy(update={"angle_deg": 12.0})
        return orient.AngleSuggestion(search, turned, 30, 40)

    monkeypatch.setattr(orient, "suggest_angle", suggest)
    return search


def test_the_same_axes_can_be_confirmed(points_project_folder: Path) -> None:
    code, out, _ = call("orient", points_project_folder, "--orientation", "+z+y+x", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["known"], answer["applied"], answer["evidence"]) == (True, True, None)
    assert answer["orientation"]["axes"] == "+z+y+x"
    assert stated(points_project_folder) == Orientation()


def test_init_tells_an_orientation_from_none(tmp_path: Path, point_tables: Path) -> None:
    tables = [
        *("--two-photon-points", point_tables / "two_photon.csv"),
        *("--fmost-points", point_tables / "fmost.csv"),
    ]
    _, text, _ = call("init", tmp_path / "a.neurobridge", *tables)
    assert "orientation is not stated" in text
    assert "neurobridge orient" in text
    assert stated(tmp_path / "a.neurobridge") is None
    _, text, _ = call("init", tmp_path / "b.neurobridge", *tables, "--orientation", "+z+y+x")
    assert "not stated" not in text
    assert stated(tmp_path / "b.neurobridge") == Orientation()
    _, out, _ = call("init", tmp_path / "c.neurobridge", *tables, "--json")
    assert [row["orientation"] for row in json.loads(out)["datasets"]] == [None, None]


def test_a_suggestion_is_only_shown_until_it_is_applied(
    project_folder: Path, found: AngleSearch
) -> None:
    _, out, _ = call("orient", project_folder, "--json")
    answer = json.loads(out)
    assert (answer["known"], answer["applied"], answer["angle_deg"]) == (True, False, 12.0)
    assert answer["evidence"]["deviations"] == pytest.approx(25.0)
    assert stated(project_folder) == ORIENTATION
    _, text, _ = call("orient", project_folder, "--apply")
    assert "index" in text
    assert stated(project_folder) == ORIENTATION.model_copy(update={"angle_deg": 12.0})


def test_an_angle_that_is_not_known_is_not_applied(
    project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = ThumbnailEncoder()
    encoder.config = SimpleNamespace(views=1)
    monkeypatch.setattr(orient, "load_encoder", lambda project, model: encoder)
    code, out, _ = call("orient", project_folder, "--apply", "--json")
    answer = json.loads(out)
    assert (code, answer["known"], answer["applied"]) == (0, False, False)
    assert (answer["orientation"], answer["angle_deg"]) == (None, None)
    assert answer["evidence"]["n_queries"] == 14
    assert np.isfinite(answer["evidence"]["deviations"])
    assert "at least 20 somata are needed" in answer["text"]
    assert stated(project_folder) == ORIENTATION


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--orientation", "zzz"), "must name z, y and x"),
        (("--orientation", ""), "must name z, y and x"),
        (("--orientation", "+z+y+x", "--apply"), "not both"),
        ((), "no image"),
    ],
)
def test_bad_use_is_one_sentence_and_changes_nothing(
    points_project_folder: Path, options: tuple[str, ...], sentence: str
) -> None:
    code, out, err = call("orient", points_project_folder, *options)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    assert sentence in line
    assert stated(points_project_folder) == ORIENTATION
