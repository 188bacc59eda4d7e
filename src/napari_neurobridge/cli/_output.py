"""How every command answers: a pydantic model, as text or as one JSON object."""

import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Annotated, Any, Protocol

import typer
from pydantic import BaseModel, ConfigDict
from typer.core import TyperCommand

from napari_neurobridge.cli._progress import ProgressStyle, clear_bar, make_report
from napari_neurobridge.io.text_table import text_lines

REFUSED_EXIT_CODE = 3
"""Neither bad input nor a failure: the command did its work, and what it compared does not fit."""


class CommandResult(BaseModel):
    """What a command found or did; ``--json`` prints exactly this object."""

    model_config = ConfigDict(frozen=True)

    @property
    def exit_code(self) -> int:
        """What the command exits with; above 0 for an answer that scripts should stop at."""
        return 0

    def summary(self) -> str:
        """Return the same for people; subclasses know better words."""
        return text_lines(self)


class CommandAnswer(Protocol):
    """What a command returns: a `CommandResult`, or a benchmark's result."""

    def model_dump_json(self) -> str:
        """Return it as JSON."""
        ...

    def summary(self) -> str:
        """Return it for people."""
        ...


JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
ProgressOption = Annotated[
    ProgressStyle, typer.Option("--progress", help="How to show progress on stderr.")
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
]


def _keyword(name: str, default: object, annotation: object) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


_SHARED = (
    _keyword("json_output", False, JsonOption),
    _keyword("progress", ProgressStyle.AUTO, ProgressOption),
    _keyword("debug", False, DebugOption),
)


def command(
    app: typer.Typer, name: str, *, cls: type[TyperCommand] | None = None
) -> Callable[[Callable[..., CommandAnswer]], Callable[..., CommandAnswer]]:
    """Register a function as a command, with the options that all commands share.

    Parameters
    ----------
    app : typer.Typer
    name : str
        What the user types.
    cls : type of TyperCommand, optional
        For commands whose options need more than typer offers.

    Returns
    -------
    decorator
        Leaves the function as it is. A parameter ``report`` of the function is no
        option: it receives the progress callback.
    """

    def register(function: Callable[..., CommandAnswer]) -> Callable[..., CommandAnswer]:
        own = inspect.signature(function).parameters
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own.values()
            if parameter.name != "report"
        ]
        parameters += _SHARED

        def invoke(**arguments: Any) -> None:
            as_json, style = arguments.pop("json_output"), arguments.pop("progress")
            arguments.pop("debug")  # read from the arguments by `run`
            if "report" in own:
                arguments["report"] = make_report(style)
            # Whatever a library prints must not mix with the answer.
            with redirect_stdout(sys.stderr):
                result = function(**arguments)
            clear_bar()
            typer.echo(result.model_dump_json() if as_json else result.summary())
            if isinstance(result, CommandResult) and result.exit_code:
                raise typer.Exit(result.exit_code)

        invoke.__name__, invoke.__doc__ = function.__name__, function.__doc__
        invoke.__module__ = function.__module__
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, cls=cls)(invoke)
        return function

    return register
