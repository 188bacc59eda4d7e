"""``register``: the two datasets of a project by the pattern of their somata, or a refusal."""

from typing import Annotated, Literal

import typer

from napari_neurobridge.cli._options import (
    AnnotatorOption,
    OrientationOption,
    ProjectArgument,
    parse_orientation,
)
from napari_neurobridge.cli._output import REFUSED_EXIT_CODE, CommandResult, command
from napari_neurobridge.spaces.transform_numbers import TransformNumbers
from napari_neurobridge.types import Report


class DatasetsRegistered(CommandResult):
    """Whether two datasets were registered, on what evidence, and whether that counts now."""

    n_initial: int
    n_verified: int
    residual_um: float | None
    decision: Literal["accepted", "refused"]
    reason: str
    transform: TransformNumbers | None
    applied: bool

    @property
    def exit_code(self) -> int:
        """0, or 3 for a refusal."""
        return 0 if self.decision == "accepted" else REFUSED_EXIT_CODE

    def summary(self) -> str:
        """Return the decision, and what follows."""
        said = f"{self.decision.capitalize()}. {self.reason}"
        if self.applied:
            return f"{said}\nIt is applied; the accepted pairs refine it."
        return said if self.transform is None else f"{said}\nApply it with --apply."


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    command(app, "register")(register_datasets)


def register_datasets(
    project: ProjectArgument,
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Let the alignment rest on it, if it is accepted.")
    ] = False,
    orientation: OrientationOption = None,
    annotator: AnnotatorOption = None,
    report: Report,
) -> DatasetsRegistered:
    """Find the two-photon field in the fMOST volume by its somata, without any pair."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces.transform_numbers import to_numbers
    from napari_neurobridge.workflows.register import apply_registration, propose_registration

    stated = None if orientation is None else parse_orientation(orientation)
    opened = Project.open(project)
    proposal = propose_registration(opened, orientation=stated, report=report)
    found = proposal.found
    applied = apply and found.transform is not None
    if applied:
        apply_registration(opened, proposal, annotator=annotator)
    return DatasetsRegistered(
        n_initial=found.evidence.n_initial,
        n_verified=found.evidence.n_verified,
        residual_um=found.evidence.residual_median_um,
        decision="accepted" if found.decision.accepted else "refused",
        reason=found.decision.reason,
        transform=None if found.transform is None else to_numbers(found.transform),
        applied=applied,
    )
