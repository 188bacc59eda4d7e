from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.project import store
from napari_neurobridge.project.log.events import Event, Undone
from napari_neurobridge.project.log.payload import EventKind
from napari_neurobridge.project.store import EventLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "annotations.db"


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    log = EventLog(path, create=True)
    yield log
    log.close()


def record(log: EventLog, annotator: str = "anna", count: int = 1) -> list[Event]:
    with log.writing() as writer:
        return writer.record(annotator, [Undone(target=str(n)) for n in range(count)])


def test_events_come_back_as_written(log: EventLog, path: Path) -> None:
    events = record(log, count=3)
    assert log.events() == events
    assert [event.sequence for event in events] == [1, 2, 3]
    assert [event.sequence for event in (*record(log), *record(log, "ben"))] == [4, 1]
    other = EventLog(path)
    assert other.events()[:3] == events
    other.close()


def test_events_since_a_position(log: EventLog) -> None:
    record(log)
    position = log.position()
    assert log.events(position) == []
    later = record(log, "ben")
    assert log.events(position) == later
    assert log.read(position) == (later, position + 1)


def test_appending_known_events_changes_nothing(log: EventLog, tmp_path: Path) -> None:
    events = record(log, count=1200)  # more than fit one query
    copy = EventLog(tmp_path / "copy.db", create=True)
    copy.append(events[:700])
    copy.append(events)
    assert copy.events() == events
    copy.close()


def test_nothing_is_written_when_the_block_raises(log: EventLog) -> None:
    with pytest.raises(InputError), log.writing() as writer:
        writer.record("anna", [Undone(target="a")])
        raise InputError("no")
    assert log.events() == []


def test_a_clock_set_back_does_not_reorder(log: EventLog) -> None:
    ahead = datetime.now(UTC) + timedelta(days=1)
    foreign = Event("f" * 32, store._as_text(ahead), "ben", 1, EventKind.UNDO, 1, {"target": "a"})
    log.append([foreign])
    (event,) = record(log)
    assert event.time > foreign.time
    assert len(event.time) == len(foreign.time)


def test_a_local_log_is_write_ahead_and_a_network_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "is_network_drive", lambda folder: False)
    local = EventLog(tmp_path / "local.db", create=True)
    assert local.journal_mode() == "wal"
    local.close()
    monkeypatch.setattr(store, "is_network_drive", lambda folder: True)
    for name in ("remote.db", "local.db"):  # also one that was copied to a network drive
        remote = EventLog(tmp_path / name, create=name == "remote.db")
        assert remote.journal_mode() == "delete"
        assert len(record(remote)) == 1
        remote.close()


def test_every_connection_is_synchronous(log: EventLog) -> None:
    with log._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL


def test_a_missing_log_is_not_made_anew(path: Path) -> None:
    with pytest.raises(InputError, match="missing; restore it from a backup"):
        EventLog(path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough" * 99, b""])
def test_a_damaged_log_gets_a_sentence(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"annotations\.db is damaged"):
        EventLog(path)


def test_a_log_damaged_inside_gets_a_sentence(path: Path) -> None:
    log = EventLog(path, create=True)
    record(log, count=500)
    log.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    log = EventLog(path)
    with pytest.raises(InputError, match="damaged"):
        log.events()
    log.close()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("UPDATE meta SET value = '99'", r"newer version .* update"),
        ("UPDATE meta SET value = 'x'", "damaged"),
        ("DELETE FROM meta", "damaged"),
        ("UPDATE events SET kind = 'thought_of'", r"newer version .* update"),
        ("UPDATE events SET payload = '{'", "damaged"),
    ],
)
def test_a_log_from_the_future_or_tampered_with(path: Path, change: str, sentence: str) -> None:
    log = EventLog(path, create=True)
    record(log)
    log.close()
    raw = sqlite3.connect(path)
    with raw:
        raw.execute(change)
    raw.close()
    with pytest.raises(InputError, match=sentence):
        EventLog(path).events()


def test_a_log_held_too_long_by_another_program(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.05)
    log = EventLog(path, create=True)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(NeuroBridgeError, match="locked") as caught:
        record(log)
    assert caught.value.exit_code == 1
    raw.close()
    assert len(record(log)) == 1
    log.close()
