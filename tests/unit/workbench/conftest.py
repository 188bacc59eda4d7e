"""A workbench without Qt, for the modules that need no other one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.loops import Loop
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench(loop: Loop, points_project_folder: Path) -> Iterator[Workbench]:
    """Opened on two tables of points, without any verdict."""
    bench = Workbench(loop, annotator="me")
    bench.session.set_project(Project.open(points_project_folder))
    yield bench
    bench.close()


@pytest.fixture
def notices(workbench: Workbench) -> list[Notice]:
    """What the user is told, from now on."""
    heard: list[Notice] = []
    workbench.session.notified.connect(heard.append)
    return heard
