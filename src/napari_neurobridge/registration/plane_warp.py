"""One plane drawn where a map puts it on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.io.warp import WarpedView, warp_image

if TYPE_CHECKING:
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Float32Array, Report


def warp_plane(
    moving: PlanarImage,
    transform: Transform,
    reference: PlanarImage,
    *,
    name: str = "the plane",
    report: Report | None = None,
) -> Float32Array:
    """Return a plane on the pixels of another; 0 where it shows nothing.

    Parameters
    ----------
    moving : PlanarImage
        What is drawn; if its pixels are the finer ones, it is averaged first.
    transform : Transform
        From places of ``reference``, at depth 0, to places of ``moving``.
    reference : PlanarImage
        Of which only the grid counts.
    name : str
        Of ``moving``, for messages.
    report : Report, optional
        May raise to cancel.

    Returns
    -------
    ndarray of float32, of the reference's shape

    Raises
    ------
    NotInvertibleError
        If the transform is an inverse that folds.
    """
    moving = moving.resampled(max(moving.pixel_um, reference.pixel_um))
    volume = Volume(
        [moving.values[np.newaxis]],
        name=name,
        voxel_size_um=(1.0, moving.pixel_um, moving.pixel_um),
    )
    view = WarpedView(
        volume,
        transform,
        shape=(1, *reference.values.shape),
        voxel_size_um=(1.0, reference.pixel_um, reference.pixel_um),
    )
    return warp_image(view, report=report)[0]
