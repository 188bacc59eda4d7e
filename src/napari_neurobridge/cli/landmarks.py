"""``import-landmarks``: what people placed in BigWarp, as accepted pairs and other landmarks."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command


class LandmarksImported(CommandResult):
    """Which landmarks are accepted pairs now, which other points, and which neither."""

    n_landmarks: int
    n_pairs: int
    n_points: int
    fixed: str
    moving: str
    pairs: list[tuple[str, str]]
    left_out: list[str]

    def summary(self) -> str:
        """Return sentences."""
        said = (
            f"{self.n_pairs} of {self.n_landmarks} landmarks are accepted pairs of "
            f"'{self.fixed}' and '{self.moving}' now"
        )
        if self.n_points:
            said += f", and {self.n_points} others, which are on no soma, are landmarks"
        return "\n".join([f"{said}.", *self.left_out])


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "import-landmarks")(import_landmarks)


def import_landmarks(
    project: ProjectArgument,
    path: Annotated[
        Path,
        typer.Argument(metavar="LANDMARKS.csv", help="As BigWarp saves them, in µm."),
    ],
    *,
    fixed: Annotated[
        str | None,
        typer.Option("--fixed", help="Dataset of the fixed image; or the two-photon one."),
    ] = None,
    moving: Annotated[
        str | None,
        typer.Option("--moving", help="Dataset of the moving image; or fMOST."),
    ] = None,
    within_um: Annotated[
        float | None,
        typer.Option("--within-um", help="How far a soma may lie from it; 3 unless given."),
    ] = None,
    sigma_um: Annotated[
        float | None,
        typer.Option(
            "--sigma-um", help="How exactly those without a soma are known; 5 unless given."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept although a cell has another partner.")
    ] = False,
    annotator: AnnotatorOption = None,
) -> LandmarksImported:
    """Accept the pairs of somata that BigWarp landmarks lie on; the others align as points."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.landmarks import DEFAULT_SIGMA_UM
    from napari_neurobridge.workflows import landmarks
    from napari_neurobridge.workflows.pair_tables import WITHIN_UM

    found = landmarks.import_landmarks(
        Project.open(project),
        path,
        fixed=fixed,
        moving=moving,
        within_um=WITHIN_UM if within_um is None else within_um,
        sigma_um=DEFAULT_SIGMA_UM if sigma_um is None else sigma_um,
        annotator=annotator,
        force=force,
    )
    return LandmarksImported(
        n_landmarks=len(found.pairs) + len(found.points) + len(found.left_out),
        n_pairs=len(found.pairs),
        n_points=len(found.points),
        fixed=found.fixed,
        moving=found.moving,
        pairs=list(found.pairs),
        left_out=list(found.left_out),
    )
