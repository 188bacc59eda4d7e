"""All somata of two datasets matched at once, from accepted pairs, and read in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.agreement import Agreement, agreement_of
from napari_neurobridge.matching.assignment import assign
from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.decoys import JUDGINGS, DecoyCheck, decoy_claims
from napari_neurobridge.matching.matched_pairs import MatchedPair, ReviewedPair
from napari_neurobridge.matching.posterior import find_candidates, posterior
from napari_neurobridge.matching.posterior_reader import (
    PartnerPosterior,
    PosteriorReader,
    PosteriorSummary,
)
from napari_neurobridge.matching.wording import not_indexed
from napari_neurobridge.types import Expected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.matching.appearance.likelihood import Appearance
    from napari_neurobridge.matching.bounds import Bounds
    from napari_neurobridge.matching.calibration import Calibration
    from napari_neurobridge.matching.conformal import ConformalSets
    from napari_neurobridge.matching.decoys import Judging
    from napari_neurobridge.matching.posterior import Posterior
    from napari_neurobridge.matching.propagation.propagate import Propagation, PropagationProblem
    from napari_neurobridge.matching.sides import Side
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment
    from napari_neurobridge.types import FloatArray, Report, Vec3

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# So many doubtful pairs are named in a sentence.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Match:
    """A propagation over two datasets of a project.

    Attributes
    ----------
    queries, gallery : Side
        Matches grow from the side with fewer somata, since more of those have a partner.
    queries_in_vivo : bool
        Whether that is the in-vivo side.
    problem : PropagationProblem
    propagation : Propagation
    posterior : Posterior
        The propagation's, calibrated.
    accepted : frozenset of (int, int)
        Those of the problem's pairs that a person accepted; the others are proposals of
        the program, to begin with.
    orientation : ndarray, shape (3, 3), or None
        Rough linear part of the map from queries to gallery, as far as it is stated.
    alignment : Alignment
        From queries to gallery; the project's current one when the match was made.
    calibration : Calibration
        What made the posterior of the propagation's.
    sets : ConformalSets
        What belongs to a set of answers with a stated coverage.
    bounds : dict of str to Bounds
        What each of the two datasets shows.
    appearance : Appearance or None
        What the crops say; ``None`` without an index.
    model : str
        Name and hash of the encoder whose index told candidates apart; empty if none did.
    model_note : str
        What that model leaves open, in a sentence; empty if nothing.
    not_indexed : frozenset of str
        Somata of either side whose crops have no say, since the index lacks them; empty where
        it has none at all.
    """

    queries: Side
    gallery: Side
    queries_in_vivo: bool
    problem: PropagationProblem
    propagation: Propagation
    posterior: Posterior
    accepted: frozenset[tuple[int, int]]
    orientation: FloatArray | None
    alignment: Alignment
    calibration: Calibration
    sets: ConformalSets
    bounds: Mapping[str, Bounds]
    appearance: Appearance | None = None
    model: str = ""
    model_note: str = ""
    not_indexed: frozenset[str] = frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the alignment, in sentences."""
        doubtful = self.doubtful()
        named = ", ".join(f"{p.in_vivo_uid} ↔ {p.ex_vivo_uid}" for p in doubtful[:_NAMED])
        note = (f"Look again at {named}: the other cells contradict.",) if doubtful else ()
        # What contradicts a proposal is no news: it is dropped.
        said = self.propagation.notes if self.accepted else ()
        unseen = (f"{not_indexed(len(self.not_indexed))}.",) if self.not_indexed else ()
        return (*said, *note, *unseen, *filter(None, [self.model_note]))

    def review(self) -> tuple[ReviewedPair, ...]:
        """Return the accepted pairs, the most doubtful first."""
        return self._reviewed

    @cached_property
    def _reviewed(self) -> tuple[ReviewedPair, ...]:
        reviewed = self.propagation.review()
        reviewed = reviewed[reviewed < len(self.problem.pairs)]
        mine = [tuple(pair) in self.accepted for pair in self.problem.pairs[reviewed].tolist()]
        reviewed = reviewed[np.array(mine, dtype=np.bool_)]
        pairs, wrong = self.problem.pairs[reviewed], self.propagation.wrong[reviewed]
        residual, _ = self.distances(pairs)
        return tuple(
            ReviewedPair(*self._in_vivo_first(query, soma), p_wrong, away)
            for (query, soma), p_wrong, away in zip(
                pairs.tolist(), wrong.tolist(), residual.tolist(), strict=True
            )
        )

    def doubtful(self) -> tuple[ReviewedPair, ...]:
        """Return the accepted pairs that are more likely wrong than right, by all other cells."""
        return tuple(pair for pair in self.review() if pair.p_wrong >= 0.5)

    @property
    def proposals(self) -> RowArray:
        """Rows (P, 2) of the pairs that the program began with by itself."""
        rows = [pair for pair in self.problem.pairs.tolist() if tuple(pair) not in self.accepted]
        return np.array(rows, dtype=np.intp).reshape(-1, 2)

    def __contains__(self, uid: object) -> bool:
        return uid in self.queries.rows or uid in self.gallery.rows

    @property
    def datasets(self) -> tuple[str, str]:
        """The two datasets, that of the queries first."""
        return self.queries.dataset, self.gallery.dataset

    def side(self, dataset: str) -> Side:
        """Return the somata of a dataset."""
        return self.queries if dataset == self.queries.dataset else self.gallery

    def others_of(self, dataset: str) -> Side:
        """Return the side that partners of a dataset's somata are on."""
        return self.gallery if dataset == self.queries.dataset else self.queries

    def others(self, uid: str) -> Side:
        """Return the side that a soma's partner is on.

        Raises
        ------
        InputError
            If the soma is of neither side.
        """
        if uid in self.queries.rows:
            return self.gallery
        if uid in self.gallery.rows:
            return self.queries
        raise InputError(f"'{uid}' was not there when the cells were matched; match again.")

    def judge(self, uid: str) -> PartnerPosterior:
        """Return what is known about the partner of a soma of either side.

        Raises
        ------
        InputError
            If the soma is of neither side.
        """
        if self.others(uid) is self.gallery:
            return self._answers.of_query(self.queries.rows[uid])
        return self._answers.of_gallery(self.gallery.rows[uid])

    def posterior_summary(self, dataset: str) -> PosteriorSummary:
        """Return the answers of all somata of a dataset at once, in the order of its side."""
        queries, gallery = self._summaries
        return queries if dataset == self.queries.dataset else gallery

    @cached_property
    def _summaries(self) -> tuple[PosteriorSummary, PosteriorSummary]:
        return self._answers.summary_of_queries(), self._answers.summary_of_gallery()

    @cached_property
    def _answers(self) -> PosteriorReader:
        return PosteriorReader(self.posterior, len(self.gallery))

    @cached_property
    def _uncalibrated(self) -> PosteriorReader:
        return PosteriorReader(self.propagation.posterior, len(self.gallery))

    def judge_uncalibrated(self, uid: str) -> PartnerPosterior:
        """As `judge`, as the propagation says it: what audits compare with the truth."""
        if self.others(uid) is self.gallery:
            return self._uncalibrated.of_query(self.queries.rows[uid])
        return self._uncalibrated.of_gallery(self.gallery.rows[uid])

    def first_uncalibrated(self, uid: str) -> tuple[str, float] | None:
        """Return the most probable partner and its probability; None without a candidate."""
        judged = self.judge_uncalibrated(uid)
        if not len(judged.rows):
            return None
        return self.others(uid).uids[judged.rows[0]], float(judged.probability[0])

    def mass_above(self, uid: str, answer: str | None) -> float:
        """Return the probability, uncalibrated, of all answers more probable than one.

        Parameters
        ----------
        uid : str
            What is asked.
        answer : str or None
            A soma of the other side; ``None`` for none of them.
        """
        judged = self.judge_uncalibrated(uid)
        if answer is None:
            return judged.mass_above(judged.none)
        row = self.others(uid).rows.get(answer, -1)
        return judged.mass_above(float(judged.probability[judged.rows == row].sum()))

    def expect(self, uid: str) -> Expected:
        """Return where the partner of a soma of either side should lie.

        Raises
        ------
        InputError
            If the soma is of neither side, or the alignment folds there.
        """
        if self.others(uid) is self.gallery:
            mean, covariance = self.alignment.expect_without_own([self.queries.rows[uid]])
            return _expected(mean[0], covariance[0])
        place = self.gallery.centers_um[self.gallery.rows[uid]]
        return self._expected_at(self.alignment.inverse(), place)

    def partners_outside(self, dataset: str) -> npt.NDArray[np.bool_]:
        """Return whose partner is expected outside of what the other side shows, (N,)."""
        if dataset not in self._outside:
            forward = dataset == self.queries.dataset
            way = self.alignment if forward else self.alignment.inverse()
            bounds = self.bounds[self.others_of(dataset).dataset]
            self._outside[dataset] = bounds.exclude_mapped(way, self.side(dataset).centers_um)
        return self._outside[dataset]

    @cached_property
    def _outside(self) -> dict[str, npt.NDArray[np.bool_]]:
        return {}

    def judge_position(self, position_um: Vec3, dataset: str) -> PartnerPosterior:
        """As `judge`, for a bare place of either side, whose own soma nobody knows."""
        expected = self.expect_position(position_um, dataset)
        field, chance = self.field, self.propagation.mean_p_partner
        if dataset != self.queries.dataset:
            field, chance = self._query_field, chance * len(self.queries) / len(self.gallery)
        found = posterior(
            find_candidates(
                field,
                np.array([expected.center_um]),
                np.array([expected.covariance_um2]),
            ),
            chance,
            len(field),
            exclusive=False,
        )
        return PartnerPosterior(
            found.rows[0],
            found.probability[0],
            float(found.none[0]),
            float(found.beyond[0]),
        )

    def expect_position(self, position_um: Vec3, dataset: str) -> Expected:
        """As `expect`, for a bare place of either side."""
        way = self.alignment if dataset == self.queries.dataset else self.alignment.inverse()
        return self._expected_at(way, np.asarray(position_um, dtype=np.float64))

    @staticmethod
    def _expected_at(way: Alignment | InverseAlignment, place: Float64Array) -> Expected:
        mean, covariance = way.expect(place)
        return _expected(mean[0], covariance[0])

    def map_points(self, points: npt.ArrayLike, source: str, target: str) -> Float64Array:
        """Map points (N, 3), µm (z, y, x), between the two spaces by this match's alignment.

        Raises
        ------
        InputError
            If a space is not one of the two.
        """
        if {source, target} != set(self.datasets):
            one, other = self.datasets
            raise InputError(f"This match is between '{one}' and '{other}'.")
        way = self.alignment if source == self.queries.dataset else self.alignment.inverse()
        return way.map_points(points)

    @property
    def field(self) -> CandidateField:
        """The gallery's somata with their density."""
        return self.propagation.state.setup.gallery

    @cached_property
    def _query_field(self) -> CandidateField:
        return CandidateField(self.queries.centers_um)

    @cached_property
    def agreement(self) -> Agreement | None:
        """How often pictures and places name the same cell; None where pictures have no say."""
        if self.appearance is None:
            return None
        paired = [query for query, _ in self.accepted]
        return agreement_of(self.propagation, self.appearance.margins, without=paired)

    def decoys(
        self,
        fdr: float,
        *,
        judgings: Sequence[Judging] = JUDGINGS,
        report: Report | None = None,
    ) -> DecoyCheck:
        """Return what would be claimed at a rate of false claims if no partner were there.

        Takes as long as a match for each of six decoys; ``report(done, total, message)``
        tells how far it is. For ``judgings`` see `decoy_claims`.
        """
        return decoy_claims(
            self.problem,
            fdr,
            found=self.propagation,
            calibration=self.calibration,
            orientation=self.orientation,
            adapt=len(self.accepted) == len(self.problem.pairs),
            judgings=judgings,
            report=report,
        )

    def matched(self) -> tuple[MatchedPair, ...]:
        """Return the most probable one-to-one pairs, the most probable first."""
        return self._matched

    @cached_property
    def _matched(self) -> tuple[MatchedPair, ...]:
        seeds, found = self.problem.pairs, self.posterior
        mine = np.array([tuple(pair) in self.accepted for pair in seeds.tolist()], dtype=np.bool_)
        trusted, seeds = (1.0 - self.propagation.wrong[: len(seeds)])[mine], seeds[mine]
        rows = np.setdiff1d(np.arange(len(self.queries)), seeds[:, 0])
        # What a person has paired is nobody else's partner, however doubtful the pair.
        taken = np.isin(found.rows[rows], seeds[:, 1])
        share = np.where(taken, 0.0, found.probability[rows])
        partner = assign(found.rows[rows], share, found.none[rows])
        claimed = np.column_stack([rows, partner])[partner >= 0]
        listed = found.rows[claimed[:, 0]] == claimed[:, 1:]
        probability = (found.probability[claimed[:, 0]] * listed).sum(axis=1)
        pairs = self._pairs(claimed, probability, accepted=False)
        pairs += self._pairs(seeds, trusted, accepted=True)
        return tuple(sorted(pairs, key=lambda pair: -pair.probability))

    def _pairs(
        self, pairs: RowArray, probability: Float64Array, *, accepted: bool
    ) -> list[MatchedPair]:
        residual, score = self.distances(pairs)
        numbers = np.column_stack([probability, residual, score]).tolist()
        return [
            MatchedPair(*self._in_vivo_first(query, soma), share, away, margin, accepted)
            for (query, soma), (share, away, margin) in zip(pairs.tolist(), numbers, strict=True)
        ]

    def _in_vivo_first(self, query: int, soma: int) -> tuple[str, str]:
        here, there = self.queries.uids[query], self.gallery.uids[soma]
        return (here, there) if self.queries_in_vivo else (there, here)

    def distances(self, pairs: RowArray) -> tuple[Float64Array, Float64Array]:
        """Return ``residual_um`` and ``score_um`` of rows (P, 2), each (P,); see `MatchedPair`."""
        expected, _ = self.alignment.expect_without_own(pairs[:, 0])
        residual = np.linalg.norm(self.gallery.centers_um[pairs[:, 1]] - expected, axis=1)
        distance, nearest = map(np.asarray, self.field.tree.query(expected, k=2))
        other = np.where(nearest[:, 0] == pairs[:, 1], distance[:, 1], distance[:, 0])
        return residual, other - residual


def _expected(mean: Float64Array, covariance: Float64Array) -> Expected:
    first, second, third = (tuple(row) for row in covariance.tolist())
    return Expected(tuple(mean.tolist()), (first, second, third))
