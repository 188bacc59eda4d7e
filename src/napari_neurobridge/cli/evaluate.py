"""``evaluate``: the papers' retrieval protocol."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._options import ModelOption
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.text_table import text_lines
from napari_neurobridge.training.evaluation_report import EvaluationReport
from napari_neurobridge.types import Report


class FigureFormat(StrEnum):
    """How figures are written."""

    PNG = "png"
    PDF = "pdf"
    SVG = "svg"


class Evaluated(EvaluationReport, CommandResult):
    """How often a model finds the partner, and where the figures are."""

    model: str
    figures: tuple[str, ...]

    def summary(self) -> str:
        """Return everything but the curve, which is for figures."""
        return text_lines((name, value) for name, value in self if name != "curve")


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
    model: ModelOption = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Draw figures into it.")
    ] = None,
    measures: Annotated[
        bool,
        typer.Option("--measures", help="Show plain measures in the figures, too; minutes."),
    ] = False,
    figure_format: Annotated[
        FigureFormat, typer.Option("--figure-format", help="How the figures are written.")
    ] = FigureFormat.PNG,
    report: Report,
) -> Evaluated:
    """Measure how often a model finds the partner."""
    from napari_neurobridge.insight.evaluation import check_enough
    from napari_neurobridge.insight.evaluation import evaluate as evaluate_pairs
    from napari_neurobridge.insight.evaluation_figures import save_evaluation_figures
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.matching.appearance.gallery import model_label
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.plain_measures import PlainMeasure
    from napari_neurobridge.workflows.index import load_encoder
    from napari_neurobridge.workflows.pair_crops import accepted_pairs, accepted_somata

    if (project is None) == (pairs is None):
        raise InputError("Give either a PROJECT or --pairs FILE.npz to evaluate on.")
    if measures and figures is None:
        raise InputError("--measures needs --figures DIR to draw them into.")
    opened = None if project is None else Project.open(project)
    encoder = load_encoder(opened, model)
    if opened is not None:
        chosen = accepted_pairs(opened, report=report)
    else:
        assert pairs is not None
        chosen = PairSet.load(pairs)
    if figures is not None:
        check_enough(len(chosen))
    compared = tuple(PlainMeasure) if measures else ()
    found = evaluate_pairs(chosen, encoder, measures=compared, report=report)
    drawn = []
    if figures is not None:
        somata = () if opened is None else accepted_somata(opened)
        names = [(one.uid, other.uid) for one, other in somata] or None
        drawn = save_evaluation_figures(found, figures, names=names, suffix=f".{figure_format}")
    return Evaluated(
        **found.report.model_dump(),
        model=model_label(encoder),
        figures=tuple(str(path) for path in drawn),
    )
