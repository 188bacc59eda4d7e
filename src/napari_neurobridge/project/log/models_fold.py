"""Which models a project has adopted, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.project.log.events import Event, ModelAdopted

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Adoption:
    """A model that a project went over to.

    Attributes
    ----------
    event_id, time, annotator : str
        The event that says so.
    model : str
        Name of its folder.
    model_kind : str
        What kind of model it is, such as "encoder".
    weights_hash : str
        First 12 hex digits of the SHA-256 of its weights.
    """

    event_id: str
    time: str
    annotator: str
    model: str
    model_kind: str
    weights_hash: str


def fold_adoptions(events: Iterable[Event]) -> tuple[Adoption, ...]:
    """Fold adoptions, sorted by (time, id) and without those that were undone.

    Returns
    -------
    tuple of Adoption
        Those that stand, the oldest first.
    """
    standing: dict[str, Adoption] = {}
    for event in events:
        content = event.content
        if isinstance(content, ModelAdopted):
            for revoked in content.revokes:
                standing.pop(revoked, None)
            standing[event.id] = Adoption(
                event.id,
                event.time,
                event.annotator,
                content.model,
                content.model_kind,
                content.weights_hash,
            )
    return tuple(standing.values())
