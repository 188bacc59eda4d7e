"""What people and detectors decided, as events that are only ever appended.

An event never changes. Its payload has a version of its own and is brought up to date
when it is read, so that an old log, or a colleague's, stays readable.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.checks import CheckDrawn
from napari_neurobridge.project.log.claims import ClaimsImported
from napari_neurobridge.project.log.landmark_events import (
    LandmarkChanged,
    LandmarksDeleted,
    LandmarksPlaced,
)
from napari_neurobridge.project.log.notes import NoteWritten
from napari_neurobridge.project.log.payload import EventKind, Payload
from napari_neurobridge.project.log.registrations import RegistrationApplied
from napari_neurobridge.project.log.soma_events import (
    DetectionRun,
    SomaAdded,
    SomaDeleted,
    SomaMoved,
)
from napari_neurobridge.project.parsing import parse_model
from napari_neurobridge.types import NoneReason, Role, Verdict


class UndoScope(StrEnum):
    """Which of an annotator's events undo and redo are about.

    ``HAND`` leaves out what was not decided one by one: detection runs, imports, registrations
    and adopted models. ``DETECTION`` is about detection runs alone, ``REGISTRATION`` about
    registrations.
    """

    ALL = "all"
    HAND = "hand"
    DETECTION = "detection"
    REGISTRATION = "registration"

    def includes(self, payload: Payload) -> bool:
        """Return whether an event of this content is meant."""
        if self is UndoScope.DETECTION:
            return isinstance(payload, DetectionRun)
        if self is UndoScope.REGISTRATION:
            return isinstance(payload, RegistrationApplied)
        return self is UndoScope.ALL or payload.by_hand


class VerdictEvidence(BaseModel):
    """What the person saw when deciding; unknown numbers stay ``None``.

    Attributes
    ----------
    rank : int or None
        Place of the candidate in the ranking shown, from 1.
    similarity, probability : float or None
        As shown.
    residual_um : float or None
        Distance from where the alignment expected the candidate.
    model_hash, alignment_id : str or None
        What made those numbers.
    seconds : float or None
        Time spent on the question.
    audit : bool
        Whether this was a random, blind question.
    first_uid : str or None
        The candidate that the program held most probable, whether it was shown first or not.
    first_probability : float or None
        How probable, before any calibration.
    mass_above : float or None
        Probability of all answers that were more probable than the person's.
    check : str or None
        The `CheckDrawn` event whose question this answers. Such a question is blind and random,
        but among claimed pairs, so that calibration must not learn from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: Annotated[int, Field(ge=1)] | None = None
    similarity: float | None = None
    residual_um: float | None = None
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    model_hash: str | None = None
    alignment_id: str | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    audit: bool = False
    first_uid: str | None = None
    first_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    mass_above: Annotated[float, Field(ge=0, le=1)] | None = None
    check: str | None = None

    @property
    def calibrates(self) -> bool:
        """Whether calibration may learn from it: asked at random among all waiting cells."""
        return self.audit and self.check is None


class VerdictGiven(Payload):
    """A person judged a query and a candidate, or found no candidate.

    The roles are part of the fact, so that a log can be folded without its project.
    ``revokes`` names the accepting events that a forced acceptance sets aside; verdicts that
    share a ``step`` were given at once, and are undone at once.
    """

    kind: ClassVar[EventKind] = EventKind.VERDICT
    # 2: the evidence names the first candidate; 3: several may be one step
    version: ClassVar[int] = 3

    verdict: Verdict
    query_uid: str
    query_dataset: str
    query_role: Role
    candidate_uid: str | None = None
    candidate_dataset: str | None = None
    candidate_role: Role | None = None
    reason: NoneReason | None = None
    revokes: tuple[str, ...] = ()
    step: str | None = None
    evidence: VerdictEvidence = VerdictEvidence()
    software_version: str

    @model_validator(mode="after")
    def _candidate_unless_none(self) -> VerdictGiven:
        candidate = (self.candidate_uid, self.candidate_dataset, self.candidate_role)
        expected = 0 if self.verdict is Verdict.NONE else 3
        if sum(part is not None for part in candidate) != expected:
            raise ValueError(
                f"a verdict '{self.verdict}' names {(expected and 'a') or 'no'} candidate"
            )
        return self


class ModelAdopted(Payload):
    """The project goes over to a model; the latest adoption that stands names its model.

    Attributes
    ----------
    model : str
        Name of its folder, by which the project finds it.
    model_kind : str
        "encoder".
    weights_hash : str
        First 12 hex digits of the SHA-256 of its weights: the name alone does not tell
        whether it is still the same model.
    origin : str
        Where it was found: "project", "cache" or "bundled".
    reason : str
        Why, in a few words.
    revokes : tuple of str
        Earlier adoptions that no longer stand: those that a roll-back takes back.
    """

    kind: ClassVar[EventKind] = EventKind.MODEL_ADOPTED

    model: Annotated[str, Field(min_length=1)]
    model_kind: str
    weights_hash: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    origin: str
    reason: str = ""
    revokes: tuple[str, ...] = ()
    software_version: str

    @property
    def by_hand(self) -> bool:
        """Never: one key press too many must not exchange the model of a project."""
        return False


class Undone(Payload):
    """An earlier event is taken back; undoing an undo is a redo.

    ``step`` is that of the action behind it.
    """

    kind: ClassVar[EventKind] = EventKind.UNDO
    version: ClassVar[int] = 2  # 2: several may be one step

    target: str
    step: str | None = None


Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the payload of one version into that of the next."""


@dataclass(frozen=True)
class PayloadSchema:
    """How payloads of one kind are read, whatever version wrote them.

    Attributes
    ----------
    model : type of Payload
        The current version.
    upcasts : tuple of Upcast
        Step from version 1 to 2, from 2 to 3 and so on; one for each past version.
    """

    model: type[Payload]
    upcasts: tuple[Upcast, ...] = ()

    def __post_init__(self) -> None:
        if self.model.version != len(self.upcasts) + 1:
            raise ValueError(f"{self.model.__name__} needs one upcast for each past version")

    def parse(self, version: int, payload: Mapping[str, Any], *, what: str) -> Payload:
        """Read a payload, bringing it up to the current version first.

        Raises
        ------
        InputError
            If it comes from a newer version of the program, or is damaged.
        """
        if version > self.model.version:
            raise InputError(
                f"{what} was written by a newer version of napari-neurobridge; "
                "update napari-neurobridge to read this project."
            )
        if version < 1:
            raise InputError(f"{what} is damaged: payload versions count from 1.")
        current = dict(payload)
        for upcast in self.upcasts[version - 1 :]:
            current = upcast(current)
        return parse_model(self.model, current, what=f"{what} is damaged")


_UPCASTS: Mapping[EventKind, tuple[Upcast, ...]] = {
    # What later versions added may be absent.
    EventKind.SOMA_ADDED: (dict,),
    EventKind.VERDICT: (dict, dict),
    EventKind.UNDO: (dict,),
}
SCHEMAS: Mapping[EventKind, PayloadSchema] = {
    model.kind: PayloadSchema(model, _UPCASTS.get(model.kind, ()))
    for model in (
        SomaAdded,
        SomaMoved,
        SomaDeleted,
        DetectionRun,
        VerdictGiven,
        ModelAdopted,
        ClaimsImported,
        NoteWritten,
        CheckDrawn,
        LandmarksPlaced,
        LandmarkChanged,
        LandmarksDeleted,
        RegistrationApplied,
        Undone,
    )
}


@dataclass(frozen=True)
class Event:
    """One line of the log, as it was written.

    Attributes
    ----------
    id : str
        Random, 32 hexadecimal digits.
    time : str
        UTC, ISO 8601 with microseconds, so that text order is time order.
    annotator : str
        Who decided.
    sequence : int
        The annotator's own counter, from 1.
    kind : EventKind
        What is recorded.
    version : int
        Version of the payload.
    payload : dict
        As stored; read it through `content`.
    """

    id: str
    time: str
    annotator: str
    sequence: int
    kind: EventKind
    version: int
    payload: Mapping[str, Any] = field(hash=False)

    @cached_property
    def content(self) -> Payload:
        """The payload in its current version."""
        return SCHEMAS[self.kind].parse(self.version, self.payload, what=f"Event {self.id}")

    @property
    def order(self) -> tuple[str, str]:
        """Sorts events the same way whatever order they arrived in."""
        return (self.time, self.id)


def default_annotator() -> str:
    """Return the name of the system's user, or "annotator" where it has none."""
    try:
        return getpass.getuser()
    # The three that Python's versions and systems raise for a user without a name.
    except (OSError, KeyError, ImportError):
        return "annotator"
