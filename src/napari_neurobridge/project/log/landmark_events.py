"""Events about landmarks that are no somata: placed on both sides, changed and removed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from napari_neurobridge.project.log.payload import EventKind, Payload
from napari_neurobridge.types import Vec3

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from napari_neurobridge.project.log.events import Event

Sigma = Annotated[float, Field(gt=0)]


class LandmarksPlaced(Payload):
    """A person saw points in two datasets, such as branches of vessels.

    Attributes
    ----------
    datasets : tuple of (str, str)
        In vivo before ex vivo, and by name within one role.
    uids : list of str, length N
        Unique within the project.
    first_um, second_um : list of Vec3, length N
        Their places in the two datasets, µm (z, y, x) of either space.
    sigma_um : list of float, length N
        Standard deviation of each component.
    step : str or None
        Shared by what is undone at once.
    """

    kind: ClassVar[EventKind] = EventKind.LANDMARKS_PLACED

    datasets: tuple[str, str]
    uids: list[str]
    first_um: list[Vec3]
    second_um: list[Vec3]
    sigma_um: list[Sigma]
    step: str | None = None

    @model_validator(mode="after")
    def _same_lengths(self) -> LandmarksPlaced:
        columns = (self.first_um, self.second_um, self.sigma_um)
        if any(len(column) != len(self.uids) for column in columns):
            raise ValueError("the lists of a group of landmarks differ in length")
        return self


class LandmarkChanged(Payload):
    """A person put a landmark elsewhere in some of its datasets, or knows it more or less exactly.

    Attributes
    ----------
    uid : str
    places_um : dict of dataset to Vec3
        µm (z, y, x); what is not named stays.
    sigma_um : float or None
        ``None`` where it stays.
    """

    kind: ClassVar[EventKind] = EventKind.LANDMARK_CHANGED

    uid: str
    places_um: dict[str, Vec3] = Field(default_factory=dict)
    sigma_um: Sigma | None = None


class LandmarksDeleted(Payload):
    """A person removed landmarks; ``step`` is shared by what is undone at once."""

    kind: ClassVar[EventKind] = EventKind.LANDMARKS_DELETED

    uids: list[str]
    step: str | None = None


LANDMARK_KINDS = frozenset(
    payload.kind for payload in (LandmarksPlaced, LandmarkChanged, LandmarksDeleted)
)


@dataclass(frozen=True, slots=True)
class PointLandmark:
    """A landmark that is no soma.

    Attributes
    ----------
    uid : str
        Never reused, not even after deletion.
    datasets : tuple of (str, str)
        In vivo before ex vivo, and by name within one role.
    places_um : tuple of (Vec3, Vec3)
        µm (z, y, x), each in its own space, in that order.
    sigma_um : float
        Standard deviation of each component.
    annotator, time : str
        Who placed or changed it last, and when (UTC, ISO 8601).
    """

    uid: str
    datasets: tuple[str, str]
    places_um: tuple[Vec3, Vec3]
    sigma_um: float
    annotator: str
    time: str

    def place_um(self, dataset: str) -> Vec3:
        """Return where it lies in one of its datasets, µm (z, y, x)."""
        return self.places_um[self.datasets.index(dataset)]


@dataclass(frozen=True)
class LandmarksFold:
    """The landmarks' part of the state.

    Attributes
    ----------
    living : dict of uid to PointLandmark
    used : frozenset of str
        Uids that were ever given.
    """

    living: Mapping[str, PointLandmark] = field(default_factory=dict)
    used: frozenset[str] = frozenset()


def fold_landmarks(events: Iterable[Event], cancelled: Collection[str]) -> LandmarksFold:
    """Fold events about landmarks, sorted by (time, id).

    Parameters
    ----------
    events : iterable of Event
        Of `LANDMARK_KINDS`, with those that were undone.
    cancelled : collection of str
        Ids of the latter.
    """
    living: dict[str, PointLandmark] = {}
    used: set[str] = set()
    for event in events:
        content = event.content
        if isinstance(content, LandmarksPlaced):
            used.update(content.uids)
        if event.id in cancelled:
            continue
        if isinstance(content, LandmarksPlaced):
            rows = zip(
                content.uids, content.first_um, content.second_um, content.sigma_um, strict=True
            )
            for uid, first, second, sigma in rows:
                living[uid] = PointLandmark(
                    uid, content.datasets, (first, second), sigma, event.annotator, event.time
                )
        elif isinstance(content, LandmarkChanged) and content.uid in living:
            living[content.uid] = _changed(living[content.uid], content, event)
        elif isinstance(content, LandmarksDeleted):
            for uid in content.uids:
                living.pop(uid, None)
    return LandmarksFold(living, frozenset(used))


def _changed(landmark: PointLandmark, content: LandmarkChanged, event: Event) -> PointLandmark:
    first, second = (
        content.places_um.get(name, place)
        for name, place in zip(landmark.datasets, landmark.places_um, strict=True)
    )
    return replace(
        landmark,
        places_um=(first, second),
        sigma_um=landmark.sigma_um if content.sigma_um is None else content.sigma_um,
        annotator=event.annotator,
        time=event.time,
    )
