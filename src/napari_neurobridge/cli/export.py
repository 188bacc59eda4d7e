"""``export``, ``transform`` and ``surface``: what leaves a project."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import ModelOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report

if TYPE_CHECKING:
    from napari_neurobridge.io.transforms.common import TransformFile
    from napari_neurobridge.project.folder import Project

REPORT_FORMAT = "report"
REPORT_NAME = "report.html"
CERTIFICATE_FORMAT = "certificate"
CERTIFICATE_NAME = "certificate.json"
MAP_FORMATS = ("ngff", "itk", "bigwarp")

FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="csv or parquet: somata, pairs and verdicts; report: one HTML page on the accepted "
        "pairs and how well a model finds them; certificate: what the latest random check of "
        "claimed pairs says; ngff or itk: the current map between two datasets; bigwarp: the "
        "accepted pairs as landmarks.",
    ),
]
MapSourceOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Dataset that a map leads from, ITK's and BigWarp's fixed one; the two-photon one "
        "unless given.",
    ),
]
MapTargetOption = Annotated[
    str | None,
    typer.Option("--to", help="Dataset that it leads to, their moving one; fMOST unless given."),
]
NgffVersionOption = Annotated[
    str | None,
    typer.Option(
        "--ngff-version",
        help="0.5, which says scale and translation only and is written unless 0.6 is given.",
    ),
]
StepOption = Annotated[
    float | None,
    typer.Option(
        "--step-um",
        help="Distance of the nodes of a map on a grid; so that it is off by 0.01 µm at most "
        "unless given.",
    ),
]


class TransformRow(BaseModel):
    """A map that was written for another program."""

    model_config = ConfigDict(frozen=True)

    format: str
    version: str
    source: str
    target: str
    kind: str
    step_um: tuple[float, ...] | None
    error_um: float | None

    @classmethod
    def of(cls, written: "TransformFile") -> "TransformRow":
        """Take what was written."""
        return cls(**{name: getattr(written, name) for name in cls.model_fields})

    def text(self) -> str:
        """Return what kind of map it is, and how exact."""
        between = f"from {self.source} to {self.target}"
        if self.step_um is None:
            return f"{self.kind} {between}, µm"
        grid = " x ".join(f"{step:.3g}" for step in self.step_um)
        return (
            f"{self.kind} {between}, on a grid of {grid} µm, between whose nodes it is off by "
            f"{self.error_um:.2g} µm at most"
        )


class Exported(CommandResult):
    """The files that were written."""

    files: list[str]
    transform: TransformRow | None = None

    def summary(self) -> str:
        """Return one path a line, and what map it holds."""
        return "\n".join([*self.files, *([self.transform.text()] if self.transform else [])])


class Transformed(CommandResult):
    """How many points went from which space to which."""

    n: int
    source: str
    target: str
    file: str
    alignment: str | None
    made_from: str | None

    def summary(self) -> str:
        """Return what was written, and what the map was made from."""
        made = "" if self.made_from is None else f", by {self.made_from}"
        return f"mapped {self.n} points from {self.source} to {self.target}{made}: {self.file}"


class SurfaceWritten(CommandResult):
    """Whose plane was mapped, and how well it is known."""

    n: int
    plane: str
    space: str
    median_sigma_um: float
    file: str
    alignment: str
    made_from: str

    def summary(self) -> str:
        """Return what was written, and what the map was made from."""
        return (
            f"mapped the plane of {self.plane} to {self.space}, half of it known within "
            f"±{self.median_sigma_um:.1f} µm, by {self.made_from}: {self.file}"
        )


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "export")(export)
    command(app, "transform")(transform)
    command(app, "surface")(surface)


def export(
    project: ProjectArgument,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder to write to; for a report also its FILE.html, for a certificate its "
            "FILE.json, .csv, .png or .pdf, for a map its FILE.ome.zarr, .tfm, .h5 or .csv.",
        ),
    ],
    *,
    table_format: FormatOption = "csv",
    model: ModelOption = None,
    measures: Annotated[
        bool,
        typer.Option(
            "--measures/--no-measures",
            help="Compare the model with NMI, SSIM and others in the report; takes a minute.",
        ),
    ] = True,
    source: MapSourceOption = None,
    to: MapTargetOption = None,
    ngff_version: NgffVersionOption = None,
    step_um: StepOption = None,
    report: Report,
) -> Exported:
    """Write tables, a report on the accepted pairs, or the map between two datasets."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.export import export_tables

    opened = Project.open(project)
    given = {"source": source, "target": to, "ngff_version": ngff_version, "step_um": step_um}
    wanted = {name: value for name, value in given.items() if value is not None}
    if table_format in MAP_FORMATS:
        return _export_map(opened, out, table_format, wanted, report)
    if wanted:
        raise InputError(
            "Two datasets, an NGFF version and a step belong to the formats ngff, itk and bigwarp."
        )
    if table_format == REPORT_FORMAT:
        path = out if out.suffix.lower() in {".html", ".htm"} else out / REPORT_NAME
        return Exported(files=[str(_export_report(opened, path, model, measures, report))])
    if table_format == CERTIFICATE_FORMAT:
        from napari_neurobridge.workflows.random_check import latest_certificate, write_certificate

        path = out if out.suffix else out / CERTIFICATE_NAME
        return Exported(files=[str(write_certificate(latest_certificate(opened), path))])
    files = export_tables(opened, out, table_format)
    return Exported(files=[str(path) for path in files])


def _export_map(
    project: "Project", out: Path, map_format: str, wanted: dict[str, Any], report: Report
) -> Exported:
    from napari_neurobridge.workflows.transforms import TransformRequest, export_transform

    request = TransformRequest(**wanted)
    written = export_transform(project, out, map_format, request, report=report)
    return Exported(files=[str(written.path)], transform=TransformRow.of(written))


def _export_report(
    project: "Project", path: Path, model: str | None, measures: bool, report: Report
) -> Path:
    from napari_neurobridge.models.current import current_model
    from napari_neurobridge.models.model_folder import ModelFolder
    from napari_neurobridge.models.zoo import find_model
    from napari_neurobridge.workflows.index import load_encoder
    from napari_neurobridge.workflows.pair_crops import accepted_pairs
    from napari_neurobridge.workflows.random_check import checks_in_words

    # First what may be wrong and takes no time, then torch.
    pairs = accepted_pairs(project, report=report)
    folder = current_model(project).path if model is None else find_model(model, project)
    encoder = load_encoder(project, folder)
    from napari_neurobridge.insight.report import write_report
    from napari_neurobridge.insight.report_subject import project_subject
    from napari_neurobridge.training.plain_measures import PlainMeasure

    subject = project_subject(project, pairs)
    return write_report(
        replace(subject, facts=(*subject.facts, *checks_in_words(project))),
        encoder,
        path,
        measures=tuple(PlainMeasure) if measures else (),
        card=ModelFolder.open(folder).card,
        report=report,
    )


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
    by: Annotated[
        Path | None,
        typer.Option(
            "--by",
            metavar="FILE",
            help="Map by this OME-Zarr or ITK transform, not by the project's alignment.",
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option("--unit", help="Of an ITK transform's points: µm or mm.")
    ] = "µm",
) -> Transformed:
    """Map points between two datasets' spaces."""
    from napari_neurobridge.io.tables import read_points, write_points
    from napari_neurobridge.project.folder import Project

    opened = Project.open(project)
    uids, centers_um = read_points(points)
    name = source or opened.in_vivo()
    if by is not None:
        from napari_neurobridge.workflows.transforms import read_transform

        mapped = read_transform(opened, by, name, to, unit=unit).map_points(centers_um)
    else:
        mapped = opened.map_points(centers_um, name, to)
    alignment = None if name == to or by is not None else opened.alignment(name, to)
    write_points(out, uids or [str(row) for row in range(len(mapped))], mapped)
    return Transformed(
        n=len(mapped),
        source=name,
        target=to,
        file=str(out),
        alignment=alignment and alignment.id,
        made_from=str(by) if by is not None else alignment and str(alignment.made_from),
    )


def surface(
    project: ProjectArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="File to write.")],
    *,
    spacing_um: Annotated[
        float, typer.Option("--spacing-um", help="Side of a mesh, in the plane's own space.")
    ] = 20.0,
) -> SurfaceWritten:
    """Write the surface on which the cells of one plane lie in the other dataset's space."""
    import numpy as np

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.surface import surface_of_project, write_surface

    mapped = surface_of_project(Project.open(project), spacing_um)
    write_surface(out, mapped.surface)
    return SurfaceWritten(
        n=len(mapped.surface.vertices_um),
        plane=mapped.plane,
        space=mapped.space,
        median_sigma_um=round(float(np.median(mapped.surface.sigma_um)), 3),
        file=str(out),
        alignment=mapped.alignment.id,
        made_from=str(mapped.alignment.made_from),
    )
