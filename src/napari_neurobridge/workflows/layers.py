"""Images and points that lie in a viewer, made into files that a project can rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import OmeZarrWriter
from napari_neurobridge.io.volumes import holds_same_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.types import FloatArray, Report, Vec3

_SLAB = 32


@dataclass(frozen=True, eq=False)
class LayerImage:
    """An image in a viewer.

    Attributes
    ----------
    name : str
        Of its layer.
    data : array-like
        Finest resolution; only slices are read, so that it may be larger than the memory.
    axes : str
        "yx", "zyx" or "tyx"; of an image with a file also "tzyx".
    voxel_size_um : Vec3 or None
        µm (z, y, x); ``None`` where the layer has no unit of length.
    suggested_um : Vec3 or None
        What the layer's scale would be in µm, if that was meant.
    path : Path or None
        File that the layer was read from.
    to_world : ndarray, shape (3, 4)
        Linear part and offset from voxels (z, y, x) to where the viewer shows them.
    """

    name: str
    data: Any
    axes: str
    voxel_size_um: Vec3 | None
    suggested_um: Vec3 | None
    path: Path | None
    to_world: FloatArray


@dataclass(frozen=True, eq=False)
class LayerPoints:
    """Points in a viewer.

    Attributes
    ----------
    name : str
        Of their layer.
    indices : ndarray, shape (N, 3)
        As the layer holds them, (z, y, x).
    world : ndarray, shape (N, 3)
        Where the viewer shows them.
    um_per_unit : Vec3 or None
        µm in a unit of ``world``; ``None`` where the layer has no unit of length.
    scaled : bool
        Whether the layer has a scale or another transform.
    uids : list of str or None
        Where the layer names its points.
    """

    name: str
    indices: FloatArray
    world: FloatArray
    um_per_unit: Vec3 | None
    scaled: bool
    uids: list[str] | None


def is_in_its_file(image: LayerImage) -> bool:
    """Return whether the file of a layer holds its pixels, so that no copy is needed."""
    return image.path is not None and holds_same_pixels(image.path, image.data)


def save_image(image: LayerImage, path: Path, *, report: Report | None = None) -> Path:
    """Write an image as OME-Zarr, slab by slab, and return the path.

    Parameters
    ----------
    image : LayerImage
    path : Path
        Folder; an existing one is replaced at the end.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel, which leaves nothing
        behind.

    Raises
    ------
    InputError
        If the image has four axes, or its pixels are no real numbers.
    """
    if len(image.axes) > 3:
        raise InputError(
            f"'{image.name}' has {len(image.axes)} axes and no file that could be used; save it as "
            "OME-TIFF or OME-Zarr first, and choose that file."
        )
    planar = len(image.axes) == 2
    n_planes = 1 if planar else image.data.shape[0]
    with OmeZarrWriter(
        path, voxel_size_um=image.voxel_size_um, recording=image.axes[0] == "t"
    ) as writer:
        for start in range(0, n_planes, _SLAB):
            if report is not None:
                report(start, n_planes, f"saving {image.name}")
            slab = np.asarray(image.data if planar else image.data[start : start + _SLAB])
            writer.write(_as_real(slab, image.name))
    return path


def _as_real(slab: Any, name: str) -> Any:
    if slab.dtype == bool:
        return slab.astype(np.uint8)
    if not (np.issubdtype(slab.dtype, np.integer) or np.issubdtype(slab.dtype, np.floating)):
        raise InputError(f"The pixels of '{name}' are {slab.dtype}, not real numbers.")
    return slab


def positions_um(
    points: LayerPoints, *, image: LayerImage | None = None, voxel_size_um: Vec3 | None = None
) -> FloatArray | None:
    """Return where points lie in a dataset's space, µm (z, y, x), shape (N, 3).

    Parameters
    ----------
    points : LayerPoints
    image : LayerImage, optional
        The dataset's image, where it came from a layer too: points count from its first voxel.
    voxel_size_um : Vec3, optional
        Of the dataset's image, for points that are in pixels and for ``image``.

    Returns
    -------
    ndarray or None
        ``None`` where nothing says how long the layer's unit is.
    """
    if image is not None and voxel_size_um is not None:
        linear, offset = image.to_world[:, :3], image.to_world[:, 3]
        voxels = (points.world - offset) @ np.linalg.inv(linear).T
        return np.asarray(voxels * voxel_size_um)
    if points.um_per_unit is not None:
        return np.asarray(points.world * points.um_per_unit)
    if not points.scaled and voxel_size_um is not None:
        return np.asarray(points.indices * voxel_size_um)
    return None
