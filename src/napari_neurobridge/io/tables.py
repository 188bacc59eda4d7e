"""Tables as CSV; those of points have the columns ``uid,z_um,y_um,x_um``, µm (z, y, x).

There is one reader for all tables that people hand in, and it is strict: a row that has another
number of fields than the header would put numbers under the wrong column without a word.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

COLUMNS = ("z_um", "y_um", "x_um")

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
# "1,500" is one and a half or fifteen hundred; "0,500" and "1,5" can only be the former.
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True)
class Table:
    """A table as text, each row as long as the header.

    Attributes
    ----------
    path : Path
        Where it was read from, for messages.
    columns : tuple of str
        Names in the header, each once; a column without a name has an empty one.
    rows : list of list of str
        Fields, without the spaces around them.
    lines : list of int
        Line of the file that each row ends on, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def text(self, column: str) -> list[str]:
        """Return the fields of one column."""
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def numbers(self, columns: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return columns as finite numbers, shape (rows, columns).

        A decimal comma is understood where a comma does not separate fields, or in quotes, if no
        number of these columns has a point, and not all those with a comma could be thousands.

        Raises
        ------
        InputError
            If a field is not a number, or a comma in it can be read in two ways.
        """
        taken = [self.columns.index(column) for column in columns]
        fields = [[row[index] for index in taken] for row in self.rows]
        with_comma = self._check_numbers(fields, columns)
        if with_comma:
            self._check_commas(fields, with_comma)
        values = [[float(field.replace(",", ".")) for field in row] for row in fields]
        return np.array(values, dtype=np.float64).reshape(-1, len(columns))

    def _check_numbers(self, fields: list[list[str]], columns: Sequence[str]) -> list[int]:
        """Refuse what is no number, and return the rows that hold a comma."""
        with_comma = []
        for number, row in enumerate(fields):
            for field, column in zip(row, columns, strict=True):
                if _NUMBER.fullmatch(field) and np.isfinite(float(field)):
                    continue
                if not _WITH_COMMA.fullmatch(field):
                    said = f"'{field}', which is not a number," if field else "nothing"
                    raise self.refusal(number, f"says {said} as {column}")
                with_comma.append(number)
        return with_comma

    def _check_commas(self, fields: list[list[str]], with_comma: list[int]) -> None:
        first = with_comma[0]
        if any("." in field for row in fields for field in row):
            raise self.refusal(first, "has a decimal comma, and other numbers a point")
        commas = [field for row in fields for field in row if "," in field]
        if all(_MAYBE_THOUSANDS.fullmatch(field) for field in commas):
            raise self.refusal(
                first, "has a comma that may divide thousands or decimals; write decimal points"
            )

    def refusal(self, row: int, what: str) -> InputError:
        """Return the error that a row, from 0, is not as it should be."""
        return InputError(f"{self.path}, line {self.lines[row]}, {what}.")


def read_table(path: str | Path, *, what: str = "table") -> Table:
    """Read a table: a header, then rows of as many fields, separated by , or ; or tabs.

    Parameters
    ----------
    path : str or Path
        UTF-8. Lines without any character are skipped.
    what : str
        What it should be, for messages.

    Raises
    ------
    InputError
        If the file cannot be read, has no rows, names a column twice, mixes separators, or a row
        has more or fewer fields than the header.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no {what}: {error}.") from error
    separator = _separator(path, text, what)
    records = list(_records(path, text, separator, what))
    columns, first_line = tuple(records[0][0]), records[0][1]
    for name in columns:
        if name and columns.count(name) > 1:
            raise InputError(f"{path}, line {first_line}, names the column {name} twice.")
    for fields, line in records[1:]:
        if len(fields) != len(columns):
            raise InputError(_wrong_length(path, line, fields, columns, separator))
    if len(records) == 1:
        raise InputError(f"{path} has a header in line {first_line} and no rows.")
    return Table(path, columns, [row for row, _ in records[1:]], [line for _, line in records[1:]])


def _separator(path: Path, text: str, what: str) -> str:
    """Return what separates the names in the header."""
    header = next((line for line in text.splitlines() if line.strip()), None)
    if header is None:
        raise InputError(f"{path} is no {what}: it is empty.")
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    found = [separator for separator in _SEPARATORS if separator in outside_quotes]
    if len(found) > 1:
        names = " and ".join(_SEPARATORS[separator] for separator in found)
        raise InputError(f"{path}, line 1, separates its fields by {names}; use one of them.")
    return found[0] if found else ","


def _records(path: Path, text: str, separator: str, what: str) -> Iterator[tuple[list[str], int]]:
    """Yield the fields of each record and the line that it ends on; empty lines hold none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}, is no {what}: {error}.") from error
        if fields:
            yield [field.strip() for field in fields], reader.line_num


def _wrong_length(
    path: Path, line: int, fields: list[str], columns: tuple[str, ...], separator: str
) -> str:
    n_fields = f"{len(fields)} field{'s' if len(fields) != 1 else ''}"
    told = f"{path}, line {line}, has {n_fields} where the header has {len(columns)}"
    others = [s for s in _SEPARATORS if s != separator and any(s in field for field in fields)]
    if len(fields) < len(columns) and others:
        there, here = _SEPARATORS[others[0]], _SEPARATORS[separator]
        return f"{told}: it is separated by {there}, the header by {here}."
    if len(fields) > len(columns) and separator == ",":
        return f"{told}; put text and numbers that hold a comma in quotes, or use semicolons."
    return f"{told}."


def read_points(path: str | Path) -> tuple[list[str] | None, npt.NDArray[np.float64]]:
    """Read a table of points.

    Parameters
    ----------
    path : str or Path
        CSV with a header, see `read_table`. The column ``uid`` may be absent, others are ignored.

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
    table = read_table(path, what="table of points")
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(
            f"{path} lacks the column {missing[0]}; a table of points has the columns "
            "uid,z_um,y_um,x_um, in µm."
        )
    points = table.numbers(COLUMNS)
    if "uid" not in table:
        return None, points
    uids, seen = table.text("uid"), set()
    for row, uid in enumerate(uids):
        if not uid:
            raise table.refusal(row, "has no uid; name all somata, or drop the column")
        if uid in seen:
            raise table.refusal(row, f"names '{uid}' twice; a uid belongs to one soma")
        seen.add(uid)
    return uids, points


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
