"""ROIs of a suite2p plane: ``stat.npy`` with ``iscell.npy``, and ``ops.npy`` where it is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.restricted_pickle import read_npy
from napari_neurobridge.io.rois.roi_set import RoiSet, numbered, roi_of_mask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

STAT = "stat.npy"
_PLANE = re.compile(r"plane(\d+)")


@dataclass(frozen=True)
class Kept:
    """Which ROIs are cells.

    Attributes
    ----------
    every : bool
        All of them, whatever their program thinks.
    min_probability : float or None
        Those that are more probable than this, rather than those that are called cells.
    """

    every: bool = False
    min_probability: float | None = None

    def __post_init__(self) -> None:
        if self.every and self.min_probability is not None:
            raise InputError("All ROIs are asked for, and those above a probability: choose one.")
        if self.min_probability is not None and not 0 <= self.min_probability < 1:
            raise InputError("The smallest probability of a cell lies between 0 and 1.")


def plane_folder(path: Path) -> Path | None:
    """Return the folder of one plane that a person means, None if it is not suite2p's.

    Parameters
    ----------
    path : Path
        ``stat.npy``, the folder that holds it, or suite2p's folder of one plane.

    Raises
    ------
    InputError
        If there are several planes.
    """
    if path.name == STAT:
        return path.parent
    if not path.is_dir():
        return None
    if (path / STAT).is_file():
        return path
    inside = path / "suite2p" if (path / "suite2p").is_dir() else path
    planes = sorted(p.parent for p in inside.glob(f"plane*/{STAT}"))
    if len(planes) > 1:
        raise InputError(
            f"{path} holds {len(planes)} planes; import each of its folders by itself, with its "
            "depth."
        )
    return planes[0] if planes else None


def read_suite2p(path: Path, kept: Kept) -> RoiSet:
    """Read the ROIs of one plane; uids and indices are suite2p's own, which count from 0.

    Parameters
    ----------
    path : Path
        See `plane_folder`.
    kept : Kept
        Which are cells; by default those that ``iscell.npy`` calls so.

    Raises
    ------
    InputError
        If a file is missing, is damaged or holds other objects, or a mask is none.
    """
    folder = plane_folder(path)
    if folder is None:
        raise InputError(f"{path} holds no {STAT} of suite2p.")
    stat = read_npy(folder / STAT, objects=True)
    if stat.ndim != 1 or not all(isinstance(one, dict) for one in stat):
        raise InputError(f"{folder / STAT} is no list of suite2p's ROIs.")
    rows = _kept_rows(folder, len(stat), kept)
    plane = _PLANE.fullmatch(folder.name)
    prefix = f"s2p-p{plane[1]}" if plane else "s2p"
    rois = []
    for uid, row in zip(numbered(prefix, rows), rows, strict=True):
        try:
            pixels = np.column_stack([np.asarray(stat[row][key]) for key in ("ypix", "xpix")])
        except (KeyError, ValueError) as error:
            raise InputError(f"ROI {row} of {folder / STAT} has no ypix and xpix.") from error
        weights = stat[row].get("lam")
        rois.append(roi_of_mask(uid, pixels, weights, path=folder / STAT, index=row))
    return RoiSet(
        format="suite2p",
        path=folder / STAT,
        rois=rois,
        n_in_file=len(stat),
        kept_by=_rule(kept),
        index_base=0,
        shape=_image_shape(folder / "ops.npy"),
    )


def _rule(kept: Kept) -> str:
    if kept.every:
        return "all"
    if kept.min_probability is not None:
        return f"iscell probability > {kept.min_probability:g}"
    return "iscell"


def _kept_rows(folder: Path, n_rois: int, kept: Kept) -> list[int]:
    if kept.every:
        return list(range(n_rois))
    path = folder / "iscell.npy"
    if not path.is_file():
        raise InputError(
            f"{folder} has no iscell.npy, so which ROIs are cells is not known.",
            kind=ErrorKind.NOT_CLASSIFIED,
        )
    iscell = read_npy(path)
    if iscell.ndim == 1 and kept.min_probability is None:
        iscell = iscell[:, None]
    wanted = 0 if kept.min_probability is None else 1
    if iscell.ndim != 2 or len(iscell) != n_rois or iscell.shape[1] <= wanted:
        raise InputError(f"{path} does not fit the {n_rois} ROIs of {folder / STAT}.")
    threshold = 0.5 if kept.min_probability is None else kept.min_probability
    return [int(row) for row in np.flatnonzero(_as_numbers(iscell, path)[:, wanted] > threshold)]


def _as_numbers(values: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float64]:
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path} holds no numbers.")
    return values.astype(np.float64)


def _image_shape(path: Path) -> tuple[int, int] | None:
    """Return (y, x) of the image, as ``ops.npy`` says it; None where it does not."""
    if not path.is_file():
        return None
    # It also holds dates, paths and settings of any kind, none of which is needed.
    found = read_npy(path, objects=True, ignore_others=True)
    ops = found.item() if found.shape == () else None
    rows, columns = (ops.get("Ly"), ops.get("Lx")) if isinstance(ops, dict) else (None, None)
    if isinstance(rows, int | np.integer) and isinstance(columns, int | np.integer):
        return int(rows), int(columns)
    return None
