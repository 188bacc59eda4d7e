"""Files written from the open project."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fixtures.loops import Loop
from napari_neurobridge.insight.figures import Picture, pair
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench(loop: Loop, project: Project, thumbnail_encoder: object) -> Iterator[Workbench]:
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(project)
    loop.finish(bench.session.jobs)
    yield bench
    bench.close()


@pytest.fixture
def notices(workbench: Workbench) -> list[Notice]:
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    return heard


def _written(loop: Loop, notices: list[Notice]) -> None:
    loop.run_until(lambda: any(notice.text.startswith("wrote") for notice in notices))


def test_each_table_is_written_where_the_user_says(
    workbench: Workbench, loop: Loop, notices: list[Notice], tmp_path: Path
) -> None:
    assert workbench.exports.tables() == ["somata_two_photon", "somata_fmost", "pairs", "verdicts"]
    path = tmp_path / "out" / "cells.csv"
    workbench.exports.export_table("somata_fmost", path)
    _written(loop, notices)
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    somata = workbench.project.state().somata["fmost"]
    assert {row["uid"]: float(row["z_um"]) for row in rows} == {
        uid: soma.center_um[0] for uid, soma in somata.items()
    }
    assert notices[-1].text == f"wrote cells.csv to {path.parent}"


def test_all_tables_go_into_a_folder(
    workbench: Workbench, loop: Loop, notices: list[Notice], tmp_path: Path
) -> None:
    workbench.exports.export_tables(tmp_path / "out")
    _written(loop, notices)
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(workbench.exports.tables())


def test_without_a_project_or_a_question_it_says_so(
    workbench: Workbench, loop: Loop, notices: list[Notice], tmp_path: Path
) -> None:
    workbench.exports.export_pair(tmp_path / "pair.png", [])
    assert "No cell is asked about" in notices[-1].text
    workbench.session.set_project(None)
    assert workbench.exports.tables() == []
    workbench.exports.export_table("pairs", tmp_path / "pairs.csv")
    assert "No project is open" in notices[-1].text
    assert list(tmp_path.glob("pair*")) == []


@pytest.mark.parametrize("audit", [False, True])
def test_a_figure_of_the_pair_shows_what_the_dock_shows(
    workbench: Workbench,
    loop: Loop,
    notices: list[Notice],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    audit: bool,
) -> None:
    drawn: list[tuple[list[str], str]] = []

    def look(crops, canvases, *, title):
        drawn.append(([picture.title for picture in (*crops, *canvases)], title))
        return original(crops, canvases, title=title)

    original = pair.pair_figure
    monkeypatch.setattr(pair, "pair_figure", look)
    questions = workbench.questions
    questions.select("two_photon", "tp-00001")
    loop.run_until(lambda: bool(questions.snapshot.candidates))
    questions.choose(1)
    if audit:
        questions._ask(replace(questions.query, audit=True))
        loop.run_until(lambda: bool(questions.snapshot.candidates))
        questions.choose(1)
    picked = questions.snapshot.picked.uid
    canvas = Picture("two_photon", np.zeros((30, 40, 4), np.uint8), 1.0)
    workbench.exports.export_pair(tmp_path / "pair.pdf", [canvas])
    _written(loop, notices)
    assert (tmp_path / "pair.pdf").read_bytes()[:4] == b"%PDF"
    ((titles, title),) = drawn
    assert titles == ["tp-00001", picked, "two_photon"]
    assert title.startswith(f"tp-00001 and {picked}")
    assert not audit or title == f"tp-00001 and {picked}", "an audit hides the probability"
