"""Tables as CSV; those of points have the columns ``uid,z_um,y_um,x_um``, µm (z, y, x)."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

COLUMNS = ("z_um", "y_um", "x_um")


def read_points(path: str | Path) -> tuple[list[str] | None, npt.NDArray[np.float64]]:
    """Read a table of points.

    Parameters
    ----------
    path : str or Path
        CSV with a header. The column ``uid`` may be absent, others are ignored.

    Returns
    -------
    uids : list of str or None
        ``None`` when the table has none.
    points : ndarray, shape (N, 3)
        µm, (z, y, x).

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, a number is not one, or a uid
        stands twice.
    """
    try:
        table = pd.read_csv(path, dtype={"uid": "string"})
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} is no table of points: {error}.") from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(
            f"{path} lacks the column {missing[0]}; a table of points has the columns "
            "uid,z_um,y_um,x_um, in µm."
        )
    try:
        points = as_points(table[list(COLUMNS)].to_numpy(dtype=np.float64))
    except ValueError:
        raise InputError(f"{path} holds a coordinate that is not a number.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if "uid" not in table:
        return None, points
    if table["uid"].isna().any():
        raise InputError(f"{path} has a row without uid; name all somata, or drop the column.")
    twice = table["uid"][table["uid"].duplicated()]
    if len(twice):
        raise InputError(f"{path} names '{twice.iloc[0]}' twice; a uid belongs to one soma.")
    return table["uid"].tolist(), points


def write_rows(path: Path, columns: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV with a header, row by row; under a temporary name is the caller's task."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(rows)


def write_points(path: str | Path, uids: Sequence[str], points: npt.ArrayLike) -> None:
    """Write a table of points, µm (z, y, x), under a temporary name first."""
    table = pd.DataFrame(as_points(points), columns=list(COLUMNS))
    table.insert(0, "uid", list(uids))
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
