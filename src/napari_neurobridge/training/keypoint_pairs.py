"""Keypoints of two simulated images with their descriptions and their true partners.

Features are drawn once and kept: the networks that make them are frozen (paper on semantic
matching, section II.D.2). A task is then some of the keypoints of one pair, in places that are
bent anew by a thin plate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.semantic_matcher import DescribedPoints
from napari_neurobridge.spaces.mutual_nearest import mutual_nearest
from napari_neurobridge.training.match_sets import (
    RIGHT_WITHIN_UM,
    MatchSetParams,
    thin_plate_displacement,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.registration.semantic_matcher import SemanticMatcher
    from napari_neurobridge.training.image_tasks import ImageTask

Float64Array = npt.NDArray[np.float64]

# A place of no pixel, far from all others.
_NOWHERE_UM = -1e6


class KeypointTaskParams(BaseModel, frozen=True, extra="forbid"):
    """How a task is drawn from the keypoints of a pair.

    Attributes
    ----------
    points : int
        Of either side, at most.
    kept : tuple of float
        Share of the points of either side that are kept.
    window : tuple of float
        Side of the part of either image that is shown, as a share, in half of the tasks.
    bend : MatchSetParams
        The thin plate that the target's places are moved by; of it, ``displacement_um`` and
        ``length_um`` count.
    """

    points: int = Field(256, gt=8)
    kept: tuple[float, float] = (0.7, 1.0)
    window: tuple[float, float] = (0.6, 1.0)
    bend: MatchSetParams = MatchSetParams(displacement_um=(0.5, 8.0), length_um=(80.0, 200.0))


@dataclass(frozen=True, eq=False)
class KeypointPair:
    """Keypoints of two images.

    Attributes
    ----------
    source, target : DescribedPoints
    true_um : ndarray, shape (N, 2)
        Where the source's keypoints lie in the target; NaN where nowhere.
    """

    source: DescribedPoints
    target: DescribedPoints
    true_um: Float64Array

    def partner(self) -> npt.NDArray[np.int64]:
        """Return each source keypoint's row in the target, -1 for nobody, (N,)."""
        partner = np.full(len(self.source), -1, dtype=np.int64)
        true = np.where(np.isfinite(self.true_um), self.true_um, _NOWHERE_UM)
        pairs = mutual_nearest(true, self.target.positions_um, RIGHT_WITHIN_UM)
        partner[pairs[:, 0]] = pairs[:, 1]
        return partner

    def turned_round(self) -> KeypointPair:
        """Return the pair with source and target exchanged; places between partners are lost."""
        partner = self.partner()
        true = np.full((len(self.target), 2), np.nan)
        rows = np.flatnonzero(partner >= 0)
        true[partner[rows]] = self.source.positions_um[rows]
        return KeypointPair(self.target, self.source, true)

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` file, descriptions in 16 bits."""
        held: dict[str, Any] = {"true_um": self.true_um.astype(np.float32)}
        for name, side in (("source", self.source), ("target", self.target)):
            held[f"{name}_um"] = side.positions_um.astype(np.float32)
            held[f"{name}_local"] = side.local.astype(np.float16)
            held[f"{name}_semantic"] = side.semantic.astype(np.float16)
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **held)

    @classmethod
    def load(cls, path: Path) -> KeypointPair:
        """Read what `save` wrote."""
        with np.load(path) as held:
            source, target = (
                DescribedPoints(
                    held[f"{name}_um"].astype(np.float64),
                    held[f"{name}_local"],
                    held[f"{name}_semantic"],
                )
                for name in ("source", "target")
            )
            return cls(source, target, held["true_um"].astype(np.float64))


def describe_pair(drawn: ImageTask, matcher: SemanticMatcher) -> KeypointPair:
    """Find and describe the keypoints of two images whose true map is known."""
    source, target = (
        matcher.describe(PlanarImage.of(values, 1.0)) for values in (drawn.source, drawn.target)
    )
    return KeypointPair(source, target, drawn.map_points(source.positions_um))


def draw_keypoint_task(
    pair: KeypointPair, params: KeypointTaskParams, rng: np.random.Generator
) -> KeypointPair:
    """Return some of the keypoints of a pair, bent anew, either image as the source."""
    pair = _bent(pair, params, rng)
    windowed = rng.random() < 0.5
    source, target = (
        _chosen(side, params, rng, windowed=windowed) for side in (pair.source, pair.target)
    )
    drawn = KeypointPair(
        _take(pair.source, source), _take(pair.target, target), pair.true_um[source]
    )
    return drawn.turned_round() if rng.random() < 0.5 else drawn


def _bent(pair: KeypointPair, params: KeypointTaskParams, rng: np.random.Generator) -> KeypointPair:
    """Move the target's places, and where the source's lie in it, by one thin plate."""
    known = np.isfinite(pair.true_um[:, 0])
    places = np.concatenate([pair.target.positions_um, pair.true_um[known]])
    if not len(places):
        return pair
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    extent = np.maximum(np.ptp(places, axis=0), 1.0)
    moved = places + thin_plate_displacement(places - middle, extent, params.bend, rng)
    true = pair.true_um.copy()
    true[known] = moved[len(pair.target) :]
    return KeypointPair(
        pair.source, replace(pair.target, positions_um=moved[: len(pair.target)]), true
    )


def _chosen(
    side: DescribedPoints, params: KeypointTaskParams, rng: np.random.Generator, *, windowed: bool
) -> npt.NDArray[np.intp]:
    """Return the rows of the points that a task keeps."""
    shown = np.ones(len(side), dtype=np.bool_)
    if windowed and len(side):
        low, high = side.positions_um.min(axis=0), side.positions_um.max(axis=0)
        share = rng.uniform(*params.window, 2)
        corner = low + rng.random(2) * (1 - share) * (high - low)
        inside = (side.positions_um >= corner) & (
            side.positions_um <= corner + share * (high - low)
        )
        shown = inside.all(axis=1)
    rows = rng.permutation(np.flatnonzero(shown))
    count = min(params.points, int(np.ceil(len(rows) * rng.uniform(*params.kept))))
    return rows[:count]


def _take(side: DescribedPoints, rows: npt.NDArray[np.intp]) -> DescribedPoints:
    return DescribedPoints(
        side.positions_um[rows],
        side.local[rows].astype(np.float32),
        side.semantic[rows].astype(np.float32),
    )
