"""Registrations that a project rests on: maps found from images or somata, and applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from napari_neurobridge.project.log.payload import EventKind, Payload
from napari_neurobridge.spaces.transform_numbers import TransformNumbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.spaces.affine import Affine
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.spaces.thin_plate import ThinPlate


class RegistrationApplied(Payload):
    """The alignment of two datasets rests on a registration from now on.

    Attributes
    ----------
    transform : TransformNumbers
        From the in-vivo to the ex-vivo dataset; its spaces are the datasets.
    method : str
        "somata": by the pattern of the somata alone.
    accepted : bool
        What the evidence was judged as.
    reason : str
        Why, in one sentence.
    evidence : dict
        What the decision rests on; see `registration.quality.Evidence`.
    software_version : str
    """

    kind: ClassVar[EventKind] = EventKind.REGISTRATION_APPLIED

    transform: TransformNumbers
    method: Annotated[str, Field(min_length=1)]
    accepted: bool
    reason: str
    evidence: dict[str, bool | int | float | str | None]
    software_version: str

    @model_validator(mode="after")
    def _invertible(self) -> RegistrationApplied:
        # Told when the log is read, not when a point is mapped.
        self.transform.to_transform()
        return self

    @property
    def by_hand(self) -> bool:
        """Never: one key press too many must not move a whole field."""
        return False


@dataclass(frozen=True)
class AppliedRegistration:
    """A registration that stands.

    Attributes
    ----------
    event_id, time, annotator : str
        The event that says so.
    transform : Affine or ThinPlate
    reason : str
        Why it was accepted.
    """

    event_id: str
    time: str
    annotator: str
    transform: Affine | ThinPlate
    reason: str

    @property
    def name(self) -> str:
        """What tells it from others in a sentence."""
        return f"{self.event_id[:8]} of {self.time[:10]}"

    def leading_from(self, source: str) -> Transform:
        """Return the map that starts in one of its two datasets."""
        forward = source == self.transform.source
        return self.transform if forward else self.transform.inverse()


def fold_registrations(events: Iterable[Event]) -> Mapping[frozenset[str], AppliedRegistration]:
    """Fold registrations, sorted by (time, id) and without those that were undone.

    Returns
    -------
    dict of frozenset of str to AppliedRegistration
        The last of any two datasets.
    """
    latest: dict[frozenset[str], tuple[Event, RegistrationApplied]] = {}
    for event in events:
        content = event.content
        if isinstance(content, RegistrationApplied):
            numbers = content.transform
            base = numbers if numbers.kind == "affine" else numbers.base
            latest[frozenset((base.source, base.target))] = event, content
    return {
        names: AppliedRegistration(
            event.id,
            event.time,
            event.annotator,
            content.transform.to_transform(),
            content.reason,
        )
        for names, (event, content) in latest.items()
    }
