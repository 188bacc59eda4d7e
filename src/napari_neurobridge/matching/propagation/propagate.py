"""Matches grow from a few landmarks over the whole field, from coordinates alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from napari_neurobridge.matching.posterior import CandidateField, Posterior
from napari_neurobridge.matching.propagation.expectation import Growth
from napari_neurobridge.matching.propagation.problem import MatchProblem, PropagationParams
from napari_neurobridge.matching.propagation.setup import Field, shared_landmarks
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.alignment import Alignment, fit_alignment

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_neurobridge.spaces.gaussian_process import DeformationPrior
    from napari_neurobridge.spaces.landmarks import Landmarks
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

__all__ = [
    "MatchProblem",
    "Propagation",
    "PropagationParams",
    "PropagationProgress",
    "alignment_doubt",
    "match",
    "propagate",
]

_FIELD_NOTES = (
    "The field is mirrored: far more cells find partners so; the two spaces have opposite "
    "handedness.",
)
# Log evidence of a mirror beyond that of none; and of each query, where there is no need to look.
_MIRROR_EVIDENCE = 10.0
_CLEAR = 1.0
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
    reached : ndarray of bool, shape (N,)
        Whether the growth came to the query; elsewhere the prior alone speaks.
    p_detected : float
        Mean chance that the gallery holds a query's partner, estimated.
    chance : ndarray, shape (N,)
        The same of each query, by its place and its own detection, before its candidates.
    wrong : ndarray, shape (L,)
        Probability of each landmark to be wrong, judged by the whole field.
    evidence : float
        Log evidence of the growth, relative to chance.
    growth : Growth
        Start of a later propagation.
    notes : tuple of str
        What a person should know, in sentences: those of the alignment, and of the field.
    """

    alignment: Alignment
    posterior: Posterior
    predicted_um: Float64Array
    sigma_um: Float64Array
    reached: npt.NDArray[np.bool_]
    p_detected: float
    chance: Float64Array
    wrong: Float64Array
    evidence: float
    growth: Growth
    notes: tuple[str, ...]

    def predict(self, points_um: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Return where somata of the query side are expected, from landmarks and soft matches.

        `predicted_um` and `sigma_um` are the same for the queries, each without its own
        soft match.

        Parameters
        ----------
        points_um : array_like, shape (N, 3)
            Any points, µm (z, y, x) of the query side.

        Returns
        -------
        mean : ndarray, shape (N, 3)
            µm of the gallery's space.
        covariance : ndarray, shape (N, 3, 3)
            µm², with the noise of a soma's place.
        """
        similarity = self.alignment.similarity
        offsets = similarity.offsets(as_points(points_um))
        mean, variance = self.growth.predict(offsets)
        variance = variance + self.alignment.prior.sigma_um**2
        covariance = variance[:, None, None] * np.eye(3)
        return similarity.target_center_um + offsets + mean, covariance

    def review(self) -> RowArray:
        """Return the landmarks' rows, the most doubtful first."""
        return np.argsort(-self.wrong, kind="stable")


@dataclass(frozen=True)
class PropagationProgress:
    """Where a running propagation stands.

    Attributes
    ----------
    attempt, attempts : int
        Which growth it is of how many; ``attempts`` may still rise.
    round : int
        Rounds of this growth.
    n_reached, n_queries : int
        Queries that the growth has come to.
    change : float
        Largest change of a soft match in this round.
    """

    attempt: int
    attempts: int
    round: int
    n_reached: int
    n_queries: int
    change: float


def propagate(
    problem: MatchProblem,
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
    problem : MatchProblem
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

    if start is not None and _same_somata(problem, start) and _is_clear(start.growth):
        before = start.alignment
        alignment = fitted(mirrored, before)
        if not alignment.hand_known:
            alignment = fitted(before.similarity.mirrored)
        if alignment.similarity.mirrored == before.similarity.mirrored:
            best = yield from _go_on(_begin(problem, alignment, params, start), start.growth)
            return _result(best, [note for note in _FIELD_NOTES if note in start.notes])
    alignment = fitted(mirrored)
    best = yield from _from_scratch(_begin(problem, alignment, params))
    if alignment.hand_known or _is_clear(best):
        return _result(best)
    other = fitted(not alignment.similarity.mirrored)
    turned = yield from _from_scratch(_begin(problem, other, params))
    if turned.evidence < best.evidence + _MIRROR_EVIDENCE:
        return _result(best)
    return _result(turned, _FIELD_NOTES[:1] if other.similarity.mirrored else ())


def _is_clear(growth: Growth) -> bool:
    """Return whether the field is explained far better than by chance."""
    return growth.evidence > len(growth.world.problem.queries_um) * _CLEAR


def _begin(
    problem: MatchProblem,
    alignment: Alignment,
    params: PropagationParams,
    start: Propagation | None = None,
) -> Growth:
    gallery = CandidateField(problem.gallery_um) if start is None else start.growth.world.gallery
    world = Field.of(problem, gallery, alignment, params.support)
    return Growth.begin(world, params, alignment_doubt(alignment, problem.landmarks))


def _from_scratch(fresh: Growth) -> Generator[PropagationProgress, None, Growth]:
    """Grow from the landmarks; if there are very many queries, try it with some of them."""
    world, params = fresh.world, fresh.params
    scouts = _scouts(world.problem, params.scouts)
    if scouts is None:
        return (yield from _best_growth(fresh))
    few = Field.of(world.problem.only(scouts), world.gallery, world.alignment, params.support)
    best = yield from _best_growth(Growth.begin(few, params, fresh.wrong))
    return (yield from _grow(fresh.extending(best, scouts), 1, 1))


def _best_growth(fresh: Growth) -> Generator[PropagationProgress, None, Growth]:
    params = fresh.params
    attempts = 2 + params.suspects
    best = yield from _grow(fresh, 1, attempts)
    cautious = replace(params, reach=params.second_reach)
    other = yield from _grow(replace(fresh, params=cautious), 2, attempts)
    best = max(best, replace(other, params=params), key=lambda growth: growth.evidence)
    best = yield from _without_suspects(best, fresh.wrong, attempts)
    best = yield from _look_again(best, attempts)
    if best.reached.mean() > _NEARLY_ALL:
        return best
    bold = replace(best, params=replace(params, reach=params.last_reach), calm=0)
    bold = yield from _grow(bold, attempts, attempts)
    bold = yield from _look_again(bold, attempts)
    return max(best, replace(bold, params=params), key=lambda growth: growth.evidence)


def _scouts(problem: MatchProblem, count: int) -> RowArray | None:
    """Return rows of the queries to try growths with, if there are too many to try with all."""
    total, asked = len(problem.queries_um), np.unique(problem.pairs[:, 0])
    others = np.setdiff1d(np.arange(total), asked)
    if len(others) <= count:
        return None
    drawn = np.random.default_rng(0).choice(others, count, replace=False)
    return np.sort(np.concatenate([asked, drawn]))


def match(problem: MatchProblem, **options: object) -> Propagation:
    """As `propagate`, without reports on the way."""
    running = propagate(problem, **options)  # type: ignore[arg-type]
    while True:
        try:
            next(running)
        except StopIteration as finished:
            found: Propagation = finished.value
            return found


def alignment_doubt(alignment: Alignment, landmarks: Landmarks) -> Float64Array:
    """Return the alignment's doubt about each landmark, also those given twice, (L,)."""
    doubt = np.empty(len(landmarks))
    known = {
        (*source, *target): wrong
        for source, target, wrong in zip(
            alignment.landmarks.source_um.round(3).tolist(),
            alignment.landmarks.target_um.round(3).tolist(),
            alignment.wrong,
            strict=True,
        )
    }
    pairs = zip(
        landmarks.source_um.round(3).tolist(), landmarks.target_um.round(3).tolist(), strict=True
    )
    for row, (source, target) in enumerate(pairs):
        doubt[row] = known[*source, *target]
    return doubt


def _same_somata(problem: MatchProblem, start: Propagation) -> bool:
    """Return whether the problem has the same somata as an earlier one."""
    earlier = start.growth.world.problem
    return all(
        here is there or np.array_equal(here, there)
        for here, there in (
            (problem.queries_um, earlier.queries_um),
            (problem.gallery_um, earlier.gallery_um),
        )
    )


def _go_on(fresh: Growth, earlier: Growth) -> Generator[PropagationProgress, None, Growth]:
    """Grow from an earlier growth; about what a verdict contradicts, also anew."""
    best = yield from _grow(fresh.resumed(earlier), 1, 1)
    before, now = earlier.world.problem.landmarks, fresh.world.problem.landmarks
    kept, was_kept = shared_landmarks(fresh.world.problem, earlier.world.problem)
    disputed = best.wrong > 0.5
    disputed[kept] = False
    removed = earlier.wrong < 0.5
    removed[was_kept] = False
    places = np.vstack([now.source_um[disputed], before.source_um[removed]])
    if not len(places):
        return best
    similarity = fresh.world.alignment.similarity
    queries = similarity.offsets(fresh.world.problem.queries_um)
    distance = cdist(queries, similarity.offsets(places)).min(axis=1)
    again = best.forgetting(distance < fresh.world.alignment.prior.length_um)
    wrong = np.where(disputed, fresh.wrong, best.wrong)
    other = yield from _grow(replace(again, wrong=wrong), 2, 2)
    return max(best, other, key=lambda growth: growth.evidence)


def _grow(
    growth: Growth, attempt: int, attempts: int
) -> Generator[PropagationProgress, None, Growth]:
    for number in range(growth.params.rounds):
        growth = growth.step()
        yield PropagationProgress(
            attempt,
            attempts,
            number + 1,
            int(growth.reached.sum()),
            len(growth.precision),
            growth.change,
        )
        if growth.change < growth.params.settled:
            break
    return growth


def _without_suspects(
    best: Growth, doubt: Float64Array, attempts: int
) -> Generator[PropagationProgress, None, Growth]:
    """Grow again without each of the most doubtful landmarks; keep what explains most."""
    params = best.params
    for number, suspect in enumerate(np.argsort(-best.wrong)[: params.suspects]):
        if len(doubt) - best.held.sum() <= 4 or best.held[suspect]:
            continue
        held = best.held | (np.arange(len(doubt)) == suspect)
        start = Growth.begin(best.world, params, doubt, held)
        other = yield from _grow(start, 3 + number, attempts)
        best = max(best, other, key=lambda growth: growth.evidence)
    return best


def _look_again(best: Growth, attempts: int) -> Generator[PropagationProgress, None, Growth]:
    """Match regions that fit badly anew, as long as more is explained."""
    for _ in range(best.params.second_looks):
        loose = best.loosened()
        if loose is None:
            break
        attempts += 1
        other = yield from _grow(loose, attempts, attempts)
        if other.evidence <= best.evidence:
            break
        best = other
    return best


def _result(growth: Growth, said: Sequence[str] = ()) -> Propagation:
    found, mean, variance = growth.judge()
    alignment = growth.world.alignment
    doubtful = int((growth.wrong > 0.5).sum())
    if doubtful:
        who = "1 landmark contradicts" if doubtful == 1 else f"{doubtful} landmarks contradict"
        said = (*said, f"{who} the whole field: look at the first of the review list.")
    return Propagation(
        alignment,
        found,
        mean,
        np.sqrt(variance),
        growth.reached,
        float(growth.presence.at(growth.world.origin_um[: len(mean)]).mean()),
        growth.chance,
        growth.wrong,
        growth.evidence,
        growth,
        (*alignment.notes, *said),
    )
