"""The encoders that the current project uses, loaded once and off the main thread.

Modules that import torch are imported where they are used, which is in a worker thread:
a dock must not freeze while torch loads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from napari_neurobridge.models.current import current_model
from napari_neurobridge.workbench.checklist import IndexState
from napari_neurobridge.workbench.native import keep_triton_away_from_mesa
from napari_neurobridge.workflows.index import load_encoder, ranking_model

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.models.current import UsableModel
    from napari_neurobridge.project.folder import Project


class EncoderCache:
    """Keeps the encoders that were used; torch is imported at the first use."""

    def __init__(self) -> None:
        self._encoders: dict[str, Encoder] = {}
        # Two jobs that want the same model at once load it once.
        self._loading = threading.Lock()

    def current(self, project: Project | None) -> Encoder:
        """Return the project's current model; the bundled one without a project."""
        return self.load(project, current_model(project))

    def ranking(self, project: Project) -> Encoder:
        """Return the model to rank with; see `ranking_model`."""
        return self.load(project, ranking_model(project))

    def index_state(self, project: Project) -> IndexState:
        """Return how much of a project its current model has embedded; loads no model."""
        from napari_neurobridge.matching.appearance.gallery import count_embedded

        current, ranked = current_model(project), ranking_model(project)
        count = count_embedded(project, current)
        other = ranked.hash != current.hash
        used = count_embedded(project, ranked) if other else count
        return IndexState(
            n_embedded=count.n_embedded,
            n_somata=count.n_somata,
            n_damaged=count.n_damaged,
            model=current.name,
            ranked_with=ranked.name if other else "",
            note=current.note,
            n_late=used.n_missing if used.n_embedded else 0,
        )

    def load(self, project: Project | None, model: UsableModel) -> Encoder:
        """Return a model's network; it is built once."""
        with self._loading:
            if model.hash not in self._encoders:
                keep_triton_away_from_mesa()
                self._encoders[model.hash] = load_encoder(project, model.path)
            return self._encoders[model.hash]
