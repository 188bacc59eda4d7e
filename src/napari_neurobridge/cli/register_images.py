"""``register-images``: two planes from their images alone, with the evidence, or a refusal."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._output import REFUSED_EXIT_CODE, CommandResult, command
from napari_neurobridge.cli.export import NgffVersionOption, TransformRow
from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.quality import Evidence
from napari_neurobridge.types import Projection, Report

SourcePixelOption = Annotated[
    float | None,
    typer.Option("--source-pixel", help="Side of its pixels, µm; from the file unless given."),
]
TargetPixelOption = Annotated[
    float | None,
    typer.Option("--target-pixel", help="Side of its pixels, µm; from the file unless given."),
]
ProjectOption = Annotated[
    Projection | None,
    typer.Option("--project", help="How stacks and recordings become one plane."),
]


class ImagesRegistered(CommandResult):
    """Whether two images were registered, on what evidence, and what was written."""

    accepted: bool
    reason: str
    failed: list[str]
    evidence: Evidence
    source: str
    target: str
    files: list[str]
    transform: TransformRow | None

    @property
    def exit_code(self) -> int:
        """0, or 3 for a refusal."""
        return 0 if self.accepted else REFUSED_EXIT_CODE

    def summary(self) -> str:
        """Return the decision, and what was written."""
        verdict = "Accepted" if self.accepted else "Refused"
        written = [self.transform.text()] if self.transform else []
        return "\n".join([f"{verdict}. {self.reason}", *self.files, *written])


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    command(app, "register-images")(register_images)


def register_images(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="TIFF, OME-Zarr or PNG, such as two-photon.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The image that it is laid on, such as fMOST.")
    ],
    *,
    source_pixel: SourcePixelOption = None,
    target_pixel: TargetPixelOption = None,
    project: ProjectOption = None,
    angle: Annotated[
        float | None,
        typer.Option(
            "--angle",
            help="By which the source is turned, degrees, positive from y to x; any unless given.",
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option("--within", help="How far off --angle may be, degrees; 30 unless given."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for record, matches, quality page and map.")
    ] = Path("registration"),
    transform_format: Annotated[
        str | None,
        typer.Option("--format", help="Write the map too: ngff, itk, or bigwarp landmarks."),
    ] = None,
    ngff_version: NgffVersionOption = None,
    warped: Annotated[
        bool, typer.Option("--warped", help="Write the source on the target's pixels, too.")
    ] = False,
    report: Report,
) -> ImagesRegistered:
    """Register two images; a refusal says why, writes no map, and exits with 3."""
    from napari_neurobridge.io.transforms.ngff import NGFF_VERSIONS
    from napari_neurobridge.registration.image_registration import (
        ALL_ANGLES,
        WITHIN_DEG,
        angles_around,
    )
    from napari_neurobridge.workflows import register_images as workflow
    from napari_neurobridge.workflows.plane_files import PlaneFile

    if within is not None and angle is None:
        raise InputError("--within says how far off --angle may be; give both.")
    reach = WITHIN_DEG if within is None else within
    angles = ALL_ANGLES if angle is None else angles_around(angle, reach)
    if ngff_version is not None and transform_format != "ngff":
        raise InputError("--ngff-version belongs to --format ngff.")
    output = workflow.RegistrationOutput(transform_format, ngff_version or NGFF_VERSIONS[0], warped)
    planes = workflow.register_images(
        PlaneFile(source, source_pixel, project),
        PlaneFile(target, target_pixel, project),
        angles=angles,
        report=report,
    )
    files, written = workflow.write_registration(planes, out, output, report=report)
    decision = planes.found.decision
    return ImagesRegistered(
        accepted=decision.accepted,
        reason=decision.reason,
        failed=list(decision.failed),
        evidence=planes.found.evidence,
        source=planes.names[0],
        target=planes.names[1],
        files=[str(path) for path in files],
        transform=None if written is None else TransformRow.of(written),
    )
