"""Matches of two planes, and what finds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageMatches:
    """Matched places of two planes, and how much each is trusted.

    Parameters
    ----------
    source_um, target_um : array_like, shape (K, 2)
        The two places of each match, µm (y, x) of either plane; the centre of the first pixel
        is 0.
    probability : array_like, shape (K,)
        Of the match, as the matcher of keypoints says; in [0, 1].
    confidence : array_like, shape (K,)
        Geometric consistency C(i, j); in [0, 1].
    threshold : float
        Matches of a higher confidence are verified.
    inlier_ratio : float
        Share of the matches that are right, as the verification estimates it; in [0, 1].
    n_source, n_target : int
        Keypoints of either plane.
    margin : float, optional
        Where the matcher looked at all poses itself: evidence of the best over that of the best
        one that contradicts it.

    Raises
    ------
    InputError
        If the arrays do not fit, or a number is not finite or out of its range.
    """

    source_um: Float64Array
    target_um: Float64Array
    probability: Float64Array
    confidence: Float64Array
    threshold: float
    inlier_ratio: float
    n_source: int
    n_target: int
    margin: float | None = None

    def __post_init__(self) -> None:
        for name in ("source_um", "target_um"):
            object.__setattr__(self, name, _places(getattr(self, name)))
        if len(self.source_um) != len(self.target_um):
            raise InputError(
                f"{len(self.source_um)} places cannot be matched with {len(self.target_um)}."
            )
        for name in ("probability", "confidence"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != (len(self),) or not ((values >= 0) & (values <= 1)).all():
                raise InputError(f"Each match needs a {name} from 0 to 1.")
            object.__setattr__(self, name, values)
        if not np.isfinite(self.threshold) or not 0 <= self.inlier_ratio <= 1:
            raise InputError("Matches need a finite threshold and an inlier ratio from 0 to 1.")
        if min(self.n_source, self.n_target) < 0:
            raise InputError("The numbers of keypoints must not be negative.")

    def __len__(self) -> int:
        return len(self.source_um)

    @property
    def verified(self) -> BoolArray:
        """Which matches have a confidence above the threshold, (K,)."""
        return np.asarray(self.confidence > self.threshold)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> ImageMatches:
        """Return some of the matches."""
        return replace(
            self,
            source_um=self.source_um[rows],
            target_um=self.target_um[rows],
            probability=self.probability[rows],
            confidence=self.confidence[rows],
        )


class PlaneMatcher(Protocol):
    """Finds and verifies matches of two planes that lie alike to about ±35°."""

    def match(
        self, source: PlanarImage, target: PlanarImage, *, report: Report | None = None
    ) -> ImageMatches:
        """Return the matches of two planes.

        Parameters
        ----------
        source, target : PlanarImage
        report : Report, optional
            May raise to cancel.

        Returns
        -------
        ImageMatches
            None at all where a plane has no keypoints.
        """
        ...


@runtime_checkable
class PatternMatcher(Protocol):
    """Finds how two planes lie at any angle by itself, and matches more once that is known."""

    def match(
        self, source: PlanarImage, target: PlanarImage, *, report: Report | None = None
    ) -> ImageMatches:
        """As `PlaneMatcher.match`, at any angle and mirrored; says its ``margin``."""
        ...

    def match_outward(
        self, source: PlanarImage, target: PlanarImage, matches: ImageMatches
    ) -> ImageMatches | None:
        """Match outward from each neighbourhood of some matches.

        Parameters
        ----------
        source, target : PlanarImage
        matches : ImageMatches
            Right in one part of the planes at least.

        Returns
        -------
        ImageMatches or None
            None where nothing has more evidence than the matches themselves.
        """
        ...

    def match_near(
        self, source: PlanarImage, target: PlanarImage, transform: Transform, reach_um: float
    ) -> ImageMatches:
        """Match what lies near where a map puts it.

        Parameters
        ----------
        source, target : PlanarImage
        transform : Transform
            From source to target, at depth 0 of both.
        reach_um : float
            Farthest from there.
        """
        ...


def lifted(points_um: npt.ArrayLike) -> Float64Array:
    """Return places in a plane, (N, 2) (y, x), as places in space, (N, 3), at depth 0."""
    points = _places(points_um)
    return np.column_stack([np.zeros(len(points)), points])


def _places(points_um: npt.ArrayLike) -> Float64Array:
    try:
        points = np.asarray(points_um, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("Places in a plane must be numbers, (y, x) in each row.") from None
    if points.size == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"Places in a plane must have shape (N, 2) in (y, x), not {points.shape}.")
    if not np.isfinite(points).all():
        raise InputError("Places in a plane hold NaN or infinite coordinates.")
    return points
