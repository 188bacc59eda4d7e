"""``models``: the models that can be found."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.io.text_table import text_table


class ModelRow(BaseModel):
    """One model folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    origin: str
    path: str


class ModelList(CommandResult):
    """All models, in the order in which a name is looked up."""

    models: list[ModelRow]

    def summary(self) -> str:
        """Return a table."""
        header = tuple(ModelRow.model_fields)
        return text_table(header, [[getattr(m, name) for name in header] for m in self.models])


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "models")(models)


def models(
    project: Annotated[
        Path | None, typer.Argument(metavar="[PROJECT]", help="List its own models too.")
    ] = None,
) -> ModelList:
    """List the models that can be named: encoders of crops, and matchers of constellations."""
    from napari_neurobridge.models.zoo import list_models
    from napari_neurobridge.project.folder import Project

    opened = None if project is None else Project.open(project)
    entries = list_models(opened)
    return ModelList(
        models=[
            ModelRow(name=e.name, kind=e.kind, origin=e.origin, path=str(e.path)) for e in entries
        ]
    )
