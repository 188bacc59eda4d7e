from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_neurobridge.project import DatasetSpec, Project
from napari_neurobridge.project.annotate import add_somata
from napari_neurobridge.types import Role, SomaSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def empty_project(tmp_path: Path) -> Iterator[Project]:
    """A project of two tables of points, still without somata."""
    project = Project.create(
        tmp_path / "mouse.neurobridge",
        [
            DatasetSpec(name="two_photon", role=Role.IN_VIVO),
            DatasetSpec(name="fmost", role=Role.EX_VIVO),
        ],
    )
    yield project
    project.close()


@pytest.fixture
def project(empty_project: Project) -> Project:
    """Five somata in each dataset, placed by "anna", 20 µm apart along x."""
    centers = np.zeros((5, 3))
    centers[:, 2] = 20 * np.arange(5)
    for dataset in ("two_photon", "fmost"):
        add_somata(empty_project, dataset, centers, source=SomaSource.IMPORTED, annotator="anna")
    return empty_project
