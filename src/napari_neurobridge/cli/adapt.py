"""``adapt``: a model from the nearest source and a few labels, by NeuroADDA."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.types import Report


class AdaptedTo(CommandResult):
    """The source that was nearest, and the figures after each round."""

    model: str
    source: str
    mmd2: dict[str, float]
    curve: list[dict[str, float | list[int]]]

    def summary(self) -> str:
        """Return the sources by distance, the curve, and where the model lies."""
        lines = [f"MMD² of {name}: {value:.4f}" for name, value in self.mmd2.items()]
        names = [name for name in self.curve[-1] if name != "items"]
        rows = [[point[name] for name in names] for point in self.curve]
        return "\n".join([*lines, text_table(names, rows), f"from {self.source}: {self.model}"])


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "adapt")(adapt)


def adapt(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG.toml", help="Task, sources, images, labels and budgets."),
    ],
    *,
    report: Report,
) -> AdaptedTo:
    """Start from the nearest source, and train on the few items that are worth labelling."""
    from napari_neurobridge.workflows.adapt import adapt_from_file

    found = adapt_from_file(config, report=report)
    return AdaptedTo(
        model=str(found.model),
        source=found.source,
        mmd2=dict(found.mmd2),
        curve=[
            {
                "labels": point.labels,
                "steps": point.steps,
                "items": list(point.items),
                **point.figures,
            }
            for point in found.curve
        ],
    )
