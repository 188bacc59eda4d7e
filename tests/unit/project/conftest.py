from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_neurobridge.project import Project
from napari_neurobridge.project.log.annotate import add_somata
from napari_neurobridge.types import SomaSource

if TYPE_CHECKING:
    pass


@pytest.fixture
def project(empty_project: Project) -> Project:
    """Five somata in each dataset, placed by "anna", 20 µm apart along x."""
    centers = np.zeros((5, 3))
    centers[:, 2] = 20 * np.arange(5)
    for dataset in ("two_photon", "fmost"):
        add_somata(empty_project, dataset, centers, source=SomaSource.IMPORTED, annotator="anna")
    return empty_project
