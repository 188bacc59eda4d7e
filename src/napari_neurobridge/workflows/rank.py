"""Ranked candidates for a cell or a position of a project, by the model that can rank now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.workflows.index import load_encoder, ranking_model
from napari_neurobridge.workflows.match import match_between

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Ranking, Vec3


@dataclass(frozen=True)
class RankedCell:
    """A ranking, and what a person should know of the model that made it.

    Attributes
    ----------
    ranking : Ranking
    model_note : str
        Why it was not the project's current model; empty otherwise.
    """

    ranking: Ranking
    model_note: str = ""


def rank_cell(
    project: Project,
    uid: str | None = None,
    k: int = 10,
    *,
    at_um: Vec3 | None = None,
    dataset: str | None = None,
    gallery: str | None = None,
    model: str | None = None,
) -> RankedCell:
    """Rank the somata of another dataset for a soma or a bare position.

    Parameters
    ----------
    project : Project
    uid : str, optional
        The soma; or else ``at_um`` is given.
    k : int
        How many candidates at most.
    at_um : Vec3, optional
        A position, µm (z, y, x); it is not snapped to a soma.
    dataset : str, optional
        Whose space ``at_um`` is in; the default in-vivo one unless given.
    gallery : str, optional
        Where to search; the default dataset of the other microscope unless given.
    model : str, optional
        Name or path; otherwise the model adopted last whose index is complete.

    Raises
    ------
    InputError
        If neither or both of soma and position are given, one is unknown, or there is
        nothing to rank.
    """
    from napari_neurobridge.matching.ranking import other_dataset, rank_position, rank_soma

    if (uid is None) == (at_um is None):
        raise InputError("Either a soma or a position is ranked for.")
    # What is wrong is told before a model is loaded.
    if uid is not None:
        dataset = project.state().soma(uid).dataset
    here = project.dataset(dataset or project.in_vivo()).name
    there = project.dataset(gallery or other_dataset(project, here)).name
    images = project.has_images(here, there)
    chosen = ranking_model(project, (here, there)) if images and model is None else None
    encoder = load_encoder(project, chosen.path if chosen else model) if images else None
    match = match_between(project, encoder, here, there)
    if uid is not None:
        ranking = rank_soma(project, encoder, uid, k, gallery=there, match=match)
    else:
        assert at_um is not None
        ranking = rank_position(project, encoder, at_um, here, k, gallery=there, match=match)
    return RankedCell(ranking, chosen.note if chosen else "")
