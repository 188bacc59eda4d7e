"""The plane of one dataset as a surface in the other's space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.tables import write_rows
from napari_neurobridge.matching.sides import Side
from napari_neurobridge.spaces.plane_surface import (
    SPACING_UM,
    PlaneSurface,
    lies_in_plane,
    plane_surface,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment

SURFACE_COLUMNS = ("z_um", "y_um", "x_um", "sigma_um")


@dataclass(frozen=True, eq=False)
class MappedPlane:
    """The plane of one dataset in the other's space.

    Attributes
    ----------
    plane : str
        Dataset whose somata lie in one plane.
    space : str
        Dataset in whose space the surface is.
    surface : PlaneSurface
    alignment : Alignment or InverseAlignment
        What mapped it.
    """

    plane: str
    space: str
    surface: PlaneSurface
    alignment: Alignment | InverseAlignment


def planar_dataset(match: Match) -> str | None:
    """Return the dataset whose somata lie in one plane, the in-vivo one first; None if neither."""
    sides = (match.queries, match.gallery)
    return _planar(sides if match.queries_in_vivo else sides[::-1])


def surface_of_match(match: Match, spacing_um: float = SPACING_UM) -> MappedPlane:
    """Map the plane of a match to the other side by its alignment.

    Raises
    ------
    InputError
        If neither side lies in one plane; see also `plane_surface`.
    """
    plane = _required(planar_dataset(match), match.datasets)
    way = match.alignment if plane == match.queries.dataset else match.alignment.inverse()
    surface = plane_surface(way, match.side(plane).centers_um, spacing_um)
    return MappedPlane(plane, match.others_of(plane).dataset, surface, way)


def surface_of_project(project: Project, spacing_um: float = SPACING_UM) -> MappedPlane:
    """Map the plane of a project's default datasets by its current alignment.

    Raises
    ------
    InputError
        If neither side lies in one plane; see also `plane_surface`.
    """
    datasets = project.in_vivo(), project.ex_vivo()
    somata = project.state().somata
    sides = [Side.of(name, somata.get(name, {})) for name in datasets]
    plane = _required(_planar(sides), datasets)
    here, there = sides if plane == datasets[0] else sides[::-1]
    way = project.alignment(here.dataset, there.dataset)
    surface = plane_surface(way, here.centers_um, spacing_um)
    return MappedPlane(here.dataset, there.dataset, surface, way)


def write_surface(path: Path, surface: PlaneSurface) -> None:
    """Write a surface's vertices as CSV: their places and standard deviations, µm."""
    with atomic_write(path) as temporary:
        write_rows(
            temporary,
            SURFACE_COLUMNS,
            (
                [f"{value:.3f}" for value in (*place, sigma)]
                for place, sigma in zip(
                    surface.vertices_um.tolist(), surface.sigma_um.tolist(), strict=True
                )
            ),
        )


def _planar(sides: Sequence[Side]) -> str | None:
    return next((side.dataset for side in sides if lies_in_plane(side.centers_um)), None)


def _required(plane: str | None, datasets: Sequence[str]) -> str:
    if plane is None:
        raise InputError(
            f"Neither the somata of '{datasets[0]}' nor those of '{datasets[1]}' lie in one plane."
        )
    return plane
