"""The outlines of a dataset's somata that were imported as regions, and still lie there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.outline_file import Outlines
from napari_neurobridge.types import SomaSource

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project


def outlines_of(
    project: Project, dataset: str
) -> tuple[dict[str, npt.NDArray[np.float32]], tuple[str, ...]]:
    """Return the outline (V, 3), µm (z, y, x), of each soma that has one.

    A soma that a person deleted or moved has none: the outline says where the cell was found.

    Parameters
    ----------
    project : Project
    dataset : str

    Returns
    -------
    outlines : dict of uid to ndarray
    problems : tuple of str
        Files that are missing or damaged, a sentence each; somata do not depend on them.

    Raises
    ------
    InputError
        If the dataset is unknown.
    """
    project.dataset(dataset)
    state = project.state()
    living = {
        uid: soma.center_um
        for uid, soma in state.somata.get(dataset, {}).items()
        if soma.source is SomaSource.IMPORTED
    }
    found: dict[str, npt.NDArray[np.float32]] = {}
    problems = []
    for origin in state.origins.get(dataset, ()):
        if origin.outlines is None:
            continue
        try:
            stored = Outlines.load(project.rois_dir, origin.outlines)
        except InputError as error:
            problems.append(str(error))
            continue
        rows = zip(stored.uids, stored.centers_um, stored.outlines_um, strict=True)
        found |= {
            uid: outline
            for uid, center, outline in rows
            if len(outline) and uid in living and np.allclose(center, living[uid])
        }
    return found, tuple(problems)
