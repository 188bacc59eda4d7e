"""Growths from the landmarks: which are tried, and which wins.

A growth repeats rounds of expectation propagation (`expectation`) until nothing changes. Where
it ends depends on what it assumes: how much tissue gives and over what length, how exactly
somata are placed, how well a place must be known before a query takes part, and which landmarks
are right. Landmarks alone say little of these, so several growths are tried, some twenty
at most; the one whose somata predict each other best wins (the evidence of `expectation`). A
growth that does not heed the landmarks never wins over one that does: it may explain the field by
a map that nobody meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from napari_neurobridge.matching.propagation.setup import PropagationSetup, shared_landmarks
from napari_neurobridge.matching.propagation.state import PropagationState
from napari_neurobridge.spaces.fit import with_prior

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_neurobridge.matching.propagation.problem import PropagationParams
    from napari_neurobridge.spaces.gaussian_process import DeformationPrior
    from napari_neurobridge.types import FloatArray

    Growth = Generator["PropagationProgress", None, PropagationState]
    Start = Callable[[DeformationPrior], PropagationState]

RowArray = npt.NDArray[np.intp]

_NEARLY_ALL = 0.9
# Displacement and length of the kernels tried beside the one adapted to the landmarks, as multiples
# of the prior's: as it is, and softer.
_KERNELS = ((1.0, 1.0), (2.2, 0.6), (3.5, 0.8))
# Nothing else is tried where this share of the queries is explained, and no softer kernel where
# that one is.
_EXPLAINED, _MOSTLY_EXPLAINED = 0.92, 0.8
# Factors of displacement and length for going on from the best growth: softer, stiffer, shorter.
_RESIZED = ((1.6, 0.75), (1 / 1.5, 1.25), (1.0, 0.75))
_MOST_CYCLES = 4
# A change is kept if its gain of evidence is beyond so many standard errors.
_STANDARD_ERRORS = 2.0
# A region is a query's nearest so many active ones; poor, if less than this share is explained of
# what is in the whole field.
_REGION, _POOR = 25, 0.75
# Landmarks less likely to be wrong than this are not left out on trial.
_SUSPECT = 0.005


@dataclass(frozen=True)
class PropagationProgress:
    """Where a running propagation stands.

    Attributes
    ----------
    attempt : int
        Which run it is, from 1.
    round : int
        Rounds of this run.
    n_active, n_queries : int
        Active queries, and all.
    change : float
        Largest change of a soft match in this round; see `PropagationState`.
    """

    attempt: int
    round: int
    n_active: int
    n_queries: int
    change: float


class GrowthSearch:
    """The growths of one problem, of one handedness.

    Parameters
    ----------
    start : callable
        Returns the state before the first round, of a deformation prior.
    orientation : ndarray, shape (3, 3), optional
        That alignments are fitted with.
    """

    def __init__(self, start: Start, orientation: FloatArray | None = None) -> None:
        self._start = start
        self._orientation = orientation
        self._attempt = 0

    def best(self, first: PropagationState, prior: DeformationPrior) -> Growth:
        """Grow from the landmarks; return the growth with the highest evidence.

        Parameters
        ----------
        first : PropagationState
            Before the first round, of the prior that is adapted to the landmarks.
        prior : DeformationPrior
            Before that.
        """
        best = yield from self.run(first)
        if _explained(best) < _EXPLAINED:
            best = yield from self._other_kernels(best, prior)
            best = yield from self._cautious(best)
        best = yield from self._without_suspects(best)
        best = yield from self._with_regions_restarted(best)
        best = yield from self._with_kernel_resized(best)
        return (yield from self._widened(best))

    def _other_kernels(self, best: PropagationState, prior: DeformationPrior) -> Growth:
        for number, factors in enumerate(_KERNELS):
            if number and _explained(best) > _MOSTLY_EXPLAINED:
                break
            other = yield from self.run(self._start(_resized(prior, *factors)))
            best = better(best, other)
        return best

    def _cautious(self, best: PropagationState) -> Growth:
        """Grow while places are known better, and learn how exactly somata are placed later."""
        params = best.params
        cautious = replace(params, max_ambiguity=params.cautious_ambiguity, learn_noise=False)
        other = yield from self.run(_initial(best.setup, cautious))
        other = yield from self.run(replace(other, params=params, rounds_since_growth=0))
        return better(best, other)

    def _without_suspects(self, best: PropagationState) -> Growth:
        """Run again without each of the most doubtful landmarks; keep what explains most."""
        params = best.params
        for suspect in np.argsort(-best.wrong)[: params.suspect_landmarks]:
            few = len(best.wrong) - best.excluded.sum() <= 4
            if few or best.excluded[suspect] or best.wrong[suspect] < _SUSPECT:
                continue
            excluded = best.excluded | (np.arange(len(best.wrong)) == suspect)
            other = yield from self.run(_initial(best.setup, params, excluded))
            best = better(best, other)
        return best

    def _with_regions_restarted(self, best: PropagationState) -> Growth:
        """Match regions that fit badly anew, as long as clearly more is explained."""
        for _ in range(best.params.region_restarts):
            poor = _poor_regions(best)
            if not len(poor):
                break
            other = yield from self.run(best.with_reset_sites(poor))
            if not clearly_better(best, other):
                break
            best = other
        return best

    def _with_kernel_resized(self, best: PropagationState) -> Growth:
        """Go on with another kernel, and back again, as long as clearly more is explained.

        A region that is matched wrongly under a stiff kernel is often matched rightly under a
        softer one once its sites are reset, and stays so when it is stiff again.
        """
        for factors in _RESIZED:
            for _ in range(_MOST_CYCLES):
                kernel = best.setup.alignment.prior
                loose = best.with_reset_sites(_poor_regions(best))
                there = yield from self._resumed(loose, _resized(kernel, *factors))
                back = yield from self._resumed(there, kernel)
                other = better(there, back)
                if not clearly_better(best, other):
                    break
                best = other
            if _explained(best) > _EXPLAINED:
                break
        return best

    def _resumed(self, state: PropagationState, kernel: DeformationPrior) -> Growth:
        """Go on from a state with another kernel."""
        setup = state.setup
        alignment = with_prior(setup.alignment, kernel, orientation=self._orientation)
        changed = PropagationSetup.of(
            setup.problem, setup.gallery, alignment, state.params.n_inducing
        )
        return (yield from self.run(_initial(changed, state.params).continued_from(state)))

    def _widened(self, best: PropagationState) -> Growth:
        """Go on with a wider reach where a run did not make nearly all queries active."""
        params = best.params
        if best.active.mean() > _NEARLY_ALL:
            return best
        final = replace(params, max_ambiguity=params.final_ambiguity)
        wider = yield from self.run(replace(best, params=final, rounds_since_growth=0))
        wider = yield from self._with_regions_restarted(wider)
        return better(best, replace(wider, params=params))

    def continued(self, initial: PropagationState, earlier: PropagationState) -> Growth:
        """Go on from an earlier state; about what a verdict contradicts, also anew."""
        best = yield from self.run(initial.continued_from(earlier))
        before, now = earlier.setup.problem.landmarks, initial.setup.problem.landmarks
        kept, was_kept = shared_landmarks(initial.setup.problem, earlier.setup.problem)
        disputed = best.wrong > 0.5
        disputed[kept] = False
        removed = earlier.wrong < 0.5
        removed[was_kept] = False
        places = np.vstack([now.source_um[disputed], before.source_um[removed]])
        if not len(places):
            return best
        similarity = initial.setup.alignment.similarity
        queries = similarity.offsets(initial.setup.problem.queries_um)
        distance = cdist(queries, similarity.offsets(places)).min(axis=1)
        again = best.with_reset_sites(distance < initial.setup.alignment.prior.length_um)
        wrong = np.where(disputed, initial.wrong, best.wrong)
        other = yield from self.run(replace(again, wrong=wrong))
        return better(best, other)

    def run(self, state: PropagationState) -> Growth:
        """Repeat rounds until no site changes."""
        self._attempt += 1
        for number in range(state.params.rounds):
            state = state.step()
            yield PropagationProgress(
                self._attempt,
                number + 1,
                int(state.active.sum()),
                len(state.precision),
                state.change,
            )
            if state.settled:
                break
        return state


def clearly_better(one: PropagationState, other: PropagationState) -> bool:
    """Return whether the second of two states explains more, beyond what few queries decide."""
    if one.heeds_landmarks != other.heeds_landmarks:
        return other.heeds_landmarks
    free = ~(one.setup.paired | other.setup.paired)
    gain = (other.query_evidence - one.query_evidence)[free]
    return bool(gain.sum() > _STANDARD_ERRORS * np.sqrt((gain**2).sum()))


def _poor_regions(state: PropagationState) -> RowArray:
    """Return the queries in regions of which far less is explained than of the field.

    A region can lock onto the wrong somata, all shifted alike. What is known around it predicts it
    anew once its sites are reset.
    """
    rows = np.flatnonzero(state.active)
    if len(rows) < 2 * _REGION:
        return rows[:0]
    places, explained = state.setup.origin_um[rows], state.explained[rows]
    near = np.asarray(cKDTree(places).query(places, k=np.arange(1, _REGION + 1))[1])
    poor = explained[near].mean(axis=1) < _POOR * explained.mean()
    return np.unique(rows[near[poor]])


def _initial(
    setup: PropagationSetup,
    params: PropagationParams,
    excluded: npt.NDArray[np.bool_] | None = None,
) -> PropagationState:
    doubt = setup.alignment.wrong_of(setup.problem.landmarks)
    return PropagationState.initial(setup, params, doubt, excluded)


def _resized(prior: DeformationPrior, displacement: float, length: float) -> DeformationPrior:
    return replace(
        prior,
        displacement_um=prior.displacement_um * displacement,
        length_um=prior.length_um * length,
    )


def better(one: PropagationState, other: PropagationState) -> PropagationState:
    """Return the state that explains more."""

    def rank(state: PropagationState) -> tuple[bool, float]:
        return state.heeds_landmarks, state.evidence

    return other if rank(other) > rank(one) else one


def _explained(state: PropagationState) -> float:
    """Return the share of the queries whose somata are predicted better than by chance."""
    free = ~state.setup.paired
    return float(state.explained[free].mean()) if free.any() else 1.0
