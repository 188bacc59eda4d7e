"""``bundle`` and ``import-model``: a training on another machine, and its model brought back."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.types import Report


class Bundled(CommandResult):
    """What a bundle holds."""

    bundle: str
    n_train: int
    n_validation: int
    n_test: int
    n_rejected: int
    n_free: int
    separation: str

    def summary(self) -> str:
        """Return how many pairs it holds, and what to do with it."""
        return (
            f"{self.bundle}: {self.n_train} pairs to train on, {self.n_validation} to choose the "
            f"weights by, {self.n_test} to compare\n"
            f"train it elsewhere with 'neurobridge train {Path(self.bundle).name}', bring the "
            "folder back, and give it to 'neurobridge import-model'"
        )


class Imported(CommandResult):
    """What came of a model that was trained elsewhere."""

    name: str
    adopted: bool
    gain: float | None
    gain_interval: tuple[float, float] | None
    n_test: int
    reason: str

    def summary(self) -> str:
        """Return what became of the model."""
        return f"{self.name}: {self.reason}"


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "bundle")(bundle)
    command(app, "import-model")(import_model)


def bundle(
    project: ProjectArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="File to write; a new one.")],
    *,
    model: Annotated[
        str | None,
        typer.Option("--from", help="Model to start from; the current one unless given."),
    ] = None,
    free_labels: Annotated[
        bool,
        typer.Option("--free-labels", help="With the pairs that are claimed from places alone."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0,
    report: Report,
) -> Bundled:
    """Write a training as one file, for another machine; only crops leave."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.bundle import write_bundle

    data = write_bundle(
        Project.open(project),
        out,
        model=model,
        free_labels=free_labels,
        seed=seed,
        report=report,
    )
    return Bundled(
        bundle=str(out),
        n_train=len(data.train),
        n_validation=len(data.validation),
        n_test=len(data.test),
        n_rejected=0 if data.rejected is None else len(data.rejected),
        n_free=data.n_free,
        separation=str(data.separation),
    )


def import_model(
    project: ProjectArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a trained model.")],
    *,
    seed: Annotated[int, typer.Option("--seed", help="Of the split, as in the bundle.")] = 0,
    annotator: AnnotatorOption = None,
    report: Report,
) -> Imported:
    """Bring a model that was trained elsewhere, and adopt it if it is better here."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.import_model import import_model as bring

    found = bring(Project.open(project), folder, seed=seed, annotator=annotator, report=report)
    compared = found.comparison
    return Imported(
        name=found.name,
        adopted=found.adopted,
        gain=None if compared is None else compared.gain,
        gain_interval=None if compared is None else compared.interval,
        n_test=0 if compared is None else compared.n,
        reason=found.reason,
    )
