"""Which cells other programs hold for the same over several sessions: CellReg, ROICaT, Track2p."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.restricted_pickle import read_npy
from napari_neurobridge.io.rois.roi_set import check_size

if TYPE_CHECKING:
    from pathlib import Path

_STRUCT, _MAP, _SCORES = "cell_registered_struct", "cell_to_index_map", "cell_scores"
_TRACK2P = re.compile(r"plane(\d+)_match_mat\.npy")
NOBODY = -1


class CountedRows(StrEnum):
    """Which ROIs of a session a program counts: all of its file, or those that were kept."""

    FILE = "file"
    KEPT = "kept"


@dataclass(frozen=True, eq=False)
class TrackedCells:
    """Cells over sessions, as one program assigned them.

    Attributes
    ----------
    program : str
    path : Path
    rows : ndarray of int, shape (cells, sessions)
        ROI of each session, from 0; -1 where the session does not show the cell.
    scores : ndarray, shape (cells,), or None
        What the program thinks of each cell, as it counts.
    counted : CountedRows or None
        Which ROIs the numbers count; ``None`` where nobody can know it.
    kept_by : str or None
        What chose the counted ROIs, as in `RoiSet.kept_by`.
    plane : int or None
        Of suite2p, where the file is about one.
    """

    program: str
    path: Path
    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64] | None = None
    counted: CountedRows | None = None
    kept_by: str | None = None
    plane: int | None = None

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] < 2:
            raise InputError(f"{self.path} holds no cells of two or more sessions.")
        for session, column in enumerate(self.rows.T):
            shown = column[column != NOBODY]
            if (shown < 0).any() or len(np.unique(shown)) < len(shown):
                raise InputError(
                    f"{self.path} assigns a ROI of session {session} to two cells, or none that "
                    "can be."
                )

    def pairs(self, first: int, second: int) -> tuple[npt.NDArray[np.int64], list[float | None]]:
        """Return the ROIs (N, 2) of cells that two sessions show, and their scores.

        Raises
        ------
        InputError
            If there is no such session, or no cell that both show.
        """
        n_sessions = self.rows.shape[1]
        for session in (first, second):
            if not 0 <= session < n_sessions:
                raise InputError(
                    f"{self.path} holds {n_sessions} sessions, counted from 0; there is no session "
                    f"{session}."
                )
        if first == second:
            raise InputError(f"Two datasets cannot both be session {first} of {self.path}.")
        both = self.rows[:, [first, second]]
        shown = (both != NOBODY).all(axis=1)
        if not shown.any():
            raise InputError(f"{self.path} holds no cell of both session {first} and {second}.")
        scores = np.full(len(both), np.nan) if self.scores is None else self.scores
        return both[shown], [s if np.isfinite(s) else None for s in scores[shown].tolist()]


def read_tracking(path: Path) -> TrackedCells:
    """Read the assignments of CellReg (.mat), ROICaT (.json) or Track2p (.npy).

    Raises
    ------
    InputError
        If the file is of none of them, is damaged, or contradicts itself.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    check_size(path)
    if path.suffix.lower() == ".mat":
        return _read_cellreg(path)
    if path.suffix.lower() == ".json":
        return _read_roicat(path)
    if plane := _TRACK2P.fullmatch(path.name):
        return _read_track2p(path, int(plane[1]))
    raise InputError(
        f"{path} is no known file of assignments: those are CellReg's cellRegistered….mat, "
        "ROICaT's ….results_clusters.json, Track2p's plane0_match_mat.npy, and .csv."
    )


def _read_cellreg(path: Path) -> TrackedCells:
    import h5py

    read = _cellreg_hdf5 if h5py.is_hdf5(path) else _cellreg_old
    numbers, scores = read(path)
    if numbers is None or numbers.ndim != 2 or numbers.dtype.kind not in "iuf":
        raise InputError(f"{path} holds no {_MAP} of CellReg.")
    numbers = numbers.astype(np.float64)
    if not (np.abs(numbers) < 2**31).all() or (numbers != np.round(numbers)).any():
        raise InputError(f"The {_MAP} of {path} holds what are no numbers of cells.")
    if scores is not None and scores.size != len(numbers):
        scores = None
    return TrackedCells(
        "CellReg",
        path,
        numbers.astype(np.int64) - 1,  # MATLAB counts from 1, and 0 is nobody
        None if scores is None else scores.astype(np.float64).ravel(),
    )


def _cellreg_hdf5(path: Path) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
    from napari_neurobridge.io.rois import hdf5

    with hdf5.opened(path) as file:
        found = file.get(_STRUCT)
        if found is None or not hasattr(found, "keys"):
            return None, None
        numbers = hdf5.values_of(found, _MAP)
        # HDF5 shows MATLAB's arrays the other way round.
        return None if numbers is None else numbers.T, hdf5.values_of(found, _SCORES)


def _cellreg_old(path: Path) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, variable_names=[_STRUCT]).get(_STRUCT)
    except (
        MatReadError,
        OSError,
        ValueError,
        TypeError,
        NotImplementedError,
        LookupError,
    ) as error:
        raise InputError(f"{path} is no MATLAB file, or is damaged.") from error
    names = () if found is None or found.dtype.names is None else found.dtype.names
    if found is None or _MAP not in names or found.size != 1:
        return None, None
    return found[_MAP].item(), found[_SCORES].item() if _SCORES in names else None


def _read_roicat(path: Path) -> TrackedCells:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON, or is damaged.") from error
    labels = found.get("labels_bySession") if isinstance(found, dict) else None
    if not isinstance(labels, list) or not all(
        isinstance(session, list) and all(type(label) is int for label in session)
        for session in labels
    ):
        raise InputError(f"{path} holds no labels_bySession of ROICaT.")
    cells = sorted({label for session in labels for label in session if label != NOBODY})
    number = {label: row for row, label in enumerate(cells)}
    rows = np.full((len(cells), len(labels)), NOBODY, dtype=np.int64)
    for column, session in enumerate(labels):
        for roi, label in enumerate(session):
            if label == NOBODY:
                continue
            if rows[number[label], column] != NOBODY:
                raise InputError(f"{path} assigns two ROIs of session {column} to cell {label}.")
            rows[number[label], column] = roi
    # It takes all ROIs of a file, whatever they are.
    return TrackedCells("ROICaT", path, rows, counted=CountedRows.FILE)


def _read_track2p(path: Path, plane: int) -> TrackedCells:
    found = read_npy(path, objects=True)
    if found.ndim != 2:
        raise InputError(f"{path} is no matrix of matches of Track2p.")
    rows = np.full(found.shape, NOBODY, dtype=np.int64)
    for place, value in np.ndenumerate(found):
        if value is None:
            continue
        if not isinstance(value, int | float | np.integer | np.floating) or value != int(value):
            raise InputError(f"{path} holds matches that are no numbers of cells.")
        rows[place] = int(value)
    options = path.with_name("track_ops.npy")
    kept_by = None
    if options.is_file():
        # It also holds images and paths, none of which is needed.
        stored = read_npy(options, objects=True, ignore_others=True)
        values = stored.item() if stored.shape == () else None
        if isinstance(values, dict) and "iscell_thr" in values:
            kept_by = _rule(values["iscell_thr"])
    counted = CountedRows.KEPT if kept_by is not None else None
    return TrackedCells("Track2p", path, rows, counted=counted, kept_by=kept_by, plane=plane)


def _rule(threshold: object) -> str | None:
    if threshold is None:
        return "iscell"
    if isinstance(threshold, int | float | np.integer | np.floating):
        return f"iscell probability > {threshold:g}"
    return None
