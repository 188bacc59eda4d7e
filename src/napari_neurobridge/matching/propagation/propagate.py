"""Matches grow from a few landmarks over the whole field: which runs are tried, and which wins.

A run repeats rounds of expectation propagation (`expectation`) until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from napari_neurobridge.matching.posterior import CandidateField, Posterior
from napari_neurobridge.matching.propagation.problem import PropagationParams, PropagationProblem
from napari_neurobridge.matching.propagation.setup import PropagationSetup, shared_landmarks
from napari_neurobridge.matching.propagation.state import PropagationState
from napari_neurobridge.spaces.alignment import Alignment, LeaveOneOut, MadeFrom
from napari_neurobridge.spaces.fit import fit_alignment

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_neurobridge.spaces.gaussian_process import DeformationPrior
    from napari_neurobridge.types import FloatArray

    _Run = Generator["PropagationProgress", None, PropagationState]

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

__all__ = [
    "Propagation",
    "PropagationParams",
    "PropagationProblem",
    "PropagationProgress",
    "propagate",
    "run_propagation",
]

_MIRROR_NOTES = (
    "The field is mirrored: far more cells find partners so; the two spaces have opposite "
    "handedness.",
)
# Log evidence of a mirror beyond that of none; and of each query, where there is no need to look.
_MIRROR_EVIDENCE = 10.0
_CLEAR = 1.0
# Log evidence of each query from which an earlier run is taken for right: wrong ones have about 0.
_EXPLAINED = 0.25
_NEARLY_ALL = 0.9


@dataclass(frozen=True, eq=False)
class Propagation:
    """What a propagation found.

    Attributes
    ----------
    alignment : Alignment
        From the landmarks alone.
    posterior : Posterior
        Of each query, judged by all the others and not by itself; (N, K).
    predicted_um : ndarray, shape (N, 3)
        Where each query's partner is expected, in the gallery's space.
    sigma_um : ndarray, shape (N,)
        Standard deviation of each component, with the noise of a soma's place.
    active : ndarray of bool, shape (N,)
        Whether the query took part; of the others only the prediction is known.
    mean_p_partner : float
        Mean chance that the gallery holds a query's partner, estimated.
    p_partner : ndarray, shape (N,)
        The same of each query, by its place and its own detection, before its candidates.
    wrong : ndarray, shape (L,)
        Probability of each landmark to be wrong, judged by the whole field.
    evidence : float
        Log evidence of the run, relative to chance.
    state : PropagationState
        The last round: where a later propagation can go on.
    notes : tuple of str
        What a person should know, in sentences: those of the alignment, and of the field.
    """

    alignment: Alignment
    posterior: Posterior
    predicted_um: Float64Array
    sigma_um: Float64Array
    active: npt.NDArray[np.bool_]
    mean_p_partner: float
    p_partner: Float64Array
    wrong: Float64Array
    evidence: float
    state: PropagationState
    notes: tuple[str, ...]

    def grown_alignment(
        self, source: str, target: str, *, orientation: bool, n_pairs: int
    ) -> Alignment:
        """Return the alignment that landmarks and sites give together.

        Parameters
        ----------
        source, target : str
            Names of the spaces of queries and gallery.
        orientation : bool
            Whether an orientation was stated.
        n_pairs : int
            How many of the landmarks a person accepted; the program proposed the others.
        """
        queries_um = self.state.setup.problem.queries_um
        similarity = self.alignment.similarity
        placed = similarity.target_center_um + similarity.offsets(queries_um)
        return replace(
            self.alignment,
            source=source,
            target=target,
            kind="elastic",
            regression=self.state.regression,
            leave_one_out=LeaveOneOut(queries_um, self.predicted_um - placed, self.sigma_um**2),
            made_from=MadeFrom(
                orientation=orientation,
                n_pairs=n_pairs,
                n_matches=int((self.state.precision > 0).sum()),
            ),
        )

    def review(self) -> RowArray:
        """Return the landmarks' rows, the most doubtful first."""
        return np.argsort(-self.wrong, kind="stable")


@dataclass(frozen=True)
class PropagationProgress:
    """Where a running propagation stands.

    Attributes
    ----------
    attempt, attempts : int
        Which run it is of how many; ``attempts`` may still rise.
    round : int
        Rounds of this run.
    n_active, n_queries : int
        Active queries, and all.
    change : float
        Largest change of a soft match in this round; see `PropagationState`.
    """

    attempt: int
    attempts: int
    round: int
    n_active: int
    n_queries: int
    change: float


def propagate(
    problem: PropagationProblem,
    *,
    params: PropagationParams | None = None,
    prior: DeformationPrior | None = None,
    mirrored: bool | None = None,
    orientation: FloatArray | None = None,
    adapt: bool = True,
    start: Propagation | None = None,
) -> Generator[PropagationProgress, None, Propagation]:
    """Grow matches from the landmarks outward, until nothing changes.

    Each query's soft match, weighed by how sure it is, refines the deformation for all
    the others and never for itself; all are examined again in each round. The kernel
    comes from the landmarks alone.

    Parameters
    ----------
    problem : PropagationProblem
    params : PropagationParams, optional
    prior : DeformationPrior, optional
    mirrored, orientation
        See `fit_alignment`. If neither is given and the landmarks cannot tell, the handedness
        that explains more of the field wins.
    adapt : bool
        Adapt the prior's sizes to the landmarks; say no where the program proposed some.
    start : Propagation, optional
        Of the same somata and orientation, before the latest verdicts: goes on from there,
        and tries again only about a landmark that is gone or contradicts the rest. Not used
        if it is of other somata, or of so little evidence that it may have grown wrongly:
        from a wrong one nothing finds back.

    Yields
    ------
    PropagationProgress
        After each round.

    Returns
    -------
    Propagation
        The generator's return value.
    """
    params = params or PropagationParams()

    def fitted(hand: bool | None, known: Alignment | None = None) -> Alignment:
        return fit_alignment(
            problem.landmarks,
            prior=prior,
            mirrored=hand,
            orientation=orientation,
            adapt=adapt,
            known=known,
        )

    if start is not None and _same_somata(problem, start) and _explains(start.state, _EXPLAINED):
        before = start.alignment
        alignment = fitted(mirrored, before)
        if not alignment.hand_known:
            alignment = fitted(before.similarity.mirrored)
        if alignment.similarity.mirrored == before.similarity.mirrored:
            initial = _initial(problem, alignment, params, start)
            best = yield from _continue_run(initial, start.state)
            return _result(best, [note for note in _MIRROR_NOTES if note in start.notes])
    alignment = fitted(mirrored)
    best = yield from _run_from_landmarks(_initial(problem, alignment, params))
    if alignment.hand_known or _explains(best, _CLEAR):
        return _result(best)
    other = fitted(not alignment.similarity.mirrored)
    turned = yield from _run_from_landmarks(_initial(problem, other, params))
    if turned.evidence < best.evidence + _MIRROR_EVIDENCE:
        return _result(best)
    return _result(turned, _MIRROR_NOTES[:1] if other.similarity.mirrored else ())


def _explains(state: PropagationState, share: float) -> bool:
    """Return whether the field is explained better than by chance, by so much for each query."""
    return state.evidence > len(state.setup.problem.queries_um) * share


def _initial(
    problem: PropagationProblem,
    alignment: Alignment,
    params: PropagationParams,
    start: Propagation | None = None,
) -> PropagationState:
    gallery = CandidateField(problem.gallery_um) if start is None else start.state.setup.gallery
    setup = PropagationSetup.of(problem, gallery, alignment, params.n_inducing)
    return PropagationState.initial(setup, params, alignment.wrong_of(problem.landmarks))


def _run_from_landmarks(initial: PropagationState) -> _Run:
    """Propagate from the landmarks; if there are very many queries, try it with some of them."""
    setup, params = initial.setup, initial.params
    rows = _query_subset(setup.problem, params.subset_size)
    if rows is None:
        return (yield from _best_run(initial))
    few = PropagationSetup.of(
        setup.problem.only(rows), setup.gallery, setup.alignment, params.n_inducing
    )
    best = yield from _best_run(PropagationState.initial(few, params, initial.wrong))
    return (yield from _run(initial.with_sites_of(best, rows), 1, 1))


def _best_run(initial: PropagationState) -> _Run:
    """Try several thresholds and landmarks; return the run with the highest evidence."""
    params = initial.params
    attempts = 2 + params.suspect_landmarks
    best = yield from _run(initial, 1, attempts)
    cautious = replace(params, max_ambiguity=params.cautious_ambiguity)
    other = yield from _run(replace(initial, params=cautious), 2, attempts)
    best = max(best, replace(other, params=params), key=lambda run: run.evidence)
    best = yield from _exclude_suspects(best, initial.wrong, attempts)
    best = yield from _restart_poor_regions(best, attempts)
    if best.active.mean() > _NEARLY_ALL:
        return best
    final = replace(params, max_ambiguity=params.final_ambiguity)
    wider = replace(best, params=final, rounds_since_growth=0)
    wider = yield from _run(wider, attempts, attempts)
    wider = yield from _restart_poor_regions(wider, attempts)
    return max(best, replace(wider, params=params), key=lambda run: run.evidence)


def _query_subset(problem: PropagationProblem, count: int) -> RowArray | None:
    """Return rows of the queries to try runs with, if there are too many to try with all."""
    total, paired = len(problem.queries_um), np.unique(problem.pairs[:, 0])
    others = np.setdiff1d(np.arange(total), paired)
    if len(others) <= count:
        return None
    drawn = np.random.default_rng(0).choice(others, count, replace=False)
    return np.sort(np.concatenate([paired, drawn]))


def run_propagation(problem: PropagationProblem, **options: object) -> Propagation:
    """Run `propagate` to its end, without reports on the way."""
    running = propagate(problem, **options)  # type: ignore[arg-type]
    while True:
        try:
            next(running)
        except StopIteration as finished:
            found: Propagation = finished.value
            return found


def _same_somata(problem: PropagationProblem, start: Propagation) -> bool:
    """Return whether the problem has the same somata as an earlier one."""
    earlier = start.state.setup.problem
    return all(
        here is there or np.array_equal(here, there)
        for here, there in (
            (problem.queries_um, earlier.queries_um),
            (problem.gallery_um, earlier.gallery_um),
        )
    )


def _continue_run(initial: PropagationState, earlier: PropagationState) -> _Run:
    """Go on from an earlier state; about what a verdict contradicts, also anew."""
    best = yield from _run(initial.continued_from(earlier), 1, 1)
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
    other = yield from _run(replace(again, wrong=wrong), 2, 2)
    return max(best, other, key=lambda run: run.evidence)


def _run(state: PropagationState, attempt: int, attempts: int) -> _Run:
    """Repeat rounds until no site changes."""
    for number in range(state.params.rounds):
        state = state.step()
        yield PropagationProgress(
            attempt,
            attempts,
            number + 1,
            int(state.active.sum()),
            len(state.precision),
            state.change,
        )
        if state.change < state.params.tolerance:
            break
    return state


def _exclude_suspects(best: PropagationState, doubt: Float64Array, attempts: int) -> _Run:
    """Run again without each of the most doubtful landmarks; keep what explains most."""
    params = best.params
    for number, suspect in enumerate(np.argsort(-best.wrong)[: params.suspect_landmarks]):
        if len(doubt) - best.excluded.sum() <= 4 or best.excluded[suspect]:
            continue
        excluded = best.excluded | (np.arange(len(doubt)) == suspect)
        start = PropagationState.initial(best.setup, params, doubt, excluded)
        other = yield from _run(start, 3 + number, attempts)
        best = max(best, other, key=lambda run: run.evidence)
    return best


def _restart_poor_regions(best: PropagationState, attempts: int) -> _Run:
    """Match regions that fit badly anew, as long as more is explained."""
    for _ in range(best.params.region_restarts):
        reset = best.with_poor_regions_reset()
        if reset is None:
            break
        attempts += 1
        other = yield from _run(reset, attempts, attempts)
        if other.evidence <= best.evidence:
            break
        best = other
    return best


def _result(state: PropagationState, said: Sequence[str] = ()) -> Propagation:
    found, mean, variance = state.query_posterior()
    alignment = state.setup.alignment
    doubtful = int((state.wrong > 0.5).sum())
    if doubtful:
        who = "1 landmark contradicts" if doubtful == 1 else f"{doubtful} landmarks contradict"
        said = (*said, f"{who} the whole field: look at the first of the review list.")
    return Propagation(
        alignment,
        found,
        mean,
        np.sqrt(variance),
        state.active,
        float(state.presence.at(state.setup.origin_um[: len(mean)]).mean()),
        state.p_partner,
        state.wrong,
        state.evidence,
        state,
        (*alignment.notes, *said),
    )
