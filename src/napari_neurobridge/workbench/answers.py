"""The answer to one query: a ranking, and the crops to judge it by.

Its functions run in worker threads, and import torch there; see `models`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from napari_neurobridge.workbench.surroundings import near_expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Candidate, Float32Array, Projection, Ranking, Vec3

N_SHOWN = 9
"""Candidates shown with a thumbnail: as many as there are digit keys."""


@dataclass(frozen=True)
class Query:
    """A place somebody asks about.

    Attributes
    ----------
    dataset : str
        Where it was clicked.
    center_um : Vec3
        Position in that dataset's space.
    uid : str or None
        The soma there; ``None`` for a bare position, which can be ranked but not judged.
    audit : bool
        Whether it is asked to learn how often the program errs: drawn at random, and
        answered without scores.
    """

    dataset: str
    center_um: Vec3
    uid: str | None = None
    audit: bool = False


@dataclass(frozen=True, eq=False)
class Crops:
    """Pictures of the query and of its candidates; equal to nothing but itself.

    Attributes
    ----------
    query : ndarray or None, shape (pixels, pixels)
        ``None`` when the dataset has no image.
    candidates : ndarray or None, shape (N, pixels, pixels)
        In the order in which they are shown.
    depth_um : float
        How far along the optical axis from the somata they were taken.
    """

    query: Float32Array | None
    candidates: Float32Array | None
    depth_um: float


@dataclass(frozen=True)
class Answer:
    """The best candidates for a query, with scores and crops; never blinded.

    For verdicts, which record what they rest on. What a view may show of it is in
    `QuestionSnapshot`.

    Attributes
    ----------
    query_crop : ndarray or None, shape (pixels, pixels)
        ``None`` when the dataset has no image.
    candidate_crops : ndarray or None, shape (len(shown), pixels, pixels)
        In the order of ``shown``.
    depth_um : float
        How far along the optical axis from the somata the crops were taken.
    match : Match or None
        What gave the ranking its probabilities; a verdict rests on this one, whatever has
        been matched since.
    near : (float, int) or None
        Reach and count of the somata around the expected place; see `near_expected`.
    """

    query: Query
    ranking: Ranking
    query_crop: Float32Array | None
    candidate_crops: Float32Array | None
    depth_um: float = 0.0
    match: Match | None = None
    near: tuple[float, int] | None = None

    @cached_property
    def crops(self) -> Crops:
        """The pictures, as one object that tells by its identity whether they are others."""
        return Crops(self.query_crop, self.candidate_crops, self.depth_um)

    @property
    def shown(self) -> tuple[Candidate, ...]:
        """The candidates that have a thumbnail: best first, or shuffled for an audit."""
        return shown_candidates(self.query, self.ranking)

    @property
    def none_leads(self) -> bool:
        """Whether none of the candidates is more probable than each of them."""
        first = max((one.probability or 0.0 for one in self.ranking.candidates), default=0.0)
        return self.ranking.p_none is not None and self.ranking.p_none > first

    @property
    def blind(self) -> bool:
        """Whether scores and ranks are to be hidden."""
        return self.query.audit


def shown_candidates(query: Query, ranking: Ranking) -> tuple[Candidate, ...]:
    """Return the candidates that get a thumbnail, in the order of their digit keys."""
    shown = list(ranking.candidates[:N_SHOWN])
    if query.audit:
        # Drawn from the uids alone: an order that depended on the ranks could give them away.
        shown.sort(key=lambda one: hashlib.sha256(f"{query.uid} {one.uid}".encode()).digest())
    return tuple(shown)


def answer_query(
    project: Project,
    load: Callable[[], Encoder],
    query: Query,
    match: Match | None = None,
    depth_um: float = 0.0,
    projection: Projection | None = None,
) -> Answer:
    """Rank the other dataset's somata for a query and cut the crops that show them.

    Parameters
    ----------
    project : Project
    load : callable
        Loads the encoder; called only where both sides have images.
    query : Query
    match : Match, optional
        Gives probabilities.
    depth_um : float
        How much deeper than the somata the crops are cut.
    projection : Projection, optional
        Of recordings over time; each dataset's own unless given.

    Raises
    ------
    InputError
        If much is not indexed, or there is nothing to rank.
    """
    from napari_neurobridge.matching.ranking import rank_position, rank_soma

    encoder = _encoder(project, load)
    if query.uid is not None:
        ranking = rank_soma(project, encoder, query.uid, k=N_SHOWN, match=match)
    else:
        ranking = rank_position(
            project, encoder, query.center_um, query.dataset, k=N_SHOWN, match=match
        )
    return with_crops(project, query, ranking, depth_um, match, projection)


def locate(
    project: Project,
    load: Callable[[], Encoder],
    answer: Answer,
    uid: str,
) -> Candidate:
    """Return the candidate that a soma outside the shown ones would be.

    Raises
    ------
    InputError
        If the soma is not in the gallery's index.
    """
    from napari_neurobridge.matching.ranking import locate_candidate

    encoder = _encoder(project, load)
    return locate_candidate(project, encoder, answer.ranking, uid, match=answer.match)


def _encoder(project: Project, load: Callable[[], Encoder]) -> Encoder | None:
    """Return the encoder; None where crops cannot be compared."""
    return load() if project.has_images() else None


def with_crops(
    project: Project,
    query: Query,
    ranking: Ranking,
    depth_um: float = 0.0,
    match: Match | None = None,
    projection: Projection | None = None,
) -> Answer:
    """Return the answer's crops, taken ``depth_um`` deeper than the somata; see `answer_query`."""
    centers = [candidate.center_um for candidate in shown_candidates(query, ranking)]
    query_crops, candidate_crops = (
        _facing(project, dataset, other, places, depth_um, projection)
        for dataset, other, places in (
            (query.dataset, ranking.gallery_dataset, [query.center_um]),
            (ranking.gallery_dataset, query.dataset, centers),
        )
    )
    return Answer(
        query=query,
        ranking=ranking,
        query_crop=None if query_crops is None else query_crops[0],
        candidate_crops=candidate_crops,
        depth_um=depth_um,
        match=match,
        near=near_expected(project, ranking),
    )


def _facing(
    project: Project,
    dataset: str,
    other: str,
    centers_um: list[Vec3],
    depth_um: float,
    projection: Projection | None,
) -> Float32Array | None:
    """Return crops of a dataset that show what those of another do; None without an image."""
    from napari_neurobridge.project.crops import aligned_frame, cut_crops

    if not project.has_images(dataset):
        return None
    frame = aligned_frame(project, dataset, other)
    return cut_crops(project, dataset, centers_um, frame, depth_um=depth_um, projection=projection)
