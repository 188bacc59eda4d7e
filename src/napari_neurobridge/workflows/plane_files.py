"""Image files as single planes with a pixel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.projections import project_frames
from napari_neurobridge.io.signatures import starts_like_png
from napari_neurobridge.io.volumes import inspect_image, open_volume
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.types import Projection

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.io.volumes import Volume

# Pixels that are longer than wide by less are called square.
_SQUARE = 0.01


@dataclass(frozen=True)
class PlaneFile:
    """An image file, and how it becomes one plane.

    Attributes
    ----------
    path : Path
        TIFF, OME-Zarr or PNG.
    pixel_um : float or None
        Side of a pixel; what the file says unless given. PNG files say nothing.
    projection : Projection or None
        How a stack becomes one plane; a recording is averaged over time unless given.
    channel : int
        Counted from 0.
    """

    path: Path
    pixel_um: float | None = None
    projection: Projection | None = None
    channel: int = 0

    @property
    def name(self) -> str:
        """What its space is called: the file's name up to the first dot."""
        return self.path.name.split(".")[0] or self.path.name


def is_stack(file: PlaneFile) -> bool:
    """Return whether a file holds several planes in depth, and no projection of them was asked for.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    return file.projection is None and _length(file, "z") > 1


def is_recording(file: PlaneFile) -> bool:
    """Return whether a file holds several frames, and no projection of them was asked for.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    return file.projection is None and _length(file, "t") > 1


def _length(file: PlaneFile, axis: str) -> int:
    if _is_png(file.path):
        return 1
    said = inspect_image(file.path)
    return dict(zip(said.axes, said.shape, strict=True)).get(axis, 1)


def read_plane(file: PlaneFile) -> PlanarImage:
    """Read an image file as one plane.

    Raises
    ------
    InputError
        If it cannot be read, is a stack and no projection is stated, its pixels are not square
        or of no known size, or it is no image that `PlanarImage.of` takes.
    """
    try:
        if _is_png(file.path):
            return PlanarImage.of(_read_png(file.path), _required_size(file, None))
        return _read_volume(file)
    except InputError as error:
        if str(file.path) in str(error):
            raise
        raise InputError(f"{file.path}: {error}", kind=error.kind) from error


def _read_volume(file: PlaneFile) -> PlanarImage:
    said = inspect_image(file.path)
    size = None if said.voxel_size_um is None else said.voxel_size_um[1:]
    pixel_um = _required_size(file, size)
    volume = open_volume(
        file.path,
        name=file.path.name,
        voxel_size_um=(1.0, pixel_um, pixel_um),
        channel=file.channel,
        projection=file.projection or Projection.MEAN,
    )
    count = volume.shape[0]
    if count > 1 and file.projection is None:
        raise InputError(
            f"{file.path} holds {count} planes, and one is registered.",
            kind=ErrorKind.NO_PROJECTION,
        )
    planes = (_plane(volume, z)[np.newaxis] for z in range(count))
    values = project_frames(planes, file.projection or Projection.MEAN)
    return PlanarImage.of(values, pixel_um)


def _plane(volume: Volume, z: int) -> npt.NDArray[np.float32]:
    _, height, width = volume.shape
    return np.asarray(volume.read((z, 0, 0), (z + 1, height, width))[0])


def _required_size(file: PlaneFile, said: tuple[float, ...] | None) -> float:
    if file.pixel_um is not None:
        if not (np.isfinite(file.pixel_um) and file.pixel_um > 0):
            raise InputError(
                f"The pixel size of an image must be positive µm, not {file.pixel_um}."
            )
        return file.pixel_um
    if said is None:
        raise InputError(
            f"{file.path} does not say its pixel size.", kind=ErrorKind.NO_PLANE_PIXEL_SIZE
        )
    if abs(said[0] - said[1]) > _SQUARE * max(said):
        raise InputError(
            f"{file.path} has pixels of {said[0]:g} x {said[1]:g} µm; square ones are registered."
        )
    return float(np.mean(said))


def _is_png(path: Path) -> bool:
    return path.is_file() and starts_like_png(path)


def _read_png(path: Path) -> npt.NDArray[np.generic]:
    from skimage.io import imread

    try:
        return np.asarray(imread(path))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as PNG ({error}); it may be damaged.") from error
