"""What people saw on both sides of two datasets: accepted pairs of somata, and other points."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.spaces.landmarks import Landmarks

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.project.log.fold import State


@dataclass(frozen=True, eq=False)
class LandmarkPairs:
    """The undisputed accepted pairs of two datasets whose somata both live.

    Attributes
    ----------
    uids : tuple of (str, str)
        Of source and target.
    source_um, target_um : ndarray, shape (N, 3)
        µm (z, y, x), each in its own space.
    """

    uids: tuple[tuple[str, str], ...]
    source_um: npt.NDArray[np.float64]
    target_um: npt.NDArray[np.float64]

    @classmethod
    def of(cls, state: State, source: str, target: str) -> LandmarkPairs:
        """Read the pairs of two datasets, ordered by uid."""
        here, there = state.somata.get(source, {}), state.somata.get(target, {})
        pairs = sorted(
            (first, second)
            for first, second in state.pairs_between(source, target).items()
            if first in here and second in there
        )
        return cls(
            tuple(pairs),
            np.array([here[first].center_um for first, _ in pairs]).reshape(-1, 3),
            np.array([there[second].center_um for _, second in pairs]).reshape(-1, 3),
        )

    def __len__(self) -> int:
        return len(self.uids)


@dataclass(frozen=True, eq=False)
class LandmarkPoints:
    """The landmarks of two datasets that are no somata.

    Attributes
    ----------
    uids : tuple of str
    source_um, target_um : ndarray, shape (N, 3)
        µm (z, y, x), each in its own space.
    sigma_um : ndarray, shape (N,)
        Standard deviation of each component.
    """

    uids: tuple[str, ...]
    source_um: npt.NDArray[np.float64]
    target_um: npt.NDArray[np.float64]
    sigma_um: npt.NDArray[np.float64]

    @classmethod
    def of(cls, state: State, source: str, target: str) -> LandmarkPoints:
        """Read the landmarks of two datasets, ordered by uid."""
        known = sorted(state.landmarks.living.items())
        found = [(uid, mark) for uid, mark in known if set(mark.datasets) == {source, target}]
        here, there = (
            np.array([mark.place_um(name) for _, mark in found]).reshape(-1, 3)
            for name in (source, target)
        )
        sigma = np.array([mark.sigma_um for _, mark in found])
        return cls(tuple(uid for uid, _ in found), here, there, sigma)

    def __len__(self) -> int:
        return len(self.uids)

    def to_landmarks(self) -> Landmarks | None:
        """Return them as a fit takes them; None where there is none."""
        if not self.uids:
            return None
        return Landmarks(self.source_um, self.target_um, self.sigma_um)


@dataclass(frozen=True, eq=False)
class ProjectLandmarks:
    """All landmarks of two datasets, the accepted pairs first.

    Attributes
    ----------
    pairs : LandmarkPairs
    points : LandmarkPoints
    """

    pairs: LandmarkPairs
    points: LandmarkPoints

    @classmethod
    def of(cls, state: State, source: str, target: str) -> ProjectLandmarks:
        """Read the landmarks of two datasets."""
        names = source, target
        return cls(LandmarkPairs.of(state, *names), LandmarkPoints.of(state, *names))

    def __len__(self) -> int:
        return len(self.pairs) + len(self.points)

    @property
    def source_um(self) -> npt.NDArray[np.float64]:
        """Their places in the source, (N, 3)."""
        return np.vstack([self.pairs.source_um, self.points.source_um])

    @property
    def target_um(self) -> npt.NDArray[np.float64]:
        """Their places in the target, (N, 3)."""
        return np.vstack([self.pairs.target_um, self.points.target_um])

    def to_landmarks(self) -> Landmarks:
        """Return them as a fit takes them; a soma's uncertainty is that of the prior."""
        sigma = np.concatenate([np.full(len(self.pairs), np.nan), self.points.sigma_um])
        return Landmarks(self.source_um, self.target_um, sigma)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that change with any landmark."""
        digest = hashlib.sha256(repr(self.pairs.uids).encode())
        # Of pairs alone it is what it was before there were others, so that kept maps are found.
        digest.update(self.pairs.source_um.round(3).tobytes())
        digest.update(self.pairs.target_um.round(3).tobytes())
        if len(self.points):
            digest.update(repr(self.points.uids).encode())
            for values in (self.points.source_um, self.points.target_um, self.points.sigma_um):
                digest.update(values.round(3).tobytes())
        return digest.hexdigest()[:12]
