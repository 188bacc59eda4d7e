"""``export`` and ``transform``: what leaves a project."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command


class Exported(CommandResult):
    """The files that were written."""

    files: list[str]

    def summary(self) -> str:
        """Return one path a line."""
        return "\n".join(self.files)


class Transformed(CommandResult):
    """How many points went from which space to which."""

    n: int
    source: str
    target: str
    file: str


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "export")(export)
    command(app, "transform")(transform)


def export(
    project: ProjectArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    *,
    table_format: Annotated[
        str, typer.Option("--format", help="csv or parquet: somata, pairs and verdicts.")
    ] = "csv",
) -> Exported:
    """Write somata, pairs and verdicts as tables."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench import actions

    files = actions.export_tables(Project.open(project), out, table_format)
    return Exported(files=[str(path) for path in files])


def transform(
    project: ProjectArgument,
    points: Annotated[Path, typer.Argument(metavar="IN.csv", help="Points [uid,]z_um,y_um,x_um.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="File to write.")],
    *,
    to: Annotated[str, typer.Option("--to", help="Dataset whose space they go to.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Dataset they come from; the two-photon one unless given."),
    ] = None,
) -> Transformed:
    """Map points between two datasets' spaces."""
    from napari_neurobridge.io.tables import read_points, write_points
    from napari_neurobridge.project.folder import Project

    opened = Project.open(project)
    uids, centers_um = read_points(points)
    name = source or opened.in_vivo()
    mapped = opened.map_points(centers_um, name, to)
    write_points(out, uids or [str(row) for row in range(len(mapped))], mapped)
    return Transformed(n=len(mapped), source=name, target=to, file=str(out))
