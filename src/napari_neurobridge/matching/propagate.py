"""Matches grow from a few landmarks over the whole field, from coordinates alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.expectation import Growth
from napari_neurobridge.matching.match_field import Field, shared_landmarks
from napari_neurobridge.matching.posterior import CandidateField, Posterior
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.deformation import Alignment, fit_alignment
from napari_neurobridge.spaces.landmarks import Landmarks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_neurobridge.spaces.gaussian_process import DeformationPrior
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class PropagationParams:
    """How matches grow.

    Attributes
    ----------
    reach : float
        A cell takes part once fewer than so many wrong somata are expected in the space
        of its uncertainty, λ (2π)^3/2 σ³.
    second_reach : float
        As `reach`, for a second and more cautious growth; the one that explains more wins.
    rounds : int
        At most so many rounds for a growth.
    damping : float
        Share of what a round says that is taken over.
    settled : float
        A growth ends when no soft match changes by more than this share.
    detected : tuple of float
        Beta prior of the chance that the gallery holds a partner.
    support : int
        Points on which the deformation is represented.
    suspects : int
        So many of the most doubtful landmarks are left out in turn, to see whether the
        rest explains more without them.
    second_looks : int
        At most so many times, regions that fit far worse than the rest are matched anew.
    scouts : int
        Of more queries than this, so many try the growths; all others join the best.
    """

    reach: float = 0.3
    second_reach: float = 0.1
    rounds: int = 80
    damping: float = 0.6
    settled: float = 0.03
    detected: tuple[float, float] = (9.0, 1.0)
    support: int = 250
    suspects: int = 2
    second_looks: int = 3
    scouts: int = 2000


@dataclass(frozen=True, eq=False)
class MatchProblem:
    """Two fields of somata, and what a person has said about them.

    Attributes
    ----------
    queries_um : array_like, shape (N, 3)
        Somata of one side, µm (z, y, x).
    gallery_um : array_like, shape (M, 3)
        Somata of the other side, in its own space.
    pairs : array_like of int, shape (L, 2)
        Rows of queries and gallery that a person paired.
    points : Landmarks, optional
        Landmarks that are no somata, such as branches of vessels.
    p_detected : array_like, shape (N,), optional
        What the query's own detection says of the chance that the gallery holds it,
        relative to the others; 1 unless given.
    log_ratio : callable, optional
        Log likelihood ratio of appearance; see `posterior.find_candidates`.
    """

    queries_um: Float64Array
    gallery_um: Float64Array
    pairs: RowArray
    points: Landmarks | None = None
    p_detected: Float64Array | None = None
    log_ratio: Callable[[RowArray, RowArray], Float64Array] | None = field(default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries_um", as_points(self.queries_um))
        object.__setattr__(self, "gallery_um", as_points(self.gallery_um))
        pairs = np.asarray(self.pairs, dtype=np.intp).reshape(-1, 2)
        sizes = np.array([len(self.queries_um), len(self.gallery_um)])
        if (pairs < 0).any() or (pairs >= sizes).any():
            raise InputError("A pair names a soma that does not exist.")
        object.__setattr__(self, "pairs", np.unique(pairs, axis=0))

    @property
    def landmarks(self) -> Landmarks:
        """The pairs, and behind them the points."""
        source, target = self.queries_um[self.pairs[:, 0]], self.gallery_um[self.pairs[:, 1]]
        if self.points is None:
            return Landmarks(source, target)
        sigma = self.points.sigma_um
        own = np.full(len(self.points), np.nan) if sigma is None else sigma
        return Landmarks(
            np.vstack([source, self.points.source_um]),
            np.vstack([target, self.points.target_um]),
            np.concatenate([np.full(len(source), np.nan), own]),
        )

    def only(self, rows: RowArray) -> MatchProblem:
        """Return the problem of some of the queries, all that are paired among them."""
        here = np.searchsorted(rows, self.pairs[:, 0])
        looks = self.log_ratio
        return replace(
            self,
            queries_um=self.queries_um[rows],
            pairs=np.column_stack([here, self.pairs[:, 1]]),
            p_detected=None if self.p_detected is None else np.asarray(self.p_detected)[rows],
            log_ratio=None if looks is None else lambda own, there: looks(rows[own], there),
        )


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
        See `fit_alignment`.
    start : Propagation, optional
        Of the same somata and orientation, before the latest verdicts: goes on from there,
        and tries again only about a landmark that is gone or contradicts the rest. Of
        other somata: not used.

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
    landmarks = problem.landmarks
    earlier = None if start is None or not _goes_on(problem, start) else start.growth
    alignment = fit_alignment(
        landmarks,
        prior=prior,
        mirrored=mirrored,
        orientation=orientation,
        known=None if earlier is None else earlier.world.alignment,
    )
    gallery = CandidateField(problem.gallery_um) if earlier is None else earlier.world.gallery
    world = Field.of(problem, gallery, alignment, params.support)
    doubt = alignment_doubt(alignment, landmarks)
    if earlier is not None:
        best = yield from _go_on(Growth.begin(world, params, doubt), earlier)
        return _result(alignment, best)
    scouts = _scouts(problem, params.scouts)
    if scouts is None:
        best = yield from _best_growth(world, params, doubt)
        return _result(alignment, best)
    part = Field.of(problem.only(scouts), gallery, alignment, params.support)
    best = yield from _best_growth(part, params, doubt)
    best = yield from _grow(Growth.begin(world, params, doubt).extending(best, scouts), 1, 1)
    return _result(alignment, best)


def _best_growth(
    world: Field, params: PropagationParams, doubt: Float64Array
) -> Generator[PropagationProgress, None, Growth]:
    attempts = 2 + params.suspects
    best = yield from _grow(Growth.begin(world, params, doubt), 1, attempts)
    cautious = replace(params, reach=params.second_reach)
    other = yield from _grow(Growth.begin(world, cautious, doubt), 2, attempts)
    best = max(best, replace(other, params=params), key=lambda growth: growth.evidence)
    best = yield from _without_suspects(best, doubt, attempts)
    return (yield from _look_again(best, attempts))


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


def _goes_on(problem: MatchProblem, start: Propagation) -> bool:
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


def _result(alignment: Alignment, growth: Growth) -> Propagation:
    found, mean, variance = growth.judge()
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
    )
