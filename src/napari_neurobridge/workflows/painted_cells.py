"""How much was painted, and how many of the painted cells two ways of detecting find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.project.painted import BACKGROUND, CELL, painted_regions
from napari_neurobridge.spaces.mutual_nearest import mutual_nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.painted import PaintedRegion
    from napari_neurobridge.types import Report, Vec3

SAME_CELL_UM = 8.0
"""Nearer than this, two detections are of one cell, as are two painted spots."""


@dataclass(frozen=True)
class Painted:
    """How much was painted.

    Attributes
    ----------
    n_regions : int
        Regions with anything painted in them.
    n_cells : int
        Connected spots of one label, of which those within 8 µm of each other are one cell.
    n_cell_voxels, n_background_voxels : int
    """

    n_regions: int = 0
    n_cells: int = 0
    n_cell_voxels: int = 0
    n_background_voxels: int = 0

    @property
    def enough(self) -> bool:
        """Whether both kinds are there, so that something can be learned."""
        return self.n_cells > 0 and self.n_background_voxels > 0


def count_painted(regions: Sequence[PaintedRegion], voxel_size_um: Vec3) -> Painted:
    """Count what was painted."""
    boxes = [region.labels[box] for region in regions if (box := region.painted_box()) is not None]
    return Painted(
        len(boxes),
        len(painted_cells_um(regions, voxel_size_um)),
        sum(int((labels >= CELL).sum()) for labels in boxes),
        sum(int((labels == BACKGROUND).sum()) for labels in boxes),
    )


def painted_cells_um(
    regions: Sequence[PaintedRegion], voxel_size_um: Vec3
) -> npt.NDArray[np.float64]:
    """Return the middles of the painted cells, µm (z, y, x), shape (N, 3)."""
    from scipy import ndimage
    from skimage.measure import label

    from napari_neurobridge.detection.candidates import not_suppressed

    middles, sizes = [np.zeros((0, 3))], [np.zeros(0)]
    for region in regions:
        if (box := region.painted_box()) is None:
            continue
        labels = region.labels[box]
        spots, count = label(
            np.where(labels >= CELL, labels, 0), return_num=True, connectivity=labels.ndim
        )
        numbers = np.arange(1, count + 1)
        if count:
            first = [a + part.start for a, part in zip(region.start, box, strict=True)]
            inside = np.array(ndimage.center_of_mass(spots > 0, spots, numbers))
            middles.append((inside + first) * voxel_size_um)
            sizes.append(np.bincount(spots.ravel())[1:].astype(float))
    order = np.argsort(-np.concatenate(sizes), kind="stable")
    found = np.concatenate(middles)[order]
    return np.asarray(found[not_suppressed(found, np.full(len(found), SAME_CELL_UM))])


@dataclass(frozen=True)
class MethodCount:
    """What one way of detecting finds.

    Attributes
    ----------
    method : str
        As the log cites it.
    n_found : int
    n_painted_found : int
        Of the painted cells, those with a detection of their own within 8 µm.
    n_in_background : int
        Detections where background was painted.
    """

    method: str
    n_found: int
    n_painted_found: int
    n_in_background: int


@dataclass(frozen=True)
class DetectionComparison:
    """A segmenter beside the difference of Gaussians, in one dataset.

    Attributes
    ----------
    dog, segmenter : MethodCount
    n_both : int
        Somata that both find, within 8 µm.
    n_painted : int
        Painted cells; a segmenter that learned from them should find them.
    """

    dog: MethodCount
    segmenter: MethodCount
    n_both: int
    n_painted: int


def compare_detection(
    project: Project,
    dataset: str,
    *,
    model: str | None = None,
    soma_diameter_um: float | None = None,
    report: Report | None = None,
) -> DetectionComparison:
    """Detect the somata of a dataset in both ways, block by block, and record neither.

    Parameters
    ----------
    project : Project
    dataset : str
    model : str, optional
        Name or path of the segmenter; the bundled one unless given.
    soma_diameter_um : float, optional
        Of the difference of Gaussians; that of the dataset's last run unless given.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If the dataset is unknown or has no image, or there is no such segmenter.
    """
    from napari_neurobridge.detection.dog import DogParams
    from napari_neurobridge.detection.segment import SegmentParams
    from napari_neurobridge.workflows.detect import find_detector, last_diameter_um

    diameter = soma_diameter_um or last_diameter_um(project, dataset)
    volume = project.volume(dataset)
    regions = painted_regions(project, dataset)
    cells_um = painted_cells_um(regions, volume.voxel_size_um)
    counts, places = [], []
    for params in (DogParams(soma_diameter_um=diameter), SegmentParams()):
        detector = find_detector(project, params, model)
        found = detector.find(volume, report).centers_um
        places.append(found)
        counts.append(
            MethodCount(
                detector.label,
                len(found),
                _hits(cells_um, found),
                _in_background(found / volume.voxel_size_um, regions),
            )
        )
    n_both = len(mutual_nearest(places[0], places[1], SAME_CELL_UM))
    return DetectionComparison(counts[0], counts[1], n_both, len(cells_um))


def _hits(cells_um: npt.NDArray[np.float64], found_um: npt.NDArray[np.float64]) -> int:
    """Return how many painted cells have a detection of their own."""
    from scipy.spatial import KDTree

    from napari_neurobridge.detection.hits import count_hits

    if not len(cells_um) or not len(found_um):
        return 0
    # A brain has more detections than a table of all distances would hold.
    near = KDTree(cells_um).query(found_um)[0] <= SAME_CELL_UM
    return count_hits(cells_um, found_um[near], within_um=SAME_CELL_UM)


def _in_background(voxels: npt.NDArray[np.float64], regions: Sequence[PaintedRegion]) -> int:
    """Return how many places (N, 3), in voxels, lie where background was painted."""
    at = np.rint(voxels).astype(int)
    there = np.zeros(len(at), dtype=bool)
    for region in regions:
        inside = ((at >= region.start) & (at < region.stop)).all(axis=1)
        rows = at[inside] - region.start
        there[inside] |= region.labels[tuple(rows.T)] == BACKGROUND
    return int(there.sum())
