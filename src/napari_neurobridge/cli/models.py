"""``models`` and ``adopt``: the models that can be found, and which of them a project uses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import AnnotatorOption, ProjectArgument
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import Report

if TYPE_CHECKING:
    from napari_neurobridge.models.zoo import ModelEntry
    from napari_neurobridge.workflows.nearest_models import NearestModels


class SideDistance(BaseModel):
    """MMD² of one side's crops, and how often chance gives as much."""

    model_config = ConfigDict(frozen=True)

    mmd2: float
    p_value: float


class ModelRow(BaseModel):
    """One model folder; ``hash`` is ``null`` where it is damaged.

    ``mmd2``, the mean over ``mmd2_sides``, is ``null`` where it was not asked for or cannot be
    measured.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    origin: str
    current: bool
    adopted: str | None
    hash: str | None
    checksums: bool
    calibrated: bool
    mmd2: float | None = None
    mmd2_sides: dict[str, SideDistance] = {}
    path: str


class ModelList(CommandResult):
    """All models, in the order in which a name is looked up, or the nearest first."""

    models: list[ModelRow]
    current: str
    notes: list[str]

    def summary(self) -> str:
        """Return a table, and what is wrong."""
        measured = any(model.mmd2 is not None for model in self.models)
        header = (*_COLUMNS, *(("mmd2",) if measured else ()), "path")
        rows = [[_cell(getattr(model, name)) for name in header] for model in self.models]
        return "\n".join([text_table(header, rows), *self.notes])


_COLUMNS = ("name", "kind", "origin", "current", "adopted", "checksums", "calibrated")


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
    *,
    target: Annotated[
        Path | None,
        typer.Option(
            "--for",
            metavar="PROJECT",
            help="Rank the encoders by how near their training data is to this project's crops "
            "(MMD²); its own models are listed too.",
        ),
    ] = None,
    report: Report,
) -> ModelList:
    """List the models that can be named: encoders of crops, and matchers of constellations."""
    from napari_neurobridge.models import zoo
    from napari_neurobridge.models.current import current_model
    from napari_neurobridge.project.folder import Project

    asked = project or target
    opened = None if asked is None else Project.open(asked)
    entries = zoo.list_models(opened)
    found = [_row(entry) for entry in entries]
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
    notes = [*filter(None, [current.note]), *(problem for _, problem in found if problem)]
    if target is not None:
        from napari_neurobridge.workflows.nearest_models import nearest_models

        whole = [entry for entry, (_, problem) in zip(entries, found, strict=True) if not problem]
        nearest = nearest_models(Project.open(target), whole, report=report)
        rows = _ranked(rows, nearest)
        notes += [*nearest.notes, *_by_how_much(nearest)]
    return ModelList(models=rows, current=current.label, notes=notes)


def _ranked(rows: list[ModelRow], nearest: "NearestModels") -> list[ModelRow]:
    """Return the rows with what was measured, the nearest first."""
    by_name = {row.name: row for row in rows}
    measured = []
    for name, distance in nearest.distances.items():
        sides = {
            side: SideDistance(mmd2=test.mmd2, p_value=test.p_value)
            for side, test in distance.sides.items()
        }
        known = {"mmd2": distance.mmd2, "mmd2_sides": sides}
        measured.append(by_name[name].model_copy(update=known))
    return measured + [row for row in rows if row.name not in nearest.distances]


def _by_how_much(nearest: "NearestModels") -> list[str]:
    """Say in a sentence which model is nearest, and how much farther the next one is."""
    if not nearest.distances:
        return []
    first, *others = nearest.distances.items()
    sides = ", ".join(
        f"{side} {test.mmd2:.3f} (p = {test.p_value:.3f}, {nearest.n_crops[side]} crops)"
        for side, test in first[1].sides.items()
    )
    said = f"Nearest to the project is '{first[0]}', with an MMD² of {first[1].mmd2:.3f}: {sides}."
    if others:
        farther = others[0][1].mmd2 - first[1].mmd2
        said = f"{said[:-1]}; '{others[0][0]}' is farther by {farther:.3f}."
    return [said]


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
    return f"{value:.3f}" if isinstance(value, float) else value
