"""``orient``: how the fMOST dataset lies, stated by a person or suggested by appearance."""

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import (
    ModelOption,
    OrientationOption,
    ProjectArgument,
    parse_orientation,
)
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.types import Report


class AngleEvidence(BaseModel):
    """Why an angle is suggested, or not; see `matching.appearance.pose_search.AngleSearch`."""

    model_config = ConfigDict(frozen=True)

    best: float
    others: float
    others_sd: float
    deviations: float
    n_queries: int
    n_gallery: int


class Oriented(CommandResult):
    """The orientation that was stated, or is suggested."""

    orientation: Orientation | None
    angle_deg: float | None
    known: bool
    applied: bool
    evidence: AngleEvidence | None
    text: str

    def summary(self) -> str:
        """Return sentences."""
        if self.applied and self.evidence is not None:
            return f"{self.text}\nIt is applied; run 'neurobridge index' again."
        if self.known and not self.applied:
            return f"{self.text}\nApply it with --apply."
        return self.text


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    command(app, "orient")(orient)


def orient(
    project: ProjectArgument,
    *,
    orientation: OrientationOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Use the suggested angle, where there is one.")
    ] = False,
    model: ModelOption = None,
    report: Report,
) -> Oriented:
    """Suggest the in-plane angle without any pair; or state the orientation."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.orient import state_orientation, suggest_angle

    if orientation is not None and apply:
        raise InputError("Give either --orientation, which states it, or --apply, not both.")
    stated = None if orientation is None else parse_orientation(orientation)
    opened = Project.open(project)
    if stated is not None:
        state_orientation(opened, stated)
        return Oriented(
            orientation=stated,
            angle_deg=stated.angle_deg,
            known=True,
            applied=True,
            evidence=None,
            text=f"The orientation is stated: {stated.axes}, {stated.angle_deg:g}°, expansion "
            f"{stated.expansion:g}.",
        )
    found = suggest_angle(opened, model, report=report)
    proposal = found.orientation
    if proposal is not None and apply:
        state_orientation(opened, proposal)
    fields = AngleEvidence.model_fields
    return Oriented(
        orientation=proposal,
        angle_deg=proposal and proposal.angle_deg,
        known=proposal is not None,
        applied=apply and proposal is not None,
        evidence=AngleEvidence(**{name: getattr(found.search, name) for name in fields}),
        text=found.in_words(),
    )
