"""Matches grow from a few landmarks over the whole field: which runs are tried, and which wins.

A run repeats rounds of expectation propagation (`expectation`) until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.posterior import CandidateField, Posterior
from napari_neurobridge.matching.propagation.growth import GrowthSearch, PropagationProgress
from napari_neurobridge.matching.propagation.problem import PropagationParams, PropagationProblem
from napari_neurobridge.matching.propagation.setup import PropagationSetup
from napari_neurobridge.matching.propagation.state import PropagationState
from napari_neurobridge.spaces.alignment import Alignment, LeaveOneOut, MadeFrom
from napari_neurobridge.spaces.fit import fit_alignment
from napari_neurobridge.spaces.gaussian_process import DeformationPrior

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

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

    def fitted(
        hand: bool | None, known: Alignment | None = None, sizes: DeformationPrior | None = None
    ) -> Alignment:
        return fit_alignment(
            problem.landmarks,
            prior=sizes or prior,
            mirrored=hand,
            orientation=orientation,
            adapt=adapt and sizes is None,
            known=known,
        )

    def search(hand: bool) -> GrowthSearch:
        return GrowthSearch(lambda sizes: _initial(problem, fitted(hand, None, sizes), params, gallery))

    gallery = CandidateField(problem.gallery_um) if start is None else start.state.setup.gallery

    if start is not None and _same_somata(problem, start) and _explains(start.state, _EXPLAINED):
        before = start.alignment
        alignment = fitted(mirrored, before, before.prior)
        if not alignment.hand_known:
            alignment = fitted(before.similarity.mirrored, None, before.prior)
        if alignment.similarity.mirrored == before.similarity.mirrored:
            initial = _initial(problem, alignment, params, gallery)
            best = yield from search(alignment.similarity.mirrored).continued(initial, start.state)
            return _result(best, [note for note in _MIRROR_NOTES if note in start.notes])
    alignment = fitted(mirrored)
    hand = alignment.similarity.mirrored
    usual = prior or DeformationPrior()
    best = yield from search(hand).from_landmarks(
        _initial(problem, alignment, params, gallery), usual
    )
    if alignment.hand_known or _explains(best, _CLEAR):
        return _result(best)
    other = fitted(not hand)
    turned = yield from search(not hand).from_landmarks(
        _initial(problem, other, params, gallery), usual
    )
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
    gallery: CandidateField,
) -> PropagationState:
    setup = PropagationSetup.of(problem, gallery, alignment, params.n_inducing)
    return PropagationState.initial(setup, params, alignment.wrong_of(problem.landmarks))


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
