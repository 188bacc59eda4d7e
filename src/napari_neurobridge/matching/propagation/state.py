"""The state of a propagation after a round: all sites, and what is estimated beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.posterior import Candidates, Posterior, posterior, weigh
from napari_neurobridge.matching.propagation.expectation import (
    MixtureCandidates,
    cavity,
    mixture_candidates,
    updated_sites,
)
from napari_neurobridge.matching.propagation.place_noise import NOMINAL, PlaceNoise
from napari_neurobridge.matching.propagation.presence import Presence
from napari_neurobridge.matching.propagation.setup import shared_landmarks
from napari_neurobridge.spaces.gaussian_process import (
    WeightedFeatures,
    marginals,
    weight_posterior,
)
from napari_neurobridge.spaces.landmarks import log_normal, log_wrong, reach_um

if TYPE_CHECKING:
    from napari_neurobridge.matching.propagation.problem import PropagationParams
    from napari_neurobridge.matching.propagation.setup import PropagationSetup

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
RowArray = npt.NDArray[np.intp]

# Candidates of a query during the rounds, and in the result.
_CANDIDATES, _LISTED = 24, 64
# If the prior predicts no place well enough, the best predicted begin: this share, or so many.
_FIRST_SHARE, _FEWEST_FIRST = 0.02, 5
_NEGLIGIBLE_PRECISION = 1e-12
# The active set still grows while a round adds 2 % to it. After so many rounds in which it did not,
# each round is damped more than the last.
_STILL_GROWING = 1.02
_PATIENCE, _COOLING = 15, 0.85
# So many queries are beside a landmark, and explained at least this share as often as others, if
# a map fits so many of all.
_BESIDE, _HEEDED, _FITS = 6, 0.5, 0.15
# Rounds without growth before the noise of places is learned.
_SETTLED = 3


@dataclass(frozen=True, eq=False)
class PropagationState:
    """The sites of all queries after a round; `step` returns the next.

    Attributes
    ----------
    setup : PropagationSetup
    params : PropagationParams
    precision : ndarray, shape (N,)
        Of each query's site, 1/µm².
    weighted_mean : ndarray, shape (N, 3)
        Precision times mean of each query's site, 1/µm.
    wrong : ndarray, shape (L,)
        Probability of each landmark to be wrong.
    excluded : ndarray of bool, shape (L,)
        Landmarks left out.
    presence : Presence
        Estimated chance that the gallery holds a partner, by place.
    active : ndarray of bool, shape (N,)
        Queries that take part.
    places : PlaceNoise
        How exactly somata are placed.
    change : float
        Largest change of a site's precision in the last round, as a share of that of a certain
        match.
    noise_change : float
        Change of the noise's scale in the last round, as a share.
    rounds_since_growth : int
        Rounds since many queries last became active.
    """

    setup: PropagationSetup
    params: PropagationParams
    precision: Float64Array
    weighted_mean: Float64Array
    wrong: Float64Array
    excluded: BoolArray
    presence: Presence
    active: BoolArray
    places: PlaceNoise = NOMINAL
    change: float = np.inf
    noise_change: float = np.inf
    rounds_since_growth: int = 0

    @classmethod
    def initial(
        cls,
        setup: PropagationSetup,
        params: PropagationParams,
        wrong: Float64Array,
        excluded: BoolArray | None = None,
    ) -> PropagationState:
        """Start with the landmarks only: no query's site says anything."""
        n_queries = len(setup.paired)
        return cls(
            setup,
            params,
            np.zeros(n_queries),
            np.zeros((n_queries, 3)),
            wrong,
            np.zeros(len(wrong), dtype=np.bool_) if excluded is None else excluded,
            Presence.constant(setup.origin_um[:n_queries], params.presence_prior),
            np.zeros(n_queries, dtype=np.bool_),
        )

    def continued_from(self, earlier: PropagationState) -> PropagationState:
        """Take over what an earlier state of the same queries knew, also of its landmarks."""
        moved = earlier.setup.origin_um[: len(self.precision)] - self._origin
        precision = np.where(self.setup.paired, 0.0, earlier.precision)
        weighted_mean = np.where(self.setup.paired[:, None], 0.0, earlier.weighted_mean)
        here, there = shared_landmarks(self.setup.problem, earlier.setup.problem)
        wrong, excluded = self.wrong.copy(), self.excluded.copy()
        wrong[here] = earlier.wrong[there]
        # A landmark that was left out on trial comes back if the field now agrees with it.
        excluded[here] = earlier.excluded[there] & (earlier.wrong[there] > 0.5)
        return replace(
            self,
            precision=precision,
            weighted_mean=weighted_mean + precision[:, None] * moved,
            wrong=wrong,
            excluded=excluded,
            presence=earlier.presence,
            places=earlier.places,
            active=earlier.active & ~self.setup.paired,
            rounds_since_growth=_PATIENCE // 2,
        )

    def with_sites_of(self, subset: PropagationState, rows: RowArray) -> PropagationState:
        """Take over the state of some of the queries, under the same alignment."""
        precision, weighted_mean = self.precision.copy(), self.weighted_mean.copy()
        active = self.active.copy()
        precision[rows], weighted_mean[rows] = subset.precision, subset.weighted_mean
        active[rows] = subset.active
        return replace(
            self,
            precision=precision,
            weighted_mean=weighted_mean,
            wrong=subset.wrong,
            excluded=subset.excluded,
            presence=subset.presence,
            places=subset.places,
            active=active,
        )

    def with_reset_sites(self, rows: RowArray | BoolArray) -> PropagationState:
        """Return the state without the sites of some queries, to be matched anew."""
        precision, weighted_mean = self.precision.copy(), self.weighted_mean.copy()
        precision[rows], weighted_mean[rows] = 0.0, 0.0
        return replace(
            self, precision=precision, weighted_mean=weighted_mean, rounds_since_growth=0
        )

    @property
    def _origin(self) -> Float64Array:
        return self.setup.origin_um[: len(self.precision)]

    @property
    def _noise(self) -> Float64Array:
        return self._all_noise[: len(self.precision)]

    @cached_property
    def _all_noise(self) -> Float64Array:
        """Variance of each place about the deformation, inlier component, (N + L,)."""
        return np.asarray(self.setup.noise * self.places.scale + self.setup.left_out)

    @cached_property
    def _sites(self) -> tuple[Float64Array, Float64Array]:
        """Precision (N + L,) and precision-weighted mean (N + L, 3) of queries and landmarks."""
        noise = self._all_noise[len(self.precision) :] * self.places.spread
        landmarks = (1.0 - self.wrong) * ~self.excluded / noise
        precision = np.concatenate([self.precision, landmarks])
        own = landmarks[:, None] * self.setup.displacement_um
        return precision, np.vstack([self.weighted_mean, own])

    @cached_property
    def _weights(self) -> tuple[Float64Array, Float64Array]:
        precision, weighted_mean = self._sites
        used = precision > _NEGLIGIBLE_PRECISION
        return weight_posterior(self.setup.basis[used], precision[used], weighted_mean[used])

    @property
    def regression(self) -> WeightedFeatures:
        """The displacement as landmarks and sites together say it."""
        return WeightedFeatures(self.setup.alignment.prior, self.setup.inducing_um, *self._weights)

    @cached_property
    def _cavity(self) -> tuple[Float64Array, Float64Array]:
        """Mean displacement (N + L, 3) and variance (N + L,) of each without its own site."""
        precision, weighted_mean = self._sites
        mean, variance = marginals(self.setup.basis, *self._weights)
        return cavity(mean, variance, precision, weighted_mean)

    def step(self) -> PropagationState:
        """Update the sites of all active queries at once, and what is estimated beside them."""
        n_queries, damping = len(self.precision), self._damping
        cavity_mean, cavity_variance = self._cavity
        rows = self._select_active(cavity_variance[:n_queries] + self._noise * self.places.spread)
        mean, variance, noise = cavity_mean[rows], cavity_variance[rows], self._noise[rows]
        mixture = self._candidates(rows, mean, variance, _CANDIDATES)
        candidates = mixture.candidates
        _, probability, none, _ = weigh(
            candidates, self.p_partner[rows], len(self.setup.gallery), free=self._p_unclaimed()
        )
        offset = self.setup.gallery.points_um[candidates.rows]
        offset -= (self._origin[rows] + mean)[:, None]
        precision, weighted_mean = np.zeros(n_queries), np.zeros((n_queries, 3))
        precision[rows], weighted_mean[rows], seen = updated_sites(
            mean,
            variance,
            noise,
            self.places,
            offset,
            probability,
            mixture.component,
            self.setup.gallery.dimensions,
        )
        places = self.places
        if self.params.learn_noise and self.rounds_since_growth >= _SETTLED:
            places = places.updated(seen, self.setup.gallery.dimensions)
        damped = (1 - damping) * self.precision + damping * precision
        active = np.zeros(n_queries, dtype=np.bool_)
        active[rows] = True
        grown = len(rows) > _STILL_GROWING * max(int(self.active.sum()), 1)
        return replace(
            self,
            precision=damped,
            weighted_mean=(1 - damping) * self.weighted_mean + damping * weighted_mean,
            wrong=self._p_landmarks_wrong(),
            presence=self.presence.updated(self._origin[rows], self.setup.p_detected[rows], none),
            active=active,
            places=places,
            change=float(np.max(np.abs(damped - self.precision) * self._noise, initial=0.0)),
            noise_change=abs(places.scale / self.places.scale - 1.0),
            rounds_since_growth=0 if grown else self.rounds_since_growth + 1,
        )

    @cached_property
    def explained(self) -> BoolArray:
        """Queries whose surroundings are predicted clearly better than by chance, (N,)."""
        return np.asarray(self.query_evidence > np.log(2.0))

    @cached_property
    def heeds_landmarks(self) -> bool:
        """Whether the field agrees with most landmarks, and most of all about them.

        A map that leaps away from the landmarks and fits elsewhere is not what a person meant by
        them: then fewer cells are explained beside them than in the rest.
        """
        trusted = self.wrong < 0.5
        free = np.flatnonzero(~self.setup.paired)
        if trusted.mean() <= 0.5 or not len(free):
            return bool(trusted.mean() > 0.5)
        origin = self.setup.origin_um
        places = origin[len(self.precision) :][trusted]
        count = min(_BESIDE, len(free))
        beside = cKDTree(origin[free]).query(places, k=np.arange(1, count + 1))[1]
        explained = self.explained[free]
        share = explained.mean()
        return bool(share < _FITS or explained[beside].mean() >= _HEEDED * share)

    @property
    def settled(self) -> bool:
        """Whether another round would change next to nothing."""
        if self.change >= self.params.tolerance:
            return False
        if not self.params.learn_noise:
            return True
        return self.rounds_since_growth > _SETTLED and self.noise_change < self.params.tolerance

    @cached_property
    def p_partner(self) -> Float64Array:
        """Chance of each query's partner to be in the gallery, before its candidates, (N,)."""
        return self.setup.p_detected * self.presence.at(self._origin)

    @property
    def _damping(self) -> float:
        """Share of an update that is taken over: less and less once the active set is settled."""
        cooled = max(0, self.rounds_since_growth - _PATIENCE)
        return self.params.damping * _COOLING**cooled

    def query_posterior(self) -> tuple[Posterior, Float64Array, Float64Array]:
        """Return all queries' posterior, expected places (N, 3) and variances (N,)."""
        candidates, place, variance = self._all_candidates
        p_partner = self.p_partner
        found = posterior(
            self._without_paired(candidates),
            p_partner,
            len(self.setup.gallery),
            free=self._p_unclaimed(),
        )
        # A person's pair is judged by all the others, as if its soma were free.
        paired = self.setup.paired
        own = Candidates(
            candidates.rows[paired], candidates.ratio[paired], candidates.beyond[paired]
        )
        alone = posterior(own, p_partner[paired], len(self.setup.gallery), exclusive=False)
        for whole, part in zip(
            (found.rows, found.probability, found.none, found.beyond),
            (alone.rows, alone.probability, alone.none, alone.beyond),
            strict=True,
        ):
            whole[paired] = part
        return found, place, variance

    @cached_property
    def evidence(self) -> float:
        """Log probability of all somata and landmarks, each judged by the others, over chance."""
        right, wrong = self._landmark_log_odds()
        queries = self.query_evidence[~self.setup.paired].sum()
        return float(queries + np.logaddexp(right, wrong).sum())

    @cached_property
    def query_evidence(self) -> Float64Array:
        """Log probability of the somata about each query's place, over chance, (N,)."""
        candidates, _, _ = self._all_candidates
        return np.log1p(self.p_partner * (candidates.total - 1.0))

    @cached_property
    def _all_candidates(self) -> tuple[Candidates, Float64Array, Float64Array]:
        n_queries = len(self.precision)
        mean, variance = (part[:n_queries] for part in self._cavity)
        mixture = self._candidates(np.arange(n_queries), mean, variance, _LISTED)
        return mixture.candidates, self._origin + mean, variance + self._noise * self.places.spread

    def _candidates(
        self, rows: RowArray, mean: Float64Array, variance: Float64Array, count: int
    ) -> MixtureCandidates:
        looks = self.setup.problem.log_ratio
        return mixture_candidates(
            self.setup.gallery,
            self._origin[rows] + mean,
            variance,
            self._noise[rows],
            self.places,
            count,
            None if looks is None else lambda somata: looks(rows, somata),
        )

    def _without_paired(self, candidates: Candidates) -> Candidates:
        """Return candidates without the claims of queries that a person has paired."""
        ratio = np.where(self.setup.paired[:, None], 0.0, candidates.ratio)
        return Candidates(candidates.rows, ratio, candidates.beyond)

    def _select_active(self, variance: Float64Array) -> RowArray:
        """Return the queries about whose places few enough wrong somata are expected."""
        ambiguity = self.setup.gallery.expected_coincidences(variance)
        ambiguity[self.setup.paired] = np.inf
        rows = np.flatnonzero(ambiguity < self.params.max_ambiguity)
        n_free = int((~self.setup.paired).sum())
        fewest = min(max(_FEWEST_FIRST, int(_FIRST_SHARE * len(ambiguity))), n_free)
        return rows if len(rows) >= fewest else np.argsort(ambiguity)[:fewest]

    def _p_unclaimed(self) -> Float64Array:
        """Return the probability of each soma of the gallery not to be a landmark's, (M,)."""
        free = np.ones(len(self.setup.gallery))
        pairs = self.setup.problem.pairs
        # Two landmarks may name one soma: it is free if both are wrong.
        np.multiply.at(free, pairs[:, 1], self.wrong[: len(pairs)])
        return free

    def _landmark_log_odds(self) -> tuple[Float64Array, Float64Array]:
        """Return the log weight of each landmark to be right and to be wrong, (L,)."""
        n_queries, setup = len(self.precision), self.setup
        mean, cavity_variance = (part[n_queries:] for part in self._cavity)
        residual = setup.displacement_um - mean
        variance = cavity_variance + self._all_noise[n_queries:] * self.places.spread
        chance = setup.alignment.prior.wrong
        reach = reach_um(setup.displacement_um + setup.origin_um[n_queries:])
        return (
            np.log1p(-chance) + log_normal(residual, variance),
            np.log(chance) + log_wrong(residual, variance, reach),
        )

    def _p_landmarks_wrong(self) -> Float64Array:
        right, wrong = self._landmark_log_odds()
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(right - wrong, -500, 500))))
