"""Notes, and taking back a given event, by command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from napari_neurobridge.cli._run import run
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log.notes import in_words

PAIR = ("tp-00001", "fm-00001")


def _annotate(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> Any:
    code = run(["annotate", str(folder), *options, "--annotator", "anna", "--json"])
    said = capsys.readouterr()
    return json.loads(said.out)["events"] if code == 0 else said.err


def _notes(folder: Path) -> dict[tuple[str, ...], str]:
    with_notes = Project.open(folder)
    try:
        return {uids: in_words(notes) for uids, notes in with_notes.state().notes.items()}
    finally:
        with_notes.close()


def test_notes_are_written_with_verdicts_and_alone(points_project_folder, capsys) -> None:
    folder = points_project_folder
    events = _annotate(
        capsys, folder, "--accept", *PAIR, "--note", *PAIR, "dim", "--note", *PAIR, "bright -- no?"
    )
    assert [event["kind"] for event in events] == ["verdict", "note", "note"]
    _annotate(capsys, folder, "--note", "tp-00002", "-", "twice?")
    assert _notes(folder) == {PAIR: "bright -- no?", ("tp-00002",): "twice?"}


def test_an_earlier_event_is_taken_back_by_its_id(points_project_folder, capsys) -> None:
    folder = points_project_folder
    first, _ = _annotate(capsys, folder, "--accept", *PAIR, "--note", *PAIR, "dim")
    (undo,) = _annotate(capsys, folder, "--revert", first["id"])
    assert undo["payload"]["target"] == first["id"]
    project = Project.open(folder)
    assert project.state().pairs == {}
    assert set(project.state().notes) == {PAIR}
    project.close()
    assert "undone already" in _annotate(capsys, folder, "--revert", first["id"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--note", *PAIR), "needs two uids, a two-photon and an fMOST one, and a text"),
        (("--note", *PAIR, "a", "--undo"), "Give verdicts or notes, or one of"),
        (("--undo", "--revert", "1"), "Give verdicts or notes, or one of"),
        (("--note", "tp-9", "fm-00001", "a"), "no soma 'tp-9'"),
    ],
)
def test_what_cannot_be_meant_is_refused(points_project_folder, capsys, options, sentence) -> None:
    assert sentence in _annotate(capsys, points_project_folder, *options)
    assert _notes(points_project_folder) == {}
