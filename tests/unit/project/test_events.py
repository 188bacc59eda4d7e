from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.events import (
    SCHEMAS,
    Event,
    PayloadSchema,
    Undone,
    VerdictGiven,
    default_annotator,
)
from napari_neurobridge.project.log.payload import EventKind, Payload, step_of
from napari_neurobridge.project.log.soma_events import SomaAdded
from napari_neurobridge.types import Role, SomaSource, Verdict


class RenamedMove(Payload):
    """Version 3 of a payload that was called otherwise and counted nm before."""

    kind: ClassVar[EventKind] = EventKind.SOMA_MOVED
    version: ClassVar[int] = 3

    uid: str
    z_um: float


def rename(payload: dict[str, object]) -> dict[str, object]:
    return {"uid": payload["name"], "z_nm": payload["z_nm"]}


def to_micrometres(payload: dict[str, object]) -> dict[str, object]:
    return {"uid": payload["uid"], "z_um": float(str(payload["z_nm"])) / 1000}


def test_somata_of_the_first_version_are_read() -> None:
    payload = {"dataset": "fmost", "uids": ["a"], "centers_um": [[1, 2, 3]], "source": "imported"}
    added = SCHEMAS[EventKind.SOMA_ADDED].parse(1, payload, what="Event")
    assert isinstance(added, SomaAdded)
    assert added.origin is None
    assert added.centers_um == [(1, 2, 3)]


@pytest.mark.parametrize("version", [1, 2])
def test_verdicts_of_earlier_versions_are_steps_by_themselves(version: int) -> None:
    payload = {
        "verdict": "none",
        "query_uid": "tp-1",
        "query_dataset": "two_photon",
        "query_role": "in_vivo",
        "software_version": "0",
    }
    assert step_of(SCHEMAS[EventKind.VERDICT].parse(version, payload, what="Event")) is None


SCHEMA = PayloadSchema(RenamedMove, (rename, to_micrometres))


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (1, {"name": "tp-1", "z_nm": 2500}),
        (2, {"uid": "tp-1", "z_nm": 2500}),
        (3, {"uid": "tp-1", "z_um": 2.5}),
    ],
)
def test_past_versions_are_brought_up_to_date(version: int, payload: dict[str, object]) -> None:
    before = dict(payload)
    assert SCHEMA.parse(version, payload, what="Event") == RenamedMove(uid="tp-1", z_um=2.5)
    assert payload == before


@pytest.mark.parametrize(
    ("version", "sentence"), [(4, "newer version"), (0, "damaged"), (3, "damaged")]
)
def test_unreadable_payloads_get_a_sentence(version: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SCHEMA.parse(version, {"name": "tp-1"}, what="Event 7")


def test_a_schema_needs_an_upcast_for_each_past_version() -> None:
    with pytest.raises(ValueError, match="one upcast for each"):
        PayloadSchema(RenamedMove, (rename,))


def test_every_kind_has_a_schema_of_its_own() -> None:
    assert set(SCHEMAS) == set(EventKind)
    assert all(schema.model.kind is kind for kind, schema in SCHEMAS.items())


def test_an_event_of_a_future_payload_is_refused_when_read() -> None:
    event = Event("a" * 32, "2026", "anna", 1, EventKind.UNDO, 99, {"target": "b"})
    with pytest.raises(InputError, match="update napari-neurobridge"):
        _ = event.content


def test_content_of_an_event_is_typed() -> None:
    event = Event("a" * 32, "2026", "anna", 1, EventKind.UNDO, 1, {"target": "b"})
    assert event.content == Undone(target="b")


def test_lists_of_somata_must_match() -> None:
    with pytest.raises(ValidationError, match="differ in length"):
        SomaAdded(dataset="a", uids=["a-1"], centers_um=[], source=SomaSource.MANUAL)
    with pytest.raises(ValidationError, match="occurs twice"):
        SomaAdded(
            dataset="a", uids=["a-1"] * 2, centers_um=[(0, 0, 0)] * 2, source=SomaSource.MANUAL
        )


def test_only_none_lacks_a_candidate() -> None:
    fields = {"query_uid": "tp-1", "query_dataset": "two_photon", "query_role": Role.IN_VIVO}
    VerdictGiven(verdict=Verdict.NONE, software_version="1", **fields)
    with pytest.raises(ValidationError, match="names a candidate"):
        VerdictGiven(verdict=Verdict.ACCEPT, software_version="1", **fields)


def test_a_user_without_a_name_is_called_annotator(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert default_annotator() == "annotator"
