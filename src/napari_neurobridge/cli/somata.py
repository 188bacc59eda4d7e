"""``detect`` and ``import-points``: the somata of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import Report

if TYPE_CHECKING:
    from napari_neurobridge.detection.dog import DogParams
    from napari_neurobridge.detection.segment import SegmentParams


class Detected(CommandResult):
    """Living somata after detection, in all and in each dataset that was looked at."""

    n_somata: int
    datasets: dict[str, int]

    def summary(self) -> str:
        """Return a table."""
        return text_table(("dataset", "somata"), list(self.datasets.items()))


class PointsImported(CommandResult):
    """Somata that a table of points added."""

    dataset: str
    n_somata: int
    first_uid: str

    def summary(self) -> str:
        """Return a sentence."""
        return (
            f"{self.n_somata} points are somata of '{self.dataset}' now, the first of which is "
            f"'{self.first_uid}'."
        )


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "detect")(detect)
    command(app, "import-points")(import_points)


def detect(
    project: ProjectArgument,
    *,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Only this one; all images unless given.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="dog: difference of Gaussians; segmenter: a trained network, slower, which finds "
            "many more somata in two-photon images.",
        ),
    ] = "dog",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Name or path of the segmenter, such as one that 'train-segmenter' has made; the "
            "bundled one unless given.",
        ),
    ] = None,
    soma_diameter: Annotated[
        float | None,
        typer.Option("--soma-diameter", help="Typical diameter in µm; the segmenter needs none."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="Weakest response that counts as a soma: in standard deviations of the noise, or "
            "the segmenter's probability, from 0 to 1.",
        ),
    ] = None,
    annotator: AnnotatorOption = None,
    report: Report,
) -> Detected:
    """Find the somata of one image, or of all."""
    from napari_neurobridge.errors import InputError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows.detect import detect_dataset

    params = _params(method, soma_diameter, threshold)
    if model is not None and method != "segmenter":
        raise InputError("Only the segmenter is a model that can be named.")
    opened = Project.open(project)
    names = [dataset] if dataset is not None else opened.datasets_with_images
    if not names:
        raise InputError("No dataset of this project has an image; import points instead.")
    counts = {
        name: detect_dataset(opened, name, params, model=model, annotator=annotator, report=report)
        for name in names
    }
    return Detected(n_somata=sum(counts.values()), datasets=counts)


def _params(
    method: str, soma_diameter: float | None, threshold: float | None
) -> "DogParams | SegmentParams":
    """Return what the options say."""
    from napari_neurobridge.detection.dog import DogParams
    from napari_neurobridge.detection.segment import SegmentParams
    from napari_neurobridge.errors import InputError
    from napari_neurobridge.project.parsing import parse_model

    what = "The detection options are not valid"
    if method == "segmenter":
        if soma_diameter is not None:
            raise InputError("The segmenter takes no --soma-diameter.")
        return parse_model(SegmentParams, {"least_probability": threshold}, what=what)
    if method != "dog":
        raise InputError(f"There is no detection method '{method}'; use dog or segmenter.")
    given = {"soma_diameter_um": soma_diameter, "threshold": threshold}
    return parse_model(
        DogParams, {name: value for name, value in given.items() if value is not None}, what=what
    )


def import_points(
    project: ProjectArgument,
    points: Annotated[
        Path, typer.Argument(metavar="POINTS.csv", help="Points [uid,]z_um,y_um,x_um.")
    ],
    *,
    dataset: Annotated[str, typer.Option("--dataset", help="In whose space they lie.")],
    annotator: AnnotatorOption = None,
) -> PointsImported:
    """Add a table of points to the somata of a dataset, with an image or without."""
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import setup

    somata = setup.import_points(Project.open(project), dataset, points, annotator=annotator)
    return PointsImported(dataset=dataset, n_somata=len(somata), first_uid=somata[0].uid)
