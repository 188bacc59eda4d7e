"""The documentation names the commands and JSON keys that exist, and no others."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from napari_neurobridge.cli._app import app
from napari_neurobridge.cli.benchmark import BENCHMARKS

BENCHMARKS_BY_NAME = {f"benchmark {benchmark.name}": benchmark for benchmark in BENCHMARKS}
PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
COMMANDS = {command.name: command.callback for command in app.registered_commands} | {
    f"{group.name} {command.name}": command.callback
    for group in app.registered_groups
    for command in group.typer_instance.registered_commands
}


def documented() -> dict[str | None, set[str]]:
    """Return the JSON keys of each command in the page's table."""
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return {
        name[0]: set(re.findall(r"`([^`]+)`", row[3]))
        for row in rows
        if len(row) == 5 and (name := re.findall(r"`([^`]+)`", row[1]))
    }


def json_keys(name: str | None) -> set[str]:
    """Return the fields of the models that a command's function answers with."""
    if name in BENCHMARKS_BY_NAME:
        found = BENCHMARKS_BY_NAME[name].result()
        return {*found.model_fields, *found.model_computed_fields}
    callback = COMMANDS[name]
    # What is registered wraps the module's function of the same name.
    function = getattr(sys.modules[callback.__module__], callback.__name__)
    answer = inspect.signature(function, eval_str=True).return_annotation
    models = [kind for kind in get_args(answer) or (answer,) if kind is not None]
    assert all(issubclass(model, BaseModel) for model in models)
    return {field for model in models for field in model.model_fields}


def test_every_command_is_documented_and_none_is_invented():
    assert set(documented()) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"demo"}, key=str))
def test_documented_keys_are_those_of_the_answer(name):
    assert documented()[name] == json_keys(name)
