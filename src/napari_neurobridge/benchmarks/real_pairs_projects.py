"""Projects made from folders of two real planes, as a user would make them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile
from scipy.ndimage import affine_transform

from napari_neurobridge.benchmarks.effort_projects import EX_VIVO, IN_VIVO, KnownProject
from napari_neurobridge.benchmarks.real_pairs import GALLERY, IMAGES, PAIRS, QUERIES
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points, write_points
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.setup import DatasetSource, create_project, named_uid

if TYPE_CHECKING:
    from pathlib import Path

Float64Array = npt.NDArray[np.float64]

NOTE = "README.txt"
_NUMBER = r"([\d.]+)"
_VOXELS = re.compile(rf"\(1, {_NUMBER}, \1\) and \(1, {_NUMBER}, \2\) um")


@dataclass(frozen=True)
class RealSet:
    """A folder of two planes of the same cells.

    Attributes
    ----------
    folder : Path
        Holds ``in_vivo.csv``, ``ex_vivo.csv`` (uid,z_um,y_um,x_um) and ``silver.csv``, two columns
        of uids.
    pixel_um : tuple of float, or None
        Side of a pixel of ``in_vivo.tif`` and ``ex_vivo.tif``; ``None`` unless both are there.
    """

    folder: Path
    pixel_um: tuple[float, float] | None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name


def find_real_sets(
    folder: Path, pixel_um: tuple[float, float] | None = None
) -> tuple[RealSet, ...]:
    """Find the folder itself, or those in it, that hold tables of two planes.

    Parameters
    ----------
    folder : Path
    pixel_um : tuple of float, optional
        Of all images; otherwise as ``README.txt`` says in the words "voxel size (1, 0.9, 0.9)
        and (1, 0.7, 0.7) um".

    Raises
    ------
    InputError
        If there is no such folder, or there are images without the size of their pixels.
    """
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [one for one in (folder, *inside) if (one / PAIRS).is_file()]
    if not found:
        raise InputError(f"There is no {PAIRS} in {folder} or in a folder of it.")
    return tuple(RealSet(one, _pixels(one, pixel_um)) for one in found)


def _pixels(folder: Path, stated: tuple[float, float] | None) -> tuple[float, float] | None:
    if not all((folder / name).is_file() for name in IMAGES):
        return None
    return stated or noted_pixels(folder)


def noted_pixels(folder: Path) -> tuple[float, float]:
    """Return the side of a pixel of either image, as the note in a folder says.

    Raises
    ------
    InputError
        If it does not.
    """
    note = folder / NOTE
    said = _VOXELS.search(note.read_text(encoding="utf-8")) if note.is_file() else None
    if said is None:
        raise InputError(f"The side of a pixel of the images in {folder} is not stated.")
    return float(said[1]), float(said[2])


def real_project(
    real: RealSet, path: Path, *, images: bool = True, angle_deg: float = 0.0
) -> KnownProject:
    """Make a project of a folder, without any orientation or verdict.

    Parameters
    ----------
    real : RealSet
    path : Path
        Of the project; must not exist. Turned tables and images are written beside it.
    images : bool
        Take the images in, if both are there.
    angle_deg : float
        Turn the ex-vivo side so far within its plane.

    Raises
    ------
    InputError
        If a file cannot be read, or a pair names an unknown uid.
    """
    tables = [real.folder / QUERIES, real.folder / GALLERY]
    pictures: list[Path | None] = [None, None]
    pixel_um = real.pixel_um if images else None
    if pixel_um is not None:
        pictures = [(real.folder / name).resolve() for name in IMAGES]
    if angle_deg:
        tables[1], pictures[1] = _turned(tables[1], pictures[1], pixel_um, angle_deg, path)
    project = create_project(
        path,
        [
            DatasetSource(
                name,
                role,
                image=pictures[side],
                points=tables[side],
                voxel_size_um=None if pixel_um is None else (1.0, pixel_um[side], pixel_um[side]),
            )
            for side, (name, role) in enumerate(((IN_VIVO, Role.IN_VIVO), (EX_VIVO, Role.EX_VIVO)))
        ],
    )
    state = project.state()
    pairs = pd.read_csv(real.folder / PAIRS, dtype=str)
    here, there = (
        [named_uid(state, name, uid) for uid in pairs.iloc[:, side]]
        for side, name in enumerate((IN_VIVO, EX_VIVO))
    )
    if not set(here) <= set(state.somata[IN_VIVO]) or not set(there) <= set(state.somata[EX_VIVO]):
        raise InputError(f"{real.folder / PAIRS} names a uid that is in neither table.")
    return KnownProject(project, dict(zip(here, there, strict=True)))


def _turned(
    table: Path,
    image: Path | None,
    pixel_um: tuple[float, float] | None,
    angle: float,
    beside: Path,
) -> tuple[Path, Path | None]:
    """Write a table, and its image, turned about the image's or the points' middle."""
    uids, points = read_points(table)
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    middle = moved = points[:, 1:].mean(axis=0)
    picture = None
    if image is not None and pixel_um is not None:
        pixels = tifffile.imread(image)
        old = (np.array(pixels.shape) - 1) / 2
        size = np.ceil(np.abs(turn) @ pixels.shape).astype(int)
        new = (size - 1) / 2
        turned = affine_transform(
            pixels, turn.T, old - turn.T @ new, output_shape=tuple(size.tolist()), order=1
        )
        picture = beside.with_suffix(".tif")
        tifffile.imwrite(picture, turned, metadata={"axes": "YX"})
        middle, moved = old * pixel_um[1], new * pixel_um[1]
    points[:, 1:] = (points[:, 1:] - middle) @ turn.T + moved
    written = beside.with_suffix(".csv")
    write_points(written, uids or [f"{row}" for row in range(len(points))], points)
    return written, picture
