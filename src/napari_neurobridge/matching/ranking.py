"""Ranked candidates for one query, in either direction between the two microscopes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.gallery import load_gallery, model_label
from napari_neurobridge.matching.appearance.shortlist import query_embedding, shortlist_embeddings
from napari_neurobridge.matching.sides import Side
from napari_neurobridge.project.crops import require_image_at
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.types import Basis, Candidate, Expected, Float32Array, Ranking, Role, Vec3

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.matching.posterior_reader import PartnerPosterior
    from napari_neurobridge.project.folder import Project

# Where more than this is left to somata that are not listed, probabilities order nothing.
_OUT_OF_REACH = 0.5
_TOO_FAR = "Too far from the accepted pairs for a probability: accept one nearby."
_NO_PAIRS = "No probability yet: it needs accepted pairs, and all cells matched from them."


@dataclass(frozen=True)
class Question:
    """What a ranking is about; see `Ranking`."""

    dataset: str
    gallery: str
    center_um: Vec3
    uid: str | None


def other_dataset(project: Project, dataset: str) -> str:
    """Return the dataset of the other role in which candidates are sought by default."""
    in_vivo = project.dataset(dataset).role is Role.IN_VIVO
    return project.ex_vivo() if in_vivo else project.in_vivo()


def rank_soma(
    project: Project,
    encoder: Encoder | None,
    uid: str,
    k: int = 10,
    *,
    gallery: str | None = None,
    match: Match | None = None,
    spec: CropSpec | None = None,
) -> Ranking:
    """Rank the somata of another dataset for a soma.

    Parameters
    ----------
    project : Project
    encoder : Encoder or None
        Without it nothing is said about how alike the crops look. The gallery's dataset
        must be indexed for it but for a few somata, which are not listed then, unless
        ``match`` orders the candidates.
    uid : str
        The query.
    k : int
        How many candidates at most.
    gallery : str, optional
        Dataset to search; by default that of the other role.
    match : Match, optional
        Gives probabilities where it reaches.
    spec : CropSpec, optional
        The default crop unless given.

    Returns
    -------
    Ranking
        By falling probability; without one by falling cosine similarity of the crops; without
        images by rising distance from where the alignment or the orientation puts the query.

    Raises
    ------
    InputError
        If the uid is unknown, the gallery is empty, or its index lacks more than a few somata.
    """
    _require_positive(k)
    soma = project.state().soma(uid)
    name = _gallery_name(project, soma.dataset, gallery)
    return _rank(
        project, encoder, Question(soma.dataset, name, soma.center_um, uid), k, match, spec
    )


def rank_position(
    project: Project,
    encoder: Encoder | None,
    position_um: Vec3,
    dataset: str,
    k: int = 10,
    *,
    gallery: str | None = None,
    match: Match | None = None,
    spec: CropSpec | None = None,
) -> Ranking:
    """Rank the somata of another dataset for a bare position, which is not snapped.

    Parameters
    ----------
    position_um : Vec3
        In the space of ``dataset``, (z, y, x). Near a border the crop is padded.
    dataset : str
        Where the position lies.

    Other parameters, the result and the errors are those of `rank_soma`; a position so
    far outside the image that its crop would be empty is an `InputError` too.
    """
    _require_positive(k)
    z, y, x = as_points(position_um)[0].tolist()
    name = _gallery_name(project, dataset, gallery)
    require_image_at(project, dataset, (z, y, x), spec)
    return _rank(project, encoder, Question(dataset, name, (z, y, x), None), k, match, spec)


def locate_candidate(
    project: Project,
    encoder: Encoder | None,
    ranking: Ranking,
    uid: str,
    *,
    match: Match | None = None,
    spec: CropSpec | None = None,
) -> Candidate:
    """Return the candidate that any soma of a ranking's gallery is, listed or not.

    Parameters
    ----------
    project : Project
    encoder : Encoder or None
    match : Match, optional
        Those that made the ranking.
    ranking : Ranking
        However short. Its query is embedded again only if it is a bare position or its
        soma is not indexed.
    uid : str
        A soma of ``ranking.gallery_dataset``.
    spec : CropSpec, optional
        As for the ranking.

    Returns
    -------
    Candidate
        Equal to what a ranking of the whole gallery would hold.

    Raises
    ------
    InputError
        If the uid is unknown, of another dataset or not indexed, or another model made
        the ranking.
    """
    soma = project.state().soma(uid)
    if soma.dataset != ranking.gallery_dataset:
        raise InputError(
            f"'{uid}' lies in '{soma.dataset}', but the candidates in '{ranking.gallery_dataset}'."
        )
    if ranking.model and (encoder is None or ranking.model != model_label(encoder)):
        raise InputError(f"This ranking was made with {ranking.model}; rank again.")
    for candidate in ranking.candidates:
        if candidate.uid == uid:
            return candidate
    question = Question(
        ranking.query_dataset, ranking.gallery_dataset, ranking.query_center_um, ranking.query_uid
    )
    if ranking.basis is Basis.APPEARANCE and encoder is not None:
        gallery = load_gallery(project, encoder, question.gallery, spec=spec)
        row, rank, _ = gallery.locate(_oriented_query(project, encoder, question, spec), uid)
        similarity = _aligned_similarities(project, encoder, question, [uid], spec)[0]
        return Candidate(rank, uid, _vec3(gallery.centers_um[row]), similarity)
    if ranking.basis is Basis.DISTANCE:
        everyone = _by_distance(project, question, None).candidates
        return next(candidate for candidate in everyone if candidate.uid == uid)
    found = _judged(match, question)
    if match is None or found is None or uid not in match:
        raise InputError(f"'{uid}' is not matched yet; one moment.")
    side, (judged, expected) = match.others_of(question.dataset), found
    row = side.rows[uid]
    among = np.flatnonzero(judged.rows == row)
    rank = int(among[0]) + 1 if len(among) else len(judged.rows) + 1
    alone = np.array([row], dtype=np.intp)
    args = project, encoder, question, match, judged, expected, alone, spec
    return replace(_candidates(*args)[0], rank=rank)


def _rank(
    project: Project,
    encoder: Encoder | None,
    question: Question,
    k: int,
    match: Match | None,
    spec: CropSpec | None,
) -> Ranking:
    found = _judged(match, question)
    if match is None or found is None:
        return _without_probability(project, encoder, question, k, spec)
    judged, expected = found
    outside = match.bounds[question.gallery].excludes(expected)
    if judged.beyond >= _OUT_OF_REACH:
        ranking = _without_probability(project, encoder, question, k, spec)
        return replace(ranking, note=_TOO_FAR, expected=expected, outside=outside)
    rows = judged.rows[:k]
    return Ranking(
        query_dataset=question.dataset,
        gallery_dataset=question.gallery,
        query_uid=question.uid,
        query_center_um=question.center_um,
        candidates=_candidates(project, encoder, question, match, judged, expected, rows, spec),
        p_none=judged.none,
        none_in_set=_in_set(match, question, None),
        model="" if encoder is None else model_label(encoder),
        basis=Basis.PROBABILITY,
        expected=expected,
        outside=outside,
    )


def _judged(
    match: Match | None, question: Question
) -> tuple[PartnerPosterior, Expected | None] | None:
    """Return what a match says of a question, None if it says nothing."""
    if match is None or {question.dataset, question.gallery} != set(match.datasets):
        return None
    try:
        if question.uid is None:
            place = question.center_um, question.dataset
            return match.judge_position(*place), match.expect_position(*place)
        if question.uid not in match:  # added since
            return None
        return match.judge(question.uid), match.expect(question.uid)
    except NotInvertibleError:  # the candidates are known, and where they should lie is not
        return None if question.uid is None else (match.judge(question.uid), None)


def _candidates(
    project: Project,
    encoder: Encoder | None,
    question: Question,
    match: Match,
    judged: PartnerPosterior,
    expected: Expected | None,
    rows: npt.NDArray[np.intp],
    spec: CropSpec | None,
) -> tuple[Candidate, ...]:
    """Describe somata of the other side, those that are not listed with probability 0."""
    side = match.others_of(question.dataset)
    similarity = _similarities(project, encoder, question, [side.uids[row] for row in rows], spec)
    known = dict(zip(judged.rows.tolist(), judged.probability.tolist(), strict=True))
    place = None if expected is None else np.asarray(expected.center_um)
    return tuple(
        Candidate(
            rank=rank,
            uid=side.uids[row],
            center_um=_vec3(side.centers_um[row]),
            similarity=alike,
            residual_um=None
            if place is None
            else float(np.linalg.norm(side.centers_um[row] - place)),
            probability=known.get(int(row), 0.0),
            in_set=_in_set(match, question, side.uids[row]),
        )
        for rank, (row, alike) in enumerate(zip(rows, similarity, strict=True), start=1)
    )


def _in_set(match: Match, question: Question, answer: str | None) -> bool | None:
    """Return whether an answer belongs to the candidate set; None for a bare place."""
    if question.uid is None:
        return None
    return match.sets.holds(match.mass_above(question.uid, answer))


def _similarities(
    project: Project,
    encoder: Encoder | None,
    question: Question,
    uids: list[str],
    spec: CropSpec | None,
) -> list[float | None]:
    """Return how alike the crops of a query and of some somata are; None where unknown."""
    if encoder is None or not project.has_images(question.dataset, question.gallery):
        return [None] * len(uids)
    return _aligned_similarities(project, encoder, question, uids, spec)


def _aligned_similarities(
    project: Project, encoder: Encoder, question: Question, uids: list[str], spec: CropSpec | None
) -> list[float | None]:
    """As `_similarities`, of crops that are held as the alignment says; costs a few crops."""
    listed = shortlist_embeddings(
        project, encoder, question.gallery, uids, question.dataset, spec=spec
    )
    query = query_embedding(
        project,
        encoder,
        question.dataset,
        question.center_um,
        question.uid,
        other=question.gallery,
        spec=spec,
    )
    return [float(listed[uid] @ query) if uid in listed else None for uid in uids]


def _oriented_query(
    project: Project, encoder: Encoder, question: Question, spec: CropSpec | None
) -> Float32Array:
    """Return the (dim,) embedding of a query as the index of the gallery is compared with."""
    return query_embedding(
        project, encoder, question.dataset, question.center_um, question.uid, spec=spec
    )


def _without_probability(
    project: Project,
    encoder: Encoder | None,
    question: Question,
    k: int,
    spec: CropSpec | None,
) -> Ranking:
    if encoder is None or not project.has_images(question.dataset, question.gallery):
        return _by_distance(project, question, k)
    gallery = load_gallery(project, encoder, question.gallery, spec=spec)
    gallery.require_most()
    rows, _ = gallery.search(_oriented_query(project, encoder, question, spec), k)
    uids = [gallery.uids[row] for row in rows]
    similarities = np.array(_aligned_similarities(project, encoder, question, uids, spec))
    candidates = tuple(
        Candidate(
            rank, uids[place], _vec3(gallery.centers_um[rows[place]]), float(similarities[place])
        )
        for rank, place in enumerate(np.argsort(-similarities, kind="stable"), start=1)
    )
    return Ranking(
        query_dataset=question.dataset,
        gallery_dataset=question.gallery,
        query_uid=question.uid,
        query_center_um=question.center_um,
        candidates=candidates,
        model=model_label(encoder),
        basis=Basis.APPEARANCE,
        note=" ".join(filter(None, [_NO_PAIRS, gallery.note])),
    )


def _by_distance(project: Project, question: Question, k: int | None) -> Ranking:
    """Rank by the distance from where the alignment, or the orientation, puts the query."""
    side = Side.of(question.gallery, project.state().somata[question.gallery])
    if not len(side):
        raise InputError(
            f"'{question.gallery}' has no somata to rank; detect or import them first."
        )
    place = project.map_points([question.center_um], question.dataset, question.gallery)[0]
    distance = np.linalg.norm(side.centers_um - place, axis=1)
    candidates = tuple(
        Candidate(rank, side.uids[row], _vec3(side.centers_um[row]), None, float(distance[row]))
        for rank, row in enumerate(np.argsort(distance, kind="stable")[:k], start=1)
    )
    return Ranking(
        query_dataset=question.dataset,
        gallery_dataset=question.gallery,
        query_uid=question.uid,
        query_center_um=question.center_um,
        candidates=candidates,
        basis=Basis.DISTANCE,
        note=_NO_PAIRS,
    )


def _gallery_name(project: Project, query_dataset: str, gallery: str | None) -> str:
    name = gallery or other_dataset(project, query_dataset)
    if name == query_dataset:
        raise InputError(f"Candidates must come from another dataset than '{query_dataset}'.")
    return project.dataset(name).name


def _require_positive(k: int) -> None:
    if k < 1:
        raise InputError(f"Ask for at least one candidate, not {k}.")


def _vec3(row: np.ndarray) -> Vec3:
    z, y, x = row.tolist()
    return (z, y, x)
