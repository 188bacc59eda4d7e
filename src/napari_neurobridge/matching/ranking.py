"""Ranked candidates for one query, in either direction between the two microscopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.matching.gallery import (
    Gallery,
    embed_positions,
    load_gallery,
    model_label,
)
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.types import Candidate, Float32Array, Ranking, Role, Vec3

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.project.folder import Project


def other_dataset(project: Project, dataset: str) -> str:
    """Return the dataset of the other role in which candidates are sought by default."""
    in_vivo = project.dataset(dataset).role is Role.IN_VIVO
    return project.ex_vivo() if in_vivo else project.in_vivo()


def rank_soma(
    project: Project,
    encoder: Encoder,
    uid: str,
    k: int = 10,
    *,
    gallery: str | None = None,
    spec: CropSpec | None = None,
) -> Ranking:
    """Rank the somata of another dataset for a soma.

    Parameters
    ----------
    project : Project
        Completely indexed for ``encoder`` in the gallery's dataset.
    encoder : Encoder
    uid : str
        The query.
    k : int
        How many candidates at most.
    gallery : str, optional
        Dataset to search; by default that of the other role.
    spec : CropSpec, optional
        The default crop unless given.

    Returns
    -------
    Ranking
        Candidates by falling cosine similarity. ``probability``, ``p_none`` and
        ``residual_um`` are ``None``: nothing gives them a meaning yet.

    Raises
    ------
    InputError
        If the uid is unknown, the gallery is empty, or its index incomplete.
    """
    soma = project.state().soma(uid)
    target = _complete_gallery(project, encoder, soma.dataset, gallery, spec)
    query = _embed_query(project, encoder, soma.dataset, soma.center_um, uid, spec)
    return _ranking(target, query, k, encoder, soma.dataset, soma.center_um, uid)


def rank_position(
    project: Project,
    encoder: Encoder,
    position_um: Vec3,
    dataset: str,
    k: int = 10,
    *,
    gallery: str | None = None,
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
    z, y, x = as_points(position_um)[0].tolist()
    target = _complete_gallery(project, encoder, dataset, gallery, spec)
    _require_overlap(project, dataset, (z, y, x), spec or CropSpec())
    query = _embed_query(project, encoder, dataset, (z, y, x), None, spec)
    return _ranking(target, query, k, encoder, dataset, (z, y, x), None)


def locate_candidate(
    project: Project,
    encoder: Encoder,
    ranking: Ranking,
    uid: str,
    *,
    spec: CropSpec | None = None,
) -> Candidate:
    """Return the candidate that any soma of a ranking's gallery is, listed or not.

    Parameters
    ----------
    project : Project
    encoder : Encoder
        The one that made the ranking.
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
    if ranking.model != model_label(encoder):
        raise InputError(f"This ranking was made with {ranking.model}; rank again.")
    gallery = load_gallery(project, encoder, ranking.gallery_dataset, spec=spec)
    query = _embed_query(
        project,
        encoder,
        ranking.query_dataset,
        ranking.query_center_um,
        ranking.query_uid,
        spec,
    )
    row, rank, similarity = gallery.locate(query, uid)
    return Candidate(rank, uid, _vec3(gallery.centers_um[row]), similarity)


def _embed_query(
    project: Project,
    encoder: Encoder,
    dataset: str,
    center_um: Vec3,
    uid: str | None,
    spec: CropSpec | None,
) -> Float32Array:
    """Return the (dim,) embedding of a query, from the index when it holds one for this place."""
    if uid is not None:
        known = load_gallery(project, encoder, dataset, spec=spec)
        row = known.row(uid)
        if row is not None and _vec3(known.centers_um[row]) == center_um:
            indexed: Float32Array = known.embeddings[row]
            return indexed
    embedded: Float32Array = embed_positions(project, encoder, dataset, [center_um], spec=spec)[0]
    return embedded


def _complete_gallery(
    project: Project,
    encoder: Encoder,
    query_dataset: str,
    gallery: str | None,
    spec: CropSpec | None,
) -> Gallery:
    name = gallery or other_dataset(project, query_dataset)
    if name == query_dataset:
        raise InputError(f"Candidates must come from another dataset than '{query_dataset}'.")
    loaded = load_gallery(project, encoder, name, spec=spec)
    loaded.require_complete()
    return loaded


def _require_overlap(project: Project, dataset: str, position_um: Vec3, spec: CropSpec) -> None:
    source = project.dataset(dataset)
    if source.uri is None:
        return  # embed_positions says what is missing
    half = np.array([spec.slab_um, spec.size_um, spec.size_um]) / 2
    reach = np.abs(source.orientation.linear()) @ half
    extent = np.asarray(project.volume(dataset).extent_um)
    if extent[0] == 0:
        reach[0] = np.inf  # a single plane is shown whatever the depth
    position = np.asarray(position_um)
    if ((position < -reach) | (position > extent + reach)).any():
        far = " × ".join(f"{length:.0f}" for length in extent)
        raise InputError(
            f"The position lies outside '{dataset}', which spans {far} µm (z × y × x) from 0."
        )


def _ranking(
    gallery: Gallery,
    query: Float32Array,
    k: int,
    encoder: Encoder,
    dataset: str,
    center_um: Vec3,
    uid: str | None,
) -> Ranking:
    rows, similarities = gallery.search(query, k)
    candidates = tuple(
        Candidate(
            rank=rank,
            uid=gallery.uids[row],
            center_um=_vec3(gallery.centers_um[row]),
            similarity=float(similarity),
        )
        for rank, (row, similarity) in enumerate(zip(rows, similarities, strict=True), start=1)
    )
    return Ranking(
        query_dataset=dataset,
        gallery_dataset=gallery.dataset,
        query_uid=uid,
        query_center_um=center_um,
        candidates=candidates,
        model=model_label(encoder),
    )


def _vec3(row: np.ndarray) -> Vec3:
    z, y, x = row.tolist()
    return (z, y, x)
