"""File ▸ Open Sample: a simulated project, ready to click."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import napari
import numpy as np
from napari.utils.notifications import show_info

from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.viewer.readers import open_docks
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.sample import open_sample


def simulated_scene() -> list[tuple[Any, dict[str, Any], str]]:
    """Simulate a small pair of volumes, and open them as a project step by step.

    Returns
    -------
    list of tuple
        One empty layer, since napari refuses a sample without any; it goes when the
        project opens.
    """
    viewer = napari.current_viewer()
    if viewer is not None:
        open_docks(viewer)
        show_info("NeuroBridge simulates a small scene; the Data dock shows how far it is.")
        open_sample(binding_for(viewer).workbench, Path(mkdtemp(prefix="neurobridge-sample-")))
    placeholder = {"name": "simulating …", "ndim": 3, "metadata": {DATASET_KEY: ""}}
    return [(np.zeros((0, 3)), placeholder, "points")]
