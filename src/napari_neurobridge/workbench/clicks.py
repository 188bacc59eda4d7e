"""Which soma a click in a canvas means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3

CLICK_RADIUS_UM = 12.0
CLICK_HALF_SLAB_UM = 20.0


def soma_at(project: Project, dataset: str, position_um: Vec3, depth_axis: int) -> str | None:
    """Return the uid of the soma under a click; None where there is none.

    Parameters
    ----------
    project : Project
    dataset : str
        That the canvas shows.
    position_um : Vec3
        Of the click, µm (z, y, x).
    depth_axis : int
        The axis that the canvas looks along: a click says little about it.
    """
    somata = list(project.state().somata.get(dataset, {}).values())
    if not somata:
        return None
    offsets = np.array([soma.center_um for soma in somata]) - np.asarray(position_um)
    in_plane = np.delete(offsets, depth_axis, axis=1)
    distances = np.hypot(in_plane[:, 0], in_plane[:, 1])
    distances[np.abs(offsets[:, depth_axis]) > CLICK_HALF_SLAB_UM] = np.inf
    nearest = int(distances.argmin())
    return somata[nearest].uid if distances[nearest] <= CLICK_RADIUS_UM else None
