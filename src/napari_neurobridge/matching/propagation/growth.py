"""Growths from the landmarks: which are tried, and which wins.

A growth repeats rounds of expectation propagation (`expectation`) until nothing changes. Where
it ends depends on what it assumes: how much and over what length tissue gives, how exactly
somata are placed, how well a place must be known before a query takes part, and which landmarks
are right. Landmarks alone say little of these, so several are tried; the growth whose
somata predict each other best wins (the evidence of `expectation`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from napari_neurobridge.matching.propagation.setup import PropagationSetup, shared_landmarks
from napari_neurobridge.matching.propagation.state import PropagationState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_neurobridge.matching.propagation.problem import PropagationProblem
    from napari_neurobridge.spaces.gaussian_process import DeformationPrior

    Growth = Generator["PropagationProgress", None, PropagationState]
    Prepare = Callable[[PropagationState], PropagationState]
    Start = Callable[[DeformationPrior], PropagationState]

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_NEARLY_ALL = 0.9
# Displacement and length of the kernels tried beside the one adapted to the landmarks, as
# multiples of the prior's. The first is always tried, the others where less than this share of
# the queries is explained.
_KERNELS = ((1.0, 1.0), (2.2, 0.6), (3.5, 0.8))
_ENOUGH_EXPLAINED = 0.8
# Factors of displacement and length from the best growth, and the log evidence that one must bring.
_STEPS = ((1.6, 0.75), (1 / 1.5, 1.25), (1.0, 0.75))
_MOST_STEPS = 4
_STANDARD_ERRORS = 2.0
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
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._attempt = 0

    def from_landmarks(self, first: PropagationState, prior: DeformationPrior) -> Growth:
        """Grow from the landmarks only; with very many queries, choose with some of them.

        Parameters
        ----------
        first : PropagationState
            Before the first round, of the prior that is adapted to the landmarks.
        prior : DeformationPrior
            Before that.
        """
        rows = _query_subset(first.setup.problem, first.params.subset_size)
        if rows is None:
            return (yield from self._best(first, prior, lambda state: state))

        def few(state: PropagationState) -> PropagationState:
            setup = PropagationSetup.of(
                state.setup.problem.only(rows),
                state.setup.gallery,
                state.setup.alignment,
                state.params.n_inducing,
            )
            return PropagationState.initial(setup, state.params, state.wrong)

        best = yield from self._best(few(first), prior, few)
        whole = self._start(best.setup.alignment.prior)
        return (yield from self._run(whole.with_sites_of(best, rows)))

    def _best(self, first: PropagationState, prior: DeformationPrior, prepared: Prepare) -> Growth:
        best = yield from self._run(first)
        for number, (displacement, length) in enumerate(_KERNELS):
            if number and _explained(best) > _ENOUGH_EXPLAINED:
                break
            kernel = _resized(prior, displacement, length)
            best = _better(best, (yield from self._run(prepared(self._start(kernel)))))
        best = yield from self._cautious(best)
        best = yield from self._without_suspects(best)
        best = yield from self._with_regions_restarted(best)
        best = yield from self._with_kernel_refined(best, prepared)
        return (yield from self._widened(best))

    def _cautious(self, best: PropagationState) -> Growth:
        """Try a growth that waits until places are known better, with the nominal noise."""
        params = best.params
        cautious = replace(params, max_ambiguity=params.cautious_ambiguity, learn_noise=False)
        doubt = best.setup.alignment.wrong_of(best.setup.problem.landmarks)
        other = yield from self._run(PropagationState.initial(best.setup, cautious, doubt))
        other = yield from self._run(replace(other, params=params, rounds_since_growth=0))
        return _better(best, other)

    def _with_kernel_refined(self, best: PropagationState, prepared: Prepare) -> Growth:
        """Loosen and tighten the kernel by turns, and resize it, as long as more is explained.

        A region that is matched wrongly by too stiff a kernel is often matched rightly by a
        softer one, and stays so when it is stiff again.
        """
        for displacement, length in _STEPS:
            for _ in range(_MOST_STEPS):
                before, kernel = best, best.setup.alignment.prior
                other = yield from self._resumed(
                    best, _resized(kernel, displacement, length), prepared
                )
                back = yield from self._resumed(other, kernel, prepared)
                better = _better(other, back)
                if _clearly_better(best, better):
                    best = better
                if best is before:
                    break
        return best

    def _resumed(
        self, state: PropagationState, kernel: DeformationPrior, prepared: Prepare
    ) -> Growth:
        """Go on from a state with another kernel."""
        return (yield from self._run(prepared(self._start(kernel)).continued_from(state)))

    def _widened(self, best: PropagationState) -> Growth:
        """Go on with a wider reach where a run did not make nearly all queries active."""
        params = best.params
        if best.active.mean() > _NEARLY_ALL:
            return best
        final = replace(params, max_ambiguity=params.final_ambiguity)
        wider = yield from self._run(replace(best, params=final, rounds_since_growth=0))
        wider = yield from self._with_regions_restarted(wider)
        return _better(best, replace(wider, params=params))

    def _without_suspects(self, best: PropagationState) -> Growth:
        """Run again without each of the most doubtful landmarks; keep what explains most."""
        params, doubt = best.params, best.setup.alignment.wrong_of(best.setup.problem.landmarks)
        for suspect in np.argsort(-best.wrong)[: params.suspect_landmarks]:
            if len(doubt) - best.excluded.sum() <= 4 or best.excluded[suspect]:
                continue
            if best.wrong[suspect] < _SUSPECT:
                break
            excluded = best.excluded | (np.arange(len(doubt)) == suspect)
            start = PropagationState.initial(best.setup, params, doubt, excluded)
            best = _better(best, (yield from self._run(start)))
        return best

    def _with_regions_restarted(self, best: PropagationState) -> Growth:
        """Match regions that fit badly anew, as long as more is explained."""
        for _ in range(best.params.region_restarts):
            reset = best.with_poor_regions_reset()
            if reset is None:
                break
            other = yield from self._run(reset)
            if not _clearly_better(best, other):
                break
            best = other
        return best

    def continued(self, initial: PropagationState, earlier: PropagationState) -> Growth:
        """Go on from an earlier state; about what a verdict contradicts, also anew."""
        best = yield from self._run(initial.continued_from(earlier))
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
        other = yield from self._run(replace(again, wrong=wrong))
        return _better(best, other)

    def _run(self, state: PropagationState) -> Growth:
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


def _resized(prior: DeformationPrior, displacement: float, length: float) -> DeformationPrior:
    return replace(
        prior,
        displacement_um=prior.displacement_um * displacement,
        length_um=prior.length_um * length,
    )


def _better(one: PropagationState, other: PropagationState) -> PropagationState:
    return other if other.evidence > one.evidence else one


def _clearly_better(one: PropagationState, other: PropagationState) -> bool:
    """Return whether the difference is beyond what few queries decide."""
    free = ~one.setup.paired
    gain = (other.query_evidence - one.query_evidence)[free]
    return bool(gain.sum() > _STANDARD_ERRORS * np.sqrt((gain**2).sum()))


def _explained(state: PropagationState) -> float:
    """Return the share of the queries whose somata are predicted better than by chance."""
    return float((state.query_evidence[~state.setup.paired] > np.log(2)).mean())


def _query_subset(problem: PropagationProblem, count: int) -> RowArray | None:
    """Return rows of the queries to try runs with, if there are too many to try with all."""
    total, paired = len(problem.queries_um), np.unique(problem.pairs[:, 0])
    others = np.setdiff1d(np.arange(total), paired)
    if len(others) <= count:
        return None
    drawn = np.random.default_rng(0).choice(others, count, replace=False)
    return np.sort(np.concatenate([paired, drawn]))
