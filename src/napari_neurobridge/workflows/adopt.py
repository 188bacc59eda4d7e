"""Going over to another model, and back: events in the project's log."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from napari_neurobridge import __version__
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.current import UsableModel, current_model, usable_models
from napari_neurobridge.models.model_folder import ENCODER, ModelFolder
from napari_neurobridge.models.zoo import bundled_names, find_model, list_models
from napari_neurobridge.project.log.events import ModelAdopted, default_annotator

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State

_VERSION = re.compile(r"v(\d+)-")


def adopt_model(
    project: Project, model: str | Path, *, reason: str = "chosen", annotator: str | None = None
) -> UsableModel:
    """Make a model the one that the project uses, from now on and after a restart.

    Its somata are not indexed for it by that; until they are, rankings rest on the index
    before.

    Parameters
    ----------
    project : Project
    model : str or Path
        Name or path. A folder outside the places where models are found by name is copied
        into the project.
    reason : str
        Why, in a few words.
    annotator : str, optional
        Who decides; the name of the system's user unless given.

    Returns
    -------
    UsableModel
        The current model.

    Raises
    ------
    InvalidActionError
        If it is the current model already.
    InputError
        If there is no such model, it is damaged, or no encoder.
    """
    path = find_model(model, project)
    folder = ModelFolder.open(path)
    folder.require_kind(ENCODER)
    folder.verify()
    now = current_model(project)
    if now.hash == folder.hash and not now.note:
        raise InvalidActionError(f"{now.label} is the current model already.")
    if all(entry.path.resolve() != path.resolve() for entry in list_models(project)):
        path = copy_model(project, path)
    _record(project, path.name, reason, (), annotator)
    return current_model(project)


def roll_back(project: Project, *, annotator: str | None = None) -> UsableModel:
    """Return to the model before the current one; the newer one is kept, and can be adopted again.

    Raises
    ------
    InvalidActionError
        If the project has adopted no model, or there is nothing before it.
    """
    models, adoptions = usable_models(project), project.state().adoptions
    # Where the newest is gone, another one is used already, and it takes an event to stay so.
    before = models[0] if models[0].note else models[1] if len(models) > 1 else None
    if before is None or not adoptions:
        raise InvalidActionError("The project has adopted no model that it could return from.")
    since = 0 if before.adopted is None else adoptions.index(before.adopted)
    revoked = tuple(adoption.event_id for adoption in adoptions[since:])
    _record(project, before.name, f"rolled back from {adoptions[-1].model}", revoked, annotator)
    return current_model(project)


def new_version(project: Project, strategy: str) -> str:
    """Return the name of the next model that is trained in a project, such as "v3-lora-4".

    Numbers are not used again, even of models that are gone.
    """
    known = [path.name for path in project.models_dir.iterdir()]
    known += [adoption.model for adoption in project.state().adoptions]
    found = [int(match[1]) for name in known if (match := _VERSION.match(name))]
    return f"v{max(found, default=0) + 1}-{strategy}"


def copy_model(project: Project, path: Path) -> Path:
    """Copy a model folder into a project, under a name that is free, and return the copy."""
    taken = bundled_names() | {entry.name for entry in project.models_dir.iterdir()}
    name, number = path.name, 2
    while name in taken:
        name, number = f"{path.name}-{number}", number + 1
    with atomic_folder(project.models_dir / name) as copy:
        shutil.copytree(path, copy, dirs_exist_ok=True)
    return project.models_dir / name


def _record(
    project: Project, name: str, reason: str, revokes: tuple[str, ...], annotator: str | None
) -> None:
    entry = next((entry for entry in list_models(project) if entry.name == name), None)
    if entry is None:
        raise InputError(f"There is no model '{name}' any more.")
    folder = ModelFolder.open(entry.path)

    def decide(_: State) -> list[ModelAdopted]:
        return [
            ModelAdopted(
                model=name,
                model_kind=folder.kind,
                weights_hash=folder.hash,
                origin=entry.origin,
                reason=reason,
                revokes=revokes,
                software_version=__version__,
            )
        ]

    project.record(annotator or default_annotator(), decide)
