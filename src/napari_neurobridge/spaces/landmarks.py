"""Landmarks between two spaces: checked, and each judged by all the others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.gaussian_process import DeformationPrior, ExactRegression
from napari_neurobridge.spaces.similarity import Similarity, fit_similarity, nearest_similarity

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

# A person who errs takes a neighbour of the right cell as often as any other cell.
NEIGHBOUR_SD_UM = 20.0
_SMALLEST_REACH_UM = 100.0
# Up to so many landmarks, every set of wrong ones of the sizes below is weighed.
_ENUMERATED = 12
_ROUNDS = 20
# Beyond a factor of 30 between the sizes of the two sides, one of them is not in µm.
_LARGEST_SCALE = 30.0
_SAME_UM = 1e-6
_POLAR_ROUNDS = 3
# Of the squared length of a standard normal vector in space.
_MEDIAN_SQUARE = 2.366


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points seen in both spaces, each with its own uncertainty.

    Parameters
    ----------
    source_um, target_um : array_like, shape (N, 3)
        µm (z, y, x) of either space.
    sigma_um : array_like, shape (N,) or scalar, optional
        Standard deviation of each component; that of the prior where NaN or not given.
        A branch of a vessel may be known less exactly than a soma.

    Raises
    ------
    InputError
        If the two sides differ in number, or a coordinate is no finite number, or one
        side is evidently not in µm.
    """

    source_um: Float64Array
    target_um: Float64Array
    sigma_um: Float64Array | None = None

    def __post_init__(self) -> None:
        source, target = as_points(self.source_um), as_points(self.target_um)
        if len(source) != len(target):
            raise InputError(f"{len(source)} points cannot be paired with {len(target)}.")
        object.__setattr__(self, "source_um", source)
        object.__setattr__(self, "target_um", target)
        if self.sigma_um is not None:
            sigma = np.broadcast_to(np.asarray(self.sigma_um, dtype=np.float64), len(source))
            if (sigma <= 0).any() or np.isinf(sigma).any():
                raise InputError("The uncertainty of a landmark must be a positive number of µm.")
            object.__setattr__(self, "sigma_um", sigma.copy())
        _require_micrometres(source, target)

    def __len__(self) -> int:
        return len(self.source_um)

    def sigma(self, prior: DeformationPrior) -> Float64Array:
        """Return the standard deviation of each landmark, (N,) µm."""
        if self.sigma_um is None:
            return np.full(len(self), prior.sigma_um)
        return np.where(np.isnan(self.sigma_um), prior.sigma_um, self.sigma_um)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Landmarks:
        """Return some of the landmarks."""
        sigma = None if self.sigma_um is None else self.sigma_um[rows]
        return Landmarks(self.source_um[rows], self.target_um[rows], sigma)

    def distinct(self) -> npt.NDArray[np.intp]:
        """Return the rows left when a pair that is there twice is counted once."""
        both = np.round(np.hstack([self.source_um, self.target_um]), 3)
        return np.sort(np.unique(both, axis=0, return_index=True)[1])


def _require_micrometres(source: Float64Array, target: Float64Array) -> None:
    if len(source) < 2:
        return
    here, there = (
        float(np.linalg.norm(p - p.mean(axis=0), axis=1).mean()) for p in (source, target)
    )
    if min(here, there) < _SAME_UM:
        return
    ratio = there / here
    if not 1 / _LARGEST_SCALE < ratio < _LARGEST_SCALE:
        small = "first" if ratio > 1 else "second"
        factor = max(ratio, 1 / ratio)
        raise InputError(
            f"The landmarks' {small} side is {factor:.0f} times smaller than the other: it is "
            "probably in mm, or the other in nm; give both in µm."
        )
    if len(source) >= 4 and max(here, there) < 2.0:
        raise InputError(
            "All landmarks lie within 2 µm on both sides: they are probably in mm; give them in µm."
        )


def regress(
    landmarks: Landmarks,
    prior: DeformationPrior,
    *,
    mirrored: bool,
    orientation: FloatArray | None,
) -> tuple[Similarity, ExactRegression]:
    """Fit a similarity and, about it, the Gaussian process.

    The strains of the affine trend are taken about the similarity nearest to the trend
    itself, so that a rotation or a change of size costs nothing.
    """
    sigma = landmarks.sigma(prior)
    spread = np.hypot(prior.displacement_um, prior.sigma_um)
    similarity = fit_similarity(
        landmarks.source_um,
        landmarks.target_um,
        mirrored=mirrored,
        orientation=orientation,
        spread_um=float(spread),
    )
    free = len(landmarks) >= 4 and orientation is None
    for _ in range(_POLAR_ROUNDS if free else 0):
        regression = _about(similarity, landmarks, prior, sigma)
        linear = (np.eye(3) + regression.trend) @ similarity.linear
        similarity = nearest_similarity(linear, similarity)
    return similarity, _about(similarity, landmarks, prior, sigma)


def _about(
    similarity: Similarity, landmarks: Landmarks, prior: DeformationPrior, sigma: Float64Array
) -> ExactRegression:
    offsets = similarity.offsets(landmarks.source_um)
    displacement = landmarks.target_um - similarity.target_center_um - offsets
    return ExactRegression(prior, offsets, displacement, sigma)


def log_normal(residual: FloatArray, variance: FloatArray) -> Float64Array:
    """Return the log density of residuals (N, 3) of a variance (N,) for each component."""
    square = np.einsum("ij,ij->i", residual, residual)
    return np.asarray(-0.5 * square / variance - 1.5 * np.log(2 * np.pi * np.asarray(variance)))


def log_wrong(residual: FloatArray, variance: FloatArray, reach_um: float) -> Float64Array:
    """Return the log density of residuals (N, 3) of wrong landmarks: a neighbour, or any cell."""
    near = log_normal(residual, variance + NEIGHBOUR_SD_UM**2)
    far = log_normal(residual, variance + reach_um**2)
    return np.asarray(np.logaddexp(near, far) - np.log(2.0))


def reach_um(target_um: FloatArray) -> float:
    """Return the spread of points (N, 3) along each axis, at least 100 µm."""
    center = np.median(target_um, axis=0)
    return max(_SMALLEST_REACH_UM, float(np.median(np.abs(target_um - center)) * 1.5))


def judge(
    landmarks: Landmarks,
    prior: DeformationPrior,
    *,
    mirrored: bool,
    orientation: FloatArray | None = None,
) -> Float64Array:
    """Return the probability of each landmark to be wrong, from the landmarks alone, (N,)."""
    if len(landmarks) < 4:
        return np.full(len(landmarks), prior.wrong)
    if len(landmarks) <= _ENUMERATED:
        return _judge_sets(landmarks, prior, mirrored, orientation)
    return _judge_in_rounds(landmarks, prior, mirrored, orientation)


def _judge_sets(
    landmarks: Landmarks, prior: DeformationPrior, mirrored: bool, orientation: FloatArray | None
) -> Float64Array:
    count = len(landmarks)
    sizes = (0, 1) if count < 7 else (0, 1, 2)
    sets = [wrong for size in sizes for wrong in combinations(range(count), size)]
    scores = np.empty(len(sets))
    for number, wrong in enumerate(sets):
        good = np.ones(count, dtype=np.bool_)
        good[list(wrong)] = False
        scores[number] = _score(landmarks, good, prior, mirrored, orientation)
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return np.array(
        [
            sum(w for w, wrong in zip(weights, sets, strict=True) if row in wrong)
            for row in range(count)
        ]
    )


def _score(
    landmarks: Landmarks,
    good: npt.NDArray[np.bool_],
    prior: DeformationPrior,
    mirrored: bool,
    orientation: FloatArray | None,
) -> float:
    similarity, regression = regress(
        landmarks.take(good), prior, mirrored=mirrored, orientation=orientation
    )
    odds = np.log1p(-prior.wrong) * good.sum() + np.log(prior.wrong) * (~good).sum()
    if good.all():
        return float(regression.log_evidence + odds)
    residual, variance = _residuals(landmarks, similarity, regression, prior)
    outside = log_wrong(residual[~good], variance[~good], reach_um(landmarks.target_um))
    return float(regression.log_evidence + odds + outside.sum())


def _residuals(
    landmarks: Landmarks,
    similarity: Similarity,
    regression: ExactRegression,
    prior: DeformationPrior,
) -> tuple[Float64Array, Float64Array]:
    offsets = similarity.offsets(landmarks.source_um)
    mean, variance = regression.predict(offsets)
    residual = landmarks.target_um - similarity.target_center_um - offsets - mean
    return residual, variance + landmarks.sigma(prior) ** 2


def _judge_in_rounds(
    landmarks: Landmarks, prior: DeformationPrior, mirrored: bool, orientation: FloatArray | None
) -> Float64Array:
    count = len(landmarks)
    good = np.ones(count, dtype=np.bool_)
    reach = reach_um(landmarks.target_um)
    for _ in range(_ROUNDS):
        similarity, regression = regress(
            landmarks.take(good), prior, mirrored=mirrored, orientation=orientation
        )
        residual, variance = _residuals(landmarks, similarity, regression, prior)
        residual[good], variance[good] = regression.leave_one_out()
        # If even the typical landmark contradicts the prior, tissue gave more than that says.
        typical = np.median(np.einsum("ij,ij->i", residual, residual) / variance)
        variance *= max(1.0, float(typical) / _MEDIAN_SQUARE)
        odds = (
            np.log(prior.wrong / (1 - prior.wrong))
            + log_wrong(residual, variance, reach)
            - log_normal(residual, variance)
        )
        # The worst tenth at a time: what a gross error pulls away is given a second look.
        worst = np.argsort(-odds)[: max(1, count // 10)]
        keep = good | (odds < 0)
        keep[worst[odds[worst] > 0]] = False
        if keep.sum() < 4 or (keep == good).all():
            break
        good = keep
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50))))
