"""``demo``: the whole program on a simulated project."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._output import DebugOption, JsonOption, ProgressOption
from napari_neurobridge.cli._progress import ProgressStyle


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("demo")(demo)


def demo(
    *,
    headless: Annotated[
        bool, typer.Option("--headless", help="Run the whole job without showing a window.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the project and what it exports.")
    ] = None,
    json_output: JsonOption = False,
    progress: ProgressOption = ProgressStyle.AUTO,
    debug: DebugOption = False,
) -> None:
    """Open napari on a simulated project.

    Headless, it runs the whole job instead and writes a screenshot and the exports.
    """
    # By name, since the demo lies above the command line: it opens napari.
    module = importlib.import_module("napari_neurobridge.demo")
    raise typer.Exit(module.main(headless=headless, out=out, json_output=json_output))
