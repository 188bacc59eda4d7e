"""BigWarp's landmark tables, both ways.

As BigWarp's ``LandmarkTableModel`` (saalfeldlab/bigwarp) saves and loads them: a CSV without a
header, every field in quotes, one landmark a line: name, ``true`` if it is active, the place in
the moving image, the place in the fixed one (BigWarp's "target"); x, y, z, or x, y for flat
images, in physical units. A side on which nobody has clicked yet says ``Infinity``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.spaces.landmarks import Landmarks

Float64Array = npt.NDArray[np.float64]

_FLAGS = {"true": True, "false": False}
_N_DIMENSIONS = {6: 2, 8: 3}


@dataclass(frozen=True, eq=False)
class BigWarpLandmarks:
    """Landmarks between a moving and a fixed image, in the order of BigWarp's table.

    Parameters
    ----------
    names : tuple of str
        Such as ``Pt-0``.
    active : ndarray of bool, shape (N,)
        Whether BigWarp uses the landmark.
    moving_um, fixed_um : ndarray, shape (N, 3) or (N, 2)
        µm, (z, y, x) or (y, x); infinite where nobody has clicked on that side.

    Raises
    ------
    InputError
        If the arrays do not fit, or a coordinate is NaN.
    """

    names: tuple[str, ...]
    active: npt.NDArray[np.bool_]
    moving_um: Float64Array
    fixed_um: Float64Array

    def __post_init__(self) -> None:
        moving, fixed = (np.asarray(p, dtype=np.float64) for p in (self.moving_um, self.fixed_um))
        active = np.asarray(self.active, dtype=np.bool_)
        if moving.ndim != 2 or moving.shape[1] not in (2, 3) or moving.shape != fixed.shape:
            raise InputError(
                "Landmarks need places of shape (N, 3) or (N, 2) on both sides, not "
                f"{moving.shape} and {fixed.shape}."
            )
        if len(active) != len(moving) or len(self.names) != len(moving):
            raise InputError(
                f"{len(moving)} landmarks need as many names and flags, not {len(self.names)} and "
                f"{len(active)}."
            )
        if np.isnan(moving).any() or np.isnan(fixed).any():
            raise InputError("Landmarks hold NaN coordinates; remove those rows.")
        for name, value in (("active", active), ("moving_um", moving), ("fixed_um", fixed)):
            object.__setattr__(self, name, value)

    @classmethod
    def of_places(cls, moving_um: npt.ArrayLike, fixed_um: npt.ArrayLike) -> BigWarpLandmarks:
        """Take pairs of places, (N, 3) or (N, 2), as active landmarks ``Pt-0`` and so on."""
        moving = np.asarray(moving_um, dtype=np.float64)
        names = tuple(f"Pt-{row}" for row in range(len(moving)))
        return cls(names, np.ones(len(moving), dtype=np.bool_), moving, np.asarray(fixed_um))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_dimensions(self) -> int:
        """2 or 3."""
        return int(self.moving_um.shape[1])

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Which landmarks are active and have both places, (N,)."""
        both = np.hstack([self.moving_um, self.fixed_um])
        return np.asarray(self.active & np.isfinite(both).all(axis=1))

    def to_landmarks(self) -> Landmarks:
        """Return the complete ones from the fixed to the moving image, as the map goes.

        Raises
        ------
        InputError
            If they have two dimensions, or a side is evidently not in µm.
        """
        if self.n_dimensions != 3:
            raise InputError("Landmarks of two dimensions do not say where they lie in a volume.")
        return Landmarks(self.fixed_um[self.complete], self.moving_um[self.complete])


def write_bigwarp(path: str | Path, landmarks: BigWarpLandmarks) -> Path:
    """Write landmarks as BigWarp saves them, in µm, and return the path."""
    path = Path(path)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for name, active, moving, fixed in zip(
            landmarks.names,
            landmarks.active.tolist(),
            landmarks.moving_um[:, ::-1].tolist(),
            landmarks.fixed_um[:, ::-1].tolist(),
            strict=True,
        ):
            places = [_as_java(value) for value in (*moving, *fixed)]
            writer.writerow([name, "true" if active else "false", *places])
    return path


def _as_java(value: float) -> str:
    """Return a number as Java writes and reads it."""
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def read_bigwarp(path: str | Path) -> BigWarpLandmarks:
    """Read landmarks that BigWarp saved; their unit is taken to be µm.

    Parameters
    ----------
    path : str or Path
        CSV.

    Raises
    ------
    InputError
        If there is no such file, it is empty, or a line is not as BigWarp writes it.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = [
                (row, line) for line, row in enumerate(csv.reader(handle, strict=True), 1) if row
            ]
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no table of BigWarp landmarks: {error}.") from error
    if not rows:
        raise InputError(f"{path} is no table of BigWarp landmarks: it is empty.")
    length = len(rows[0][0])
    if length not in _N_DIMENSIONS:
        raise InputError(
            f"{path} is no table of BigWarp landmarks: line {rows[0][1]} has {length} fields, and "
            "a name, true or false, and two places have 8 (or 6 in two dimensions)."
        )
    n = _N_DIMENSIONS[length]
    places = np.empty((len(rows), 2 * n))
    active = np.empty(len(rows), dtype=np.bool_)
    for index, (row, line) in enumerate(rows):
        active[index], places[index] = _parsed(row, length, f"{path}, line {line},")
    return BigWarpLandmarks(
        tuple(row[0] for row, _ in rows), active, places[:, n - 1 :: -1], places[:, : n - 1 : -1]
    )


def _parsed(row: list[str], length: int, where: str) -> tuple[bool, list[float]]:
    """Return whether a line's landmark is active, and its coordinates in the file's order."""
    if len(row) != length:
        raise InputError(f"{where} has {len(row)} fields where the first line has {length}.")
    flag = _FLAGS.get(row[1].strip().lower())
    if flag is None:
        raise InputError(f"{where} says '{row[1]}', where BigWarp says true or false.")
    values = []
    for field in row[2:]:
        try:
            value = float(field)
        except ValueError:
            raise InputError(f"{where} says '{field}', which is not a number.") from None
        if np.isnan(value):
            raise InputError(f"{where} says NaN, which is no place.")
        values.append(value)
    return flag, values
