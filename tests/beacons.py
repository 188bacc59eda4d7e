"""Planes of discs that tell who they are, and a matcher that knows it.

Each disc has a brightness of its own, which survives turning and interpolation, so that the
matcher can return exactly the matches that a test asks for: right and wrong ones, in the poses
that a real matcher copes with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import find_objects, label

from napari_neurobridge.registration.image_matches import ImageMatches
from napari_neurobridge.registration.keypoints import PlanarImage

RADIUS = 4.0
LEVEL = 100.0
"""Brightness of the first disc; the others are one brighter each."""


def scattered(count: int, size_um: float, *, seed: int = 0) -> np.ndarray:
    """Return places (N, 2) in a square that lie at least two radii and a bit apart."""
    generator = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for place in generator.uniform(12, size_um - 12, (100 * count, 2)):
        if all(np.linalg.norm(place - other) > 2 * RADIUS + 6 for other in found):
            found.append(place)
        if len(found) == count:
            break
    return np.array(found)


def plane_of(places: np.ndarray, shape: tuple[int, int], *, pixel_um: float = 1.0) -> PlanarImage:
    """Draw a disc at each place that lies in the plane, row 0 first in brightness."""
    rows, columns = np.indices(shape) * pixel_um
    values = np.zeros(shape, np.float32)
    for number, (y, x) in enumerate(places):
        values[np.hypot(rows - y, columns - x) <= RADIUS] = LEVEL + number
    return PlanarImage(values, pixel_um)


def discs_of(plane: PlanarImage) -> dict[int, np.ndarray]:
    """Return which discs a plane shows, and where, µm."""
    # The flanks of interpolation, and what fades beyond a border, are no discs.
    labels, _ = label(plane.values > LEVEL / 2)
    found = {}
    for number, part in enumerate(find_objects(labels), start=1):
        own = labels[part] == number
        if own.sum() * plane.pixel_um**2 < 35:
            continue
        offset = np.array([axis.start for axis in part])
        level = np.where(own, plane.values[part], 0).max()
        found[round(float(level) - LEVEL)] = (
            np.argwhere(own).mean(axis=0) + offset
        ) * plane.pixel_um
    return found


@dataclass
class BeaconMatcher:
    """Returns true matches of discs where two planes lie alike, and wrong ones.

    Attributes
    ----------
    wrong : float
        Share of the matches that are wrong, at random.
    verified_wrong : float
        Share of the wrong ones that are verified all the same.
    reach_deg : float
        Beyond this rotation, and when one plane is mirrored, all are wrong.
    """

    wrong: float = 0.0
    verified_wrong: float = 0.2
    reach_deg: float = 35.0
    seed: int = 0
    calls: list[tuple[int, ...]] = field(default_factory=list)

    def match(self, source, target, *, report=None) -> ImageMatches:
        self.calls.append((*source.values.shape, *target.values.shape))
        if report is not None:
            report(0, 1, "matching")
        generator = np.random.default_rng(self.seed + len(self.calls))
        here, there = discs_of(source), discs_of(target)
        both = sorted(here.keys() & there.keys())
        first = np.array([here[i] for i in both]).reshape(-1, 2)
        second = np.array([there[i] for i in both]).reshape(-1, 2)
        wrong = generator.random(len(both)) < self.wrong
        if not self._alike(first, second):
            wrong[:] = True
        second[wrong] = generator.permutation(second[wrong])
        confidence = np.where(
            wrong & (generator.random(len(both)) >= self.verified_wrong), 0.1, 0.9
        )
        return ImageMatches(
            source_um=first,
            target_um=second,
            probability=np.full(len(both), 0.5),
            confidence=confidence,
            threshold=0.5,
            inlier_ratio=float((confidence > 0.5).mean()) if len(both) else 0.0,
            n_source=len(here),
            n_target=len(there),
        )

    def _alike(self, first: np.ndarray, second: np.ndarray) -> bool:
        if len(first) < 3:
            return False
        centered = first - first.mean(axis=0)
        linear = np.linalg.lstsq(centered, second - second.mean(axis=0), rcond=None)[0].T
        angle = np.rad2deg(np.arctan2(linear[1, 0] - linear[0, 1], np.trace(linear)))
        return bool(np.linalg.det(linear) > 0 and abs(angle) <= self.reach_deg)


def turning(angle_deg: float, size_um: float, scale: float = 1.0) -> Callable:
    """Return the map that turns a square about its middle and scales it."""
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    linear = scale * np.array([[cos, -sin], [sin, cos]])
    return lambda points: (points - size_um / 2) @ linear.T + size_um / 2


@dataclass
class BeaconPattern(BeaconMatcher):
    """Matches discs at whatever angle, as a `PatternMatcher` does.

    Attributes
    ----------
    margin : float
        That it says.
    """

    margin: float = 5.0

    def match(self, source, target, *, report=None) -> ImageMatches:
        return replace(super().match(source, target, report=report), margin=self.margin)

    def match_outward(self, source, target, matches) -> None:
        return None

    def match_near(self, source, target, transform, reach_um) -> ImageMatches:
        return super().match(source, target)

    def _alike(self, first: np.ndarray, second: np.ndarray) -> bool:
        return True
