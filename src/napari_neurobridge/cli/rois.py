"""``import-rois``, ``import-matches`` and ``claims``: what other programs found and say."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument, parse_assignments
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.io.tracking import CountedRows
from napari_neurobridge.types import MaskAxes, Vec3

VoxelSizeOption = Annotated[
    Vec3 | None,
    typer.Option(
        "--voxel-size", metavar="Z Y X", help="Of the image in which they were found, in µm."
    ),
]
ProbabilityOption = Annotated[
    float | None,
    typer.Option(
        "--min-probability", help="suite2p's cells above this probability, not its own choice."
    ),
]
MaskAxesOption = Annotated[
    MaskAxes | None,
    typer.Option(
        "--mask-axes",
        help="What masks of an NWB file store first; x unless given, or as known of suite2p "
        "and CaImAn.",
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option("--axes", help="Order of a label image's axes, such as zyx, if it is unknown."),
]


class RoisImported(CommandResult):
    """What became of the regions."""

    dataset: str
    format: str
    n_somata: int
    n_in_file: int
    kept_by: str
    first_uid: str
    notes: list[str]

    def summary(self) -> str:
        """Return sentences."""
        chosen = "all" if self.kept_by == "all" else f"kept by {self.kept_by}"
        return "\n".join(
            [
                f"{self.n_somata} of {self.n_in_file} ROIs ({self.format}; {chosen}) are somata of "
                f"'{self.dataset}' now, the first of which is '{self.first_uid}'.",
                *self.notes,
            ]
        )


class MatchesImported(CommandResult):
    """What became of another program's assignments."""

    program: str
    datasets: list[str]
    n_claims: int
    n_left_out: int

    def summary(self) -> str:
        """Return sentences."""
        left = f" {self.n_left_out} others are about cells that are no somata of the project."
        return (
            f"{self.n_claims} pairs of '{self.datasets[0]}' and '{self.datasets[1]}' are claims of "
            f"{self.program} to review now; none of them counts as accepted."
            f"{left if self.n_left_out else ''}"
        )


class ClaimRow(BaseModel):
    """One claim of another program."""

    model_config = ConfigDict(frozen=True)

    first_uid: str
    second_uid: str
    first_dataset: str
    second_dataset: str
    program: str
    score: float | None
    status: str


class ClaimsListed(CommandResult):
    """What other programs claim, and what people have said about it."""

    claims: list[ClaimRow]
    n_waiting: int

    def summary(self) -> str:
        """Return a table."""
        header = ("first_uid", "second_uid", "program", "score", "status")
        rows = [[getattr(row, name) for name in header] for row in self.claims]
        return f"{text_table(header, rows)}\n{self.n_waiting} claims wait for a review."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "import-rois")(import_rois)
    command(app, "import-matches")(import_matches)
    command(app, "claims")(claims)


def import_rois(
    project: ProjectArgument,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="ImageJ's .zip or .roi, suite2p's folder, CaImAn's .hdf5 or A as .npz, .nwb, a "
            "label image (TIFF), or a CSV of points.",
        ),
    ],
    *,
    dataset: Annotated[str, typer.Option("--dataset", help="Where they lie.")],
    voxel_size: VoxelSizeOption = None,
    pixel_um: Annotated[
        float | None, typer.Option("--pixel-um", help="The same along y and x, in µm.")
    ] = None,
    z: Annotated[
        float | None, typer.Option("--z", help="Depth of their plane in the dataset, in µm.")
    ] = None,
    take_all: Annotated[
        bool, typer.Option("--all", help="Also what the other program calls no cell.")
    ] = False,
    min_probability: ProbabilityOption = None,
    axes: AxesOption = None,
    segmentation: Annotated[
        str | None, typer.Option("--segmentation", help="Which plane segmentation of an NWB file.")
    ] = None,
    mask_axes: MaskAxesOption = None,
    annotator: AnnotatorOption = None,
) -> RoisImported:
    """Import regions that another program found, or a person drew, as somata."""
    from napari_neurobridge.io.rois.read import RoiReading
    from napari_neurobridge.io.rois.suite2p import Kept
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import rois

    reading = RoiReading(Kept(take_all, min_probability), axes, segmentation, mask_axes)
    place = rois.RoiPlace(voxel_size, pixel_um, z)
    found = rois.import_rois(
        Project.open(project), dataset, path, place=place, reading=reading, annotator=annotator
    )
    return RoisImported(
        dataset=dataset,
        format=found.format,
        n_somata=len(found.somata),
        n_in_file=found.n_in_file,
        kept_by=found.kept_by,
        first_uid=found.somata[0].uid,
        notes=list(found.notes),
    )


def import_matches(
    project: ProjectArgument,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="CellReg's .mat, ROICaT's .results_clusters.json, Track2p's plane0_match_mat.npy, "
            "or a CSV DATASET_uid,DATASET_uid[,score].",
        ),
    ],
    *,
    session: Annotated[
        list[str] | None,
        typer.Option(
            "--session",
            metavar="DATASET=N",
            help="Which session of the file a dataset is, counted from 0. Twice; not for a CSV.",
        ),
    ] = None,
    counted: Annotated[
        CountedRows | None,
        typer.Option(
            "--counted",
            help="Whether the file numbers all ROIs of a session's file, or those that were kept; "
            "asked for where nothing says it.",
        ),
    ] = None,
    annotator: AnnotatorOption = None,
) -> MatchesImported:
    """Import another program's pairs as claims to review; they never count as verdicts."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import claims as workflow

    opened = Project.open(project)
    numbers = parse_assignments(session or (), list(opened.datasets), "--session")
    for number in numbers.values():
        if not number.isdecimal():
            raise InputError(f"--session says DATASET=N with N from 0, not '{number}'.")
    found = workflow.import_matches(
        opened,
        path,
        {name: int(number) for name, number in numbers.items()},
        counted=counted,
        annotator=annotator,
    )
    return MatchesImported(
        program=found.program,
        datasets=list(found.datasets),
        n_claims=found.n_claims,
        n_left_out=found.n_left_out,
    )


def claims(
    project: ProjectArgument,
    *,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that nobody has reviewed.")
    ] = False,
) -> ClaimsListed:
    """List what other programs claim, and what people have said about it."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.claims import ClaimStatus, review_claims

    reviewed = review_claims(Project.open(project).state())
    is_waiting = [one.status is ClaimStatus.WAITING for one in reviewed]
    return ClaimsListed(
        claims=[
            ClaimRow(
                first_uid=one.claim.pair[0],
                second_uid=one.claim.pair[1],
                first_dataset=one.claim.datasets[0],
                second_dataset=one.claim.datasets[1],
                program=one.claim.program,
                score=one.claim.score,
                status=one.status,
            )
            for one, waits in zip(reviewed, is_waiting, strict=True)
            if waits or not waiting
        ],
        n_waiting=sum(is_waiting),
    )
