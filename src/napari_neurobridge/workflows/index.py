"""Loading an encoder, embedding all somata of a project with it, and which index to rank with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_neurobridge.models.current import current_model, usable_models
from napari_neurobridge.models.zoo import find_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.appearance.gallery import IndexResult
    from napari_neurobridge.models.current import UsableModel
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report


def load_encoder(project: Project | None = None, model: str | Path | None = None) -> Encoder:
    """Load a model.

    Parameters
    ----------
    project : Project, optional
        Its own models are found first.
    model : str or Path, optional
        Name or path; the project's current model unless given, the bundled one without a
        project.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be read.
    """
    folder = current_model(project).path if model is None else find_model(model, project)
    from napari_neurobridge.encoder.embed import Encoder  # torch, seconds

    return Encoder.load(folder)


def build_index(
    project: Project, model: str | None = None, *, report: Report | None = None
) -> IndexResult:
    """Embed all somata of all images that are not in the index of a model yet.

    Raises
    ------
    InputError
        If there is nothing to embed, no such model, or another job holds the project.
    """
    from napari_neurobridge.matching.appearance.gallery import index_project

    return index_project(project, load_encoder(project, model), report=report)


def ranking_model(
    project: Project, datasets: Sequence[str] | None = None, *, few: int = 0
) -> UsableModel:
    """Return the model to rank with: the one adopted last whose index is complete.

    Parameters
    ----------
    project : Project
    datasets : sequence of str, optional
        Whose index counts; the two default datasets unless given.
    few : int
        Somata that may be missing in an index where no model has a complete one.

    Returns
    -------
    UsableModel
        The current model where none has an index to rank with. ``note`` says why it is not
        the current one, or what is wrong with that.
    """
    from napari_neurobridge.matching.appearance.gallery import count_embedded

    names = [project.in_vivo(), project.ex_vivo()] if datasets is None else list(datasets)
    models = usable_models(project)
    if len(models) == 1 or any(project.dataset(name).uri is None for name in names):
        return models[0]
    counts = [count_embedded(project, model, datasets=names) for model in models]
    complete = [row for row, count in enumerate(counts) if count.complete]
    nearly = [
        row
        for row, count in enumerate(counts)
        if count.n_embedded > 0 and count.n_somata - count.n_embedded <= few
    ]
    row = next(iter(complete or nearly), 0)
    if row == 0:
        return models[0]
    missing = counts[0].n_somata - counts[0].n_embedded
    note = (
        f"Ranked with {models[row].label}: {missing} of {counts[0].n_somata} somata are not "
        f"indexed for the current model {models[0].label} yet."
    )
    return replace(models[row], note=" ".join(filter(None, [models[0].note, note])))
