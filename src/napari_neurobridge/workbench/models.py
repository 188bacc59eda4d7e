"""The encoder that the current project ranks with, loaded once and off the main thread.

Modules that import torch are imported where they are used, which is in a worker thread:
a dock must not freeze while torch loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.workbench.checklist import IndexState
from napari_neurobridge.workbench.native import keep_triton_away_from_mesa
from napari_neurobridge.workflows.index import load_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.project.folder import Project


class EncoderCache:
    """Keeps the encoders that were used; torch is imported at the first use."""

    def __init__(self) -> None:
        self._encoders: dict[Path, Encoder] = {}

    def get(self, project: Project, model: str) -> Encoder:
        """Return a model by name; the project's own models are found first."""
        keep_triton_away_from_mesa()
        folder = find_model(model, project)
        if folder not in self._encoders:
            self._encoders[folder] = load_encoder(project, model)
        return self._encoders[folder]

    def index_state(self, project: Project, model: str) -> IndexState:
        """Return how much of a project this model has embedded."""
        from napari_neurobridge.matching.appearance.gallery import count_embedded

        n_embedded, n_somata = count_embedded(project, self.get(project, model))
        return IndexState(n_embedded, n_somata)
