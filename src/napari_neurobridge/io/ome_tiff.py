"""Writing OME-TIFF, plane by plane."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

# Offsets in a classic TIFF have 32 bits; the headers need room, too.
_CLASSIC_BYTES = 2**32 - 2**25


def write_ome_tiff(
    path: Path,
    planes: Iterator[npt.NDArray[Any]],
    *,
    axes: str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    step_um: Mapping[str, float],
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Write an image whose planes are made while it is written.

    Parameters
    ----------
    path : Path
        The file, usually a temporary one of `files.atomic_write`.
    planes : iterator of ndarray, each of shape (Y, X)
        In order.
    axes : str
        Names of the axes, such as ``"ZYX"``.
    shape : tuple of int
        Of the whole image, along `axes`.
    dtype : dtype
        Of its voxels.
    step_um : mapping of str to float
        Voxel size, µm, by name of the axis.
    metadata : mapping of str to object, optional
        More attributes of OME's ``Pixels``.
    """
    attributes: dict[str, object] = {"axes": axes, **(metadata or {})}
    for axis, step in step_um.items():
        attributes[f"PhysicalSize{axis}"] = step
        attributes[f"PhysicalSize{axis}Unit"] = "µm"
    tifffile.imwrite(
        path,
        planes,
        shape=shape,
        dtype=dtype,
        # Of planes to come tifffile does not know how many bytes they are.
        bigtiff=math.prod(shape) * np.dtype(dtype).itemsize > _CLASSIC_BYTES,
        ome=True,
        photometric="minisblack",
        metadata=attributes,
    )
