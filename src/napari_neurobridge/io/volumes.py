"""Opening images as volumes: lazily, one channel, always (z, y, x), in µm."""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.ome_zarr import is_ome_zarr, open_ome_zarr
from napari_neurobridge.io.projections import ProjectedView
from napari_neurobridge.io.source import averaged_offset, factor_of_shapes
from napari_neurobridge.io.tiff import open_tiff
from napari_neurobridge.io.views import Box, ChannelView, LazyVolume
from napari_neurobridge.types import Float32Array, Projection, Vec3

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_neurobridge.io.source import ArrayLike, ImageSource

READ_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    MemoryError,
    zlib.error,
)
"""What TIFF, zarr and their codecs raise on damaged data; codec errors are RuntimeErrors."""


@dataclass(frozen=True)
class ImageInfo:
    """What a file itself says about its image.

    Attributes
    ----------
    path : str
        Where it lies.
    axes : str
        Order of its axes, such as "zyx" or "tczyx".
    shape : tuple of int
        Length of each axis.
    dtype : str
        Type of a pixel.
    voxel_size_um : Vec3 or None
        ``None`` when the file does not say. One plane has no extent along z: there z is
        1 µm unless the file says otherwise.
    channels : int
        Number of channels.
    fingerprint : str
        The same for the same content, wherever the file lies and whatever its date.
    format : str
        "ome-tiff", "scanimage", "imagej", "tiff" or "ome-zarr".
    """

    path: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    voxel_size_um: Vec3 | None
    channels: int
    fingerprint: str
    format: str


class Volume:
    """One channel of an image, read lazily, always (z, y, x).

    A plane and a projected time series have one plane. The centre of voxel (0, 0, 0)
    is at 0 µm, whatever origin the file gives.

    Parameters
    ----------
    levels : sequence of LazyVolume
        Resolutions, the finest first.
    name : str
        Name of the dataset, for messages.
    voxel_size_um : Vec3
        Voxel size of the finest level.
    level_factors, level_offsets : sequence of Vec3, optional
        Voxel size of each level, and the centre of its first voxel, in voxels of the
        finest. By default as for levels whose voxels are means of whole blocks.
    """

    def __init__(
        self,
        levels: Sequence[LazyVolume | npt.NDArray[Any]],
        *,
        name: str,
        voxel_size_um: Vec3,
        level_factors: Sequence[Vec3] | None = None,
        level_offsets: Sequence[Vec3] | None = None,
    ) -> None:
        if min(voxel_size_um) <= 0 or not np.isfinite(voxel_size_um).all():
            raise InputError(f"The voxel size of {name} must be positive µm, not {voxel_size_um}.")
        self.name = name
        self.levels = tuple(levels)
        self.voxel_size_um = voxel_size_um
        factors = level_factors or [factor_of_shapes(self.shape, x.shape) for x in self.levels]
        offsets = level_offsets or [averaged_offset(factor) for factor in factors]
        self.level_scales_um = tuple(self._in_um(factor) for factor in factors)
        self.level_offsets_um = tuple(self._in_um(offset) for offset in offsets)

    def _in_um(self, voxels: Vec3) -> Vec3:
        z, y, x = (n * size for n, size in zip(voxels, self.voxel_size_um, strict=True))
        return z, y, x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels of the finest level along z, y and x."""
        z, y, x = self.levels[0].shape
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored voxel."""
        return self.levels[0].dtype

    @property
    def chunks(self) -> tuple[int, int, int]:
        """What is read from the finest level as a whole; single voxels in memory."""
        return getattr(self.levels[0], "chunks", (1, 1, 1))

    @property
    def extent_um(self) -> Vec3:
        """Distance from the centre of the first to that of the last voxel."""
        z, y, x = self.shape
        return self._in_um((z - 1, y - 1, x - 1))

    @property
    def center_um(self) -> Vec3:
        """The middle of the volume."""
        z, y, x = self.extent_um
        return z / 2, y / 2, x / 2

    @property
    def recording(self) -> ProjectedView | None:
        """The time series that this is a projection of; None where there is one frame only."""
        finest = self.levels[0]
        return finest if isinstance(finest, ProjectedView) else None

    def by(self, projection: Projection) -> Volume:
        """Return a recording by another projection over time; what is none stays as it is."""
        recording = self.recording
        if recording is None or recording.projection is projection:
            return self
        projected = recording.by(projection)
        return Volume([projected], name=self.name, voxel_size_um=self.voxel_size_um)

    def read(
        self, start: tuple[int, int, int], stop: tuple[int, int, int], *, level: int = 0
    ) -> Float32Array:
        """Read a box of voxels.

        Parameters
        ----------
        start, stop : tuple of int
            Half-open ranges along z, y and x, within the level's shape.
        level : int
            Resolution, 0 being the finest.

        Returns
        -------
        ndarray of float32, shape ``stop - start``

        Raises
        ------
        InputError
            If the box holds NaN or infinite voxels, or the file is damaged there.
        """
        z, y, x = (slice(a, b) for a, b in zip(start, stop, strict=True))
        box: Box = (z, y, x)
        try:
            voxels = np.asarray(self.levels[level][box], dtype=np.float32)
        except READ_ERRORS as error:
            raise InputError(
                f"{self.name} cannot be read at voxels {start} to {stop} ({error}); "
                f"the file is damaged or was moved, so copy it again."
            ) from error
        # One sum finds any NaN or infinity without an array of flags.
        if not np.isfinite(voxels.sum()):
            self._refuse_not_finite(voxels, start)
        return voxels

    def _refuse_not_finite(self, voxels: Float32Array, start: tuple[int, int, int]) -> None:
        bad = np.argwhere(~np.isfinite(voxels))
        if len(bad):
            z, y, x = bad[0] + start
            raise InputError(
                f"{self.name} holds NaN or infinite pixels, the first at z {z}, y {y}, x {x}; "
                f"replace them, for example by 0."
            )


def inspect_image(path: str | Path, *, axes: str | None = None) -> ImageInfo:
    """Read what a file says about its image, but none or few of its pixels.

    Parameters
    ----------
    path : str or Path
        A TIFF file or an OME-Zarr folder.
    axes : str, optional
        Order of the axes, where the file does not say it or says it wrongly.

    Raises
    ------
    InputError
        If it cannot be read, is truncated, or its axes are unknown.
    """
    source = _open_source(path, axes)
    return ImageInfo(
        path=source.path,
        axes=source.axes,
        shape=tuple(source.levels[0].shape),
        dtype=str(source.levels[0].dtype),
        voxel_size_um=source.voxel_size_um,
        channels=source.length("c"),
        fingerprint=_fingerprint(source),
        format=source.format,
    )


def open_volume(
    path: str | Path,
    *,
    name: str,
    axes: str | None = None,
    voxel_size_um: Vec3 | None = None,
    channel: int = 0,
    projection: Projection = Projection.MEAN,
) -> Volume:
    """Open one channel of an image as a volume.

    Parameters
    ----------
    path : str or Path
        A TIFF file or an OME-Zarr folder.
    name : str
        Name of the dataset, for messages.
    axes : str, optional
        Order of the axes, where the file does not say it or says it wrongly.
    voxel_size_um : Vec3, optional
        Overrides what the file says.
    channel : int
        Which channel, from 0.
    projection : Projection
        How a time series becomes one plane or volume.

    Raises
    ------
    InputError
        If the file cannot be read, its axes or its voxel size are unknown, or it has no
        such channel.
    """
    source = _open_source(path, axes)
    voxel_size_um = voxel_size_um or source.voxel_size_um
    if voxel_size_um is None:
        raise InputError(f"{path} does not say its voxel size.", kind=ErrorKind.NO_VOXEL_SIZE)
    n_channels = source.length("c")
    if not 0 <= channel < n_channels:
        raise InputError(
            f"{path} has {n_channels} channel(s), counted from 0; there is no channel {channel}."
        )
    views = [ChannelView(level, source.axes, channel=channel) for level in source.levels]
    n_frames = source.length("t")
    if n_frames > 1:
        # A projection of a coarser level is not the coarser level of the projection.
        projected = ProjectedView(views[0], n_frames, projection)
        return Volume([projected], name=name, voxel_size_um=voxel_size_um)
    return Volume(
        views,
        name=name,
        voxel_size_um=voxel_size_um,
        level_factors=source.level_factors,
        level_offsets=source.level_offsets,
    )


def holds_same_pixels(path: Path, data: Any) -> bool:
    """Return whether a file holds an array, as its shape and a block in its middle tell.

    Parameters
    ----------
    path : Path
    data : array-like
        Only the block is read.
    """
    try:
        stored = _open_source(path, None).levels[0]
        axes_stored = [axis for axis, length in enumerate(stored.shape) if length > 1]
        axes_data = [axis for axis, length in enumerate(data.shape) if length > 1]
        lengths = [stored.shape[axis] for axis in axes_stored]
        if lengths != [data.shape[axis] for axis in axes_data]:
            return False
        ours, theirs = [slice(None)] * len(stored.shape), [slice(None)] * len(data.shape)
        for mine, other, length in zip(axes_stored, axes_data, lengths, strict=True):
            # One plane, and a window of it: a chunk of either is little to read.
            side = 1 if mine in axes_stored[:-2] else 64
            start = max(0, (length - side) // 2)
            ours[mine] = theirs[other] = slice(start, start + side)
        here, there = np.asarray(stored[tuple(ours)]), np.asarray(data[tuple(theirs)])
        return bool(np.array_equal(here.ravel(), there.ravel()))
    except (InputError, *READ_ERRORS):
        return False


def _open_source(path: str | Path, axes: str | None) -> ImageSource:
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file or folder {path}; check the path.")
    if path.is_dir():
        if not is_ome_zarr(path):
            raise InputError(f"{path} is a folder, but no OME-Zarr image; name the image itself.")
        return open_ome_zarr(path, axes)
    return open_tiff(path, axes)


def _fingerprint(source: ImageSource) -> str:
    """Hash metadata and three chunks, which tell recordings of one kind apart."""
    digest = hashlib.sha256(source.description.encode())
    if Path(source.path).is_file():
        digest.update(str(os.path.getsize(source.path)).encode())
    coarsest = source.levels[-1]
    for part in (0.0, 0.5, 1.0):
        digest.update(_chunk_at(source, coarsest, part).tobytes())
    return digest.hexdigest()[:16]


def _chunk_at(source: ImageSource, array: ArrayLike, part: float) -> npt.NDArray[Any]:
    key = []
    for length, chunk in zip(array.shape, array.chunks, strict=True):
        start = int((length - 1) * part) // chunk * chunk
        key.append(slice(start, min(start + chunk, length)))
    try:
        return np.ascontiguousarray(array[tuple(key)])
    except READ_ERRORS as error:
        raise InputError(
            f"{source.path} is damaged ({error}); copy it again from where it was recorded."
        ) from error
