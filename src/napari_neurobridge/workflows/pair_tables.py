"""Tables of pairs that people hand in: named by uids, by places, or by both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import COLUMNS, read_table
from napari_neurobridge.types import DEFAULT_NAMES
from napari_neurobridge.workflows.setup import named_uid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.io.tables import Table
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Soma

WITHIN_UM = 3.0
"""A place names the nearest soma, if that is no further away; detections differ by less."""

_UID = "_uid"


@dataclass(frozen=True)
class PairRows:
    """Pairs of living somata, row by row.

    Attributes
    ----------
    table : Table
        As it was read, for further columns and for messages.
    datasets : (str, str)
        In the project's order.
    pairs : list of (str, str)
        Uids in the order of ``datasets``.
    """

    table: Table
    datasets: tuple[str, str]
    pairs: list[tuple[str, str]]

    @property
    def scores(self) -> list[float | None]:
        """What the column ``score`` says; None where there is none."""
        if "score" not in self.table:
            return [None] * len(self.pairs)
        return [float(score) for score in self.table.numbers(["score"])[:, 0]]


def read_pair_table(project: Project, path: Path) -> PairRows:
    """Read a CSV of pairs, such as ``two_photon_uid,fmost_uid``.

    Parameters
    ----------
    project : Project
        Whose somata are named. Columns begin with a dataset's name, or with "two_photon" and
        "fmost" for the two sides.
    path : Path
        For each of two datasets a column ``<dataset>_uid``, or ``<dataset>_z_um``,
        ``<dataset>_y_um`` and ``<dataset>_x_um``, which name the nearest soma within 3 µm. With
        both, the uid counts, and the place has to agree with it.

    Raises
    ------
    InputError
        If the file cannot be read, does not name two datasets, or a row names no living soma.
    """
    table = read_table(path, what="table of pairs")
    prefixes = _prefixes(project, table)
    if len(prefixes) != 2:
        raise InputError(
            f"{path} needs two columns of uids, or of places in µm, named after two datasets of "
            "the project, such as two_photon_uid,fmost_uid or two_photon_z_um,two_photon_y_um,…"
        )
    sides = [_column(project, table, name, prefix) for name, prefix in prefixes.items()]
    first, second = prefixes
    return PairRows(table, (first, second), list(zip(*sides, strict=True)))


def _prefixes(project: Project, table: Table) -> dict[str, str]:
    """Return the datasets that a table names, with how their columns begin."""
    sides = {project.in_vivo(), project.ex_vivo()}
    found: dict[str, str] = {}
    for name, spec in project.datasets.items():
        for prefix in (name, *([DEFAULT_NAMES[spec.role]] if name in sides else [])):
            if prefix + _UID in table or _has_places(table, prefix):
                found.setdefault(name, prefix)
    return found


def _has_places(table: Table, prefix: str) -> bool:
    return all(f"{prefix}_{column}" in table for column in COLUMNS)


def _column(project: Project, table: Table, name: str, prefix: str) -> list[str]:
    state = project.state()
    somata = state.somata[name]
    places = None
    if _has_places(table, prefix):
        places = table.numbers([f"{prefix}_{column}" for column in COLUMNS])
    if prefix + _UID not in table:
        assert places is not None
        return _nearest(table, name, somata, places)
    uids = [named_uid(state, name, uid) for uid in table.text(prefix + _UID)]
    for row, uid in enumerate(uids):
        if not uid:
            raise table.refusal(row, f"lacks a {prefix}_uid; name both somata")
        if uid not in somata:
            raise table.refusal(row, f"names '{uid}', which is no soma of '{name}'")
        if places is not None:
            away = float(np.linalg.norm(places[row] - somata[uid].center_um))
            if away > WITHIN_UM:
                raise table.refusal(
                    row,
                    f"names '{uid}', which lies {away:.3g} µm from the place that it says; of "
                    "another project, leave the uids out",
                )
    return uids


def _nearest(
    table: Table, name: str, somata: Mapping[str, Soma], places: npt.NDArray[np.float64]
) -> list[str]:
    if not somata:
        raise InputError(f"'{name}' has no somata that {table.path} could name.")
    uids = list(somata)
    tree = KDTree([somata[uid].center_um for uid in uids])
    away, nearest = map(np.asarray, tree.query(places))
    for row, distance in enumerate(away.tolist()):
        if distance > WITHIN_UM:
            raise table.refusal(
                row,
                f"names no soma of '{name}': the nearest lies {distance:.3g} µm away, and "
                f"{WITHIN_UM:g} µm are allowed",
            )
    return [uids[index] for index in nearest.tolist()]
