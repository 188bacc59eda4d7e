"""``evaluate``: the papers' retrieval protocol."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import ModelOption
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.zoo import DEFAULT_MODEL
from napari_neurobridge.types import Report


class Evaluated(CommandResult):
    """How often a model finds the partner; see `training.evaluation.EvaluationReport`."""

    n: int
    n_scenes: int
    topk: dict[str, float]
    topk_53: dict[str, float]
    topk_scene: dict[str, float]
    recall: float | None
    specificity: float | None
    confusion: dict[str, int] | None
    auc: float | None
    threshold: float | None
    model: str


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "evaluate")(evaluate)


def evaluate(
    project: Annotated[
        Path | None, typer.Argument(metavar="[PROJECT]", help="Evaluate on its accepted pairs.")
    ] = None,
    *,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE.npz", help="Arrays two_photon, fmost and scene."),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    report: Report,
) -> Evaluated:
    """Measure how often a model finds the partner."""
    from napari_neurobridge.matching.gallery import model_label
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench import actions

    if (project is None) == (pairs is None):
        raise InputError("Give either a PROJECT or --pairs FILE.npz to evaluate on.")
    if project is not None:
        opened = Project.open(project)
        encoder = actions.load_encoder(opened, model)
        result = actions.evaluate_project(opened, encoder, report=report)
    else:
        assert pairs is not None
        encoder = actions.load_encoder(None, model)
        result = actions.evaluate_file(pairs, encoder, report=report)
    return Evaluated(**result.model_dump(), model=model_label(encoder))
