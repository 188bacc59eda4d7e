"""Labelled sections cut into tiles: what a person annotates one by one, and what is held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy import ndimage

from napari_neurobridge.detection.planes import plane_scales, standardised
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import open_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_neurobridge.types import Float32Array

Bools = npt.NDArray[np.bool_]
Corner = tuple[int, int, int]


class ImageSet(BaseModel, frozen=True, extra="forbid"):
    """A stack of sections and its labels, as files."""

    images: Path = Field(description="TIFF or OME-Zarr of sections (z, y, x).")
    labels: Path = Field(description="Of the same shape.")
    axes: str | None = Field(None, description="Of both, such as zyx, where the files do not say.")
    positive: tuple[int, ...] = Field(
        min_length=1, description="Values of what is told: of boundaries, or of somata."
    )
    unlabelled: tuple[int, ...] = Field((), description="Values of pixels that nobody labelled.")
    test: tuple[int, ...] = Field(
        min_length=1, description="Sections that are held out, to evaluate on."
    )
    left_out: tuple[int, ...] = Field((), description="Sections that are not used at all.")


@dataclass(frozen=True, eq=False)
class TileLabels:
    """The answer about one tile.

    Attributes
    ----------
    wanted : ndarray of bool, shape (H, W)
        Boundary or soma.
    known : ndarray of bool, shape (H, W)
        Where somebody said anything.
    """

    wanted: Bools
    known: Bools


@dataclass(frozen=True, eq=False)
class Tiles:
    """Sections, and the tiles of the pool and of the held-out sections.

    Attributes
    ----------
    sections : ndarray of float32, shape (Z, Y, X)
        Intensities.
    wanted, known : ndarray of bool, shape (Z, Y, X)
        As of `TileLabels`.
    pool, test : tuple of (section, y, x)
        First pixels of the tiles.
    size : tuple of int
        Rows and columns of a tile.
    cells : ndarray of int, shape (Z, Y, X), optional
        True instances; unless given, connected pixels of one tile.
    """

    sections: Float32Array
    wanted: Bools
    known: Bools
    pool: tuple[Corner, ...]
    test: tuple[Corner, ...]
    size: tuple[int, int]
    cells: npt.NDArray[np.integer] | None = None

    @cached_property
    def digest(self) -> str:
        """Return hex digits that differ whenever pixels, labels or tiles do."""
        found = hashlib.sha256(repr((self.pool, self.test, self.size)).encode())
        for array in (self.sections, self.wanted, self.known):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:12]

    def image(self, corner: Corner) -> Float32Array:
        """Return the intensities of a tile, (H, W)."""
        return self.sections[self._span(corner)]

    def seen(self, corners: Sequence[Corner]) -> Float32Array:
        """Return tiles as a network of one plane sees them, (N, 1, H, W)."""
        images = np.stack([self.image(corner) for corner in corners])
        return standardised(images, plane_scales(images))[:, None]

    def labels(self, corner: Corner) -> TileLabels:
        """Return what the labels say of a tile."""
        at = self._span(corner)
        return TileLabels(self.wanted[at], self.known[at])

    def truth(self, corner: Corner, *, boundaries: bool) -> npt.NDArray[np.integer]:
        """Return the true cells of a tile, (H, W); 0 is none."""
        at = self._span(corner)
        if self.cells is not None:
            return self.cells[at]
        inside = self.wanted[at] != boundaries
        return np.asarray(ndimage.label(inside & self.known[at])[0])

    def annotate(self, items: Sequence[int]) -> list[TileLabels]:
        """Answer for the pool from the labels; an `active.adapt.Annotator`.

        Raises
        ------
        InputError
            If a tile has no label yet; the message names the places to label.
        """
        answers = [self.labels(self.pool[item]) for item in items]
        empty = [
            f"section {z}, rows {y} to {y + self.size[0] - 1}, columns {x} to "
            f"{x + self.size[1] - 1}"
            for (z, y, x), answer in zip((self.pool[i] for i in items), answers, strict=True)
            if not answer.known.any()
        ]
        if empty:
            raise InputError(f"Label these tiles, and run again: {'; '.join(empty)}.")
        return answers

    def _span(self, corner: Corner) -> tuple[int, slice, slice]:
        z, y, x = corner
        return z, slice(y, y + self.size[0]), slice(x, x + self.size[1])


def cut_tiles(
    sections: Float32Array,
    wanted: Bools,
    known: Bools,
    *,
    test: Iterable[int],
    pool: Iterable[int],
    tile_px: int,
    multiple: int,
    cells: npt.NDArray[np.integer] | None = None,
) -> Tiles:
    """Cut sections into tiles side by side, smaller where the sections are.

    Parameters
    ----------
    sections, wanted, known, cells
        As of `Tiles`.
    test, pool : iterable of int
        Sections of either.
    tile_px : int
        Side of a tile.
    multiple : int
        Sides are brought down to a multiple of this.

    Raises
    ------
    InputError
        If a section does not exist, sections are too small, or all known pixels are of one class.
    """
    rows, columns = (min(tile_px, length) // multiple * multiple for length in sections.shape[1:])
    if not rows or not columns:
        raise InputError(
            f"Sections of {sections.shape[1]} × {sections.shape[2]} pixels are too small for "
            f"tiles of {multiple} pixels."
        )
    test, pool = list(test), list(pool)
    beyond = sorted({z for z in (*test, *pool) if not 0 <= z < len(sections)})
    if beyond:
        raise InputError(f"There is no section {beyond[0]}; there are {len(sections)}, from 0 on.")
    if known.any() and (not wanted[known].any() or wanted[known].all()):
        raise InputError("The labels are of one class; both what is told and the rest are needed.")
    corners = [
        [
            (z, y, x)
            for z in some
            for y in range(0, sections.shape[1] - rows + 1, rows)
            for x in range(0, sections.shape[2] - columns + 1, columns)
        ]
        for some in (pool, test)
    ]
    return Tiles(
        sections, wanted, known, tuple(corners[0]), tuple(corners[1]), (rows, columns), cells
    )


def read_tiles(found: ImageSet, *, tile_px: int, multiple: int) -> Tiles:
    """Read a set and cut it into tiles; all sections that are not held out are the pool.

    Raises
    ------
    InputError
        If a file cannot be read, shapes differ, or as `cut_tiles` says.
    """
    sections, values = (_read(path, found.axes) for path in (found.images, found.labels))
    if sections.shape != values.shape:
        raise InputError(
            f"Labels of shape {values.shape} do not fit images of shape {sections.shape}."
        )
    if (values != np.rint(values)).any():
        raise InputError(f"The labels {found.labels} are no whole numbers.")
    used = set(range(len(sections))) - set(found.left_out)
    return cut_tiles(
        sections,
        np.isin(values, found.positive),
        ~np.isin(values, found.unlabelled),
        test=found.test,
        pool=sorted(used - set(found.test)),
        tile_px=tile_px,
        multiple=multiple,
    )


def _read(path: Path, axes: str | None) -> Float32Array:
    # No length is measured here, hence whatever voxels are they are not asked for.
    volume = open_volume(path, name=path.name, axes=axes, voxel_size_um=(1.0, 1.0, 1.0))
    return volume.read((0, 0, 0), volume.shape)
