"""The alignment of two spaces: the one map between them, which knows how unsure it is.

A similarity, an affine trend and a Gaussian process on the displacement, about a mean map
where there is one. `fit.fit_alignment` makes it of landmarks; matching adds what many
uncertain matches say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.gaussian_process import ExactRegression, FeatureRegression

if TYPE_CHECKING:
    from napari_neurobridge.spaces.gaussian_process import DeformationPrior
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.spaces.landmarks import Landmarks
    from napari_neurobridge.spaces.similarity import Similarity

Float64Array = npt.NDArray[np.float64]

_INVERSE_ROUNDS = 200
_INVERSE_TOLERANCE_UM = 1e-7
# The map is told from others by where it takes some points.
_PROBE_UM, _MOST_PROBES = 200.0, 200


class NotInvertibleError(InputError):
    """A map folds somewhere, so that a place has no one place that it comes from."""


class Regression(Protocol):
    """What is known of the displacement about the similarity."""

    def predict(self, offsets: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return mean (N, 3) and variance (N,) of each component at offsets (N, 3)."""

    def mean_displacement(self, offsets: Float64Array) -> Float64Array:
        """Return the mean (N, 3) alone, which takes far less time."""


@dataclass(frozen=True)
class MadeFrom:
    """What an alignment rests on.

    Attributes
    ----------
    orientation : bool
        Whether somebody stated how the two datasets lie to each other.
    registration : str
        Names the accepted registration; empty without one.
    n_pairs : int
        Accepted pairs; where nobody tells them apart, all landmarks.
    n_points : int
        Landmarks that are no somata.
    n_matches : int
        Somata whose uncertain matches refine it.
    """

    orientation: bool = False
    registration: str = ""
    n_pairs: int = 0
    n_matches: int = 0
    n_points: int = 0

    @property
    def known(self) -> bool:
        """Whether it rests on more than an orientation."""
        return bool(self.registration or self.n_pairs or self.n_points or self.n_matches)

    def __str__(self) -> str:
        parts = ["the stated orientation"] if self.orientation else []
        if self.registration:
            parts.append(f"the registration {self.registration}")
        if self.n_pairs:
            parts.append(
                "1 accepted pair" if self.n_pairs == 1 else f"{self.n_pairs} accepted pairs"
            )
        if self.n_points:
            one = self.n_points == 1
            parts.append("1 other landmark" if one else f"{self.n_points} other landmarks")
        if self.n_matches:
            parts.append(f"{self.n_matches} uncertain matches")
        if not parts:
            return "nothing: the axes of both are taken to be the same"
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Where somata are displaced to, each predicted without its own match.

    Attributes
    ----------
    points_um : ndarray, shape (N, 3)
        The somata, µm (z, y, x) of the source.
    displacement_um : ndarray, shape (N, 3)
        From where the similarity puts them.
    covariance_um2 : ndarray, shape (N, 3, 3)
        With the noise of a soma's place.
    """

    points_um: Float64Array
    displacement_um: Float64Array
    covariance_um2: Float64Array


@dataclass(frozen=True, eq=False)
class Alignment:
    """A smooth map between two spaces that knows how unsure it is; a `Transform`.

    Attributes
    ----------
    source, target : str
        Names of the spaces.
    landmarks : Landmarks
        All that were given, without those given twice.
    wrong : ndarray, shape (N,)
        Probability of each landmark to be wrong; those above one half are not used.
    similarity : Similarity
        The map's main part, after ``mean``.
    prior : DeformationPrior
        Sizes adapted to the landmarks.
    kind : {"elastic", "similarity", "rigid"}
        What the displacement adds: a smooth one, or nothing.
    notes : tuple of str
        What a person should know about this fit, in sentences.
    hand_known : bool
        Whether the handedness was stated, or is what the landmarks say.
    hand_notes : tuple of str
        Those of the notes that are about handedness.
    regression : Regression
        The displacement about the similarity.
    mean : Transform or None
        Mean function of the Gaussian process, such as an accepted registration of images;
        the rest maps what comes out of it.
    leave_one_out : LeaveOneOut or None
        Where uncertain matches are part of the map.
    made_from : MadeFrom
    """

    source: str
    target: str
    landmarks: Landmarks
    wrong: Float64Array
    similarity: Similarity
    prior: DeformationPrior
    kind: str
    notes: tuple[str, ...]
    hand_known: bool
    hand_notes: tuple[str, ...]
    regression: Regression
    mean: Transform | None = None
    leave_one_out: LeaveOneOut | None = None
    made_from: MadeFrom = field(default_factory=MadeFrom)

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that are the same only for the same map."""
        seen = self.landmarks.source_um
        center = seen.mean(axis=0) if len(seen) else self.similarity.source_center_um
        around = center + _PROBE_UM * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
        digest = hashlib.sha256(f"{self.source}\n{self.target}\n{self.made_from}".encode())
        for part in self.predict(np.vstack([around, seen[:_MOST_PROBES]])):
            digest.update(part.round(4).tobytes())
        return digest.hexdigest()[:12]

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which landmarks the map rests on, (N,)."""
        return np.asarray(self.wrong < 0.5)

    def wrong_of(self, landmarks: Landmarks) -> Float64Array:
        """Return the probability of landmarks (L,) of this alignment to be wrong.

        Parameters
        ----------
        landmarks : Landmarks
            In any order, and as often as they were given.
        """
        known = dict(zip(_rounded(self.landmarks), self.wrong.tolist(), strict=True))
        return np.array([known[place] for place in _rounded(landmarks)])

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        return self._map_placed(self._placed(points))

    def predict(self, points: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Return where points are expected, and how exactly.

        Parameters
        ----------
        points : array_like, shape (N, 3)
            µm (z, y, x) of the source.

        Returns
        -------
        mean : ndarray, shape (N, 3)
            µm of the target.
        covariance : ndarray, shape (N, 3, 3)
            µm², of the map itself, without the noise of a soma's place.
        """
        mean, variance = self._predict_placed(self._placed(points))
        return mean, variance[:, None, None] * np.eye(3)

    def expect(self, points: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """As `predict`, for somata: with the noise of a soma's place in the covariance."""
        mean, covariance = self.predict(points)
        return mean, covariance + self.prior.sigma_um**2 * np.eye(3)

    def expect_without_own(self, rows: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Return where matched somata's partners are expected, each one's own match left out.

        Parameters
        ----------
        rows : array_like of int, shape (N,)
            Of `leave_one_out`.

        Returns
        -------
        mean : ndarray, shape (N, 3)
        covariance : ndarray, shape (N, 3, 3)
        """
        if self.leave_one_out is None:
            raise InputError("This alignment rests on landmarks alone.")
        own, rows = self.leave_one_out, np.asarray(rows, dtype=np.intp)
        offsets = self.similarity.offsets(self._placed(own.points_um[rows]))
        mean = self.similarity.target_center_um + offsets + own.displacement_um[rows]
        return mean, own.covariance_um2[rows]

    def residuals(self) -> Float64Array:
        """Return each landmark's distance from where the others expect it, (N,) µm."""
        used = self.used
        residual = self.landmarks.target_um - self.map_points(self.landmarks.source_um)
        regression = self.regression
        if self.kind == "elastic" and isinstance(regression, ExactRegression | FeatureRegression):
            residual[used] = regression.leave_one_out()[0]
        return np.asarray(np.linalg.norm(residual, axis=1))

    def review(self) -> npt.NDArray[np.intp]:
        """Return the landmarks' rows, the most doubtful first."""
        return np.lexsort((-self.residuals(), -self.wrong))

    def inverse(self) -> InverseAlignment:
        """Return the map back."""
        return InverseAlignment(self)

    def _placed(self, points: npt.ArrayLike) -> Float64Array:
        """Return points after the mean map."""
        here = as_points(points)
        return here if self.mean is None else self.mean.map_points(here)

    def _predict_placed(self, placed: Float64Array) -> tuple[Float64Array, Float64Array]:
        _, variance = self.regression.predict(self.similarity.offsets(placed))
        return self._map_placed(placed), variance

    def _map_placed(self, placed: Float64Array) -> Float64Array:
        offsets = self.similarity.offsets(placed)
        moved = self.regression.mean_displacement(offsets) if self.kind == "elastic" else 0.0
        return np.asarray(self.similarity.target_center_um + offsets + moved)

    def _follow_back(self, points: npt.ArrayLike) -> Float64Array:
        """Return the points (N, 3) of the source that are mapped to some of the target.

        Raises
        ------
        NotInvertibleError
            If the map folds there.
        """
        wanted = as_points(points)
        similarity = self.similarity
        back = np.linalg.inv(similarity.linear).T
        found = (wanted - similarity.target_center_um) @ back + similarity.source_center_um
        for _ in range(_INVERSE_ROUNDS):
            miss = wanted - self._map_placed(found)
            if not miss.size or np.abs(miss).max() < _INVERSE_TOLERANCE_UM:
                return found if self.mean is None else self.mean.inverse().map_points(found)
            found = found + miss @ back
        raise NotInvertibleError("The alignment cannot be inverted there: it folds.")


@dataclass(frozen=True, eq=False)
class InverseAlignment:
    """An alignment followed backwards.

    Parameters
    ----------
    forward : Alignment
    """

    forward: Alignment

    @property
    def source(self) -> str:
        """Space that points come from."""
        return self.forward.target

    @property
    def target(self) -> str:
        """Space that points go to."""
        return self.forward.source

    @property
    def id(self) -> str:
        """That of the alignment: a map and its inverse are one."""
        return self.forward.id

    @property
    def made_from(self) -> MadeFrom:
        """What the alignment rests on."""
        return self.forward.made_from

    @property
    def kind(self) -> str:
        """What the mean map of the alignment is."""
        return self.forward.kind

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the fit, in sentences."""
        return self.forward.notes

    def map_points(self, points: npt.ArrayLike) -> Float64Array:
        """Map points of shape (N, 3), µm (z, y, x), from source to target.

        Raises
        ------
        NotInvertibleError
            If the map folds there.
        """
        return self.forward._follow_back(points)

    def predict(self, points: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Return where points (N, 3) of the source are expected, and the map's own covariance.

        Raises
        ------
        NotInvertibleError
            If the map folds there.
        """
        found = self.map_points(points)
        return found, self._back(self.forward.predict(found)[1])

    def expect(self, points: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """As `predict`, for somata: with the noise of a soma's place in the covariance."""
        found = self.map_points(points)
        return found, self._back(self.forward.expect(found)[1])

    def _back(self, covariance: Float64Array) -> Float64Array:
        """Return what a covariance (N, 3, 3) of the source is in the target."""
        back = np.linalg.inv(self.forward.similarity.linear)
        return np.asarray(back @ covariance @ back.T)

    def inverse(self) -> Alignment:
        """Return the map back."""
        return self.forward


def _rounded(landmarks: Landmarks) -> list[tuple[float, ...]]:
    """Return both places of each landmark, as far as they tell landmarks apart."""
    both = np.hstack([landmarks.source_um, landmarks.target_um])
    return [tuple(row) for row in both.round(3).tolist()]
