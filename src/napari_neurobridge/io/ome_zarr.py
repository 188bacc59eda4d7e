"""OME-Zarr: multiscale images, read in versions 0.4 and 0.5 and written in 0.5.

The format is described at https://ngff.openmicroscopy.org. Version 0.4 lies in zarr v2
groups and keeps its metadata in ``multiscales``, version 0.5 in zarr v3 groups under
``ome``.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.errors import BaseZarrError

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.io.pyramid import downsample, pyramid_factors
from napari_neurobridge.io.source import ImageSource, check_axes, um_per_unit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from napari_neurobridge.types import Vec3


READ_ERRORS = (
    BaseZarrError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
)
"""What zarr and its codecs, and the reading of metadata of another make, raise."""


class _Level:
    """One resolution being written: gathers planes into slabs, feeds the next level."""

    def __init__(self, array: zarr.Array[Any], factors: tuple[int, int, int] | None) -> None:
        self.array = array
        self.factors = factors
        self.next: _Level | None = None
        self._slab = array.chunks[0]
        self._waiting: list[npt.NDArray[Any]] = []
        self._n_written = 0

    def append(self, planes: npt.NDArray[Any]) -> None:
        self._waiting.append(planes)
        if sum(len(piece) for piece in self._waiting) >= self._slab:
            waiting = np.concatenate(self._waiting)
            n_whole = len(waiting) // self._slab * self._slab
            self._waiting = [waiting[n_whole:]]
            for start in range(0, n_whole, self._slab):
                self._write(waiting[start : start + self._slab])

    def finish(self) -> None:
        rest = np.concatenate(self._waiting) if self._waiting else np.zeros(0)
        if len(rest):
            self._write(rest)
        if self.next is not None:
            self.next.finish()

    def _write(self, planes: npt.NDArray[Any]) -> None:
        start, stop = self._n_written, self._n_written + len(planes)
        self.array.resize((stop, *self.array.shape[1:]))
        self.array[start:stop] = planes
        self._n_written = stop
        if self.next is not None and self.factors is not None:
            self.next.append(downsample(planes, self.factors))


class OmeZarrWriter:
    """Write a (z, y, x) volume or a (t, y, x) recording plane by plane, in OME-Zarr 0.5.

    Use it as a context manager. The folder appears under its name when the block ends
    well, and not at all when it raises. Memory holds a slab of one chunk's thickness
    for each level, however many planes come.

    Parameters
    ----------
    path : str or Path
        Folder to be, usually ``*.ome.zarr``; an existing one is replaced.
    voxel_size_um : Vec3 or None
        µm, (z, y, x); ``None`` writes no unit, so that whoever reads it asks.
    chunks : tuple of int
        Chunk shape; an odd thickness is raised to the next even one.
    levels : int, optional
        Number of resolutions; by default until a plane is about 256 pixels wide.
    recording : bool
        Whether the planes follow in time; they are not averaged then.

    Examples
    --------
    >>> with OmeZarrWriter("brain.ome.zarr", voxel_size_um=(2, 0.65, 0.65)) as writer:
    ...     writer.write(first_planes)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path,
        *,
        voxel_size_um: Vec3 | None,
        chunks: tuple[int, int, int] = (32, 128, 128),
        levels: int | None = None,
        recording: bool = False,
    ) -> None:
        if voxel_size_um is not None and min(voxel_size_um) <= 0:
            raise InputError(f"Voxel sizes must be positive µm, not {voxel_size_um}.")
        self.path = Path(path)
        self._voxel_size = voxel_size_um or (1.0, 1.0, 1.0)
        self._unit = {} if voxel_size_um is None else {"unit": "micrometer"}
        self._recording = recording
        # Pairs of planes are averaged, so that a slab must not end within a pair.
        self._chunks = (chunks[0] + chunks[0] % 2, *chunks[1:])
        self._n_levels = 1 if recording else levels
        self._context = atomic_folder(self.path)
        self._levels: list[_Level] = []

    def __enter__(self) -> OmeZarrWriter:
        self._folder = self._context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as failure:
            self._context.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._context.__exit__(kind, error, trace)

    def write(self, planes: npt.NDArray[Any]) -> None:
        """Append planes, shape (Y, X) or (n, Y, X), in z order.

        Raises
        ------
        InputError
            If their shape or type differs from those of the first ones.
        """
        slab = planes[None] if planes.ndim == 2 else planes
        if not self._levels:
            self._create(slab)
        first = self._levels[0].array
        if slab.shape[1:] != first.shape[1:] or slab.dtype != first.dtype:
            raise InputError(
                f"All planes of {self.path.name} must be {first.shape[1:]} {first.dtype}, "
                f"not {slab.shape[1:]} {slab.dtype}."
            )
        self._levels[0].append(slab)

    def _create(self, slab: npt.NDArray[Any]) -> None:
        group = zarr.create_group(self._folder, zarr_format=3)
        height, width = slab.shape[1:]
        factors = pyramid_factors(self._voxel_size, (height, width), self._n_levels)
        for index, factor in enumerate([*factors, None]):
            array = group.create_array(
                str(index),
                shape=(0, height, width),
                chunks=self._chunks,
                dtype=slab.dtype,
                dimension_names=["t" if self._recording else "z", "y", "x"],
            )
            self._levels.append(_Level(array, factor))
            if factor is not None:
                height, width = -(-height // factor[1]), -(-width // factor[2])
        for level, following in pairwise(self._levels):
            level.next = following
        group.attrs["ome"] = {"version": "0.5", "multiscales": [self._multiscale(factors)]}

    def _multiscale(self, factors: list[tuple[int, int, int]]) -> dict[str, Any]:
        scale = np.array(self._voxel_size, dtype=float)
        if self._recording:
            scale[0] = 1.0  # frames; how long one takes is not known
        finest = scale
        datasets = []
        for index, factor in enumerate([*factors, (1, 1, 1)]):
            # An averaged voxel lies between those that it was made of.
            offset = (scale - finest) / 2
            transforms = [
                {"type": "scale", "scale": scale.tolist()},
                {"type": "translation", "translation": offset.tolist()},
            ]
            datasets.append({"path": str(index), "coordinateTransformations": transforms})
            scale = scale * factor
        axes = [{"name": axis, "type": "space", **self._unit} for axis in "zyx"]
        if self._recording:
            axes[0] = {"name": "t", "type": "time"}
        name = self.path.name.removesuffix(".zarr").removesuffix(".ome")
        return {"name": name, "axes": axes, "datasets": datasets, "type": "mean"}

    def _finish(self) -> None:
        if not self._levels:
            raise InputError(f"{self.path.name} got no planes to write.")
        self._levels[0].finish()


def write_ome_zarr(
    path: str | Path,
    planes: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    *,
    voxel_size_um: Vec3,
    chunks: tuple[int, int, int] = (32, 128, 128),
    levels: int | None = None,
) -> Path:
    """Write an array, or planes or slabs in z order, as OME-Zarr 0.5.

    See :class:`OmeZarrWriter` for the parameters. An array has shape (Z, Y, X).
    """
    with OmeZarrWriter(path, voxel_size_um=voxel_size_um, chunks=chunks, levels=levels) as writer:
        for piece in planes:
            writer.write(piece)
    return Path(path)


def is_ome_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group or array."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def open_ome_zarr(path: Path, axes: str | None = None) -> ImageSource:
    """Open the first multiscale image of an OME-Zarr folder.

    Parameters
    ----------
    path : Path
        The folder; that of a bioformats2raw collection gives its first image.
    axes : str, optional
        Overrides the axes that the metadata give.

    Raises
    ------
    InputError
        If the folder holds no OME-Zarr image, or its arrays are damaged.
    """
    try:
        group = zarr.open_group(path, mode="r")
        if "bioformats2raw.layout" in _ome_attributes(group):
            group = zarr.open_group(path / "0", mode="r")
        return _read_source(group, path, axes)
    except READ_ERRORS as error:
        raise InputError(
            f"{path} is no readable OME-Zarr 0.4 or 0.5 image ({error}); "
            f"name the folder that holds 'multiscales'."
        ) from error


def _read_source(group: zarr.Group, path: Path, axes: str | None) -> ImageSource:
    multiscale = _ome_attributes(group)["multiscales"][0]
    datasets = multiscale["datasets"]
    arrays = [_array(group, str(dataset["path"])) for dataset in datasets]
    stored = "".join(_axis_name(axis) for axis in multiscale["axes"])
    names = check_axes(axes or stored, arrays[0].ndim, path)
    transforms = [_transform(multiscale, dataset, len(names)) for dataset in datasets]
    finest, origin = transforms[0]
    if not all((scale > 0).all() for scale, _ in transforms):
        raise ValueError("a scale is not positive")
    units = [_unit_um(multiscale, axis) for axis in "zyx"]
    z, y, x = (
        size * unit if unit and axis in names else None
        for axis, size, unit in zip("zyx", _spatial(finest, names, 1.0), units, strict=True)
    )
    return ImageSource(
        path=str(path),
        format="ome-zarr",
        axes=names,
        levels=tuple(arrays),
        spacing_um=(z, y, x),
        level_factors=tuple(_spatial(scale / finest, names, 1.0) for scale, _ in transforms),
        level_offsets=tuple(
            _spatial((offset - origin) / finest, names, 0.0) for _, offset in transforms
        ),
        description=json.dumps(multiscale, sort_keys=True),
    )


def _ome_attributes(group: zarr.Group) -> dict[str, Any]:
    attributes = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, dict) else {}


def _array(group: zarr.Group, path: str) -> zarr.Array[Any]:
    array = group[path]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{path} is no array")
    return array


def _axis_name(axis: Any) -> str:
    # Version 0.3 named axes by bare strings; the rest of it reads like 0.4.
    return str(axis["name"] if isinstance(axis, dict) else axis)


def _unit_um(multiscale: dict[str, Any], name: str) -> float | None:
    for axis in multiscale["axes"]:
        if isinstance(axis, dict) and axis["name"].lower() == name:
            return um_per_unit(axis.get("unit"))
    return None


def _transform(
    multiscale: dict[str, Any], dataset: dict[str, Any], n_axes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scale and translation of a level, those of the whole image applied after."""
    scale, offset = np.ones(n_axes), np.zeros(n_axes)
    steps = [
        *dataset["coordinateTransformations"],
        *multiscale.get("coordinateTransformations", []),
    ]
    for step in steps:
        if step["type"] == "scale":
            factors = np.asarray(step["scale"], dtype=float)
            scale, offset = scale * factors, offset * factors
        elif step["type"] == "translation":
            offset = offset + np.asarray(step["translation"], dtype=float)
    return scale, offset


def _spatial(values: npt.NDArray[np.float64], axes: str, absent: float) -> Vec3:
    z, y, x = (float(values[axes.index(a)]) if a in axes else absent for a in "zyx")
    return z, y, x
