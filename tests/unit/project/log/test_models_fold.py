"""Adoptions of models: events like any other."""

from __future__ import annotations

from itertools import permutations

import pytest

from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import Event, ModelAdopted, UndoScope
from napari_neurobridge.project.log.fold import fold
from napari_neurobridge.project.log.wording import describe
from napari_neurobridge.types import SomaSource


def adoption(name: str, revokes: tuple[str, ...] = ()) -> ModelAdopted:
    return ModelAdopted(
        model=name,
        model_kind="encoder",
        weights_hash="0123456789ab",
        origin="project",
        revokes=revokes,
        software_version="1",
    )


def adopt(project: Project, name: str, revokes: tuple[str, ...] = (), who: str = "me") -> Event:
    return project.record(who, lambda _: [adoption(name, revokes)])[0]


def names(project: Project) -> list[str]:
    return [adoption.model for adoption in project.state().adoptions]


def test_adoptions_stand_in_order_whatever_the_order_of_arrival(empty_project: Project) -> None:
    events = [adopt(empty_project, name) for name in "abc"]
    assert names(empty_project) == ["a", "b", "c"]
    for order in permutations(events):
        assert [a.model for a in fold(order).adoptions] == ["a", "b", "c"]


def test_a_roll_back_takes_others_back_whoever_adopted_them(empty_project: Project) -> None:
    events = [adopt(empty_project, name, who=f"person {name}") for name in "ab"]
    adopt(empty_project, "a", tuple(event.id for event in events))
    assert names(empty_project) == ["a"]
    annotate.undo(empty_project, "me")
    assert names(empty_project) == ["a", "b"]


def test_undo_takes_an_adoption_back_but_never_a_key_press(empty_project: Project) -> None:
    annotate.add_somata(
        empty_project, "fmost", [(1.0, 2.0, 3.0)], source=SomaSource.MANUAL, annotator="me"
    )
    event = adopt(empty_project, "a")
    assert describe(event) == "adopted the model a"
    annotate.undo(empty_project, "me", scope=UndoScope.HAND)
    assert names(empty_project) == ["a"]
    assert not empty_project.state().somata["fmost"]
    annotate.undo(empty_project, "me")
    assert names(empty_project) == []
    annotate.redo(empty_project, "me")
    assert names(empty_project) == ["a"]
    with pytest.raises(InvalidActionError):
        annotate.undo(empty_project, "somebody else")


@pytest.mark.parametrize("bad", ["", "0123456789AB", "../../etc/xx"])
def test_a_hash_that_is_none_is_refused(empty_project: Project, bad: str) -> None:
    event = adopt(empty_project, "a")
    damaged = Event(**{**vars_of(event), "payload": {**event.payload, "weights_hash": bad}})
    with pytest.raises(InputError, match="weights_hash"):
        _ = damaged.content


def vars_of(event: Event) -> dict:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}
