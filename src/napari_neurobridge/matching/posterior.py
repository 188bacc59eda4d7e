"""The probability of each candidate to be the queried cell, and of none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from napari_neurobridge.matching.assignment import exclusive_marginals

if TYPE_CHECKING:
    from napari_neurobridge.matching.candidate_field import CandidateField

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_LARGEST_RATIO = 1e12


@dataclass(frozen=True, eq=False)
class Candidates:
    """The nearest somata of N predicted places, and what their places say.

    Attributes
    ----------
    rows : ndarray of int, shape (N, K)
        Rows of the gallery, nearest first.
    ratio : ndarray, shape (N, K)
        N(x; μ, Σ) · LR / λ(x, Σ), with λ the density of chance coincidences
        (`CandidateField`); 0 where there is no such candidate.
    beyond : ndarray, shape (N,)
        What all somata beyond the K nearest are expected to add to the sum of the ratios.
    """

    rows: RowArray
    ratio: Float64Array
    beyond: Float64Array

    @property
    def total(self) -> Float64Array:
        """Sum of the ratios of each place: 1 on average where the partner is absent, (N,)."""
        return np.asarray(self.ratio.sum(axis=1) + self.beyond)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Probabilities of N queries' candidates.

    Attributes
    ----------
    rows : ndarray of int, shape (N, K)
        Rows of the gallery, the most probable first.
    probability : ndarray, shape (N, K)
    none : ndarray, shape (N,)
        That the gallery does not hold the cell.
    beyond : ndarray, shape (N,)
        That it is a soma that is not listed. With the others it adds up to 1.
    """

    rows: RowArray
    probability: Float64Array
    none: Float64Array
    beyond: Float64Array

    @property
    def best(self) -> RowArray:
        """Row of the most probable candidate of each query, (N,)."""
        return np.asarray(self.rows[:, 0])

    @property
    def confidence(self) -> Float64Array:
        """Its probability, (N,)."""
        return np.asarray(self.probability[:, 0])


def find_candidates(
    field: CandidateField,
    mean_um: Float64Array,
    covariance_um2: Float64Array,
    *,
    count: int = 64,
) -> Candidates:
    """Return the candidates of predicted places.

    Parameters
    ----------
    field : CandidateField
    mean_um : ndarray, shape (N, 3)
        Where each partner is expected, in the gallery's space.
    covariance_um2 : ndarray, shape (N,) or (N, 3, 3)
        How exactly, with the noise of a soma's place; (N,) if alike along all axes.
    count : int
        Candidates for each query.
    """
    distance, rows = field.nearest(mean_um, count)
    if covariance_um2.ndim == 1:
        square, variance = distance**2, covariance_um2
    else:
        # A covariance is a shape of determinant 1 times a variance.
        variance = np.exp(np.linalg.slogdet(covariance_um2)[1] / 3)
        offset = field.points_um[rows] - mean_um[:, None]
        white = np.linalg.solve(np.linalg.cholesky(covariance_um2), offset.swapaxes(1, 2))
        square = np.einsum("nij,nij->nj", white, white) * variance[:, None]
    return candidates_at(field, rows, square, variance, None)


def candidates_at(
    field: CandidateField,
    rows: RowArray,
    square_um2: Float64Array,
    variance_um2: Float64Array,
    log_ratio: Float64Array | None,
) -> Candidates:
    """Weigh the candidates of predicted places.

    Parameters
    ----------
    field : CandidateField
    rows : ndarray of int, shape (N, K)
        The nearest somata of each place.
    square_um2 : ndarray, shape (N, K)
        Their squared distances from it, by a shape of determinant 1.
    variance_um2 : ndarray, shape (N,)
        Of each component of the place.
    log_ratio : ndarray, shape (N, K), optional
        Log likelihood ratio of appearance.
    """
    square = square_um2 / variance_um2[:, None]
    log = -0.5 * square - 1.5 * np.log(2 * np.pi * variance_um2)[:, None]
    log -= np.log(field.coincidence_density(rows, variance_um2))
    if log_ratio is not None:
        log += log_ratio
    ratio = np.minimum(np.exp(np.minimum(log, 700.0)), _LARGEST_RATIO)
    beyond = np.zeros(len(rows))
    if rows.shape[1] < len(field):
        beyond = chi2.sf(square.max(axis=1), 3)
    return Candidates(rows, ratio, beyond)


def posterior(
    candidates: Candidates,
    p_detected: npt.ArrayLike,
    n_gallery: int,
    *,
    free: Float64Array | None = None,
    exclusive: bool = True,
) -> Posterior:
    """Return the probability of each candidate, and of none.

    Parameters
    ----------
    candidates : Candidates
        Of N queries.
    p_detected : array_like, shape (N,) or scalar
        Chance that the gallery holds the partner.
    n_gallery : int
        Somata in the gallery.
    free : ndarray, shape (M,), optional
        Probability of each soma of the gallery not to be taken by a landmark.
    exclusive : bool
        Whether two queries cannot be the same soma.
    """
    order, weighed, none, beyond = weigh(
        candidates, p_detected, n_gallery, free=free, exclusive=exclusive
    )
    return Posterior(
        np.take_along_axis(candidates.rows, order, axis=1),
        np.take_along_axis(weighed, order, axis=1),
        none,
        beyond,
    )


def weigh(
    candidates: Candidates,
    p_detected: npt.ArrayLike,
    n_gallery: int,
    *,
    free: Float64Array | None = None,
    exclusive: bool = True,
) -> tuple[RowArray, Float64Array, Float64Array, Float64Array]:
    """As `posterior`: the order by falling probability, and probabilities out of that order."""
    chance = np.broadcast_to(np.asarray(p_detected, dtype=np.float64), len(candidates.rows))
    weight = candidates.ratio * chance[:, None]
    if free is not None:
        weight = weight * free[candidates.rows]
    beyond = candidates.beyond * chance
    rest = 1.0 - chance + beyond
    if exclusive:
        weighed, left = exclusive_marginals(weight, rest, candidates.rows, n_gallery)
    else:
        total = weight.sum(axis=1) + rest
        weighed, left = weight / total[:, None], rest / total
    share = beyond / np.maximum(rest, 1e-300)
    order = np.argsort(-weighed, axis=1, kind="stable")
    return order, weighed, left * (1 - share), left * share
