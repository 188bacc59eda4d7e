"""How many somata lie where the partner of a query is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.workbench.reasons import spread_um

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Ranking

N_DEVIATIONS = 3.7
"""Hold 19 of 20 partners, one in seven of which lies farther off than the others."""


def near_expected(project: Project, ranking: Ranking) -> tuple[float, int] | None:
    """Return how far the partner may lie from its expected place, and how many somata do so.

    Parameters
    ----------
    project : Project
    ranking : Ranking

    Returns
    -------
    reach_um : float
        `N_DEVIATIONS` standard deviations, over all directions.
    n_somata : int
        Somata of the gallery within as many, each direction by its own.

    ``None`` where no place is expected.
    """
    expected = ranking.expected
    if expected is None:
        return None
    somata = project.state().somata.get(ranking.gallery_dataset, {}).values()
    centers = np.array([soma.center_um for soma in somata]).reshape(-1, 3)
    offsets = centers - expected.center_um
    weighted = np.linalg.solve(np.array(expected.covariance_um2), offsets.T).T
    distance = np.sqrt(np.einsum("ij,ij->i", offsets, weighted))
    return N_DEVIATIONS * spread_um(expected), int((distance <= N_DEVIATIONS).sum())
