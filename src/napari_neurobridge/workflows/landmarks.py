"""Landmarks that people placed in BigWarp, as pairs of a project's somata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.transforms.bigwarp import BigWarpLandmarks, read_bigwarp
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import Verdict
from napari_neurobridge.workflows.pair_tables import WITHIN_UM

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project


# Somata of a flat image lie at one depth.
_FLAT_UM = 1e-6


@dataclass(frozen=True)
class LandmarkPairsFound:
    """What a table of landmarks says about a project's somata.

    Attributes
    ----------
    fixed, moving : str
        Datasets.
    pairs : tuple of (str, str)
        Uids of a fixed and a moving soma, as many as have both and are not accepted yet.
    left_out : tuple of str
        Why each other landmark is none of them, a sentence each.
    """

    fixed: str
    moving: str
    pairs: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]


def read_landmark_pairs(
    project: Project,
    path: Path,
    *,
    fixed: str | None = None,
    moving: str | None = None,
    within_um: float = WITHIN_UM,
) -> LandmarkPairsFound:
    """Find the somata that BigWarp landmarks lie on.

    Parameters
    ----------
    project : Project
    path : Path
        As BigWarp saves it; see `io.transforms.bigwarp`. In two dimensions only where each dataset
        has all its somata at one depth.
    fixed, moving : str, optional
        Datasets; the in-vivo and the ex-vivo one unless given.
    within_um : float
        A place names the nearest soma, if that is no further away.

    Raises
    ------
    InputError
        If the table cannot be read or is evidently not in µm, has two dimensions and a dataset
        three, or no landmark has a soma on both sides.
    """
    names = _datasets(project, fixed, moving)
    if not (np.isfinite(within_um) and within_um > 0):
        raise InputError(f"A soma's distance must be a positive number of µm, not {within_um}.")
    table = _in_space(project, read_bigwarp(path), names, path)
    table.to_landmarks()  # refuses what is evidently not in µm
    sides = [
        _nearest(project, name, places, within_um)
        for name, places in zip(names, (table.fixed_um, table.moving_um), strict=True)
    ]
    known = project.state().pairs_between(*names)
    found: list[tuple[str, str]] = []
    left_out: list[str] = []
    named: dict[tuple[str, str], str] = {}
    for row, label in enumerate(table.names):
        why = _why_not(table, row, names, [side[row] for side in sides])
        pair = (sides[0][row][0], sides[1][row][0])
        why = why or _why_taken(pair, named)
        if not why:
            named[pair] = label
            if known.get(pair[0]) != pair[1]:
                found.append(pair)
                continue
            why = f"is on '{pair[0]}' and '{pair[1]}', which are accepted already"
        left_out.append(f"{label} {why}.")
    if not named:
        raise InputError(
            f"No landmark of {path} has a soma within {within_um:g} µm on both sides; {left_out[0]}"
        )
    return LandmarkPairsFound(*names, tuple(found), tuple(left_out))


def import_landmarks(
    project: Project,
    path: Path,
    *,
    fixed: str | None = None,
    moving: str | None = None,
    within_um: float = WITHIN_UM,
    annotator: str | None = None,
    force: bool = False,
) -> LandmarkPairsFound:
    """Accept the pairs that BigWarp landmarks name, all of them as one step of undo.

    See `read_landmark_pairs` for the parameters.

    Raises
    ------
    InputError
        As `read_landmark_pairs`; nothing is recorded then.
    InvalidActionError
        If a soma has another partner, and ``force`` is not set; nothing is recorded then.
    """
    found = read_landmark_pairs(project, path, fixed=fixed, moving=moving, within_um=within_um)
    judgements = [Judgement(Verdict.ACCEPT, *pair) for pair in found.pairs]
    annotate.judge_together(project, judgements, annotator=annotator, force=force)
    return found


def _datasets(project: Project, fixed: str | None, moving: str | None) -> tuple[str, str]:
    """Return the names of the fixed and the moving dataset."""
    names = (
        project.dataset(fixed or project.in_vivo()).name,
        project.dataset(moving or project.ex_vivo()).name,
    )
    if names[0] == names[1]:
        raise InputError(f"'{names[0]}' cannot be both the fixed and the moving dataset.")
    return names


def _in_space(
    project: Project, table: BigWarpLandmarks, names: tuple[str, str], path: Path
) -> BigWarpLandmarks:
    """Return landmarks in three dimensions, those of two at the depth of flat datasets."""
    if table.n_dimensions == 3:
        return table
    places = []
    for name, flat in zip(names, (table.fixed_um, table.moving_um), strict=True):
        depths = [soma.center_um[0] for soma in project.state().somata[name].values()]
        if not depths or max(depths) - min(depths) > _FLAT_UM:
            raise InputError(
                f"{path} has landmarks of two dimensions, and the somata of '{name}' do not lie "
                "in one plane."
            )
        places.append(np.insert(flat, 0, depths[0], axis=1))
    return BigWarpLandmarks(table.names, table.active, places[1], places[0])


def _nearest(
    project: Project, name: str, places: npt.NDArray[np.float64], within_um: float
) -> list[tuple[str, str]]:
    """Return the soma of each place, or an empty text and why there is none."""
    somata = project.state().somata[name]
    if not somata:
        raise InputError(f"'{name}' has no somata.", kind=ErrorKind.NO_SOMATA)
    uids = list(somata)
    away, nearest = map(
        np.asarray,
        KDTree([soma.center_um for soma in somata.values()]).query(
            np.where(np.isfinite(places), places, 0.0)
        ),
    )
    return [
        (uids[index], "")
        if distance <= within_um
        else ("", f"lies {distance:.3g} µm from the nearest soma of '{name}'")
        for distance, index in zip(away.tolist(), nearest.tolist(), strict=True)
    ]


def _why_not(
    table: BigWarpLandmarks, row: int, names: tuple[str, str], sides: list[tuple[str, str]]
) -> str:
    """Return why a landmark by itself names no pair; empty where it does."""
    for name, places in zip(names, (table.fixed_um, table.moving_um), strict=True):
        if not np.isfinite(places[row]).all():
            return f"has no place in '{name}'"
    if not table.active[row]:
        return "is switched off in BigWarp"
    return " and ".join(why for _, why in sides if why)


def _why_taken(pair: tuple[str, str], named: dict[tuple[str, str], str]) -> str:
    """Return which landmark before names one of the somata; empty where none does."""
    for other, label in named.items():
        shared = set(pair) & set(other)
        if shared:
            return f"is on '{min(shared)}', as {label} is"
    return ""
