"""``init`` and ``add-dataset``: what a project consists of."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import (
    OrientationOption,
    ProjectArgument,
    parse_assignments,
    parse_orientation,
)
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import DEFAULT_NAMES, Projection, Role, Vec3

if TYPE_CHECKING:
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.setup import DatasetSource

AxesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--axes",
        metavar="[DATASET=]AXES",
        help="Order of an image's axes where its file does not say it, such as zyx or tyx. May "
        "be repeated; without a name it is for all images.",
    ),
]
ChannelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--channel", metavar="[DATASET=]N", help="Channel to use, from 0. May be repeated."
    ),
]
ProjectionOption = Annotated[
    Projection, typer.Option("--projection", help="How a time series becomes one plane.")
]


class DatasetRow(BaseModel):
    """One dataset of a project."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    uri: str | None
    axes: str | None
    voxel_size_um: Vec3 | None
    channel: int
    projection: Projection
    orientation: str | None
    n_somata: int


class ProjectMade(CommandResult):
    """The project and all its datasets, and what looks wrong with them."""

    project: str
    datasets: list[DatasetRow]
    notes: list[str]

    @classmethod
    def of(cls, project: "Project") -> "ProjectMade":
        """Describe an open project."""
        from napari_neurobridge.workflows.setup import doubtful_voxel_sizes

        somata = project.state().somata
        rows = [
            DatasetRow(
                name=spec.name,
                role=spec.role,
                uri=spec.uri,
                axes=spec.axes,
                voxel_size_um=spec.used_voxel_size_um,
                channel=spec.channel,
                projection=spec.projection,
                orientation=spec.orientation and spec.orientation.axes,
                n_somata=len(somata.get(spec.name, {})),
            )
            for spec in project.datasets.values()
        ]
        notes = [f"Check the voxel size of {doubt}." for doubt in doubtful_voxel_sizes(project)]
        return cls(project=str(project.path), datasets=rows, notes=notes)

    def summary(self) -> str:
        """Return a table under the project's path."""
        header = ("name", "role", "voxel_size_um", "n_somata", "uri")
        rows = [[getattr(row, name) for name in header] for row in self.datasets]
        lines = [self.project, text_table(header, rows)]
        lines += [f"Warning: {note}" for note in self.notes]
        if self._not_stated():
            lines.append(
                "The orientation is not stated, so the same axes are assumed. State it with "
                "'neurobridge orient PROJECT --orientation AXES'; after 'detect', 'neurobridge "
                "orient PROJECT' suggests the in-plane angle."
            )
        return "\n".join(lines)

    def _not_stated(self) -> bool:
        return any(row.role is Role.EX_VIVO and row.orientation is None for row in self.datasets)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "init")(init)
    command(app, "add-dataset")(add_dataset)


def init(
    project: ProjectArgument,
    *,
    two_photon: Annotated[
        Path | None, typer.Option("--two-photon", help="Two-photon image: TIFF or OME-Zarr.")
    ] = None,
    fmost: Annotated[
        Path | None, typer.Option("--fmost", help="fMOST image: OME-Zarr or TIFF.")
    ] = None,
    two_photon_points: Annotated[
        Path | None, typer.Option("--two-photon-points", help="CSV [uid,]z_um,y_um,x_um.")
    ] = None,
    fmost_points: Annotated[
        Path | None, typer.Option("--fmost-points", help="CSV [uid,]z_um,y_um,x_um.")
    ] = None,
    voxel_two_photon: Annotated[
        Vec3 | None,
        typer.Option("--voxel-two-photon", metavar="Z Y X", help="Voxel size in µm."),
    ] = None,
    voxel_fmost: Annotated[
        Vec3 | None, typer.Option("--voxel-fmost", metavar="Z Y X", help="Voxel size in µm.")
    ] = None,
    axes: AxesOption = None,
    channel: ChannelOption = None,
    projection: ProjectionOption = Projection.MEAN,
    orientation: OrientationOption = None,
) -> ProjectMade:
    """Make a project from two images, or from tables of points."""
    from napari_neurobridge.workflows.setup import create_project

    names = tuple(DEFAULT_NAMES.values())
    axes_of = parse_assignments(axes or (), names, "--axes")
    channel_of = _channels(channel or (), names)
    sources = [
        _source(
            DEFAULT_NAMES[role],
            role,
            image,
            points,
            voxel_size_um=voxel,
            axes=axes_of.get(DEFAULT_NAMES[role]),
            channel=channel_of.get(DEFAULT_NAMES[role], 0),
            projection=projection,
            orientation=orientation if role is Role.EX_VIVO else None,
        )
        for role, image, points, voxel in (
            (Role.IN_VIVO, two_photon, two_photon_points, voxel_two_photon),
            (Role.EX_VIVO, fmost, fmost_points, voxel_fmost),
        )
    ]
    return ProjectMade.of(create_project(project, sources))


def add_dataset(
    project: ProjectArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new dataset.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Image, or a CSV of points [uid,]z_um,y_um,x_um.")
    ],
    *,
    role: Annotated[Role, typer.Option("--role", help="Which microscope it comes from.")],
    voxel: Annotated[
        Vec3 | None, typer.Option("--voxel", metavar="Z Y X", help="Voxel size in µm.")
    ] = None,
    axes: AxesOption = None,
    channel: ChannelOption = None,
    projection: ProjectionOption = Projection.MEAN,
    orientation: OrientationOption = None,
) -> ProjectMade:
    """Add a further image or table of points to a project."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.setup import add_dataset

    is_table = path.suffix.lower() == ".csv"
    source = _source(
        name,
        role,
        None if is_table else path,
        path if is_table else None,
        voxel_size_um=voxel,
        axes=parse_assignments(axes or (), (name,), "--axes").get(name),
        channel=_channels(channel or (), (name,)).get(name, 0),
        projection=projection,
        orientation=orientation,
    )
    opened = Project.open(project)
    add_dataset(opened, source)
    return ProjectMade.of(opened)


def _source(
    name: str,
    role: Role,
    image: Path | None,
    points: Path | None,
    *,
    voxel_size_um: Vec3 | None,
    axes: str | None,
    channel: int,
    projection: Projection,
    orientation: str | None,
) -> "DatasetSource":
    from napari_neurobridge.workflows.setup import DatasetSource

    if image is None and points is None:
        option = name.replace("_", "-")
        raise InputError(f"Name the {name} image with --{option}, or --{option}-points for a CSV.")
    return DatasetSource(
        name=name,
        role=role,
        image=image,
        points=points,
        voxel_size_um=voxel_size_um,
        axes=axes,
        channel=channel,
        projection=projection,
        orientation=None if orientation is None else parse_orientation(orientation),
    )


def _channels(texts: list[str] | tuple[()], names: tuple[str, ...]) -> dict[str, int]:
    values = parse_assignments(texts, names, "--channel")
    for value in values.values():
        if not value.isdecimal():
            raise InputError(f"--channel must be a number from 0, not '{value}'.")
    return {name: int(value) for name, value in values.items()}
