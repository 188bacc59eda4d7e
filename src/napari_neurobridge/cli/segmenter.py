"""``train-segmenter`` and ``compare-detection``: a detector that learns what people painted."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import Report

DatasetOption = Annotated[str, typer.Option("--dataset", help="In which somata are looked for.")]


class SegmenterTrained(CommandResult):
    """A segmenter that learned painted labels, and how much was painted."""

    model: str
    dataset: str
    origin: str
    n_cells: int
    n_cell_voxels: int
    n_background_voxels: int
    n_regions: int
    steps: int
    seconds: float

    def summary(self) -> str:
        """Return a sentence."""
        return (
            f"{Path(self.model).name} learned {self.n_cells} painted cells of '{self.dataset}' in "
            f"{self.steps} steps ({self.seconds:.0f} s)."
        )


class DetectionCompared(CommandResult):
    """What the segmenter and the difference of Gaussians find; nothing is recorded."""

    dataset: str
    segmenter: str
    n_segmenter: int
    n_dog: int
    n_both: int
    n_painted: int
    painted_found: dict[str, int]
    in_background: dict[str, int]

    def summary(self) -> str:
        """Return a table."""
        header = ("method", "somata", f"of {self.n_painted} painted", "in painted background")
        counts = {"dog": self.n_dog, "segmenter": self.n_segmenter}
        rows = [
            (name, counts[name], self.painted_found[name], self.in_background[name])
            for name in counts
        ]
        return f"{text_table(header, rows)}\n{self.n_both} somata are found by both."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "train-segmenter")(train_segmenter)
    command(app, "compare-detection")(compare_detection)


def train_segmenter(
    project: ProjectArgument,
    *,
    dataset: DatasetOption,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="LABELS.tif",
            help="A TIFF of the image's shape to learn from, in place of what was painted in "
            "napari: 0 where nothing is said, 1 for background, other numbers for somata.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--from", help="Segmenter to start from, by name or path; the bundled one unless given."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Updates of the weights; 200 unless given.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the training.")] = 0,
    report: Report,
) -> SegmenterTrained:
    """Train the segmenter further on painted labels; goes on where it was stopped."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.painted_labels import PaintedParams
    from napari_neurobridge.workflows.learn_segmenter import learn_segmenter

    usual = PaintedParams()
    loop = usual.loop.model_copy(update={"seed": seed, "steps": steps or usual.loop.steps})
    result = learn_segmenter(
        Project.open(project),
        dataset,
        usual.model_copy(update={"loop": loop}),
        labels=labels,
        model=model,
        report=report,
    )
    return SegmenterTrained(
        model=str(result.model),
        dataset=dataset,
        origin=result.origin,
        n_cells=result.painted.n_cells,
        n_cell_voxels=result.painted.n_cell_voxels,
        n_background_voxels=result.painted.n_background_voxels,
        n_regions=result.painted.n_regions,
        steps=result.steps,
        seconds=result.seconds,
    )


def compare_detection(
    project: ProjectArgument,
    *,
    dataset: DatasetOption,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="The segmenter, by name or path; the bundled one unless given."
        ),
    ] = None,
    soma_diameter: Annotated[
        float | None,
        typer.Option(
            "--soma-diameter",
            min=0.1,
            help="Of the difference of Gaussians, in µm; that of the last run unless given.",
        ),
    ] = None,
    report: Report,
) -> DetectionCompared:
    """Count what a segmenter and the difference of Gaussians find, and record neither."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import painted_cells

    found = painted_cells.compare_detection(
        Project.open(project),
        dataset,
        model=model,
        soma_diameter_um=soma_diameter,
        report=report,
    )
    methods = {"dog": found.dog, "segmenter": found.segmenter}
    return DetectionCompared(
        dataset=dataset,
        segmenter=found.segmenter.method,
        n_segmenter=found.segmenter.n_found,
        n_dog=found.dog.n_found,
        n_both=found.n_both,
        n_painted=found.n_painted,
        painted_found={name: counted.n_painted_found for name, counted in methods.items()},
        in_background={name: counted.n_in_background for name, counted in methods.items()},
    )
