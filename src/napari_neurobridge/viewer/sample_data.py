"""File ▸ Open Sample: a simulated project, ready to click."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

import napari
from napari.utils.notifications import show_info

from napari_neurobridge.viewer.readers import EMPTY_LAYER_DATA, open_docks
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.sample import open_sample


def simulated_scene() -> list[tuple[None]]:
    """Simulate a small pair of volumes, and open them as a project step by step."""
    viewer = napari.current_viewer()
    if viewer is None:
        return EMPTY_LAYER_DATA
    open_docks(viewer)
    show_info("NeuroBridge simulates a small scene; the Data dock shows how far it is.")
    open_sample(binding_for(viewer).workbench, Path(mkdtemp(prefix="neurobridge-sample-")))
    return EMPTY_LAYER_DATA
