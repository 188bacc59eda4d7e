"""ROIs of ImageJ and Fiji: one ``.roi`` file, or a RoiSet, which is a zip of them."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
from roifile import ROI_TYPE, ImagejRoi

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.roi_set import MOST_BYTES, Roi, RoiSet, check_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

_LARGEST_ROI = 2**24  # bytes of one .roi file
_MOST_ROIS = 10**6
_NO_AREA = (ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.ANGLE, ROI_TYPE.NOROI)
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, struct.error)


def read_imagej(path: Path) -> RoiSet:
    """Read areas and points that a person drew; their names are kept.

    ImageJ counts from the upper left corner of a pixel, and this program from its middle.

    Parameters
    ----------
    path : Path
        ``.roi``, or ``.zip`` as the ROI Manager writes it.

    Raises
    ------
    InputError
        If it cannot be read, is damaged or too large, or holds lines, which are no cells.
    """
    check_size(path)
    drawn = [_drawn(name, data, path) for name, data in _members(path)]
    for name, count in Counter(one.name for one in drawn).items():
        if count > 1:
            raise InputError(f"{path} names the ROI '{name}' {count} times.")
    # A hyperstack tells planes from frames; a mere position in a stack does not.
    known = min(one.z_position for one in drawn) > 0
    rois, positions = [], []
    for one in drawn:
        named = one.named_shapes()
        rois += [_roi(*shape, one.z_position - 1 if known else 0, path) for shape in named]
        positions += [one.position - 1] * len(named)
    return RoiSet(
        format="ImageJ",
        path=path,
        rois=rois,
        n_in_file=len(rois),
        planes_known=known,
        stack_positions=positions if min(positions) >= 0 else None,
    )


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One ROI of ImageJ: corners (y, x) of an area, or places (N, 2) of points.

    Positions count from 1; 0 where the ROI does not say them.
    """

    name: str
    points: npt.NDArray[np.float64]
    is_area: bool
    z_position: int
    position: int

    def named_shapes(self) -> list[tuple[str, npt.NDArray[np.float64]]]:
        """Return the area, or each point, with its name."""
        if self.is_area or len(self.points) == 1:
            return [(self.name, self.points if self.is_area else self.points[0])]
        return [(f"{self.name}-{number}", point) for number, point in enumerate(self.points, 1)]


def _drawn(name: str, data: bytes, path: Path) -> _Drawn:
    try:
        read = ImagejRoi.frombytes(data)
        corners = np.asarray(read.coordinates(), dtype=np.float64)
    except _DAMAGE as error:
        raise InputError(f"The ROI '{name}' of {path} is damaged, or none of ImageJ.") from error
    if read.roitype in _NO_AREA or not len(corners):
        raise InputError(f"The ROI '{name}' of {path} is neither an area nor a point.")
    if not (np.abs(corners) < 2**31).all():  # as NaN is not
        raise InputError(f"The ROI '{name}' of {path} has coordinates that no image has.")
    is_area = read.roitype != ROI_TYPE.POINT
    if is_area or read.subpixel_coordinates is not None:
        corners -= 0.5
    return _Drawn(name, corners[:, ::-1], is_area, read.z_position, read.position)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each ROI; nothing is unpacked to the disk."""
    if path.suffix.lower() == ".roi":
        if path.stat().st_size > _LARGEST_ROI:
            raise InputError(f"{path} is larger than any ROI.")
        yield path.stem, path.read_bytes()
        return
    try:
        with ZipFile(path) as archive:
            members = [
                info
                for info in archive.infolist()
                if not info.is_dir()
                and info.filename.lower().endswith(".roi")
                and not info.filename.startswith("__MACOSX/")
            ]
            _check_members(path, members)
            for info in members:
                with archive.open(info) as handle:
                    # What the archive says about sizes is only what it says.
                    data = handle.read(_LARGEST_ROI + 1)
                if len(data) > _LARGEST_ROI:
                    raise InputError(f"{path} holds a file that is larger than any ROI.")
                yield PurePosixPath(info.filename).stem, data
    except (BadZipFile, OSError, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path} is no zip, or is damaged or not complete.") from error


def _check_members(path: Path, members: list[ZipInfo]) -> None:
    if not members:
        raise InputError(f"{path} holds no .roi file of ImageJ.")
    if len(members) > _MOST_ROIS or sum(info.file_size for info in members) > MOST_BYTES:
        raise InputError(f"{path} unpacks to more than any set of ROIs.")


def _roi(uid: str, points: npt.NDArray[np.float64], plane: int, path: Path) -> Roi:
    if points.ndim == 1:
        center = np.array([plane, *points], dtype=np.float64)
        return Roi(uid, center, 0.0, np.zeros((0, 3)), np.tile(center, (2, 1)))
    area, middle = polygon_area(points)
    if area <= 0:
        raise InputError(f"The ROI '{uid}' of {path} covers no area.")
    center = np.array([plane, *middle], dtype=np.float64)
    closed = np.concatenate([points, points[:1]])
    outline = np.column_stack([np.full(len(closed), float(plane)), closed])
    # People draw over an image's edge, so that only the middle has to lie inside.
    return Roi(uid, center, area, outline, np.tile(center, (2, 1)))


def polygon_area(
    corners: npt.NDArray[np.float64],
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return area and centroid of a polygon, (V, 2), by the shoelace formula."""
    origin = corners.mean(axis=0)
    here = corners - origin
    there = np.roll(here, -1, axis=0)
    cross = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    twice = float(cross.sum())
    if twice == 0:
        return 0.0, origin
    return abs(twice) / 2, origin + ((here + there) * cross[:, None]).sum(axis=0) / (3 * twice)
