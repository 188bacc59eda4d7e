"""What every image format is reduced to before it becomes a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from napari_neurobridge.errors import ErrorKind, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from napari_neurobridge.types import Vec3

AXES = "tczyx"
"""Axes that are understood: time, channel, and space."""

_UM_PER_UNIT = {
    "": None,
    "angstrom": 1e-4,
    "å": 1e-4,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "cm": 1e4,
    "meter": 1e6,
    "metre": 1e6,
    "m": 1e6,
    "inch": 25400.0,
}


class ArrayLike(Protocol):
    """An array on disk, of which only the slices that are asked for are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the pieces that are read as a whole."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read a piece."""


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An opened image file.

    Attributes
    ----------
    path : str
        Where it lies.
    format : str
        "ome-tiff", "scanimage", "imagej", "tiff" or "ome-zarr".
    axes : str
        Order of the axes, a subset of "tczyx" in any order.
    levels : tuple of ArrayLike
        Resolutions, the finest first, all with the same axes.
    spacing_um : tuple of float or None, length 3
        Distance of neighbouring pixels of the finest level along z, y and x; ``None``
        where the file does not say.
    level_factors : tuple of Vec3
        Voxel size of every level, relative to that of the finest.
    level_offsets : tuple of Vec3
        Centre of the first voxel of every level, in voxels of the finest.
    description : str
        All metadata that took part in the reading, for the fingerprint.
    """

    path: str
    format: str
    axes: str
    levels: tuple[ArrayLike, ...]
    spacing_um: tuple[float | None, float | None, float | None]
    level_factors: tuple[Vec3, ...]
    level_offsets: tuple[Vec3, ...]
    description: str

    def length(self, axis: str) -> int:
        """Return the length of an axis of the finest level, 1 where it is absent."""
        return self.levels[0].shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def voxel_size_um(self) -> Vec3 | None:
        """The voxel size, as far as it is known.

        One plane has no extent along z, so that there, and only there, z may be 1 µm
        without the file saying so.
        """
        z, y, x = self.spacing_um
        if z is None and self.length("z") == 1:
            z = 1.0
        return None if z is None or y is None or x is None else (z, y, x)


def averaged_offset(factor: Vec3) -> Vec3:
    """Return where the first voxel of a level lies whose voxels are means of blocks."""
    z, y, x = ((size - 1) / 2 for size in factor)
    return z, y, x


def factor_of_shapes(finest: Sequence[int], coarser: Sequence[int]) -> Vec3:
    """Return the size of a coarser level's voxels, given (z, y, x) shapes of the two.

    Rounded, since the last voxel of a level may be cut: 521 pixels halve to 261.
    """
    z, y, x = (float(max(round(n / m), 1)) for n, m in zip(finest, coarser, strict=True))
    return z, y, x


def um_per_unit(unit: str | None) -> float | None:
    """Return how many µm a unit of length has; ``None`` for pixels and unknown units."""
    # ImageJ escapes the micro sign; there are two of them in Unicode.
    plain = (unit or "").replace("\\u00B5", "µ").replace("\u03bc", "µ").strip().lower()
    return _UM_PER_UNIT.get(plain)


def check_axes(axes: str, n_dimensions: int, path: object) -> str:
    """Return axes in lower case, after checking that they can be read.

    Raises
    ------
    InputError
        If an axis is unknown or twice, y or x is missing, or the number is wrong.
    """
    lower = axes.lower()
    unknown = sorted(set(lower) - set(AXES))
    if unknown or len(set(lower)) != len(lower) or not {"y", "x"} <= set(lower):
        raise InputError(
            f"The axes '{axes}' of {path} cannot be read: their order is written like zyx, "
            "tyx or tczyx (t time, c channel).",
            kind=ErrorKind.UNKNOWN_AXES,
        )
    if len(lower) != n_dimensions:
        raise InputError(
            f"{path} has {n_dimensions} axes, but '{axes}' names {len(lower)}.",
            kind=ErrorKind.UNKNOWN_AXES,
        )
    return lower
