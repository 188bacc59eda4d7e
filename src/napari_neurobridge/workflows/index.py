"""Loading an encoder, and embedding all somata of a project with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.models.zoo import find_model

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.appearance.gallery import IndexResult
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report


def load_encoder(project: Project | None, model: str) -> Encoder:
    """Load a model by name or path; a project's own models are found first.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be read.
    """
    folder = find_model(model, project)
    from napari_neurobridge.encoder.embed import Encoder  # torch, seconds

    return Encoder.load(folder)


def build_index(project: Project, model: str, *, report: Report | None = None) -> IndexResult:
    """Embed all somata of all images that are not in the index of a model yet.

    Raises
    ------
    InputError
        If there is nothing to embed, no such model, or another job holds the project.
    """
    from napari_neurobridge.matching.appearance.gallery import index_project

    return index_project(project, load_encoder(project, model), report=report)
