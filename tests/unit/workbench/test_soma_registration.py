"""A project registered by its somata, from the dock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.points import PointsWorld
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.soma_registration import SOMATA_JOB
from napari_neurobridge.workbench.workbench import Workbench
from soma_proposals import ACCEPTED, REFUSED, SIDES, partners_um, proposal

SEARCH = "napari_neurobridge.workflows.register.propose_registration"


@pytest.fixture
def bench(points_world: PointsWorld, loop: Loop, tmp_path) -> Iterator[Workbench]:
    """A workbench on two tables of points without a pair."""
    made = Workbench(loop, annotator="me")
    made.session.set_project(points_world.project(tmp_path / "p.neurobridge"))
    yield made
    made.close()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, points_world: PointsWorld) -> dict[str, Any]:
    """What the search finds; its decision can be set."""
    given: dict[str, Any] = {"decision": ACCEPTED}
    monkeypatch.setattr(SEARCH, lambda project, report: proposal(project, points_world, **given))
    return given


def find(bench: Workbench, loop: Loop) -> None:
    registration = bench.soma_registration
    registration.find()
    assert registration.running
    loop.run_until(lambda: not registration.running and registration.proposal is not None)


def error_um(bench: Workbench, world: PointsWorld) -> float:
    here, there = partners_um(bench.project, world)
    return float(np.median(np.linalg.norm(bench.project.map_points(here, *SIDES) - there, axis=1)))


def test_it_is_found_told_applied_and_taken_back(
    bench: Workbench, loop: Loop, found: dict[str, Any], points_world: PointsWorld
) -> None:
    registration = bench.soma_registration
    assert registration.offered
    assert not registration.can_apply
    find(bench, loop)
    assert registration.decision == ACCEPTED
    assert registration.applied is None, "finding changes nothing"
    assert error_um(bench, points_world) > 50
    assert not bench.matches.is_aligned

    registration.apply()
    assert registration.applied.reason == ACCEPTED.reason
    assert registration.applied.annotator == "me"
    assert error_um(bench, points_world) < 4
    assert not registration.can_apply, "it is applied"
    assert bench.matches.is_aligned
    # All that follows the alignment follows it.
    loop.run_until(lambda: bench.ghost.offered)
    uid = sorted(points_world.partners)[7]
    bench.questions.select("two_photon", uid)
    loop.run_until(lambda: bool(bench.questions.snapshot.candidates))
    assert bench.questions.snapshot.candidates[0].uid == points_world.partners[uid]

    # No key press takes it back.
    assert not bench.project.state().undoable("me", UndoScope.HAND)
    assert registration.can_take_back
    annotate.none(bench.project, sorted(points_world.partners)[0], annotator="me")
    registration.take_back()
    assert registration.applied is None
    assert not registration.can_take_back
    assert error_um(bench, points_world) > 50
    loop.run_until(lambda: not bench.ghost.offered)
    assert len(bench.project.state().none) == 1, "what was decided since stands"


def test_a_refusal_is_told_and_cannot_be_applied(
    bench: Workbench, loop: Loop, found: dict[str, Any]
) -> None:
    found["decision"] = REFUSED
    find(bench, loop)
    assert bench.soma_registration.decision == REFUSED
    assert not bench.soma_registration.can_apply
    heard: list[Notice] = []
    bench.session.notified.connect(heard.append)
    bench.soma_registration.apply()
    assert heard[-1].is_error
    assert REFUSED.reason in heard[-1].text
    assert bench.soma_registration.applied is None


def test_other_somata_or_another_project_forget_what_was_found(
    bench: Workbench, loop: Loop, found: dict[str, Any]
) -> None:
    find(bench, loop)
    annotate.delete_somata(bench.project, list(bench.project.state().somata["fmost"])[:1])
    bench.session.somata_were_changed("fmost")
    assert bench.soma_registration.proposal is None
    find(bench, loop)
    bench.session.set_project(None)
    assert bench.soma_registration.proposal is None
    assert not bench.soma_registration.offered
    assert bench.soma_registration.applied is None


def test_a_search_can_be_cancelled(
    bench: Workbench, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []

    def search(_: object, *, report: Any) -> None:
        while True:
            begun.append(True)
            report(1, 3, "looking")
            time.sleep(0.01)

    monkeypatch.setattr(SEARCH, search)
    heard: list[Notice] = []
    bench.session.notified.connect(heard.append)
    bench.soma_registration.find()
    loop.run_until(lambda: bool(begun))
    bench.session.jobs.cancel(SOMATA_JOB)
    loop.run_until(lambda: not bench.soma_registration.running)
    loop.run_until(lambda: bool(heard) and "cancelled" in heard[-1].text)
    assert bench.soma_registration.proposal is None
