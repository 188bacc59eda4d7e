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


def ranking_model(project: Project, datasets: Sequence[str] | None = None) -> UsableModel:
    """Return the model to rank with: the one adopted last whose index lacks few somata.

    Parameters
    ----------
    project : Project
    datasets : sequence of str, optional
        Whose index counts; the two default datasets unless given.

    Returns
    -------
    UsableModel
        Where all lack more than a few, the one that has most; the current model where none has
        an index. ``note`` says why it is not the current one, or what is wrong with that.
    """
    from napari_neurobridge.matching.appearance.gallery import count_embedded

    names = [project.in_vivo(), project.ex_vivo()] if datasets is None else list(datasets)
    models = usable_models(project)
    if len(models) == 1 or not project.has_images(*names):
        return models[0]
    counts = [count_embedded(project, model, datasets=names) for model in models]
    most = max(range(len(models)), key=lambda row: counts[row].n_embedded)  # the newest of equals
    row = next((row for row, count in enumerate(counts) if count.usable), most)
    if row == 0:
        return models[0]
    missing = f"{counts[0].n_missing} of {counts[0].n_somata} somata"
    note = (
        f"Ranked with {models[row].label}: {missing} are not indexed for the current model "
        f"{models[0].label} yet."
    )
    return replace(models[row], note=" ".join(filter(None, [models[0].note, note])))
