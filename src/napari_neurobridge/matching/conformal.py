"""Sets of candidates that hold the truth with a stated probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.calibration import FEWEST_AUDITS
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from napari_neurobridge.matching.posterior import Posterior
    from napari_neurobridge.project.log.fold import State

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
RowArray = npt.NDArray[np.intp]


DEFAULT_COVERAGE = 0.9
"""Nine cells in ten are to be among the answers of their set."""


@dataclass(frozen=True, eq=False)
class CandidateSets:
    """What the truth of N queries is said to be among.

    Attributes
    ----------
    listed : ndarray of bool, shape (N, K)
        Candidates of the posterior that belong to the set.
    none : ndarray of bool, shape (N,)
        Whether "none of these" does.
    beyond : ndarray of bool, shape (N,)
        Whether any soma that is not listed does.
    """

    listed: BoolArray
    none: BoolArray
    beyond: BoolArray

    @property
    def size(self) -> RowArray:
        """Members of each set; all that are not listed count as one, (N,)."""
        return np.asarray(self.listed.sum(axis=1) + self.none + self.beyond, dtype=np.intp)

    def covers(self, rows: RowArray, partner: RowArray) -> BoolArray:
        """Return whether each set holds the truth, (N,).

        Parameters
        ----------
        rows : ndarray of int, shape (N, K)
            Of the posterior.
        partner : ndarray of int, shape (N,)
            Row of the gallery, or -1 for none.
        """
        member = np.column_stack([self.listed, self.none, self.beyond])
        column = _truth_column(rows, partner)
        return np.asarray(member[np.arange(len(column)), column])


@dataclass(frozen=True)
class ConformalSets:
    """A rule that makes sets with a stated coverage.

    Attributes
    ----------
    coverage : float
        Share of queries whose set holds the truth, over queries exchangeable with those
        the rule was made from.
    threshold : float
        Members are taken by falling probability up to this mass.
    n : int
        Queries that it was made from.
    """

    coverage: float
    threshold: float
    n: int

    def holds(self, mass_above: float) -> bool:
        """Return whether an answer is in the set, by the mass of all more probable ones."""
        return mass_above <= self.threshold

    def sets(
        self, posterior: Posterior, *, at_least_one: bool = False, seed: int = 0
    ) -> CandidateSets:
        """Return the sets of some queries.

        Parameters
        ----------
        posterior : Posterior
        at_least_one : bool
            Keep the most probable answer in any case. Without, a set is empty now and then
            where the first answer is right more often than the coverage asks for; with,
            the coverage is at least the stated one.
        seed : int
            Draws which answers at the edge of a set are in.
        """
        score, order = _scores(posterior, np.random.default_rng([seed, 1]))
        inside = score <= self.threshold
        if at_least_one:
            inside[:, 0] = True
        member = np.zeros_like(inside)
        np.put_along_axis(member, order, inside, axis=1)
        return CandidateSets(member[:, :-2], member[:, -2], member[:, -1])


def fit_conformal(
    posterior: Posterior,
    partner: npt.ArrayLike,
    *,
    coverage: float = DEFAULT_COVERAGE,
    seed: int = 0,
) -> ConformalSets:
    """Make a rule from queries whose truth is known.

    Adaptive prediction sets (Romano, Sesia and Candès, NeurIPS 2020, section 2): a query's
    score is the mass of the answers more probable than the truth, and a random share of
    the truth's own; the rule takes the answers up to the scores' quantile.

    Parameters
    ----------
    posterior : Posterior
        Of N queries, drawn at random.
    partner : array_like of int, shape (N,)
        Row of the gallery, or -1 where the gallery does not hold the cell.
    coverage : float
        Between 0 and 1.
    seed : int

    Raises
    ------
    InputError
        If there is no query, or the coverage makes no sense.
    """
    truth = np.asarray(partner, dtype=np.intp)
    if truth.shape != (len(posterior.rows),) or not len(truth):
        raise InputError("Conformal sets need queries, and the truth of each.")
    if not 0 < coverage < 1:
        raise InputError(f"A coverage lies between 0 and 1, not at {coverage:g}.")
    score, order = _scores(posterior, np.random.default_rng([seed, 0]))
    place = (order == _truth_column(posterior.rows, truth)[:, None]).argmax(axis=1)
    own = score[np.arange(len(truth)), place]
    return ConformalSets(coverage, _threshold(own, coverage), len(own))


def sets_from_audits(
    state: State, first: str, second: str, coverage: float = DEFAULT_COVERAGE
) -> ConformalSets:
    """Make a rule from the audits between two datasets.

    The score is the mass of the answers that were more probable than the person's, without
    a random share of its own, so that what is in a set does not change from look to look;
    the coverage is then at least the stated one.

    Parameters
    ----------
    state : State
    first, second : str
        Names of the datasets, whichever was asked.
    coverage : float

    Returns
    -------
    ConformalSets
        With fewer than `FEWEST_AUDITS` audits, answers up to the coverage's mass.
    """
    scores = [
        verdict.evidence.mass_above
        for verdict in state.verdicts
        if verdict.evidence.calibrates
        and verdict.evidence.mass_above is not None
        and verdict.verdict in (Verdict.ACCEPT, Verdict.NONE)
        and {verdict.query_dataset, verdict.candidate_dataset or second} <= {first, second}
    ]
    if len(scores) < FEWEST_AUDITS:
        return ConformalSets(coverage, coverage, 0)
    return ConformalSets(coverage, _threshold(np.array(scores), coverage), len(scores))


def _threshold(scores: Float64Array, coverage: float) -> float:
    rank = int(np.ceil(coverage * (len(scores) + 1)))
    # Too few queries cannot exclude anything.
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf


def _scores(posterior: Posterior, rng: np.random.Generator) -> tuple[Float64Array, RowArray]:
    """Return the score of each answer (N, K + 2) by falling probability, and that order."""
    shares = np.column_stack([posterior.probability, posterior.none, posterior.beyond])
    order = np.argsort(-shares, axis=1, kind="stable")
    mass = np.take_along_axis(shares, order, axis=1)
    luck = rng.random((len(mass), 1))
    return np.cumsum(mass, axis=1) - luck * mass, order


def _truth_column(rows: RowArray, partner: RowArray) -> RowArray:
    """Return which answer is the truth: a candidate, K for none, K + 1 for beyond, (N,)."""
    count = rows.shape[1]
    listed = rows == np.asarray(partner)[:, None]
    column = np.where(listed.any(axis=1), listed.argmax(axis=1), count + 1)
    return np.asarray(np.where(np.asarray(partner) < 0, count, column), dtype=np.intp)
