"""Matches grow from a few landmarks over the whole field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.propagation.growth import (
    GrowthSearch,
    PropagationProgress,
    better,
    clearly_better,
)
from napari_neurobridge.matching.propagation.problem import PropagationParams, PropagationProblem
from napari_neurobridge.matching.propagation.setup import PropagationSetup
from napari_neurobridge.matching.propagation.state import PropagationState
from napari_neurobridge.spaces.alignment import Alignment, LeaveOneOut, MadeFrom
from napari_neurobridge.spaces.fit import fit_alignment
from napari_neurobridge.spaces.gaussian_process import DeformationPrior

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_neurobridge.matching.posterior import Posterior
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import FloatArray

    _Run = Generator[PropagationProgress, None, PropagationState]
    _Fit = Callable[[DeformationPrior | None], Alignment]

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
_REGROWN = "The latest verdicts changed how the whole field is matched."


@dataclass(frozen=True, eq=False)
class MappedBefore:
    """A registration by which queries and points were mapped before they were matched.

    Attributes
    ----------
    name : str
        Of the registration; see `MadeFrom`.
    mean : Transform
        From the queries' space to the gallery's.
    problem : PropagationProblem
        Before that, queries and points in their own space.
    """

    name: str
    mean: Transform
    problem: PropagationProblem


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
        Standard deviation, with the noise of a soma's place: geometric mean over the axes.
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
        self,
        source: str,
        target: str,
        *,
        orientation: bool,
        n_pairs: int,
        n_points: int = 0,
        before: MappedBefore | None = None,
    ) -> Alignment:
        """Return the alignment that landmarks and sites give together.

        Parameters
        ----------
        source, target : str
            Names of the spaces of queries and gallery.
        orientation : bool
            Whether an orientation was stated.
        n_pairs : int
            How many of the pairs a person accepted; the program proposed the others.
        n_points : int
            How many of the landmarks are no somata.
        before : MappedBefore, optional
            Its map becomes the alignment's mean.
        """
        problem = self.state.setup.problem
        queries_um, landmarks = problem.queries_um, self.alignment.landmarks
        similarity = self.alignment.similarity
        placed = similarity.target_center_um + similarity.offsets(queries_um)
        if before is not None:
            queries_um = before.problem.queries_um
            landmarks = before.problem.landmarks.take(problem.landmarks.distinct())
        prior = self.alignment.prior
        return replace(
            self.alignment,
            source=source,
            target=target,
            kind="elastic",
            prior=replace(prior, sigma_um=prior.sigma_um * self.state.places.relative_sigma),
            landmarks=landmarks,
            mean=None if before is None else before.mean,
            regression=self.state.regression,
            leave_one_out=LeaveOneOut(queries_um, self.predicted_um - placed, self.covariance_um2),
            made_from=MadeFrom(
                orientation=orientation,
                registration="" if before is None else before.name,
                n_pairs=n_pairs,
                n_points=n_points,
                n_matches=int((self.state.precision > 0).sum()),
            ),
        )

    @property
    def covariance_um2(self) -> Float64Array:
        """Covariance of the expected places, with the noise of a soma's place, (N, 3, 3)."""
        return np.asarray(self.sigma_um[:, None, None] ** 2 * self.state.places.shape)

    def review(self) -> RowArray:
        """Return the landmarks' rows, the most doubtful first."""
        return np.argsort(-self.wrong, kind="stable")


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
    the others and never for itself; all are examined again in each round. Of several growths
    (`growth`) the one with the highest evidence wins.

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
        and tries again about a landmark that is gone or contradicts the rest, and everywhere
        where clearly less is explained than before. Not used if it is of other somata, or of so
        little evidence that it may have grown wrongly: from a wrong one nothing finds back.

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

    same = start if start is not None and _same_somata(problem, start) else None
    gallery = CandidateField(problem.gallery_um) if same is None else same.state.setup.gallery

    def fitted(
        hand: bool | None, sizes: DeformationPrior | None = None, known: Alignment | None = None
    ) -> Alignment:
        return fit_alignment(
            problem.landmarks,
            prior=sizes or prior,
            mirrored=hand,
            orientation=orientation,
            adapt=adapt and sizes is None,
            known=known,
        )

    def grown(hand: bool | None) -> _Run:
        return _grown(
            problem,
            gallery,
            params,
            lambda sizes: fitted(hand, sizes),
            prior or DeformationPrior(),
            orientation,
        )

    if same is not None and _explains(same.state, _EXPLAINED):
        before = same.alignment
        alignment = fitted(mirrored, before.prior, before)
        if not alignment.hand_known:
            alignment = fitted(before.similarity.mirrored, before.prior)
        hand = alignment.similarity.mirrored
        if hand == before.similarity.mirrored:
            initial = _initial(problem, alignment, params, gallery)
            search = GrowthSearch(lambda _: initial, orientation)
            best = yield from search.continued(initial, same.state)
            said = [note for note in _MIRROR_NOTES if note in same.notes]
            if clearly_better(best, same.state):
                # The verdicts since then fit badly to what has grown before them.
                anew = yield from grown(hand)
                if better(best, anew) is anew:
                    best, said = anew, [*said, _REGROWN]
            return _result(best, said)
    best = yield from grown(mirrored)
    alignment = best.setup.alignment
    if alignment.hand_known or _explains(best, _CLEAR):
        return _result(best)
    hand = not alignment.similarity.mirrored
    turned = yield from grown(hand)
    if turned.evidence < best.evidence + _MIRROR_EVIDENCE:
        return _result(best)
    return _result(turned, _MIRROR_NOTES[:1] if hand else ())


def _grown(
    problem: PropagationProblem,
    gallery: CandidateField,
    params: PropagationParams,
    fitted: _Fit,
    prior: DeformationPrior,
    orientation: FloatArray | None,
) -> _Run:
    """Grow from the landmarks; with very many queries, choose between growths with some of them."""
    rows = _query_subset(problem, params.subset_size)
    few = problem if rows is None else problem.only(rows)
    search = GrowthSearch(lambda sizes: _initial(few, fitted(sizes), params, gallery), orientation)
    best = yield from search.best(_initial(few, fitted(None), params, gallery), prior)
    if rows is None:
        return best
    whole = _initial(problem, best.setup.alignment, params, gallery)
    return (yield from search.run(whole.with_sites_of(best, rows)))


def _query_subset(problem: PropagationProblem, count: int) -> RowArray | None:
    """Return rows of the queries to try runs with, if there are too many to try with all."""
    total, paired = len(problem.queries_um), np.unique(problem.pairs[:, 0])
    others = np.setdiff1d(np.arange(total), paired)
    if len(others) <= count:
        return None
    drawn = np.random.default_rng(0).choice(others, count, replace=False)
    return np.sort(np.concatenate([paired, drawn]))


def _explains(state: PropagationState, share: float) -> bool:
    """Return whether the field is explained better than by chance, by so much for each query."""
    return state.evidence > len(state.setup.problem.queries_um) * share


def _initial(
    problem: PropagationProblem,
    alignment: Alignment,
    params: PropagationParams,
    gallery: CandidateField,
) -> PropagationState:
    setup = PropagationSetup.of(problem, gallery, alignment, params.n_inducing)
    return PropagationState.initial(setup, params, alignment.wrong_of(problem.landmarks))


def run_propagation(
    problem: PropagationProblem,
    *,
    on_progress: Callable[[PropagationProgress], None] | None = None,
    **options: object,
) -> Propagation:
    """Run `propagate` to its end.

    Its matrices are small: several threads of linear algebra gain little on an idle machine,
    and make a match ten times slower on a busy one. So it takes one.

    Parameters
    ----------
    problem : PropagationProblem
    on_progress : callable, optional
        Called after each round.
    **options
        Of `propagate`.
    """
    running = propagate(problem, **options)  # type: ignore[arg-type]
    with threadpool_limits(1, user_api="blas"):
        while True:
            try:
                progress = next(running)
            except StopIteration as finished:
                found: Propagation = finished.value
                return found
            if on_progress is not None:
                on_progress(progress)


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
