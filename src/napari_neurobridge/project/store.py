"""The event log on disk: one SQLite table that only ever grows."""

from __future__ import annotations

import json
import sqlite3
import weakref
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import exc

from napari_neurobridge.errors import InputError, NeuroBridgeError
from napari_neurobridge.project.drive import is_network_drive
from napari_neurobridge.project.log.events import Event
from napari_neurobridge.project.log.payload import EventKind, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SCHEMA_VERSION = 1

_BUSY_SECONDS = 30.0
_IDS_PER_QUERY = 500  # SQLite limits the variables of one statement

_metadata = sa.MetaData()
_meta = sa.Table(
    "meta",
    _metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_events = sa.Table(
    "events",
    _metadata,
    # Order of arrival in this database; says whether anything is new, and nothing else.
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
    sa.Column("time", sa.String(32), nullable=False, index=True),
    sa.Column("annotator", sa.String(255), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Index("ix_events_annotator_sequence", "annotator", "sequence"),
    sqlite_autoincrement=True,
)


class EventLog:
    """An append-only log of events that several processes may write at once.

    Parameters
    ----------
    location : Path or str
        A SQLite file, or a database URL.
    create : bool
        Make a new, empty log; otherwise it must exist.

    Raises
    ------
    InputError
        If the log is missing, damaged, or of a newer version of the program.
    """

    def __init__(self, location: str | Path, *, create: bool = False) -> None:
        self._url = _as_url(location)
        self._name = Path(self._url.database or "log").name
        path = Path(self._url.database or "") if self._url.drivername == "sqlite" else None
        if path is not None and not create and not path.is_file():
            raise InputError(f"The event log {path} is missing; restore it from a backup.")
        self._engine = _make_engine(self._url)
        # Without this, Windows could not delete or move the file afterwards.
        self._closer = weakref.finalize(self, self._engine.dispose)
        try:
            with self._clear_errors():
                if path is not None:
                    self._choose_journal(path)
                if create:
                    self._create_tables()
                self._check_schema()
        except NeuroBridgeError:
            self.close()
            raise

    def close(self) -> None:
        """Release the database file; the log must not be used any more."""
        self._closer()

    def append(self, events: Iterable[Event]) -> None:
        """Write events that already have an id and a time; known ids are left alone.

        They are on the disk when this returns.
        """
        with self.writing() as writer:
            writer.append(events)

    def events(self, since: int | None = None) -> list[Event]:
        """Return all events, or those that arrived after position ``since``."""
        return self.read(since or 0)[0]

    def read(self, since: int = 0) -> tuple[list[Event], int]:
        """Return the events that arrived after a position, and the new last position."""
        with self._clear_errors(), self._engine.connect() as connection:
            return _read(connection, since)

    def position(self) -> int:
        """Return the position of the last event; it grows whoever appends."""
        # Asked before every look at the state: SQLAlchemy's own query takes 1.4 ms, this one 0.1.
        with self._clear_errors(), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT max({_events.c.position.name}) FROM {_events.name}")
            found = cursor.fetchone()
            cursor.close()
        return 0 if found is None else found[0] or 0

    def journal_mode(self) -> str:
        """Return SQLite's journal mode, "wal" on a local disk."""
        with self._clear_errors(), self._engine.connect() as connection:
            return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())

    @contextmanager
    def writing(self) -> Iterator[LogWriter]:
        """Hold the log for writing: what is read inside cannot change before it is written.

        All is written when the block ends, or nothing if it raises.
        """
        with (
            self._clear_errors(),
            self._engine.connect().execution_options(neurobridge_write=True) as connection,
            connection.begin(),
        ):
            yield LogWriter(connection)

    def _choose_journal(self, path: Path) -> None:
        """Use the write-ahead log on a local disk, else the rollback journal."""
        wanted = "delete" if is_network_drive(path.parent) else "wal"
        raw = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            if raw.execute("PRAGMA journal_mode").fetchone()[0] == wanted:
                return
            # SQLite answers with the mode in force, which is another where it refuses.
            if raw.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0] != wanted:
                raw.execute("PRAGMA journal_mode=delete")
        finally:
            raw.close()

    def _create_tables(self) -> None:
        version = _meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION))
        with (
            self._engine.connect().execution_options(neurobridge_write=True) as connection,
            connection.begin(),
        ):
            _metadata.create_all(connection)
            connection.execute(version)

    def _check_schema(self) -> None:
        query = sa.select(_meta.c.value).where(_meta.c.key == "schema_version")
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar_one_or_none()
        if found is None or not found.isdecimal():
            raise InputError(
                f"{self._name} is damaged: it does not say its version; restore it from a backup."
            )
        if int(found) > SCHEMA_VERSION:
            raise InputError(
                f"{self._name} was made by a newer version of napari-neurobridge (schema {found}, "
                f"this program knows {SCHEMA_VERSION}); update napari-neurobridge to open it."
            )

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, exc.DBAPIError) as error:
            cause = error.orig if isinstance(error, exc.DBAPIError) else error
            raise _explain(self._name, cause or error) from error


class LogWriter:
    """A log held for writing; made by `EventLog.writing`."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def read(self, since: int = 0) -> tuple[list[Event], int]:
        """Return the events after a position, and the last position."""
        return _read(self._connection, since)

    def record(self, annotator: str, payloads: Sequence[Payload]) -> list[Event]:
        """Write payloads as new events of an annotator.

        Each event is stamped later than all the log holds, even when a clock was set
        back, so that it sorts after everything its author can have seen.
        """
        if not payloads:
            return []
        sequence = _next_sequence(self._connection, annotator)
        time = self._next_time()
        events = [
            Event(
                id=uuid4().hex,
                time=_as_text(time + index * timedelta(microseconds=1)),
                annotator=annotator,
                sequence=sequence + index,
                kind=payload.kind,
                version=payload.version,
                payload=payload.model_dump(mode="json"),
            )
            for index, payload in enumerate(payloads)
        ]
        self._insert(events)
        return events

    def append(self, events: Iterable[Event]) -> int:
        """Write events made elsewhere, and return how many were new."""
        offered = {event.id: event for event in events}
        ids = list(offered)
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[start : start + _IDS_PER_QUERY]
            known = sa.select(_events.c.id).where(_events.c.id.in_(some))
            for id_ in self._connection.execute(known).scalars():
                del offered[id_]
        self._insert(list(offered.values()))
        return len(offered)

    def _next_time(self) -> datetime:
        now = datetime.now(UTC)
        last = self._connection.execute(sa.select(sa.func.max(_events.c.time))).scalar_one()
        if last is None:
            return now
        return max(now, datetime.fromisoformat(last) + timedelta(microseconds=1))

    def _insert(self, events: Sequence[Event]) -> None:
        if events:
            self._connection.execute(_events.insert(), [_as_row(event) for event in events])


def _as_url(location: str | Path) -> sa.URL:
    if isinstance(location, str) and "://" in location:
        return sa.make_url(location)
    return sa.URL.create("sqlite", database=str(Path(location).absolute()))


def _make_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url)
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not start transactions of its own: see _begin.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A writer takes its place in the queue before it reads what it decides on.
        writes = connection.get_execution_options().get("neurobridge_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _read(connection: sa.Connection, since: int) -> tuple[list[Event], int]:
    query = sa.select(_events).where(_events.c.position > since).order_by(_events.c.position)
    rows = connection.execute(query).all()
    return [_as_event(row) for row in rows], rows[-1].position if rows else since


def _next_sequence(connection: sa.Connection, annotator: str) -> int:
    query = sa.select(sa.func.max(_events.c.sequence)).where(_events.c.annotator == annotator)
    return (connection.execute(query).scalar_one() or 0) + 1


def _as_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _as_row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "time": event.time,
        "annotator": event.annotator,
        "sequence": event.sequence,
        "kind": str(event.kind),
        "version": event.version,
        "payload": json.dumps(event.payload, allow_nan=False, separators=(",", ":")),
    }


def _as_event(row: sa.Row[Any]) -> Event:
    try:
        kind = EventKind(row.kind)
    except ValueError as error:
        raise InputError(
            f"The event log holds an event of kind '{row.kind}', made by a newer version of "
            "napari-neurobridge; update napari-neurobridge to open it."
        ) from error
    try:
        payload = json.loads(row.payload)
    except ValueError as error:
        raise InputError(
            f"The event log is damaged at event {row.id}; restore it from a backup."
        ) from error
    return Event(row.id, row.time, row.annotator, row.sequence, kind, row.version, payload)


def _explain(name: str, error: BaseException) -> NeuroBridgeError:
    """Turn a database error into a sentence."""
    reason = str(error).rstrip(".")
    if isinstance(error, sqlite3.OperationalError) and "no such table" not in reason:
        return NeuroBridgeError(
            f"{name} cannot be used now ({reason}); check that the disk is not full, that you may "
            "write there and that no other program holds it, then try again."
        )
    return InputError(f"{name} is damaged or no event log ({reason}); restore it from a backup.")
