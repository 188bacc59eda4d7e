"""TIFF files of four kinds, read lazily: OME-TIFF, ScanImage, ImageJ and plain.

Voxel sizes come from OME-XML, from ImageJ's ``spacing`` and resolution tags, or from
ScanImage's header. The resolution tags of plain files are not believed: most programs
write 72 dpi there, whatever the image shows.
"""

from __future__ import annotations

import logging
import math
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import tifffile
import zarr

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io import scanimage
from napari_neurobridge.io.signatures import (
    READ_FORMATS,
    describe_foreign_file,
    starts_like_tiff,
)
from napari_neurobridge.io.source import (
    ArrayLike,
    ImageSource,
    averaged_offset,
    check_axes,
    factor_of_shapes,
    um_per_unit,
)

if TYPE_CHECKING:
    from pathlib import Path

    Spacing = tuple[float | None, float | None, float | None]

# What tifffile logs about damaged files is said in one sentence here; without a handler
# Python would print it on stderr as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_UNKNOWN: Spacing = (None, None, None)
_DESCRIPTION = 270
_HIGHEST_COMPRESSION = 100_000
"""A header that promises more than this for each stored byte is damaged; even empty
images do not reach it."""
_READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
    ElementTree.ParseError,
)
"""What tifffile and the parsers here raise on files that are damaged or no TIFF."""


def open_tiff(path: Path, axes: str | None = None) -> ImageSource:
    """Open the first image series of a TIFF file without reading its pixels.

    Parameters
    ----------
    path : Path
        The file.
    axes : str, optional
        Overrides the axes that the metadata give, such as "zyx".

    Raises
    ------
    InputError
        If the file is no TIFF, is truncated, is in colour, or its axes are unknown.
    """
    _refuse_foreign(path)
    try:
        with ExitStack() as closing_on_error:
            tif = closing_on_error.enter_context(tifffile.TiffFile(path))
            source = _read_source(tif, path, axes)
            closing_on_error.pop_all()  # the levels read from the open file
    except _READ_ERRORS as error:
        raise InputError(
            f"{path} cannot be read as TIFF ({error}); it may be truncated or damaged, "
            f"so copy it again from where it was recorded."
        ) from error
    return source


def _refuse_foreign(path: Path) -> None:
    """Say what a file is that is no TIFF: it is neither truncated nor damaged."""
    try:
        foreign = None if starts_like_tiff(path) else describe_foreign_file(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if foreign is not None:
        raise InputError(f"{path} is {foreign}; {READ_FORMATS}.")


def _read_source(tif: tifffile.TiffFile, path: Path, axes: str | None) -> ImageSource:
    series = _first_series(tif, axes)
    _check_complete(tif, series, path)
    names = _axes(series, axes, path)
    kind, spacing = _kind_and_spacing(tif, series)
    shapes = [
        [level.shape[names.index(axis)] if axis in names else 1 for axis in "zyx"]
        for level in series.levels
    ]
    factors = tuple(factor_of_shapes(shapes[0], shape) for shape in shapes)
    return ImageSource(
        path=str(path),
        format=kind,
        axes=names,
        levels=tuple(_as_array(level) for level in series.levels),
        spacing_um=spacing,
        level_factors=factors,
        # TIFF does not say how its pyramids were made; averaging is the usual way.
        level_offsets=tuple(averaged_offset(factor) for factor in factors),
        description=f"{kind} {series.shape} {tif.pages.first.description}",
    )


def _first_series(tif: tifffile.TiffFile, axes: str | None) -> tifffile.TiffPageSeries:
    if tif.is_scanimage and not tif.is_ome:
        return scanimage.arrange_pages(tif, axes)
    return tif.series[0]


def _as_array(series: tifffile.TiffPageSeries) -> ArrayLike:
    array: ArrayLike = zarr.open_array(series.aszarr(level=0), mode="r")
    return array


def _axes(series: tifffile.TiffPageSeries, axes: str | None, path: Path) -> str:
    if axes is None and "S" in series.axes:
        raise InputError(
            f"{path} is a colour image (axes '{series.axes.lower()}'): its "
            "colours are read as channels only where that axis is named c.",
            kind=ErrorKind.UNKNOWN_AXES,
        )
    if axes is None and not set(series.axes) <= set("TCZYX"):
        raise InputError(
            f"{path} does not say what its {len(series.shape)} axes {series.shape} are.",
            kind=ErrorKind.UNKNOWN_AXES,
        )
    return check_axes(axes or series.axes, len(series.shape), path)


# --- completeness -------------------------------------------------------------------


def _check_complete(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse files whose metadata promise more than the file holds."""
    codes, _ = _read_directory(tif, tif.pages.first)
    _, following = _read_directory(tif, tif.pages[-1])
    # A reader stops without a word where the chain of directories leads beyond the end
    # of a file, and drops tags whose values lie there.
    metadata_lost = _DESCRIPTION in codes and _DESCRIPTION not in tif.pages.first.tags
    if (
        metadata_lost
        or following != 0
        or series.size < _promised_pixels(tif)
        or series.keyframe.nbytes > _HIGHEST_COMPRESSION * tif.filehandle.size
        or _has_missing_data(series)
    ):
        raise InputError(
            f"{path} is truncated: it holds fewer planes than its header promises; "
            f"copy or export it again."
        )


def _promised_pixels(tif: tifffile.TiffFile) -> int:
    if tif.is_ome:
        return 0  # tifffile fills missing OME planes with None, which is looked for
    page = int(math.prod(tif.pages.first.shape))
    if tif.is_imagej:
        return int((tif.imagej_metadata or {}).get("images", 1)) * page
    if tif.is_shaped:
        return int(math.prod((tif.shaped_metadata or ({},))[0].get("shape", ())))
    return 0


def _has_missing_data(series: tifffile.TiffPageSeries) -> bool:
    if series.dataoffset is not None:
        available = series.keyframe.parent.filehandle.size
        return bool(series.dataoffset + series.nbytes > available)
    for page in series:
        if page is None:
            return True
        ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > page.parent.filehandle.size:
            return True
    return False


def _read_directory(tif: tifffile.TiffFile, page: Any) -> tuple[list[int], int]:
    """Return the tag codes of a page's directory, and the offset of the next one or 0."""
    handle, layout = tif.filehandle, tif.tiff
    handle.seek(page.offset)
    (n_tags,) = struct.unpack(layout.tagnoformat, handle.read(layout.tagnosize))
    entries = handle.read(n_tags * layout.tagsize)
    codes = [
        struct.unpack_from(f"{layout.byteorder}H", entries, index * layout.tagsize)[0]
        for index in range(n_tags)
    ]
    (following,) = struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))
    return codes, int(following)


# --- voxel size ---------------------------------------------------------------------


def _kind_and_spacing(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> tuple[str, Spacing]:
    if tif.is_ome:
        return "ome-tiff", _ome_spacing(tif.ome_metadata or "")
    if tif.is_scanimage:
        return "scanimage", scanimage.spacing_um(tif, series.keyframe.shape)
    if tif.is_imagej:
        return "imagej", _imagej_spacing(tif)
    return "tiff", _UNKNOWN


def _ome_spacing(xml: str) -> Spacing:
    """Read PhysicalSizeZ, Y and X of the first image; the unit defaults to µm in OME."""
    elements = ElementTree.fromstring(xml).iter()
    pixels = next((e.attrib for e in elements if e.tag.endswith("}Pixels")), {})
    spacing = []
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = um_per_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        spacing.append(float(size) * unit if size and unit else None)
    return spacing[0], spacing[1], spacing[2]


def _imagej_spacing(tif: tifffile.TiffFile) -> Spacing:
    metadata = tif.imagej_metadata or {}
    unit = um_per_unit(metadata.get("unit"))
    if unit is None:
        return _UNKNOWN
    spacing = metadata.get("spacing")
    z = abs(float(spacing)) * unit if spacing else None
    tags = tif.pages.first.tags
    y, x = (_length_per_pixel(tags.valueof(name)) for name in ("YResolution", "XResolution"))
    return z, y and y * unit, x and x * unit


def _length_per_pixel(resolution: tuple[int, int] | None) -> float | None:
    """Invert a resolution tag, a fraction of pixels per unit."""
    if resolution is None or min(resolution) <= 0:
        return None
    return resolution[1] / resolution[0]
