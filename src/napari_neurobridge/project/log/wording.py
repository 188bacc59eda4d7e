"""What an event says, in a few words for a status line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.project.log.checks import CheckDrawn
from napari_neurobridge.project.log.claims import ClaimsImported
from napari_neurobridge.project.log.events import ModelAdopted, VerdictGiven
from napari_neurobridge.project.log.landmark_events import (
    LandmarkChanged,
    LandmarksDeleted,
    LandmarksPlaced,
)
from napari_neurobridge.project.log.notes import NoteWritten
from napari_neurobridge.project.log.registrations import RegistrationApplied
from napari_neurobridge.project.log.soma_events import (
    DetectionRun,
    SomaAdded,
    SomaDeleted,
    SomaMoved,
)
from napari_neurobridge.types import SomaSource, Verdict

if TYPE_CHECKING:
    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.project.log.payload import Payload

_JUDGED = {
    Verdict.ACCEPT: "accepted",
    Verdict.REJECT: "rejected",
    Verdict.UNSURE: "unsure about",
}


def describe(event: Event) -> str:
    """Return a phrase such as "accepted tp-00042 ↔ fm-00017" or "moved 2 somata in fmost".

    An undo says little by itself; see `annotate.describe_target`.
    """
    match event.content:
        case VerdictGiven() as given:
            return _describe_verdict(given)
        case SomaAdded(source=SomaSource.IMPORTED) as added:
            return f"imported {_somata(added.uids)} into {added.dataset}"
        case SomaAdded() as added:
            return f"added {_somata(added.uids)} to {added.dataset}"
        case SomaMoved() as moved:
            return f"moved {_somata(moved.uids)} in {moved.dataset}"
        case SomaDeleted() as deleted:
            return f"deleted {_somata(deleted.uids)} from {deleted.dataset}"
        case DetectionRun() as run:
            return f"detection in {run.dataset} ({_somata(run.uids)})"
        case ClaimsImported() as claims:
            return f"imported {len(claims.uids)} claims of {claims.program}"
        case NoteWritten() as note:
            return _describe_note(note)
        case ModelAdopted() as adopted:
            return f"adopted the model {adopted.model}"
        case content:
            return _describe_other(content)


def _describe_verdict(given: VerdictGiven) -> str:
    if given.verdict is Verdict.NONE:
        reason = f" ({given.reason.replace('_', ' ')})" if given.reason else ""
        return f"none for {given.query_uid}{reason}"
    return f"{_JUDGED[given.verdict]} {given.query_uid} ↔ {given.candidate_uid}"


def _describe_other(content: Payload) -> str:
    match content:
        case CheckDrawn() as check:
            return f"drew {check.n} of {len(check.population)} claimed pairs for a random check"
        case LandmarksPlaced() as placed:
            return f"placed {_landmarks(placed.uids)}"
        case LandmarkChanged(places_um=places, sigma_um=sigma) as changed:
            told = [f"moved landmark {changed.uid} in {name}" for name in places]
            told += [] if sigma is None else [f"gave landmark {changed.uid} σ {sigma:g} µm"]
            return ", ".join(told)
        case LandmarksDeleted() as deleted:
            return f"deleted {_landmarks(deleted.uids)}"
        case RegistrationApplied():
            return "applied a registration"
    return "undid the last action"


def _landmarks(uids: list[str]) -> str:
    return f"landmark {uids[0]}" if len(uids) == 1 else f"{len(uids)} landmarks"


def _describe_note(note: NoteWritten) -> str:
    about = " ↔ ".join(note.uids)
    return f"noted “{note.text}” on {about}" if note.text else f"no note on {about}"


def _somata(uids: list[str]) -> str:
    return "1 soma" if len(uids) == 1 else f"{len(uids)} somata"
