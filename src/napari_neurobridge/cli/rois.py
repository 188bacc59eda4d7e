"""``import-rois``: cells that other programs found."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.types import MaskAxes, Vec3


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


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "import-rois")(import_rois)


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
    voxel_size: Annotated[
        Vec3 | None,
        typer.Option(
            "--voxel-size", metavar="Z Y X", help="Of the image in which they were found, in µm."
        ),
    ] = None,
    pixel_um: Annotated[
        float | None, typer.Option("--pixel-um", help="The same along y and x, in µm.")
    ] = None,
    z: Annotated[
        float | None, typer.Option("--z", help="Depth of their plane in the dataset, in µm.")
    ] = None,
    take_all: Annotated[
        bool, typer.Option("--all", help="Also what the other program calls no cell.")
    ] = False,
    min_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability", help="suite2p's cells above this probability, not its own choice."
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            "--axes", help="Order of a label image's axes, such as zyx, if it is unknown."
        ),
    ] = None,
    segmentation: Annotated[
        str | None, typer.Option("--segmentation", help="Which plane segmentation of an NWB file.")
    ] = None,
    mask_axes: Annotated[
        MaskAxes | None,
        typer.Option(
            "--mask-axes",
            help="What masks of an NWB file store first; x unless given, or as known of suite2p "
            "and CaImAn.",
        ),
    ] = None,
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
