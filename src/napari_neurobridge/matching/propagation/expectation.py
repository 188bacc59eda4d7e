"""Expectation propagation: a smooth deformation under soft matches of many somata."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.posterior import (
    Candidates,
    Posterior,
    find_candidates,
    posterior,
    weigh,
)
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
    from napari_neurobridge.matching.propagation.setup import Field

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Candidates of a query while matches grow, and in the end.
_NEAR, _LISTED = 24, 64
# If the prior reaches nothing, growth starts with so many of the best predicted.
_START_SHARE, _START_LEAST = 0.02, 5
_PRECISE = 1e-12
# Most somata are placed better than the noise says and some far worse: this share has this many
# times the variance, and the others so little that the whole keeps its own.
_CARELESS, _CARELESS_TIMES = 0.15, 4.0
_CAREFUL_TIMES = (1.0 - _CARELESS * _CARELESS_TIMES) / (1.0 - _CARELESS)
# A region is a query's nearest so many; poor, if it explains less than this share of the median.
_REGION = 12
_POOR = 0.6
# A growth that comes to 2 % more queries in a round still grows. After it no longer does for so
# many rounds, each takes over less than the last.
_STILL_GROWING = 1.02
_PATIENCE, _COOLING = 15, 0.85


@dataclass(frozen=True, eq=False)
class Growth:
    """Soft matches of all queries at one moment; `step` returns the next.

    Each query's match is summed up as a Gaussian observation of the deformation there,
    of which nothing is left where the candidates contradict each other.

    Attributes
    ----------
    world : Field
    params : PropagationParams
    precision : ndarray, shape (N,)
        Of each query's soft match, 1/µm².
    pull : ndarray, shape (N, 3)
        Precision times displacement.
    wrong : ndarray, shape (L,)
        Probability of each landmark to be wrong.
    held : ndarray of bool, shape (L,)
        Landmarks left out.
    presence : Presence
        Estimated chance that the gallery holds a partner, by place.
    reached : ndarray of bool, shape (N,)
        Queries that take part.
    change : float
        Largest change of a soft match in the last round, as a share of a full match.
    calm : int
        Rounds since the growth last came to many more queries.
    """

    world: Field
    params: PropagationParams
    precision: Float64Array
    pull: Float64Array
    wrong: Float64Array
    held: BoolArray
    presence: Presence
    reached: BoolArray
    change: float = np.inf
    calm: int = 0

    @classmethod
    def begin(
        cls,
        world: Field,
        params: PropagationParams,
        wrong: Float64Array,
        held: BoolArray | None = None,
    ) -> Growth:
        """Start with the landmarks only."""
        n_queries = len(world.asked)
        return cls(
            world,
            params,
            np.zeros(n_queries),
            np.zeros((n_queries, 3)),
            wrong,
            np.zeros(len(wrong), dtype=np.bool_) if held is None else held,
            Presence.constant(world.origin_um[:n_queries], params.detected),
            np.zeros(n_queries, dtype=np.bool_),
        )

    def resumed(self, earlier: Growth) -> Growth:
        """Take over what an earlier growth of the same queries knew, also of its landmarks."""
        moved = earlier.world.origin_um[: len(self.precision)] - self._origin
        precision = np.where(self.world.asked, 0.0, earlier.precision)
        pull = np.where(self.world.asked[:, None], 0.0, earlier.pull)
        here, there = shared_landmarks(self.world.problem, earlier.world.problem)
        wrong, held = self.wrong.copy(), self.held.copy()
        wrong[here] = earlier.wrong[there]
        # A landmark that was left out on trial comes back if the field now agrees with it.
        held[here] = earlier.held[there] & (earlier.wrong[there] > 0.5)
        return replace(
            self,
            precision=precision,
            pull=pull + precision[:, None] * moved,
            wrong=wrong,
            held=held,
            presence=earlier.presence,
            reached=earlier.reached & ~self.world.asked,
            calm=_PATIENCE // 2,
        )

    def extending(self, part: Growth, rows: npt.NDArray[np.intp]) -> Growth:
        """Take over a growth of some of the queries, with the same alignment."""
        precision, pull = self.precision.copy(), self.pull.copy()
        reached = self.reached.copy()
        precision[rows], pull[rows], reached[rows] = part.precision, part.pull, part.reached
        return replace(
            self,
            precision=precision,
            pull=pull,
            wrong=part.wrong,
            held=part.held,
            presence=part.presence,
            reached=reached,
        )

    def forgetting(self, rows: npt.NDArray[np.intp] | BoolArray) -> Growth:
        """Return the growth without the soft matches of some queries, to be matched anew."""
        precision, pull = self.precision.copy(), self.pull.copy()
        precision[rows], pull[rows] = 0.0, 0.0
        return replace(self, precision=precision, pull=pull, calm=0)

    @property
    def _origin(self) -> Float64Array:
        return self.world.origin_um[: len(self.precision)]

    @property
    def _noise(self) -> Float64Array:
        return self.world.noise[: len(self.precision)]

    @cached_property
    def _observed(self) -> tuple[Float64Array, Float64Array]:
        """Precision (N + L,) of what queries and landmarks say, and its pull (N + L, 3)."""
        own = (1.0 - self.wrong) * ~self.held / self.world.noise[len(self.precision) :]
        precision = np.concatenate([self.precision, own])
        return precision, np.vstack([self.pull, own[:, None] * self.world.displacement_um])

    @cached_property
    def _weights(self) -> tuple[Float64Array, Float64Array]:
        precision, pull = self._observed
        used = precision > _PRECISE
        return weight_posterior(self.world.basis[used], precision[used], pull[used])

    @property
    def regression(self) -> WeightedFeatures:
        """The displacement as landmarks and soft matches together say it."""
        return WeightedFeatures(self.world.alignment.prior, self.world.support_um, *self._weights)

    @cached_property
    def _without_itself(self) -> tuple[Float64Array, Float64Array]:
        """Mean displacement (N + L, 3) and variance (N + L,) of each without its own say."""
        precision, pull = self._observed
        centre, variance = marginals(self.world.basis, *self._weights)
        rest = np.maximum(1.0 / variance - precision, 1e-9)
        return (centre / variance[:, None] - pull) / rest[:, None], 1.0 / rest

    def step(self) -> Growth:
        """Predict, weigh the candidates in reach, and take over what they say."""
        n_queries, damping = len(self.precision), self._damping
        mean, variance = self._without_itself
        rows = self._in_reach(variance[:n_queries] + self._noise)
        centre, spread, noise = mean[rows], variance[rows], self._noise[rows]
        candidates, careless = self._candidates(rows, centre, spread, _NEAR)
        chance = self.chance[rows]
        _, share, none, beyond = weigh(
            candidates, chance, len(self.world.gallery), free=self._free()
        )
        offset = self.world.gallery.points_um[candidates.rows]
        offset -= (self._origin[rows] + centre)[:, None]
        # First and second moment of the displacement about where it was expected.
        first, second = np.zeros((len(rows), 3)), (none + beyond) * spread
        for times, part in ((_CAREFUL_TIMES, 1.0 - careless), (_CARELESS_TIMES, careless)):
            gain = spread / (spread + times * noise)
            first += np.einsum("nk,nki->ni", share * part, gain[:, None, None] * offset)
            square = gain[:, None] ** 2 * (offset**2).sum(axis=2) / 3
            second += (share * part * (square + (gain * times * noise)[:, None])).sum(axis=1)
        tilted = second - (first**2).sum(axis=1) / 3
        precision, pull = np.zeros(n_queries), np.zeros((n_queries, 3))
        precision[rows] = np.maximum(1.0 / tilted - 1.0 / spread, 0.0)
        new = (first + centre) / tilted[:, None] - centre / spread[:, None]
        pull[rows] = np.where(precision[rows, None] > 0, new, 0.0)
        blended = (1 - damping) * self.precision + damping * precision
        reached = np.zeros(n_queries, dtype=np.bool_)
        reached[rows] = True
        grown = len(rows) > _STILL_GROWING * max(int(self.reached.sum()), 1)
        return replace(
            self,
            precision=blended,
            pull=(1 - damping) * self.pull + damping * pull,
            wrong=self._doubt(),
            presence=self.presence.updated(self._origin[rows], self.world.chance[rows], none),
            reached=reached,
            change=float(np.max(np.abs(blended - self.precision) * self._noise, initial=0.0)),
            calm=0 if grown else self.calm + 1,
        )

    @cached_property
    def chance(self) -> Float64Array:
        """Chance of each query's partner to be in the gallery, before its candidates, (N,)."""
        return self.world.chance * self.presence.at(self._origin)

    @property
    def _damping(self) -> float:
        """Share to take over: less and less once grown, or two cells take turns for ever."""
        cooled = max(0, self.calm - _PATIENCE)
        return self.params.damping * _COOLING**cooled

    def judge(self) -> tuple[Posterior, Float64Array, Float64Array]:
        """Return all queries' posterior, expected places (N, 3) and variances (N,)."""
        candidates, place, spread = self._all_candidates
        chance = self.chance
        found = posterior(
            self._unclaimed(candidates), chance, len(self.world.gallery), free=self._free()
        )
        # A person's pair is judged by all the others, as if its soma were free.
        asked = self.world.asked
        own = Candidates(candidates.rows[asked], candidates.ratio[asked], candidates.beyond[asked])
        alone = posterior(own, chance[asked], len(self.world.gallery), exclusive=False)
        for whole, part in zip(
            (found.rows, found.probability, found.none, found.beyond),
            (alone.rows, alone.probability, alone.none, alone.beyond),
            strict=True,
        ):
            whole[asked] = part
        return found, place, spread

    @cached_property
    def evidence(self) -> float:
        """Log probability of all somata and landmarks, each judged by the others, over chance."""
        right, wrong = self._landmark_odds()
        return float(self._said[~self.world.asked].sum() + np.logaddexp(right, wrong).sum())

    @cached_property
    def _said(self) -> Float64Array:
        """Log probability of the somata about each query's place, over chance, (N,)."""
        candidates, _, _ = self._all_candidates
        return np.log1p(self.chance * (candidates.total - 1.0))

    def loosened(self) -> Growth | None:
        """Forget the soft matches of regions that fit far worse than the rest of the field.

        A region can lock onto the wrong somata, all shifted alike. What is known around
        it then predicts it anew.

        Returns
        -------
        Growth or None
            None if there is no such region.
        """
        rows = np.flatnonzero(self.reached)
        if len(rows) < 3 * _REGION:
            return None
        near = cKDTree(self._origin[rows]).query(self._origin[rows], k=np.arange(1, _REGION + 1))[1]
        fit = self._said[rows][near].mean(axis=1)
        poor = rows[fit < _POOR * np.median(fit)]
        if not len(poor) or np.median(fit) <= 0:
            return None
        return self.forgetting(poor)

    @cached_property
    def _all_candidates(self) -> tuple[Candidates, Float64Array, Float64Array]:
        n_queries = len(self.precision)
        mean, variance = self._without_itself
        spread = variance[:n_queries] + self._noise
        rows = np.arange(n_queries)
        candidates, _ = self._candidates(rows, mean[:n_queries], variance[:n_queries], _LISTED)
        return candidates, self._origin + mean[:n_queries], spread

    def _candidates(
        self,
        rows: npt.NDArray[np.intp],
        mean: Float64Array,
        variance: Float64Array,
        count: int,
    ) -> tuple[Candidates, Float64Array]:
        """Return candidates, and the probability of each to be placed carelessly, (N, K)."""
        place, looks = self._origin[rows] + mean, self.world.problem.log_ratio
        nearest = self.world.gallery.nearest(place, count)
        seen = None if looks is None else looks(rows, nearest[1])
        careful, careless = (
            find_candidates(
                self.world.gallery,
                place,
                variance + times * self._noise[rows],
                log_ratio=None if seen is None else lambda *_: seen,
                nearest=nearest,
            )
            for times in (_CAREFUL_TIMES, _CARELESS_TIMES)
        )
        rare = _CARELESS * careless.ratio
        ratio = (1.0 - _CARELESS) * careful.ratio + rare
        beyond = (1.0 - _CARELESS) * careful.beyond + _CARELESS * careless.beyond
        return Candidates(careful.rows, ratio, beyond), rare / np.maximum(ratio, 1e-300)

    def _unclaimed(self, candidates: Candidates) -> Candidates:
        """Return candidates without the claims of queries that a person has paired."""
        ratio = np.where(self.world.asked[:, None], 0.0, candidates.ratio)
        return Candidates(candidates.rows, ratio, candidates.beyond)

    def _in_reach(self, variance: Float64Array) -> npt.NDArray[np.intp]:
        space = self.world.gallery.typical_density * (2 * np.pi * variance) ** 1.5
        space[self.world.asked] = np.inf
        rows = np.flatnonzero(space < self.params.reach)
        least = min(
            max(_START_LEAST, int(_START_SHARE * len(space))), int((~self.world.asked).sum())
        )
        return rows if len(rows) >= least else np.argsort(space)[:least]

    def _free(self) -> Float64Array:
        """Return the probability of each soma of the gallery not to be a landmark's, (M,)."""
        free = np.ones(len(self.world.gallery))
        pairs = self.world.problem.pairs
        # Two landmarks may name one soma: it is free if both are wrong.
        np.multiply.at(free, pairs[:, 1], self.wrong[: len(pairs)])
        return free

    def _landmark_odds(self) -> tuple[Float64Array, Float64Array]:
        """Return the log weight of each landmark to be right and to be wrong, (L,)."""
        n_queries, world = len(self.precision), self.world
        mean, variance = (part[n_queries:] for part in self._without_itself)
        residual = world.displacement_um - mean
        spread = variance + world.noise[n_queries:]
        chance = world.alignment.prior.wrong
        reach = reach_um(world.displacement_um + world.origin_um[n_queries:])
        return (
            np.log1p(-chance) + log_normal(residual, spread),
            np.log(chance) + log_wrong(residual, spread, reach),
        )

    def _doubt(self) -> Float64Array:
        right, wrong = self._landmark_odds()
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(right - wrong, -500, 500))))
