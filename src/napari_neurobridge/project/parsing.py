"""Read untrusted values into pydantic models, with one sentence when they do not fit."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from napari_neurobridge.errors import InputError

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse_model(model: type[ModelT], values: Any, *, what: str) -> ModelT:
    """Validate values against a pydantic model.

    Parameters
    ----------
    model : type of BaseModel
        What the values should be.
    values : Any
        Usually a dict from a file, a database or the command line.
    what : str
        Names the values in the error, such as ``"dataset 'fmost'"``.

    Raises
    ------
    InputError
        With the first thing that does not fit.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise InputError(f"{what}: {where + ': ' if where else ''}{reason}.") from error
