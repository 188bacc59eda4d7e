"""From other programs' regions to somata of a project."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.outline_file import Outlines
from napari_neurobridge.io.rois.read import RoiReading, read_rois
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.soma_events import RoiOrigin
from napari_neurobridge.types import Soma, SomaSource
from napari_neurobridge.workflows.setup import free_uids, import_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.io.rois.roi_set import RoiSet
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3

TABLE_SUFFIX = ".csv"


@dataclass(frozen=True)
class RoiPlace:
    """What a person states about where regions lie; ``None``: as files and dataset say.

    Attributes
    ----------
    voxel_size_um : Vec3 or None
        µm (z, y, x) of the image in which they were found.
    pixel_um : float or None
        The same along y and x, for regions in one plane.
    z_um : float or None
        Depth of that plane in the dataset.
    """

    voxel_size_um: Vec3 | None = None
    pixel_um: float | None = None
    z_um: float | None = None

    def __post_init__(self) -> None:
        if self.voxel_size_um is not None and self.pixel_um is not None:
            raise InputError("A voxel size and a pixel size are stated; state one of them.")
        sizes = [*(self.voxel_size_um or ()), 1.0 if self.pixel_um is None else self.pixel_um]
        if not all(np.isfinite(size) and size > 0 for size in sizes):
            raise InputError("The size of a pixel is a positive number of µm.")
        if self.z_um is not None and not np.isfinite(self.z_um):
            raise InputError("The depth of a plane is a number of µm.")


@dataclass(frozen=True)
class ImportedRois:
    """What an import did.

    Attributes
    ----------
    somata : list of Soma
        In the order of the file.
    format : str
    n_in_file : int
        Regions in the file; fewer may have been kept.
    kept_by : str
        What chose among them.
    notes : tuple of str
        What a person should know, a sentence each.
    """

    somata: list[Soma]
    format: str
    n_in_file: int
    kept_by: str
    notes: tuple[str, ...] = field(default=())


def import_rois(
    project: Project,
    dataset: str,
    path: Path,
    *,
    place: RoiPlace | None = None,
    reading: RoiReading | None = None,
    annotator: str | None = None,
) -> ImportedRois:
    """Import regions as somata, with their sizes and outlines.

    Parameters
    ----------
    project : Project
    dataset : str
        With or without an image.
    path : Path
        File or folder of ImageJ, suite2p, CaImAn or NWB, a label image, or a table of points.
    place : RoiPlace, optional
        Size of a pixel and depth, where neither file nor dataset says them.
    reading : RoiReading, optional
        What else the file leaves open.
    annotator : str, optional

    Raises
    ------
    InputError
        If the dataset is unknown, the file cannot be read, pixel size or depth is nowhere to be
        found, a region lies outside the image, or was imported already. Nothing is imported then.
    """
    place = place or RoiPlace()
    spec = project.dataset(dataset)
    if path.suffix.lower() == TABLE_SUFFIX:
        if place != RoiPlace():
            raise InputError("A table of points is in µm; it takes no pixel size and no depth.")
        somata = import_points(project, dataset, path, annotator=annotator)
        return ImportedRois(somata, "table", len(somata), "all")
    image = None if spec.uri is None else project.volume(dataset).shape
    rois = read_rois(path, reading, image_shape=None if image is None else image[1:])
    size_um = _voxel_size(rois, place, spec.used_voxel_size_um, image, dataset)
    depths_um = _depths(rois, place, size_um, image, dataset)
    centers_um = np.array([roi.center_px for roi in rois.rois]) * size_um
    shifts_um = depths_um - centers_um[:, 0]
    centers_um[:, 0] = depths_um
    if image is not None:
        _check_inside(rois, shifts_um, size_um, image, np.array(spec.used_voxel_size_um))
    uids = _fresh_uids(project, dataset, rois)
    outlines = _outlines(rois, uids, centers_um, shifts_um, size_um)
    somata = annotate.add_somata(
        project,
        dataset,
        centers_um,
        source=SomaSource.IMPORTED,
        uids=uids,
        radius_um=_radii(outlines),
        source_index=[roi.index for roi in rois.rois],
        index_base=rois.index_base,
        origin=RoiOrigin(
            format=rois.format,
            file=rois.path.name,
            sha256=_digest(rois.path),
            n_in_file=rois.n_in_file,
            kept_by=rois.kept_by,
            voxel_size_um=tuple(size_um.tolist()),
            # Before the event that names it.
            outlines=outlines.save(project.rois_dir),
        ),
        annotator=annotator,
    )
    return ImportedRois(somata, rois.format, rois.n_in_file, rois.kept_by, rois.notes)


def _voxel_size(
    rois: RoiSet,
    place: RoiPlace,
    of_dataset: Vec3 | None,
    image: tuple[int, int, int] | None,
    dataset: str,
) -> npt.NDArray[np.float64]:
    """Return µm (z, y, x): as stated, else as the file says, else as the dataset's image."""
    if place.voxel_size_um is not None:
        return np.array(place.voxel_size_um, dtype=np.float64)
    if place.pixel_um is not None:
        depth = of_dataset[0] if of_dataset is not None else 1.0
        if rois.planes_known and of_dataset is None:
            raise InputError(
                f"{rois.path} holds several planes, whose distance is not known.",
                kind=ErrorKind.NO_PIXEL_SIZE,
            )
        return np.array([depth, place.pixel_um, place.pixel_um])
    if rois.voxel_size_um is not None:
        return np.array(rois.voxel_size_um)
    if of_dataset is None:
        raise InputError(
            f"How large a pixel of {rois.path} is, neither the file nor dataset '{dataset}' says.",
            kind=ErrorKind.NO_PIXEL_SIZE,
        )
    if rois.shape is not None and image is not None and rois.shape != image[-len(rois.shape) :]:
        found, there = (" × ".join(map(str, n)) for n in (rois.shape, image[-len(rois.shape) :]))
        raise InputError(
            f"{rois.path} is about an image of {found} pixels, and that of dataset '{dataset}' has "
            f"{there}, so the size of its pixels is not known.",
            kind=ErrorKind.NO_PIXEL_SIZE,
        )
    return np.array(of_dataset)


def _depths(
    rois: RoiSet,
    place: RoiPlace,
    size_um: npt.NDArray[np.float64],
    image: tuple[int, int, int] | None,
    dataset: str,
) -> npt.NDArray[np.float64]:
    """Return the depth of each region's centre, µm."""
    centers = np.array([roi.center_px[0] for roi in rois.rois])
    if rois.planes_known:
        if place.z_um is not None:
            raise InputError(f"{rois.path} says the depths of its ROIs itself; state none.")
        return np.asarray(centers * size_um[0])
    if place.z_um is not None:
        return np.full(len(centers), place.z_um)
    n_planes = 1 if image is None else image[0]
    if n_planes == 1:
        return np.zeros(len(centers))
    positions = rois.stack_positions
    if positions is not None and max(positions) < n_planes:
        return np.asarray(np.array(positions) * size_um[0])
    raise InputError(
        f"{rois.path} is about one plane, and the image of dataset '{dataset}' has {n_planes}.",
        kind=ErrorKind.NO_DEPTH,
    )


def _check_inside(
    rois: RoiSet,
    shifts_um: npt.NDArray[np.float64],
    size_um: npt.NDArray[np.float64],
    image: tuple[int, int, int],
    voxel_um: npt.NDArray[np.float64],
) -> None:
    """Refuse regions of which a pixel's centre lies outside the dataset's image."""
    boxes_um = np.array([roi.box_px for roi in rois.rois]) * size_um
    boxes_um[:, :, 0] += shifts_um[:, None]
    low, high = -0.5 * voxel_um, (np.array(image) - 0.5) * voxel_um
    # Half a nanometre for what is rounded.
    outside = ((boxes_um < low - 5e-4) | (boxes_um > high + 5e-4)).any(axis=(1, 2))
    if outside.any():
        first = rois.rois[int(outside.argmax())].uid
        raise InputError(
            f"{int(outside.sum())} of {len(rois.rois)} ROIs of {rois.path}, the first of which is "
            f"'{first}', lie outside the dataset's image; are they of this image, and is the size "
            "of their pixels right?"
        )


def _fresh_uids(project: Project, dataset: str, rois: RoiSet) -> list[str]:
    uids = free_uids(project, dataset, [roi.uid.strip() for roi in rois.rois])
    state = project.state()
    known = state.somata.get(dataset, {}).keys() | state.retired
    for uid in uids:
        if uid in known:
            raise InputError(
                f"'{uid}' of {rois.path} is in the project already; a uid is never given again, "
                "so ROIs can be imported once."
            )
    return uids


def _outlines(
    rois: RoiSet,
    uids: Sequence[str],
    centers_um: npt.NDArray[np.float64],
    shifts_um: npt.NDArray[np.float64],
    size_um: npt.NDArray[np.float64],
) -> Outlines:
    shifts = np.zeros((len(uids), 3))
    shifts[:, 0] = shifts_um
    unit = float(np.prod(size_um if rois.solid else size_um[1:]))
    return Outlines(
        uids=list(uids),
        centers_um=centers_um,
        sizes=np.array([roi.size_px for roi in rois.rois]) * unit,
        solid=rois.solid,
        outlines_um=[
            (roi.outline_px * size_um + shift).astype(np.float32)
            for roi, shift in zip(rois.rois, shifts, strict=True)
        ],
    )


def _radii(outlines: Outlines) -> list[float | None]:
    """Return the radius of a disk, or ball, of each region's size; None of a point."""
    if outlines.solid:
        radii = np.cbrt(outlines.sizes * 3 / (4 * np.pi))
    else:
        radii = np.sqrt(outlines.sizes / np.pi)
    return [radius if radius > 0 else None for radius in radii.tolist()]


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
