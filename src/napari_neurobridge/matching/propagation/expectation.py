"""Expectation propagation: a smooth deformation under soft matches of many somata.

Expectation propagation (EP) is due to Minka, "Expectation propagation for approximate Bayesian
inference", UAI 2001. This is what it becomes here; `state` holds the sites and runs the rounds.

**Model.** Query *i* lies at x_i; the alignment's similarity puts it at o_i in the gallery's space.
Its displacement d_i = d(x_i) there is unknown. Its three components have the same Gaussian-process
prior, so every variance below is a number, of a common shape of determinant 1 (`place_noise`) by
which also lengths are measured. With probability p_i the gallery holds the partner, and then at
y = o_i + d_i + ε, where ε comes from a mixture of three Gaussians, of shares π_k and variances
v_k s_i. All other somata are a Poisson process of density λ, counted at the scale of the Gaussian
that it is compared with (`candidate_field`). The likelihood of the gallery, over that of a gallery
without the partner, is the *factor* of query i::

    f_i(d_i) = 1 - p_i + p_i Σ_c LR_ic / λ(y_c) Σ_k π_k N(y_c - o_i; d_i, v_k s_i I)

over the candidates c; LR_ic is the likelihood ratio of their appearance.

**Sites.** EP replaces each factor by a Gaussian *site* with precision τ_i and precision-weighted
mean ν_i (its mean is ν_i / τ_i)::

    t_i(d_i) ∝ exp(-τ_i |d_i|² / 2 + ν_i · d_i)

The product of prior and sites is a Gaussian-process regression with one observation for each
query. In terms of the prior's features φ (`gaussian_process.features`) with standard normal
weights, the weights' precision is I + Σ τ_i φ_i φ_iᵀ and their precision-weighted mean Σ φ_i ν_iᵀ.
It gives d_i the mean m_i and the variance V_i. The prior's variance that the features do not carry
is nearly independent between somata and is counted as noise, in s_i (as in FITC: Snelson and
Ghahramani, NeurIPS 2005).

**Cavity distribution.** What all others say of d_i, without its own site::

    1 / V₋ = 1 / V_i - τ_i          m₋ = V₋ (m_i / V_i - ν_i)

**Tilted distribution.** Cavity times factor, again a mixture of Gaussians. Without a candidate the
cavity distribution itself; with candidate c and component k, with r_c = y_c - o_i - m₋ and the gain
g_k = V₋ / (V₋ + v_k s_i), a Gaussian of mean m₋ + g_k r_c and variance g_k v_k s_i. The weights are
1 - p_i and p_i LR_ic / λ(y_c) π_k N(r_c; 0, (V₋ + v_k s_i) I); ρ_ck are these, normalised.

**Moment matching.** Mean and variance of the tilted distribution are, with a = Σ ρ_ck g_k r_c::

    m̂ = m₋ + a     V̂ = ρ_0 V₋ + Σ ρ_ck (g_k² |r_c|² / 3 + g_k v_k s_i) - |a|² / 3

(a third of each square, since the site has one variance for three components; a half, if all
somata of the gallery lie in one plane). The new site is
what gives the product of cavity distribution and site these moments::

    τ_i' = 1 / V̂ - 1 / V₋           ν_i' = m̂ / V̂ - m₋ / V₋

Candidates that contradict each other make V̂ > V₋ and the precision negative. The site then is
set to 0: the query says nothing, and is asked again in the next round.

**Damping.** All sites are updated at once from the same regression, which may overshoot. So
τ ← (1 - η) τ + η τ', likewise ν. Fixed points stay where they are.

**Where the code departs from EP, and why.**

- *One-to-one*: the ρ_ic come from belief propagation over all queries that share candidates
  (`assignment.exclusive_marginals`), since a soma is the partner of one query at most. A
  factor of that rule over all queries has no closed form.
- *Active queries*: only those take part whose places are known well enough that fewer than
  ``max_ambiguity`` wrong somata are expected there; the sites of all others decay to 0. A
  mixture of many candidates is poorly described by one Gaussian, and a region may lock onto wrong
  somata; so the active set grows from the landmarks.
- *Cooling*: once the active set no longer grows, η falls from round to round, because two queries
  can otherwise exchange their candidates for ever.
- *Landmarks* have sites of known mean whose precision is multiplied by the probability
  that the person was right, as in expectation maximisation: it cannot become negative, and a
  landmark that the field contradicts fades instead of widening.
- *Chances* p_i are re-estimated in each round by expectation maximisation (`presence`).
- *Far candidates*: somata beyond the K nearest are not in the mixture. Their expected weight joins
  that of the cavity distribution.

**Evidence.** Not EP's marginal likelihood but the sum of the log predictive probabilities of each
query's surroundings under its cavity distribution, the integral of f_i, and likewise of each
landmark::

    Σ_i log(1 - p_i + p_i Σ_c LR_ic / λ(y_c) Σ_k π_k N(r_c; 0, (V₋ + v_k s_i) I))
      + Σ_l log((1 - w) N(r_l; 0, (V₋ + s_l) I) + w N_wrong(r_l))

over the queries that no person has paired, without the one-to-one rule. This is leave-one-out
cross-validation. It compares runs of different active sets, needs no fixed point, and a query
cannot raise it by agreeing with itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.posterior import Candidates, candidates_at
from napari_neurobridge.matching.propagation.place_noise import (
    VARIANCES,
    NoiseStatistics,
    PlaceNoise,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.matching.candidate_field import CandidateField

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]


# Of a cavity distribution, 1/µm²: rounding may leave nothing where a site says nearly all.
_LEAST_PRECISION = 1e-9


def cavity(
    mean: Float64Array, variance: Float64Array, precision: Float64Array, weighted_mean: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Take each site out of the regression that contains it.

    Parameters
    ----------
    mean, variance : ndarray, shape (N, 3) and (N,)
        Of each displacement, by all sites, µm and µm².
    precision, weighted_mean : ndarray, shape (N,) and (N, 3)
        Each one's own site.

    Returns
    -------
    mean, variance : ndarray, shape (N, 3) and (N,)
        Of the cavity distributions.
    """
    rest = np.maximum(1.0 / variance - precision, _LEAST_PRECISION)
    return (mean / variance[:, None] - weighted_mean) / rest[:, None], 1.0 / rest


@dataclass(frozen=True, eq=False)
class MixtureCandidates:
    """Candidates of N queries under the mixture of components of `PlaceNoise`.

    Attributes
    ----------
    candidates : Candidates
        Ratios of the whole mixture, (N, K).
    component : ndarray, shape (C, N, K)
        Probability of each component to have placed the candidate, if it is the partner.
    """

    candidates: Candidates
    component: Float64Array


def mixture_candidates(
    field: CandidateField,
    place_um: Float64Array,
    variance: Float64Array,
    noise: Float64Array,
    places: PlaceNoise,
    count: int,
    log_ratio: Callable[[RowArray], Float64Array] | None = None,
) -> MixtureCandidates:
    """Find the candidates of predicted places.

    Parameters
    ----------
    field : CandidateField
    place_um : ndarray, shape (N, 3)
        Where each partner is expected, in the gallery's space.
    variance : ndarray, shape (N,)
        Of each component of the cavity distribution, µm².
    noise : ndarray, shape (N,)
        Variance of a soma's place about the deformation, first component, µm².
    places : PlaceNoise
    count : int
        Candidates for each query.
    log_ratio : callable, optional
        Log likelihood ratio of appearance (N, K) of rows of the gallery (N, K).
    """
    rows = field.nearest(place_um, count)[1]
    square = places.squared_length(field.points_um[rows] - place_um[:, None])
    appearance = None if log_ratio is None else log_ratio(rows)
    weighted, beyond = np.empty((len(VARIANCES), *rows.shape)), np.zeros(len(rows))
    for number, (share, factor) in enumerate(zip(places.shares, VARIANCES, strict=True)):
        part = candidates_at(field, rows, square, variance + factor * noise, appearance)
        weighted[number] = share * part.ratio
        beyond += share * part.beyond
    ratio = weighted.sum(axis=0)
    return MixtureCandidates(Candidates(rows, ratio, beyond), weighted / np.maximum(ratio, 1e-300))


def updated_sites(
    mean: Float64Array,
    variance: Float64Array,
    noise: Float64Array,
    places: PlaceNoise,
    offset: Float64Array,
    probability: Float64Array,
    component: Float64Array,
    dimensions: int,
) -> tuple[Float64Array, Float64Array, NoiseStatistics]:
    """Match the moments of the tilted distributions; return the sites that do.

    Parameters
    ----------
    mean, variance : ndarray, shape (N, 3) and (N,)
        Cavity distribution of each displacement, µm and µm².
    noise : ndarray, shape (N,)
        Variance of a soma's place about the deformation, first component, µm².
    places : PlaceNoise
    offset : ndarray, shape (N, K, 3)
        Places of the candidates about where the cavity mean expects the partner, µm.
    probability : ndarray, shape (N, K)
        Of each candidate to be the partner; what is left, that none of them is and the cavity
        distribution stands.
    component : ndarray, shape (C, N, K)
        Of each component of the noise to have placed it, if it is.
    dimensions : int
        Of the gallery: 2 if all its somata lie in one plane.

    Returns
    -------
    precision : ndarray, shape (N,)
        1/µm², at least 0.
    weighted_mean : ndarray, shape (N, 3)
        Precision times mean, 1/µm; 0 where the precision is.
    seen : NoiseStatistics
    """
    # First moment about the cavity mean, and mean second moment of a component.
    first, second = np.zeros(mean.shape), (1.0 - probability.sum(axis=1)) * variance
    square = places.squared_length(offset) / dimensions
    mass, scatter = np.zeros(len(VARIANCES)), np.zeros((3, 3))
    for number, factor in enumerate(VARIANCES):
        weight = probability * component[number]
        share = weight.sum(axis=1)
        gain = variance / (variance + factor * noise)
        first += gain[:, None] * np.einsum("nk,nki->ni", weight, offset)
        second += gain**2 * (weight * square).sum(axis=1) + share * gain * factor * noise
        mass[number] = share.sum()
        left = weight * ((1.0 - gain) ** 2 / (factor * noise))[:, None]
        scatter += np.einsum("nk,nki,nkj->ij", left, offset, offset, optimize=True)
        scatter += float((share * gain).sum()) * places.shape
    tilted = second - places.squared_length(first) / dimensions
    precision = np.maximum(1.0 / tilted - 1.0 / variance, 0.0)
    new = (first + mean) / tilted[:, None] - mean / variance[:, None]
    weighted_mean = np.where(precision[:, None] > 0, new, 0.0)
    return precision, weighted_mean, NoiseStatistics(mass, scatter)
