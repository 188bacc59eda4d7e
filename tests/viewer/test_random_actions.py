"""Somebody clicks, types and drags without a plan, and nothing breaks or is lost."""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QFileDialog

from fixtures.user import User
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log.payload import EventKind
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.session import Notice
from random_person import RandomPerson

N_ACTIONS = int(os.environ.get("NEUROBRIDGE_RANDOM_ACTIONS", "250"))
FIRST_ACTION = int(os.environ.get("NEUROBRIDGE_RANDOM_FIRST", "0"))
SEED = int(os.environ.get("NEUROBRIDGE_RANDOM_SEED", "20261122"))
_ACTIONS_BETWEEN_RESTS = 100
_REST_MS = 120_000

_ACKNOWLEDGED = re.compile(r"^(?:accepted|rejected|unsure about) (\S+) ↔ (\S+)$")


class Witness:
    """Collects what went wrong anywhere, and what people were told is written down."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.seen: dict[Path, set[str]] = {}
        self.told: dict[Path, set[tuple[str, ...]]] = {}

    def on_exception(self, kind: Any, value: Any, trace: Any) -> None:
        self.failures.append("".join(traceback.format_exception(kind, value, trace)))

    def note_events(self, project: Project | None) -> None:
        if project is not None:
            self.seen.setdefault(project.path, set()).update(e.id for e in project.log.events())

    def hear(self, project: Project | None, notice: Notice) -> None:
        said = _ACKNOWLEDGED.match(notice.text)
        if said is not None and project is not None:
            self.told.setdefault(project.path, set()).add(said.groups())


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    """Hears of exceptions in Qt's slots and in threads."""
    seen = Witness()
    pytest_qt = sys.excepthook

    def in_slot(kind: Any, value: Any, trace: Any) -> None:
        seen.on_exception(kind, value, trace)
        pytest_qt(kind, value, trace)

    monkeypatch.setattr(sys, "excepthook", in_slot)
    monkeypatch.setattr(
        threading,
        "excepthook",
        lambda args: seen.on_exception(args.exc_type, args.exc_value, args.exc_traceback),
    )
    return seen


def _rest(user: User, binding: ViewerBinding) -> None:
    """Let all work come to an end; what takes long is cancelled, as a person might."""
    jobs = binding.workbench.session.jobs
    for job in (*reversed(jobs.waiting()), *jobs.running()):
        jobs.cancel(job)
    user.wait(lambda: not jobs.running() and not jobs.waiting(), _REST_MS)
    finished: list[None] = []
    jobs.submit("last of all", lambda: None, finished.append, print)
    user.wait(lambda: bool(finished), _REST_MS)
    user.settle(30)


def _open(user: User, folder: Path) -> ViewerBinding:
    for name in ("Data", "Match", "Pairs", "Insight"):
        user.menu("Plugins", "NeuroBridge", name)
    binding = binding_for(user.viewer)
    user.do(lambda: binding.workbench.setup.open_project(folder))
    user.wait(lambda: binding.second is not None and binding.second.header.image is not None)
    user.wait(lambda: "two_photon" in user.viewer.layers)
    return binding


@pytest.mark.slow
def test_random_clicks_keys_and_drags_break_and_lose_nothing(
    user: User,
    project_folder: Path,
    image_folder: Path,
    point_tables: Path,
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
    make_napari_viewer: Any,
    tmp_path: Path,
) -> None:
    nonsense = tmp_path / "nonsense.csv"
    nonsense.write_text("not,a,table\n1,2\n", encoding="utf-8")
    files = [project_folder, image_folder / "two_photon.tif", point_tables / "fmost.csv", nonsense]
    binding = _open(user, project_folder)
    person = RandomPerson(user, binding, SEED, tmp_path / "actions.txt", files)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", person.choose_file)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", person.choose_new_file)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", person.choose_folder)
    session = binding.workbench.session
    session.notified.connect(lambda notice: witness.hear(session.project, notice))

    for number in range(FIRST_ACTION, FIRST_ACTION + N_ACTIONS):
        try:
            person.act(number)
            if (number + 1) % _ACTIONS_BETWEEN_RESTS == 0:
                _rest(user, binding)
        except Exception as error:  # noqa: BLE001  # told with what led to it
            witness.on_exception(type(error), error, error.__traceback__)
        witness.note_events(session.project)
        assert not witness.failures, _report(number, person, witness)
    person.stop()
    _rest(user, binding)

    states = {}
    if session.project is not None:
        states[session.project.path] = session.project.state()
    binding.shut()
    assert len(witness.seen[project_folder]) > N_ACTIONS // 100
    for folder, seen in witness.seen.items():
        project = Project.open(folder)
        events = project.log.events()
        assert seen <= {event.id for event in events}
        given = {
            (event.payload["query_uid"], event.payload["candidate_uid"])
            for event in events
            if event.kind is EventKind.VERDICT
        }
        assert witness.told.get(folder, set()) <= given
        if folder in states:
            assert project.state() == states[folder]
        project.close()

    later = User(make_napari_viewer(show=True), user.qtbot, user.watch)
    again = _open(later, project_folder)
    _rest(later, again)
    state = again.workbench.session.require_project().state()
    for model, dataset in again._sides():
        drawn = again._somata.layer(model)
        assert list(drawn.features["uid"]) == list(state.somata[dataset])
    again.shut()


def _report(number: int, person: RandomPerson, witness: Witness) -> str:
    return "\n".join(
        [
            f"action {number} of seed {SEED}; the last ones were:",
            *person.latest,
            *witness.failures,
        ]
    )
