"""The words of the project as frozen types. All positions are µm, ordered (z, y, x)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Vec3: TypeAlias = tuple[float, float, float]
"""One position or size in µm, ordered (z, y, x)."""

FloatArray: TypeAlias = npt.NDArray[np.floating]
Float32Array: TypeAlias = npt.NDArray[np.float32]

Report: TypeAlias = Callable[[int, int, str], None]
"""Called as ``report(done, total, message)`` by long work; raises `errors.Cancelled` to stop it."""

CROP_UM = 120.0
"""Side of a crop unless told otherwise."""
DEFAULT_FDR = 0.05
"""Share of the claimed pairs that may be wrong, unless somebody says otherwise."""

USUAL_SOMA_DIAMETER_UM = 14.0
"""What detection looks for unless told otherwise."""


class Role(StrEnum):
    """Which microscope a dataset comes from."""

    IN_VIVO = "in_vivo"
    EX_VIVO = "ex_vivo"


DEFAULT_NAMES: Mapping[Role, str] = {Role.IN_VIVO: "two_photon", Role.EX_VIVO: "fmost"}
"""What the datasets of a project are called unless a person names them otherwise."""


class Projection(StrEnum):
    """How a stack or a time series becomes one plane.

    `CORRELATION` is the mean correlation over time of a pixel with its eight neighbours,
    which shows cells that are dark but for rare activity.
    """

    MEAN = "mean"
    MAX = "max"
    STD = "std"
    CORRELATION = "correlation"


class SomaSource(StrEnum):
    """Where a soma comes from."""

    DETECTED = "detected"
    IMPORTED = "imported"
    MANUAL = "manual"


class MaskAxes(StrEnum):
    """What the masks of an NWB file store first: its schema says x, many files say y."""

    XY = "xy"
    YX = "yx"


class Verdict(StrEnum):
    """What a person says about a query and a candidate; `NONE` names no candidate."""

    ACCEPT = "accept"
    REJECT = "reject"
    UNSURE = "unsure"
    NONE = "none"


class NoneReason(StrEnum):
    """Why no candidate is the queried cell."""

    UNLABELLED = "unlabelled"
    OUTSIDE = "outside"
    CUT = "cut"
    NOT_A_CELL = "not_a_cell"


@dataclass(frozen=True, slots=True)
class Soma:
    """A cell body of one dataset.

    Attributes
    ----------
    uid : str
        Never reused, not even after deletion.
    dataset : str
        Name of the dataset that it lies in.
    center_um : Vec3
        Centre in the dataset's own space, µm (z, y, x).
    source : SomaSource
        Who placed it.
    radius_um : float or None
        Estimated radius.
    confidence : float or None
        Detector response in [0, 1]; ``None`` for somata a person placed.
    source_index : int or None
        Index in the file or detection run that it came from.
    index_base : int or None
        Whether that index counts from 0 or from 1.
    """

    uid: str
    dataset: str
    center_um: Vec3
    source: SomaSource
    radius_um: float | None = None
    confidence: float | None = None
    source_index: int | None = None
    index_base: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One gallery soma proposed for a query.

    Attributes
    ----------
    rank : int
        Place in the ranking, from 1.
    uid : str
    center_um : Vec3
        In the gallery's space.
    similarity : float or None
        Cosine of the two crops' embeddings; ``None`` without images or index.
    residual_um : float or None
        Distance from where the alignment expects the query.
    probability : float or None
        ``None`` where no accepted pair gives it a meaning.
    in_set : bool or None
        Whether it belongs to the set of answers that holds the cell in nine cases of ten.
    """

    rank: int
    uid: str
    center_um: Vec3
    similarity: float | None = None
    residual_um: float | None = None
    probability: float | None = None
    in_set: bool | None = None


class Basis(StrEnum):
    """What orders a ranking: probabilities, likeness of crops alone, or distance alone."""

    PROBABILITY = "probability"
    APPEARANCE = "appearance"
    DISTANCE = "distance"


@dataclass(frozen=True, slots=True)
class Expected:
    """Where the partner of a soma is expected in another space.

    Attributes
    ----------
    center_um : Vec3
    covariance_um2 : tuple of Vec3
        Rows of the 3 × 3 matrix, (z, y, x), with the noise of a soma's place.
    """

    center_um: Vec3
    covariance_um2: tuple[Vec3, Vec3, Vec3]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to one query: candidates from best to worst.

    Attributes
    ----------
    query_dataset, gallery_dataset : str
        Where the query lies, and where its candidates do.
    query_uid : str or None
        ``None`` when a bare position was asked for.
    query_center_um : Vec3
        Position of the query in ``query_dataset``.
    candidates : tuple of Candidate
        Best first, ``rank`` counting from 1.
    p_none : float or None
        Probability that no soma of the gallery is the cell; ``None`` without probabilities.
    none_in_set : bool or None
        As ``in_set`` of a candidate, for none of them.
    model : str
        Name and hash of the encoder that made the similarities; empty if none did.
    basis : Basis
        What the order rests on.
    expected : Expected or None
        Where the alignment expects the partner.
    outside : bool
        Whether that place lies clearly outside of what the gallery's side shows.
    note : str
        Why there are no probabilities, in a sentence; empty when there are.
    """

    query_dataset: str
    gallery_dataset: str
    query_uid: str | None
    query_center_um: Vec3
    candidates: tuple[Candidate, ...] = field(default=())
    p_none: float | None = None
    none_in_set: bool | None = None
    model: str = ""
    basis: Basis = Basis.APPEARANCE
    expected: Expected | None = None
    outside: bool = False
    note: str = ""
