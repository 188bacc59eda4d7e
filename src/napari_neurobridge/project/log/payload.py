"""What every event's content has in common."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class EventKind(StrEnum):
    """What an event records."""

    SOMA_ADDED = "soma_added"
    SOMA_MOVED = "soma_moved"
    SOMA_DELETED = "soma_deleted"
    DETECTION_RUN = "detection_run"
    VERDICT = "verdict"
    MODEL_ADOPTED = "model_adopted"
    CLAIMS_IMPORTED = "claims_imported"
    NOTE = "note"
    CHECK_DRAWN = "check_drawn"
    LANDMARKS_PLACED = "landmarks_placed"
    LANDMARK_CHANGED = "landmark_changed"
    LANDMARKS_DELETED = "landmarks_deleted"
    REGISTRATION_APPLIED = "registration_applied"
    UNDO = "undo"


class Payload(BaseModel):
    """What one kind of event says; subclasses name their kind and current version."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[EventKind]
    version: ClassVar[int] = 1

    @property
    def by_hand(self) -> bool:
        """Whether a person decided this, rather than a detector or a file."""
        return True


def step_of(content: Payload) -> str | None:
    """Return what the events of one step of undo share; None for one that stands alone."""
    step: str | None = getattr(content, "step", None)
    return step
