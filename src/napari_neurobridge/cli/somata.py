"""``detect``: the somata of a dataset."""

from typing import Annotated

import typer

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import Report


class Detected(CommandResult):
    """Living somata after detection, in all and in each dataset that was looked at."""

    n_somata: int
    datasets: dict[str, int]

    def summary(self) -> str:
        """Return a table."""
        return text_table(("dataset", "somata"), list(self.datasets.items()))


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "detect")(detect)


def detect(
    project: ProjectArgument,
    *,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Only this one; all images unless given.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="dog: difference of Gaussians.")] = "dog",
    soma_diameter: Annotated[
        float | None, typer.Option("--soma-diameter", help="Typical diameter in µm.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Weakest response that counts as a soma.")
    ] = None,
    annotator: AnnotatorOption = None,
    report: Report,
) -> Detected:
    """Find the somata of one image, or of all."""
    from napari_neurobridge.detection.dog import DogParams
    from napari_neurobridge.errors import InputError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.parsing import parse_model
    from napari_neurobridge.workflows.detect import detect_dataset

    if method != "dog":
        raise InputError(f"There is no detection method '{method}'; use dog.")
    given = {"soma_diameter_um": soma_diameter, "threshold": threshold}
    params = parse_model(
        DogParams,
        {name: value for name, value in given.items() if value is not None},
        what="The detection options are not valid",
    )
    opened = Project.open(project)
    names = [dataset] if dataset is not None else opened.datasets_with_images
    if not names:
        raise InputError("No dataset of this project has an image; import points instead.")
    counts = {
        name: detect_dataset(opened, name, params, annotator=annotator, report=report)
        for name in names
    }
    return Detected(n_somata=sum(counts.values()), datasets=counts)
