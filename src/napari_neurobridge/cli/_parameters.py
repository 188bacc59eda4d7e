"""Options made from a pydantic model, so that parameters are declared once.

A field becomes an option of its name (``n_pairs`` is ``--n-pairs``), with the field's
description as help, its bounds (``ge``, ``le``) and its default. Texts of variable number are
separated by commas, numbers of variable number are given by repeating the option. Further words
stand in the field's ``json_schema_extra``: ``option``, another name; ``metavar``, what the help
shows as the value; ``argument``, true for a positional argument.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le

from napari_neurobridge.project.parsing import parse_model

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    ModelT = TypeVar("ModelT", bound=BaseModel)


def model_options(model: type[BaseModel]) -> list[inspect.Parameter]:
    """Return the options of all fields, as typer reads them off a function.

    Raises
    ------
    TypeError
        If a field is of a type that no option can hold.
    """
    found = [_parameter(name, field) for name, field in model.model_fields.items()]
    return sorted(found, key=lambda parameter: parameter.default is not inspect.Parameter.empty)


def parse_options(model: type[ModelT], arguments: dict[str, Any], *, what: str) -> ModelT:
    """Return the model that the values of its options make.

    Parameters
    ----------
    model : type of BaseModel
    arguments : dict of str to Any
        By field. An option that was not given, and has no default of its own, is left out.
    what : str
        Names the values in the error.

    Raises
    ------
    InputError
        With the first value that does not fit.
    """
    values = {}
    for name, field in model.model_fields.items():
        value = arguments[name]
        if value is not None and _separated_by_commas(field):
            value = tuple(part.strip() for part in value.split(","))
        if value is not None:
            values[name] = value
    return parse_model(model, values, what=what)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, optional = _without_none(field.annotation)
    default: Any = None if field.is_required() else field.get_default()
    annotation: Any = kind
    if _separated_by_commas(field):
        annotation, default = str, default and ",".join(default)
    elif _is_variadic(kind):
        annotation, default = list[get_args(kind)[0]], default and list(default)  # type: ignore[misc]
    elif not _is_simple(kind):
        raise TypeError(f"There is no option for {name}: {kind}.")
    if optional:
        annotation = annotation | None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else default,
        annotation=Annotated[annotation, _info(name, field, kind)],
    )


def _info(name: str, field: FieldInfo, kind: object) -> Any:
    """Return how typer is to show a field."""
    words = _words(field)
    shown: dict[str, Any] = {"help": field.description, "metavar": words.get("metavar")}
    for bound in field.metadata:
        if isinstance(bound, Ge):
            shown["min"] = bound.ge
        elif isinstance(bound, Le):
            shown["max"] = bound.le
    if words.get("argument"):
        return typer.Argument(**shown)
    option = str(words.get("option", name.replace("_", "-")))
    dashed = f"-{option}" if len(option) == 1 else f"--{option}"
    return typer.Option(f"{dashed}/--no-{option}" if kind is bool else dashed, **shown)


def _words(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _without_none(annotation: object) -> tuple[Any, bool]:
    """Return a type without ``None``, and whether it had that."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        if len(kinds) == 1:
            return kinds[0], True
    return annotation, False


def _is_variadic(kind: object) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _separated_by_commas(field: FieldInfo) -> bool:
    kind, _ = _without_none(field.annotation)
    return _is_variadic(kind) and issubclass(get_args(kind)[0], str)


def _is_simple(kind: Any) -> bool:
    """Return whether typer knows a type: of one value, or of a fixed number of them."""
    if get_origin(kind) is tuple:
        return all(_is_simple(part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return True
    return isinstance(kind, type) and issubclass(kind, (str, int, float, Path))
