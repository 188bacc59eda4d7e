"""The application: all command groups, registered once."""

from typing import Annotated

import typer

import napari_neurobridge
from napari_neurobridge.cli import (
    adapt,
    annotate,
    benchmark,
    bundle,
    demo,
    evaluate,
    export,
    landmarks,
    matching,
    models,
    orient,
    project,
    register,
    register_images,
    retrieval,
    rois,
    segmenter,
    simulate,
    somata,
    train,
)

# Plain help without markup: it starts in a tenth of the time, and reads well in a log.
app = typer.Typer(
    name="neurobridge",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(napari_neurobridge.__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Find the same neuron in two microscopes."""


for group in (
    demo,
    simulate,
    project,
    somata,
    segmenter,
    rois,
    orient,
    retrieval,
    annotate,
    landmarks,
    matching,
    register,
    register_images,
    train,
    bundle,
    adapt,
    evaluate,
    export,
    models,
    benchmark,
):
    group.register(app)
