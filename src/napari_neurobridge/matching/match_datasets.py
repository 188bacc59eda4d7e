"""From a project's somata and verdicts to a match of all of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.gallery import load_gallery, model_label
from napari_neurobridge.matching.appearance.likelihood import (
    FEWEST_TO_FIT_APPEARANCE,
    Appearance,
    Margins,
    appearance_of,
)
from napari_neurobridge.matching.bounds import Bounds
from napari_neurobridge.matching.calibration import (
    COORDINATES,
    audits_of,
    calibration_of,
    fit_calibration,
)
from napari_neurobridge.matching.conformal import sets_from_audits
from napari_neurobridge.matching.match import Match
from napari_neurobridge.matching.propagation.propagate import (
    MappedBefore,
    PropagationProblem,
    run_propagation,
)
from napari_neurobridge.matching.sides import Side
from napari_neurobridge.project.landmarks import LandmarkPairs, ProjectLandmarks
from napari_neurobridge.project.project_spaces import ENOUGH_LANDMARKS
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.propagation.propagate import PropagationProgress
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# A person may err who found no partner, but the program does not argue.
_P_DETECTED_AFTER_NONE = 1e-6
_FEWEST_SOMATA = 2
# How often a detection of some confidence is a soma, two-photon side of simulated scenes that
# are not those of `neurobridge benchmark detection`, which tells it as `by_confidence`.
_CELL_AT_0, _CELL_SLOPE = 0.1, 0.75
_MOST_PROPOSALS = 40
_NO_PAIR = (
    "There is no accepted pair yet, so nothing says how the two sides lie; accept four or more "
    "that are far from each other."
)
_NO_LIKELIHOOD = (
    "The model {model} does not say how much its similarities mean, so probabilities rest on "
    "places alone until {count} pairs are accepted that it was not trained on."
)
_FITTED_LIKELIHOOD = (
    "The model {model} does not say how much its similarities mean; that is fitted to the accepted "
    "pairs, and the probabilities are not calibrated."
)
_NOTHING: RowArray = np.empty((0, 2), dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Exclusions:
    """What people said that a soma is not.

    Attributes
    ----------
    pairs : ndarray of int, shape (R, 2)
        Rows of queries and gallery that were rejected.
    queries, gallery : ndarray of bool, shape (N,) and (M,)
        Somata that were found without partner.
    """

    pairs: RowArray
    queries: npt.NDArray[np.bool_]
    gallery: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, state: State, queries: Side, gallery: Side) -> Exclusions:
        """Read the standing verdicts; an accepted pair is not excluded by somebody's rejection."""
        pairs = []
        for verdict in state.verdicts:
            if verdict.verdict is not Verdict.REJECT or verdict.pair is None:
                continue
            uids = set(verdict.pair)
            row = next((queries.rows[uid] for uid in uids if uid in queries.rows), None)
            soma = next((gallery.rows[uid] for uid in uids if uid in gallery.rows), None)
            if row is not None and soma is not None and verdict.pair not in state.agreed:
                pairs.append((row, soma))
        alone = (
            np.array([uid in state.none for uid in side.uids], dtype=np.bool_)
            for side in (queries, gallery)
        )
        return cls(np.array(pairs, dtype=np.intp).reshape(-1, 2), *alone)

    def __bool__(self) -> bool:
        return bool(len(self.pairs) or self.gallery.any())

    def allowed(self, proposals: RowArray, accepted: RowArray) -> RowArray:
        """Return the proposals (P, 2) that contradict no verdict."""
        free = ~np.isin(proposals[:, 0], accepted[:, 0]) & ~np.isin(proposals[:, 1], accepted[:, 1])
        free &= ~self.queries[proposals[:, 0]]
        free &= np.isfinite(self.log_ratio(proposals[:, 0], proposals[:, 1:])[:, 0])
        return proposals[free]

    def log_ratio(self, queries: RowArray, rows: RowArray) -> Float64Array:
        """Return minus infinity for what is excluded, else 0, (N, K)."""
        keys = self.pairs[:, 0] * len(self.gallery) + self.pairs[:, 1]
        asked = queries[:, None] * len(self.gallery) + rows
        return np.where(np.isin(asked, keys) | self.gallery[rows], -np.inf, 0.0)


def match_datasets(
    project: Project,
    encoder: Encoder | None = None,
    *,
    in_vivo: str | None = None,
    ex_vivo: str | None = None,
    start: Match | None = None,
    constellation: bool = False,
    state: State | None = None,
    report: Report | None = None,
) -> Match:
    """Match all somata of two datasets, from the accepted pairs outward.

    Parameters
    ----------
    project : Project
    encoder : Encoder, optional
        Adds what the crops say, as far as both datasets are indexed for it: a soma that is not
        is judged by its place alone.
    in_vivo, ex_vivo : str, optional
        The default datasets unless given.
    start : Match, optional
        From before the latest verdicts; goes on from there, which is faster.
    constellation : bool
        Where fewer than four pairs are accepted, begin with what the constellation of the
        cells says; takes a while.
    state : State, optional
        What people are supposed to have said in place of the project's own state; the match is
        then kept nowhere.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If a dataset is unknown or has no somata, or there is no accepted pair and the
        constellation of the cells does not tell either.
    """
    first, second = in_vivo or project.in_vivo(), ex_vivo or project.ex_vivo()
    supposed, state = state is not None, state or project.state()
    queries, gallery = _sides(project, state, first, second)
    begun = _NOTHING if start is None else _translated(start, queries, gallery)
    if start is not None and not (
        start.queries.same_as(queries) and start.gallery.same_as(gallery)
    ):
        start = None
    landmarks = ProjectLandmarks.of(state, queries.dataset, gallery.dataset)
    accepted, points = _rows(landmarks.pairs, queries, gallery), landmarks.points
    excluded = Exclusions.of(state, queries, gallery)
    pairs = accepted
    if len(landmarks) < ENOUGH_LANDMARKS:
        if constellation and not len(begun):
            begun = _constellation(project, queries, gallery, len(landmarks) > 0, report)
        pairs = np.vstack([accepted, excluded.allowed(begun, accepted)])
    if not len(pairs) and not len(points):
        raise InputError(_NO_PAIR)
    margins, unseen = _margins(project, encoder, queries, gallery, start)
    appearance, model_note = _appearance(encoder, margins, queries, gallery, accepted)
    problem = PropagationProblem(
        queries.centers_um,
        gallery.centers_um,
        pairs,
        points=points.to_landmarks(),
        p_detected=_p_detected(state, queries),
        log_ratio=_LogRatio(appearance, excluded) if appearance or excluded else None,
    )
    orientation = project.rough_linear(queries.dataset, gallery.dataset, len(pairs) + len(points))
    before = _mapped_before(state, problem, queries, gallery)
    if before is not None:
        problem, orientation = _mapped(problem, before.mean), np.eye(3)
    found = run_propagation(
        problem,
        on_progress=_told(report),
        orientation=orientation,
        adapt=len(pairs) == len(accepted),
        start=None if start is None else start.propagation,
    )
    seen = encoder is not None and appearance is not None
    known = calibration_of(encoder.calibration) if seen and encoder else COORDINATES
    calibration = fit_calibration(audits_of(state, first, second), known)
    alignment = found.grown_alignment(
        queries.dataset,
        gallery.dataset,
        orientation=project.stated_linear(queries.dataset, gallery.dataset) is not None,
        n_pairs=len(accepted),
        n_points=len(points),
        before=before,
    )
    if not supposed:
        project.keep_alignment(alignment)
    return Match(
        queries=queries,
        gallery=gallery,
        queries_in_vivo=queries.dataset == first,
        problem=problem,
        propagation=found,
        posterior=calibration.recalibrated(found.posterior),
        accepted=frozenset((query, soma) for query, soma in accepted.tolist()),
        orientation=orientation,
        alignment=alignment,
        calibration=calibration,
        sets=sets_from_audits(state, first, second),
        appearance=appearance,
        model="" if encoder is None or appearance is None else model_label(encoder),
        model_note=model_note,
        bounds={side.dataset: _bounds(project, side, start) for side in (queries, gallery)},
        not_indexed=unseen if seen else frozenset(),
    )


def _mapped_before(
    state: State, problem: PropagationProblem, queries: Side, gallery: Side
) -> MappedBefore | None:
    """Return the registration of two datasets; matches are grown about it."""
    found = state.registration(queries.dataset, gallery.dataset)
    if found is None:
        return None
    return MappedBefore(found.name, found.leading_from(queries.dataset), problem)


def _mapped(problem: PropagationProblem, mean: Transform) -> PropagationProblem:
    """Return a problem whose queries and points lie where a map puts them."""
    points = problem.points
    if points is not None:
        points = replace(points, source_um=mean.map_points(points.source_um))
    return replace(problem, queries_um=mean.map_points(problem.queries_um), points=points)


def _bounds(project: Project, side: Side, start: Match | None) -> Bounds:
    """Return what a dataset shows: its image, else as far as its somata reach."""
    if project.dataset(side.dataset).uri is not None:
        with suppress(InputError):  # an image that is gone bounds nothing
            return Bounds.of_volume(project.volume(side.dataset).extent_um)
    elif start is not None:  # of the same somata
        return start.bounds[side.dataset]
    return Bounds.of_somata(side.centers_um)


def _sides(project: Project, state: State, first: str, second: str) -> tuple[Side, Side]:
    """Return queries and gallery: the smaller side, and the other."""
    sides = [Side.of(name, state.somata[project.dataset(name).name]) for name in (first, second)]
    for side in sides:
        if len(side) < _FEWEST_SOMATA:
            raise InputError(
                f"'{side.dataset}' has too few somata to match; detect or import them first."
            )
    in_vivo, ex_vivo = sides
    return (ex_vivo, in_vivo) if len(ex_vivo) < len(in_vivo) else (in_vivo, ex_vivo)


def _told(report: Report | None) -> Callable[[PropagationProgress], None] | None:
    """Return what tells how far a propagation is."""
    if report is None:
        return None
    return lambda progress: report(
        progress.n_active, progress.n_queries, f"matching, run {progress.attempt}"
    )


def _rows(landmarks: LandmarkPairs, queries: Side, gallery: Side) -> RowArray:
    rows = [(queries.rows[first], gallery.rows[second]) for first, second in landmarks.uids]
    return np.array(rows, dtype=np.intp).reshape(-1, 2)


def _translated(start: Match, queries: Side, gallery: Side) -> RowArray:
    """Return the proposals of an earlier match as rows of now, of somata that still live."""
    if set(start.datasets) != {queries.dataset, gallery.dataset}:
        return _NOTHING
    rows = []
    for first, second in start.proposals.tolist():
        uids = {
            start.queries.dataset: start.queries.uids[first],
            start.gallery.dataset: start.gallery.uids[second],
        }
        query, soma = uids[queries.dataset], uids[gallery.dataset]
        if query in queries.rows and soma in gallery.rows:
            rows.append((queries.rows[query], gallery.rows[soma]))
    return np.array(rows, dtype=np.intp).reshape(-1, 2)


def _p_detected(state: State, queries: Side) -> Float64Array:
    """Return what detection and verdicts say of each query's chance to have a partner, (N,)."""
    somata = [state.somata[queries.dataset][uid] for uid in queries.uids]
    confidence = np.array([1.0 if s.confidence is None else s.confidence for s in somata])
    # Relative to a sure detection; what a person placed or imported counts as sure.
    cell = np.clip(_CELL_AT_0 + _CELL_SLOPE * confidence, 0.05, 1.0) / (_CELL_AT_0 + _CELL_SLOPE)
    alone = np.array([uid in state.none for uid in queries.uids])
    return np.where(alone, _P_DETECTED_AFTER_NONE, cell)


def _constellation(
    project: Project, queries: Side, gallery: Side, optional: bool, report: Report | None
) -> RowArray:
    """Return the surest pairs of the cells' constellation (P, 2); none if it does not tell."""
    from napari_neurobridge.matching.constellation.matcher import (
        match_constellation,  # torch, seconds
    )

    found = match_constellation(
        queries.centers_um,
        gallery.centers_um,
        orientation=project.stated_linear(queries.dataset, gallery.dataset),
        report=report,
    )
    if not found.known and not optional:
        raise InputError(found.reason)
    return found.pairs[:_MOST_PROPOSALS]


def _margins(
    project: Project, encoder: Encoder | None, queries: Side, gallery: Side, start: Match | None
) -> tuple[Margins | None, frozenset[str]]:
    """Return how the crops compare, and the somata of both sides that are not indexed.

    Without an index of either side there is nothing to compare.
    """
    if encoder is None:
        return None, frozenset()
    sides = queries, gallery
    indexed = [load_gallery(project, encoder, side.dataset) for side in sides]
    if not all(map(len, indexed)):
        return None, frozenset()
    unseen = frozenset[str]().union(
        *(known.missing(side.uids) for known, side in zip(indexed, sides, strict=True))
    )
    if (
        start is not None
        and start.appearance is not None
        and (start.model, start.not_indexed) == (model_label(encoder), unseen)
    ):
        return start.appearance.margins, unseen
    here, there = (
        known.embeddings_of(side.uids) for known, side in zip(indexed, sides, strict=True)
    )
    return Margins(here, there, queries.centers_um, gallery.centers_um), unseen


def _appearance(
    encoder: Encoder | None,
    margins: Margins | None,
    queries: Side,
    gallery: Side,
    accepted: RowArray,
) -> tuple[Appearance | None, str]:
    """Return what the crops say of candidates, and what the model leaves open."""
    if encoder is None or margins is None:
        return None, ""
    known = encoder.calibration
    learned = {frozenset(pair) for pair in known.trained_on}
    fresh = [
        frozenset((queries.uids[query], gallery.uids[soma])) not in learned
        for query, soma in accepted.tolist()
    ]
    appearance = appearance_of(margins, accepted[np.array(fresh, dtype=np.bool_)], known)
    if appearance is None:
        return None, _NO_LIKELIHOOD.format(model=encoder.name, count=FEWEST_TO_FIT_APPEARANCE)
    if known.likelihood is None:
        return appearance, _FITTED_LIKELIHOOD.format(model=encoder.name)
    return appearance, known.note


@dataclass(frozen=True, eq=False)
class _LogRatio:
    """What crops and rejections say of candidates."""

    appearance: Appearance | None
    excluded: Exclusions

    def __call__(self, queries: RowArray, rows: RowArray) -> Float64Array:
        total = self.excluded.log_ratio(queries, rows)
        return (
            total if self.appearance is None else total + self.appearance.log_ratio(queries, rows)
        )
