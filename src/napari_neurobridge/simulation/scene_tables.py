"""Tables of a scene: which cells and vessels lie where in both volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.tables import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.scene import Truth

_POSITIONS = tuple(f"{side}_{axis}_um" for side in ("two_photon", "fmost") for axis in "zyx")
_TRUTH_COLUMNS = (
    "two_photon_uid",
    "fmost_uid",
    *_POSITIONS,
    "in_two_photon",
    "in_fmost",
    "only_when_active",
)


def name_cells(truth: Truth, key: Key) -> tuple[list[str], list[str]]:
    """Name the cells that either side shows, the recording included.

    Parameters
    ----------
    truth : Truth
        N cells.
    key : Key
        Each side counts in an order of its own, so that a name says nothing of a partner's.

    Returns
    -------
    two_photon_uids, fmost_uids : list of str
        N names each, empty for the cells that this side does not show.
    """
    in_vivo = truth.in_two_photon | truth.only_when_active
    return _shuffled("tp", in_vivo, key), _shuffled("fm", truth.in_fmost, key)


def write_truth(path: Path, truth: Truth, uids: tuple[Sequence[str], Sequence[str]]) -> None:
    """Write a row for each cell seen on either side, the recording included.

    Parameters
    ----------
    path : Path
        The table, CSV.
    truth : Truth
        N cells.
    uids : tuple of sequence of str
        As from `name_cells`.
    """
    flags = (truth.in_two_photon, truth.in_fmost, truth.only_when_active)
    rows = (
        [
            *(column[cell] for column in uids),
            *(f"{v:.3f}" for side in (truth.two_photon_um, truth.fmost_um) for v in side[cell]),
            *(int(flag[cell]) for flag in flags),
        ]
        for cell in np.flatnonzero(np.any(flags, axis=0)).tolist()
    )
    _write(path, _TRUTH_COLUMNS, rows)


def write_vessels(
    path: Path, two_photon_um: npt.NDArray[np.float64], fmost_um: npt.NDArray[np.float64]
) -> None:
    """Write where either volume shows the branch points of vessels, (B, 3) each."""
    pairs = np.concatenate([two_photon_um, fmost_um], axis=1)
    _write(path, _POSITIONS, ([f"{value:.3f}" for value in row] for row in pairs))


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary:
        write_rows(temporary, columns, rows)


def _shuffled(prefix: str, seen: npt.NDArray[np.bool_], key: Key) -> list[str]:
    names = [""] * len(seen)
    order = key.child(prefix).rng().permutation(np.flatnonzero(seen))
    for number, cell in enumerate(order, start=1):
        names[cell] = f"{prefix}-{number:05d}"
    return names
