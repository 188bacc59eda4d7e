"""The crops of a project's datasets: the one way in which they are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, extract_crops
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.crop_frame import CropFrame
from napari_neurobridge.types import Role

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Projection, Report, Vec3


def orientation_frame(project: Project, dataset: str) -> CropFrame:
    """Return the frame that galleries are indexed in: as the dataset's orientation says."""
    return CropFrame(project.dataset(dataset).linear())


def aligned_frame(project: Project, dataset: str, other: str) -> CropFrame:
    """Return how crops of a dataset show what those of another one do.

    Parameters
    ----------
    project : Project
    dataset : str
        Whose crops are cut.
    other : str
        What they are compared with.

    Returns
    -------
    CropFrame
        Of the current alignment, for the ex-vivo side, or of two such the one that was added
        later. Of the orientation for the other, along whose optical axis crops look, and where
        the accepted pairs leave a turn open that nobody has stated.
    """
    frame = orientation_frame(project, dataset)
    if _is_looked_along(project, dataset, other):
        return frame
    try:
        alignment = project.alignment(other, dataset)
    except InputError:  # said where positions are mapped; crops can be seen without
        return frame
    said = alignment.made_from
    if alignment.kind != "elastic" and not (said.orientation or said.registration):
        return frame
    reference = orientation_frame(project, other).orientation
    return CropFrame(frame.orientation, alignment, alignment.id, reference)


def cut_crops(
    project: Project,
    dataset: str,
    centers_um: npt.ArrayLike,
    frame: CropFrame | None = None,
    *,
    spec: CropSpec | None = None,
    depth_um: float = 0.0,
    projection: Projection | None = None,
    report: Report | None = None,
) -> Float32Array:
    """Cut crops of a dataset, exactly at some places.

    Parameters
    ----------
    project : Project
    dataset : str
    centers_um : array_like, shape (N, 3)
        (z, y, x) of the dataset's own space; they may lie outside of the image.
    frame : CropFrame, optional
        How the crops are held; as the orientation says unless given.
    spec : CropSpec, optional
        What a crop shows.
    depth_um : float
        How much deeper than the places, along the two-photon optical axis.
    projection : Projection, optional
        Of a recording over time; the dataset's own unless given.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    ndarray of float32, shape (N, pixels, pixels)
        In [0, 1].

    Raises
    ------
    InputError
        If the dataset is unknown or has no image, or a place is no finite position.
    """
    if project.dataset(dataset).uri is None:
        raise InputError(
            f"'{dataset}' has points but no image, so its somata cannot be compared by appearance."
        )
    centers = as_points(centers_um)
    linear = (frame or orientation_frame(project, dataset)).linears(centers)
    volume = project.volume(dataset)
    return extract_crops(
        volume if projection is None else volume.by(projection),
        centers + linear[..., 0] * depth_um,
        linear=linear,
        spec=spec,
        report=report,
    )


def require_image_at(
    project: Project, dataset: str, position_um: Vec3, spec: CropSpec | None = None
) -> None:
    """Raise `InputError` where a crop would hold nothing of a dataset's image.

    A table of points has no border, and a single plane is shown whatever the depth.
    """
    if project.dataset(dataset).uri is None:
        return
    spec = spec or CropSpec()
    half = np.array([spec.slab_um, spec.size_um, spec.size_um]) / 2
    reach = np.abs(orientation_frame(project, dataset).orientation) @ half
    extent = np.asarray(project.volume(dataset).extent_um)
    if extent[0] == 0:
        reach[0] = np.inf
    position = np.asarray(position_um)
    if ((position < -reach) | (position > extent + reach)).any():
        far = " × ".join(f"{length:.0f}" for length in extent)
        raise InputError(
            f"The position lies outside '{dataset}', which spans {far} µm (z × y × x) from 0."
        )


def _is_looked_along(project: Project, dataset: str, other: str) -> bool:
    if project.dataset(dataset).role is Role.IN_VIVO:
        return True
    known = list(project.datasets)
    added_later = known.index(dataset) > known.index(other)
    return project.dataset(other).role is Role.EX_VIVO and not added_later
