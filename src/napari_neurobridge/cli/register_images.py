"""``register-images``: two planes, or one in a volume, by their pixels alone; or a refusal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_neurobridge.cli._options import OrientationOption, parse_orientation
from napari_neurobridge.cli._output import REFUSED_EXIT_CODE, CommandResult, command
from napari_neurobridge.cli.export import NgffVersionOption, TransformRow
from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.quality import Evidence
from napari_neurobridge.types import Projection, Report, Vec3

if TYPE_CHECKING:
    from napari_neurobridge.io.transforms.common import TransformFile
    from napari_neurobridge.registration.quality import RegistrationDecision
    from napari_neurobridge.workflows.plane_files import PlaneFile
    from napari_neurobridge.workflows.register_images import RegistrationOutput

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
    typer.Option(
        "--project",
        help="How stacks and recordings become one plane; with --orientation, those of SOURCE.",
    ),
]
TargetVoxelOption = Annotated[
    Vec3 | None,
    typer.Option(
        "--target-voxel",
        metavar="Z Y X",
        help="Voxel size in µm of a TARGET that is a volume; from the file unless given.",
    ),
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

    @classmethod
    def of(
        cls,
        decision: "RegistrationDecision",
        evidence: Evidence,
        names: tuple[str, str],
        written: "tuple[list[Path], TransformFile | None]",
    ) -> "ImagesRegistered":
        """Say what was decided and written."""
        files, transform = written
        return cls(
            accepted=decision.accepted,
            reason=decision.reason,
            failed=list(decision.failed),
            evidence=evidence,
            source=names[0],
            target=names[1],
            files=[str(path) for path in files],
            transform=None if transform is None else TransformRow.of(transform),
        )

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
        Path,
        typer.Argument(
            metavar="TARGET",
            help="The image that it is laid on, such as fMOST: a plane, or a stack that it is "
            "looked for in.",
        ),
    ],
    *,
    source_pixel: SourcePixelOption = None,
    target_pixel: TargetPixelOption = None,
    target_voxel: TargetVoxelOption = None,
    project: ProjectOption = None,
    orientation: OrientationOption = None,
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
    matcher: Annotated[
        str | None,
        typer.Option(
            "--matcher",
            help="What planes are matched by: pattern (of somata; the default), or semantic "
            "(the published matcher of keypoints).",
        ),
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
        bool,
        typer.Option(
            "--warped",
            help="Write the source on the target's pixels, too; of a volume, what it shows there.",
        ),
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
    from napari_neurobridge.workflows.plane_files import PlaneFile, is_stack

    if within is not None and angle is None:
        raise InputError("--within says how far off --angle may be; give both.")
    reach = WITHIN_DEG if within is None else within
    angles = ALL_ANGLES if angle is None else angles_around(angle, reach)
    if ngff_version is not None and transform_format != "ngff":
        raise InputError("--ngff-version belongs to --format ngff.")
    output = workflow.RegistrationOutput(transform_format, ngff_version or NGFF_VERSIONS[0], warped)
    here = PlaneFile(source, source_pixel, project)
    there = PlaneFile(target, target_pixel, None if orientation else project)
    if is_stack(there):
        if any(given is not None for given in (angle, target_pixel, matcher)):
            raise InputError(
                "--angle, --matcher and --target-pixel are for a TARGET that is a plane."
            )
        return _in_volume(here, (target, target_voxel), orientation, (out, output), report)
    if orientation is not None or target_voxel is not None:
        raise InputError("--orientation and --target-voxel are for a TARGET that is a volume.")
    chosen = workflow.named_matcher(matcher or workflow.MatcherName.PATTERN)
    planes = workflow.register_images(here, there, matcher=chosen, angles=angles, report=report)
    files = workflow.write_registration(planes, out, output, report=report)
    return ImagesRegistered.of(planes.found.decision, planes.found.evidence, planes.names, files)


def _in_volume(
    source: "PlaneFile",
    target: tuple[Path, Vec3 | None],
    orientation: str | None,
    output: "tuple[Path, RegistrationOutput]",
    report: Report,
) -> ImagesRegistered:
    """Look for the source in a volume."""
    from napari_neurobridge.workflows.register_volume import VolumeFile, register_volume
    from napari_neurobridge.workflows.volume_registration_files import write_volume_registration

    stated = None if orientation is None else parse_orientation(orientation)
    found = register_volume(source, VolumeFile(*target), orientation=stated, report=report)
    files = write_volume_registration(found, *output, report=report)
    return ImagesRegistered.of(found.found.decision, found.found.evidence, found.names, files)
