"""``models`` and ``adopt``: the models that can be found, and which of them a project uses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table

if TYPE_CHECKING:
    from napari_neurobridge.models.zoo import ModelEntry


class ModelRow(BaseModel):
    """One model folder; ``hash`` is ``null`` where it is damaged."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    origin: str
    current: bool
    adopted: str | None
    hash: str | None
    checksums: bool
    calibrated: bool
    path: str


class ModelList(CommandResult):
    """All models, in the order in which a name is looked up."""

    models: list[ModelRow]
    current: str
    notes: list[str]

    def summary(self) -> str:
        """Return a table, and what is wrong."""
        header = ("name", "kind", "origin", "current", "adopted", "checksums", "calibrated", "path")
        rows = [[_cell(getattr(model, name)) for name in header] for model in self.models]
        return "\n".join([text_table(header, rows), *self.notes])


class Adopted(CommandResult):
    """The model that the project uses from now on, and how much of it is to be indexed."""

    model: str
    name: str
    n_to_index: int

    def summary(self) -> str:
        """Return one sentence or two."""
        rest = ""
        if self.n_to_index:
            rest = (
                f" {self.n_to_index} somata are to be indexed for it ('neurobridge index'); until "
                "then rankings rest on the last complete index."
            )
        return f"The project uses {self.model} ('{self.name}').{rest}"


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "models")(models)
    command(app, "adopt")(adopt)


def models(
    project: Annotated[
        Path | None,
        typer.Argument(metavar="[PROJECT]", help="List its own models too, and which it uses."),
    ] = None,
) -> ModelList:
    """List the models that can be named: encoders of crops, and matchers of constellations."""
    from napari_neurobridge.models import zoo
    from napari_neurobridge.models.current import current_model
    from napari_neurobridge.project.folder import Project

    opened = None if project is None else Project.open(project)
    found = [_row(entry) for entry in zoo.list_models(opened)]
    current = current_model(opened)
    adopted = {} if opened is None else {a.weights_hash: a.time for a in opened.state().adoptions}
    rows = [
        row.model_copy(
            update={
                "current": row.hash == current.hash and row.name == current.name,
                "adopted": adopted.get(row.hash or ""),
            }
        )
        for row, _ in found
    ]
    problems = [problem for _, problem in found if problem]
    return ModelList(
        models=rows, current=current.label, notes=[*filter(None, [current.note]), *problems]
    )


def adopt(
    project: ProjectArgument,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Name of a model, or path of its folder."),
    ] = None,
    *,
    roll_back: Annotated[
        bool, typer.Option("--roll-back", help="Return to the model before the current one.")
    ] = False,
    annotator: AnnotatorOption = None,
) -> Adopted:
    """Make a model the one that the project uses, or return to the one before."""
    from napari_neurobridge.matching.appearance.gallery import count_embedded
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workflows import adopt as adopting

    if (model is None) == (not roll_back):
        raise InputError("Give either a MODEL or --roll-back.")
    opened = Project.open(project)
    if model is not None:
        current = adopting.adopt_model(opened, model, annotator=annotator)
    else:
        current = adopting.roll_back(opened, annotator=annotator)
    count = count_embedded(opened, current)
    return Adopted(model=current.label, name=current.name, n_to_index=count.n_missing)


def _row(entry: "ModelEntry") -> tuple[ModelRow, str]:
    """Describe a model folder; the second is what is wrong with it, if anything."""
    from napari_neurobridge.models.model_folder import ModelFolder

    row = ModelRow(
        name=entry.name,
        kind=entry.kind,
        origin=entry.origin,
        current=False,
        adopted=None,
        hash=None,
        checksums=False,
        calibrated=False,
        path=str(entry.path),
    )
    try:
        folder = ModelFolder.open(entry.path)
        folder.verify()
    except InputError as error:
        return row, str(error)
    known = {
        "hash": folder.hash,
        "checksums": folder.checksums is not None,
        "calibrated": folder.calibration.likelihood is not None,
    }
    return row.model_copy(update=known), ""


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return value
