"""Landmarks that people placed in BigWarp: pairs of a project's somata, and other points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.transforms.bigwarp import BigWarpLandmarks, read_bigwarp
from napari_neurobridge.project.landmarks import LandmarkPoints
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.project.log.landmarks import DEFAULT_SIGMA_UM, place_landmarks
from napari_neurobridge.types import Verdict
from napari_neurobridge.workflows.pair_tables import WITHIN_UM

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project


# Somata of a flat image lie at one depth.
_FLAT_UM = 1e-6
# Nearer than that on both sides, a landmark is one that is known.
_SAME_UM = 0.01


@dataclass(frozen=True)
class LandmarksFound:
    """What a table of landmarks says about a project.

    Attributes
    ----------
    fixed, moving : str
        Datasets.
    pairs : tuple of (str, str)
        Uids of a fixed and a moving soma, as many as have both and are not accepted yet.
    points : tuple of str
        Names of the landmarks that do not lie on somata of both sides.
    fixed_um, moving_um : ndarray, shape (N, 3)
        Their places, µm (z, y, x).
    left_out : tuple of str
        Why each other landmark is none of them, a sentence each.
    """

    fixed: str
    moving: str
    pairs: tuple[tuple[str, str], ...]
    points: tuple[str, ...]
    fixed_um: npt.NDArray[np.float64]
    moving_um: npt.NDArray[np.float64]
    left_out: tuple[str, ...]


def read_landmarks(
    project: Project,
    path: Path,
    *,
    fixed: str | None = None,
    moving: str | None = None,
    within_um: float = WITHIN_UM,
) -> LandmarksFound:
    """Find the somata that BigWarp landmarks lie on, and the landmarks that lie on none.

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
        three, or no landmark is active and has both places.
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
    state = project.state()
    known, there = state.pairs_between(*names), LandmarkPoints.of(state, *names)
    found: list[tuple[str, str]] = []
    rows: list[int] = []
    left_out: list[str] = []
    named: dict[tuple[str, str], str] = {}
    for row, label in enumerate(table.names):
        pair = (sides[0][row], sides[1][row])
        why = _why_not(table, row, names)
        if not why and not all(pair):
            why = _why_known(there, table.fixed_um[row], table.moving_um[row])
            if not why:
                rows.append(row)
                continue
        why = why or _why_taken(pair, named)
        if not why:
            named[pair] = label
            if known.get(pair[0]) != pair[1]:
                found.append(pair)
                continue
            why = f"is on '{pair[0]}' and '{pair[1]}', which are accepted already"
        left_out.append(f"{label} {why}.")
    if not table.complete.any():
        raise InputError(f"No landmark of {path} is active and has both places; {left_out[0]}")
    points = tuple(table.names[row] for row in rows)
    places = table.fixed_um[rows], table.moving_um[rows]
    return LandmarksFound(*names, tuple(found), points, *places, tuple(left_out))


def import_landmarks(
    project: Project,
    path: Path,
    *,
    fixed: str | None = None,
    moving: str | None = None,
    within_um: float = WITHIN_UM,
    sigma_um: float = DEFAULT_SIGMA_UM,
    annotator: str | None = None,
    force: bool = False,
) -> LandmarksFound:
    """Accept the pairs that BigWarp landmarks name, and place the others, as one step of undo.

    See `read_landmarks` for the other parameters.

    Parameters
    ----------
    sigma_um : float
        How exactly those that are no somata are known, standard deviation in µm.

    Raises
    ------
    InputError
        As `read_landmarks`; nothing is recorded then.
    InvalidActionError
        If a soma has another partner, and ``force`` is not set; nothing is recorded then.
    """
    found = read_landmarks(project, path, fixed=fixed, moving=moving, within_um=within_um)
    judgements = [Judgement(Verdict.ACCEPT, *pair) for pair in found.pairs]
    place_landmarks(
        project,
        {found.fixed: found.fixed_um, found.moving: found.moving_um},
        sigma_um=sigma_um,
        annotator=annotator,
        judgements=judgements,
        force=force,
    )
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
) -> list[str]:
    """Return the soma of each place, or an empty text."""
    somata = project.state().somata[name]
    if not somata:
        return [""] * len(places)
    uids = list(somata)
    away, nearest = map(
        np.asarray,
        KDTree([soma.center_um for soma in somata.values()]).query(
            np.where(np.isfinite(places), places, 0.0)
        ),
    )
    return [
        uids[index] if distance <= within_um else ""
        for distance, index in zip(away.tolist(), nearest.tolist(), strict=True)
    ]


def _why_not(table: BigWarpLandmarks, row: int, names: tuple[str, str]) -> str:
    """Return why a landmark says nothing; empty where it does."""
    for name, places in zip(names, (table.fixed_um, table.moving_um), strict=True):
        if not np.isfinite(places[row]).all():
            return f"has no place in '{name}'"
    return "" if table.active[row] else "is switched off in BigWarp"


def _why_known(
    known: LandmarkPoints, fixed_um: npt.NDArray[np.float64], moving_um: npt.NDArray[np.float64]
) -> str:
    """Return which landmark of the project a point is; empty where none."""
    if not len(known):
        return ""
    away = np.abs(np.hstack([known.source_um - fixed_um, known.target_um - moving_um])).max(axis=1)
    nearest = int(away.argmin())
    return f"is there already, as '{known.uids[nearest]}'" if away[nearest] < _SAME_UM else ""


def _why_taken(pair: tuple[str, str], named: dict[tuple[str, str], str]) -> str:
    """Return which landmark before names one of the somata; empty where none does."""
    for other, label in named.items():
        shared = set(pair) & set(other)
        if shared:
            return f"is on '{min(shared)}', as {label} is"
    return ""
