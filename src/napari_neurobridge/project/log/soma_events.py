"""Events about somata: placed, found, moved and removed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_neurobridge.project.log.payload import EventKind, Payload
from napari_neurobridge.types import Soma, SomaSource, Vec3


class PlacedSomata(Payload):
    """Somata of one dataset, one list for each property so that 10⁵ of them stay small.

    Attributes
    ----------
    dataset : str
        Where they lie.
    uids : list of str, length N
        Unique within the project.
    centers_um : list of Vec3, length N
        µm (z, y, x) in the dataset's own space.
    radius_um, confidence, source_index : list, length N, or None
        See `Soma`; ``None`` when unknown for all.
    index_base : int or None
        Whether ``source_index`` counts from 0 or from 1.
    """

    dataset: str
    uids: list[str]
    centers_um: list[Vec3]
    radius_um: list[float | None] | None = None
    confidence: list[float | None] | None = None
    source_index: list[int | None] | None = None
    index_base: int | None = None

    @model_validator(mode="after")
    def _same_lengths(self) -> PlacedSomata:
        columns = (self.centers_um, self.radius_um, self.confidence, self.source_index)
        if any(column is not None and len(column) != len(self.uids) for column in columns):
            raise ValueError("the lists of a group of somata differ in length")
        if len(set(self.uids)) != len(self.uids):
            raise ValueError("a uid occurs twice in one group of somata")
        return self

    def to_somata(self, source: SomaSource) -> list[Soma]:
        """Return the somata one by one, as placed by ``source``."""
        nothing = [None] * len(self.uids)
        rows = zip(
            self.uids,
            self.centers_um,
            self.radius_um or nothing,
            self.confidence or nothing,
            self.source_index or nothing,
            strict=True,
        )
        return [
            Soma(uid, self.dataset, center, source, radius, confidence, index, self.index_base)
            for uid, center, radius, confidence, index in rows
        ]


class RoiOrigin(BaseModel):
    """Which regions of another program somata were imported from, and how.

    Attributes
    ----------
    format : str
        "ImageJ", "suite2p", "CaImAn", "NWB" or "label image".
    file : str
        Name of the file that held them.
    sha256 : str
        Of that file's content.
    n_in_file : int
        Regions that it holds; fewer may have been kept.
    kept_by : str
        What chose among them.
    voxel_size_um : Vec3
        µm (z, y, x), by which pixels became µm.
    outlines : str or None
        Name of the file in the project's ``rois`` folder that holds sizes and outlines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: str
    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    n_in_file: int
    kept_by: str
    voxel_size_um: Vec3
    outlines: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = None


class SomaAdded(PlacedSomata):
    """A person or a file placed somata; ``origin`` is known of imported regions."""

    kind: ClassVar[EventKind] = EventKind.SOMA_ADDED
    version: ClassVar[int] = 2  # 2: imported regions say where they come from

    source: SomaSource
    origin: RoiOrigin | None = None

    @property
    def by_hand(self) -> bool:
        """Whether a person placed the somata."""
        return self.source is SomaSource.MANUAL


class DetectionRun(PlacedSomata):
    """A detector looked at a dataset; its somata replace those it found before."""

    kind: ClassVar[EventKind] = EventKind.DETECTION_RUN

    method: str
    params: dict[str, Any] = Field(default_factory=dict)

    @property
    def by_hand(self) -> bool:
        """Never: a detector decided."""
        return False


class SomaMoved(Payload):
    """A person put somata of one dataset elsewhere, µm (z, y, x); their uids stay."""

    kind: ClassVar[EventKind] = EventKind.SOMA_MOVED

    dataset: str
    uids: list[str]
    centers_um: list[Vec3]

    @model_validator(mode="after")
    def _same_lengths(self) -> SomaMoved:
        if len(self.centers_um) != len(self.uids):
            raise ValueError("a move needs one centre for each uid")
        return self


class SomaDeleted(Payload):
    """A person removed somata of one dataset."""

    kind: ClassVar[EventKind] = EventKind.SOMA_DELETED

    dataset: str
    uids: list[str]
