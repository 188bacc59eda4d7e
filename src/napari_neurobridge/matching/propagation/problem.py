"""What is to be matched, and how the propagation runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.landmarks import Landmarks

if TYPE_CHECKING:
    from collections.abc import Callable

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Somata are some 10 µm across, and a brain some 10 mm.
_ENOUGH_TO_TELL = 4
_SMALLEST_FIELD_UM, _LARGEST_FIELD_UM = 5.0, 1e5


@dataclass(frozen=True)
class PropagationParams:
    """How a propagation runs.

    Attributes
    ----------
    max_ambiguity : float
        A query becomes active once fewer than so many wrong somata are expected in the space
        of its uncertainty, λ (2π)^3/2 σ³.
    cautious_ambiguity : float
        As `max_ambiguity`, for a second run; of both the one that explains more is kept.
    final_ambiguity : float
        As `max_ambiguity`, to go on with where a run did not make nearly all queries active.
    rounds : int
        At most so many rounds for a run.
    damping : float
        Share of each update of the sites that is taken over.
    tolerance : float
        A run ends when no site's precision changes by more than this share of a certain match.
    presence_prior : tuple of float
        Beta prior of the chance that the gallery holds a partner.
    n_inducing : int
        Inducing points that represent the deformation.
    suspect_landmarks : int
        So many of the most doubtful landmarks are left out in turn, to see whether the
        rest explains more without them.
    region_restarts : int
        At most so many times, regions that fit far worse than the rest are matched anew.
    subset_size : int
        Of more queries than this, a random subset of this size tries the runs; all others
        join the best.
    learn_noise : bool
        Learn how exactly somata are placed, once the field has grown.
    """

    max_ambiguity: float = 0.3
    cautious_ambiguity: float = 0.1
    final_ambiguity: float = 1.0
    rounds: int = 80
    damping: float = 0.6
    tolerance: float = 0.03
    presence_prior: tuple[float, float] = (9.0, 1.0)
    n_inducing: int = 250
    suspect_landmarks: int = 2
    region_restarts: int = 8
    subset_size: int = 2000
    learn_noise: bool = True


@dataclass(frozen=True, eq=False)
class PropagationProblem:
    """Two fields of somata, and what a person has said about them.

    Attributes
    ----------
    queries_um : array_like, shape (N, 3)
        Somata of one side, µm (z, y, x).
    gallery_um : array_like, shape (M, 3)
        Somata of the other side, in its own space.
    pairs : array_like of int, shape (L, 2)
        Rows of queries and gallery that a person paired.
    points : Landmarks, optional
        Landmarks that are no somata, such as branches of vessels.
    p_detected : array_like, shape (N,), optional
        What the query's own detection says of the chance that the gallery holds it,
        relative to the others; 1 unless given.
    log_ratio : callable, optional
        Log likelihood ratio of appearance; see `posterior.find_candidates`.

    Raises
    ------
    InputError
        If coordinates are not finite or evidently not in µm, a pair names no soma, or a
        confidence is none.
    """

    queries_um: Float64Array
    gallery_um: Float64Array
    pairs: RowArray
    points: Landmarks | None = None
    p_detected: Float64Array | None = None
    log_ratio: Callable[[RowArray, RowArray], Float64Array] | None = field(default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries_um", as_points(self.queries_um))
        object.__setattr__(self, "gallery_um", as_points(self.gallery_um))
        _require_micrometres("queries", self.queries_um)
        _require_micrometres("gallery", self.gallery_um)
        pairs = _as_pairs(self.pairs)
        sizes = np.array([len(self.queries_um), len(self.gallery_um)])
        if (pairs < 0).any() or (pairs >= sizes).any():
            raise InputError("A pair names a soma that does not exist.")
        object.__setattr__(self, "pairs", np.unique(pairs, axis=0))
        if self.p_detected is not None:
            chance = np.asarray(self.p_detected, dtype=np.float64)
            if chance.shape != (len(self.queries_um),) or not ((chance >= 0) & (chance <= 1)).all():
                raise InputError("Each query needs one detection confidence between 0 and 1.")
            object.__setattr__(self, "p_detected", chance)

    @property
    def landmarks(self) -> Landmarks:
        """The pairs, and behind them the points."""
        source, target = self.queries_um[self.pairs[:, 0]], self.gallery_um[self.pairs[:, 1]]
        if self.points is None:
            return Landmarks(source, target)
        sigma = self.points.sigma_um
        own = np.full(len(self.points), np.nan) if sigma is None else sigma
        return Landmarks(
            np.vstack([source, self.points.source_um]),
            np.vstack([target, self.points.target_um]),
            np.concatenate([np.full(len(source), np.nan), own]),
        )

    def only(self, rows: RowArray) -> PropagationProblem:
        """Return the problem of some of the queries, all that are paired among them."""
        here = np.searchsorted(rows, self.pairs[:, 0])
        looks = self.log_ratio
        return replace(
            self,
            queries_um=self.queries_um[rows],
            pairs=np.column_stack([here, self.pairs[:, 1]]),
            p_detected=None if self.p_detected is None else self.p_detected[rows],
            log_ratio=None if looks is None else lambda own, there: looks(rows[own], there),
        )


def _as_pairs(pairs: npt.ArrayLike) -> RowArray:
    given = np.asarray(pairs)
    if not given.size:
        return np.empty((0, 2), dtype=np.intp)
    if given.ndim != 2 or given.shape[1] != 2 or given.dtype.kind not in "iu":
        raise InputError("Pairs are rows of a query and of a soma of the gallery, (L, 2).")
    return given.astype(np.intp)


def _require_micrometres(side: str, points_um: Float64Array) -> None:
    if len(points_um) < _ENOUGH_TO_TELL:
        return
    extent = float(np.ptp(points_um, axis=0).max())
    if _SMALLEST_FIELD_UM <= extent <= _LARGEST_FIELD_UM:
        return
    unit = "mm" if extent < _SMALLEST_FIELD_UM else "nm"
    raise InputError(
        f"The {len(points_um)} somata of the {side} extend over {extent:.3g} µm: they are "
        f"probably in {unit}; give them in µm."
    )
