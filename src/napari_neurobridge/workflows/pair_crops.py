"""Crops of a project's accepted pairs: what models are trained and judged on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError

if TYPE_CHECKING:
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report


def accepted_pairs(project: Project, *, report: Report | None = None) -> PairSet:
    """Crop both cells of each undisputed pair of the default datasets.

    All pairs count as one scene; they are in the order of their uids on the two-photon side.
    Crops are held as the orientation says, as in the index: an alignment fitted to these pairs
    would know the answers that a model is judged on.

    Raises
    ------
    InputError
        If there is no pair, or a dataset has no image.
    """
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.project.crops import orientation_frame

    datasets = project.dataset(project.in_vivo()), project.dataset(project.ex_vivo())
    state = project.state()
    pairs = sorted(state.pairs_between(*(dataset.name for dataset in datasets)).items())
    if not pairs:
        raise InputError("The project has no accepted pairs yet.", kind=ErrorKind.TOO_FEW_PAIRS)
    crops, places = [], []
    for dataset, uids in zip(datasets, zip(*pairs, strict=True), strict=True):
        centers_um = np.array([state.soma(uid).center_um for uid in uids])
        linear = orientation_frame(project, dataset.name).orientation
        places.append(centers_um @ np.linalg.inv(linear).T)
        crops.append(project.crops(dataset.name, centers_um, report=report))
    return PairSet(crops[0], crops[1], np.zeros(len(pairs), dtype=np.int64), places[1])
