"""Notes that people write on pairs and cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import Field

from napari_neurobridge.project.log.payload import EventKind, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_neurobridge.project.log.events import Event

NotedKey: TypeAlias = tuple[str, ...]
"""What a note is about: the two uids of a pair in canonical order, as of verdicts, or one uid."""


class NoteWritten(Payload):
    """A person wrote a note on a pair or on one cell.

    Attributes
    ----------
    uids : tuple of str
        One cell, or the two of a pair, in vivo before ex vivo and by dataset within one role.
    text : str
        Replaces what the same person wrote there before; empty takes it away.
    """

    kind: ClassVar[EventKind] = EventKind.NOTE

    uids: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """What one person noted on a pair or a cell; ``event_id`` is the event that says so."""

    text: str
    annotator: str
    time: str
    event_id: str


def fold_notes(events: Iterable[Event]) -> dict[NotedKey, tuple[Note, ...]]:
    """Fold notes, sorted by (time, id), without those that were undone.

    Each annotator has one note on a pair, the latest, so that merging two people's logs loses
    nobody's.

    Returns
    -------
    dict of NotedKey to tuple of Note
        By annotator.
    """
    latest: dict[NotedKey, dict[str, Note]] = {}
    for event in events:
        content = event.content
        if isinstance(content, NoteWritten):
            note = Note(content.text, event.annotator, event.time, event.id)
            latest.setdefault(content.uids, {})[event.annotator] = note
    told = {
        uids: tuple(note for _, note in sorted(notes.items()) if note.text)
        for uids, notes in latest.items()
    }
    return {uids: notes for uids, notes in told.items() if notes}


def in_words(notes: Iterable[Note]) -> str:
    """Return notes as one text, which says who wrote what where several people did."""
    written = tuple(notes)
    if len(written) == 1:
        return written[0].text
    return "; ".join(f"{note.annotator}: {note.text}" for note in written)


def note_of(notes: Mapping[NotedKey, tuple[Note, ...]], uids: NotedKey, annotator: str) -> str:
    """Return what one person noted on a pair or a cell; empty if nothing."""
    return next((n.text for n in notes.get(uids, ()) if n.annotator == annotator), "")
