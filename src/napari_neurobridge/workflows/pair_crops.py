"""Crops of a project's accepted pairs: what models are trained and judged on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.insight.evaluation import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Report, Soma


_BATCH = 16


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
    pairs = accepted_somata(project)
    if not pairs:
        raise InputError("The project has no accepted pairs yet.", kind=ErrorKind.TOO_FEW_PAIRS)
    return crop_pairs(project, pairs, report=report)


def crop_pairs(
    project: Project, pairs: Sequence[tuple[Soma, Soma]], *, report: Report | None = None
) -> PairSet:
    """Crop pairs; see `crop_pairs_in_steps`."""
    for step in crop_pairs_in_steps(project, pairs):
        if not isinstance(step, Progress):
            return step
        if report is not None:
            report(step.done, step.total, step.message)
    raise AssertionError("The steps end with the pairs.")


def oriented_places(
    project: Project, dataset: str, centers_um: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return where cells lie in the frame that their crops are held in, µm (z, y, x)."""
    from napari_neurobridge.project.crops import orientation_frame

    linear = orientation_frame(project, dataset).orientation
    places: npt.NDArray[np.float64] = centers_um @ np.linalg.inv(linear).T
    return places


def accepted_somata(project: Project) -> tuple[tuple[Soma, Soma], ...]:
    """Return the undisputed pairs of the default datasets, ordered by two-photon uid."""
    state = project.state()
    uids = state.pairs_between(project.in_vivo(), project.ex_vivo())
    return tuple((state.soma(one), state.soma(other)) for one, other in sorted(uids.items()))


def crop_pairs_in_steps(
    project: Project, pairs: Sequence[tuple[Soma, Soma]]
) -> Iterator[Progress | PairSet]:
    """Crop pairs in small steps, between which other work may slip in.

    Parameters
    ----------
    project : Project
    pairs : sequence of (Soma, Soma)
        Of the default datasets, at least one; see `accepted_somata`.

    Yields
    ------
    Progress or PairSet
        The pairs come last.

    Raises
    ------
    InputError
        If a dataset has no image.
    """
    from napari_neurobridge.io.pairs import PairSet

    datasets = project.dataset(project.in_vivo()), project.dataset(project.ex_vivo())
    crops, places, n = [], [], len(pairs)
    for side, dataset in enumerate(datasets):
        centers_um = np.array([pair[side].center_um for pair in pairs])
        places.append(oriented_places(project, dataset.name, centers_um))
        parts = []
        for start in range(0, n, _BATCH):
            yield Progress(side * n + start, 2 * n, f"cropping {dataset.name}")
            parts.append(project.crops(dataset.name, centers_um[start : start + _BATCH]))
        crops.append(np.concatenate(parts))
    yield PairSet(crops[0], crops[1], np.zeros(n, dtype=np.int64), places[1])
