"""Opening a project folder with napari's File ▸ Open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari

from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.draft import PROJECT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable

EMPTY_LAYER_DATA = [(None,)]
"""What a napari reader returns that adds no layer itself."""


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[tuple[None]]] | None:
    """Return a reader for project folders; None for everything else."""
    if isinstance(path, list) or Path(path).suffix != PROJECT_SUFFIX:
        return None
    return read_project


def read_project(path: str | list[str]) -> list[tuple[None]]:
    """Open a project folder in the current viewer's workbench."""
    viewer = napari.current_viewer()
    if viewer is not None and isinstance(path, str):
        show_project(viewer, Path(path))
    return EMPTY_LAYER_DATA


def show_project(viewer: napari.Viewer, path: Path) -> None:
    """Open a project folder in a viewer, with its docks."""
    open_docks(viewer)
    binding_for(viewer).workbench.setup.open_project(path)


def open_docks(viewer: napari.Viewer) -> None:
    """Open the docks that a project needs; each is there at most once."""
    binding_for(viewer).column.open_as_left()
