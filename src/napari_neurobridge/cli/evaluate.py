"""``evaluate``: the papers' retrieval protocol."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import ModelOption
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report


class Judged(BaseModel):
    """Classification of trials; see `training.protocol.Classification`."""

    model_config = ConfigDict(frozen=True)

    recall: float
    specificity: float
    auc: float
    threshold: float
    confusion: dict[str, int]
    intervals: dict[str, tuple[float, float]]


class Mutual(BaseModel):
    """The same by mutual similarity; see `matching.mutual`."""

    model_config = ConfigDict(frozen=True)

    topk_scene: dict[str, float]
    judged: Judged | None


class Evaluated(CommandResult):
    """How often a model finds the partner; see `training.evaluation.EvaluationReport`."""

    n: int
    n_scenes: int
    topk: dict[str, float]
    topk_53: dict[str, float]
    topk_scene: dict[str, float]
    median_rank: float
    curve: list[float]
    top1_gated: float | None
    gate_candidates: float | None
    recall: float | None
    specificity: float | None
    confusion: dict[str, int] | None
    auc: float | None
    threshold: float | None
    intervals: dict[str, tuple[float, float]] | None
    hard_by: str
    own_hard: Judged | None
    mutual: Mutual
    model: str
    figures: list[str]

    def summary(self) -> str:
        """Return everything but the curve, which is for figures."""
        return "\n".join(f"{name}: {value}" for name, value in self if name != "curve")


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
    report: Report,
) -> Evaluated:
    """Measure how often a model finds the partner."""
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.matching.appearance.gallery import model_label
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.evaluation import evaluate_encoder
    from napari_neurobridge.workflows.index import load_encoder
    from napari_neurobridge.workflows.pair_crops import accepted_pairs

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
    drawn: list[Path] = []
    if figures is None:
        result = evaluate_encoder(encoder, chosen, report=report)
    else:
        from napari_neurobridge.training.plain_measures import PlainMeasure
        from napari_neurobridge.workflows.evaluation_figures import evaluate_and_draw

        compared = tuple(PlainMeasure) if measures else ()
        result, drawn = evaluate_and_draw(
            encoder, chosen, figures, measures=compared, report=report
        )
    return Evaluated(
        **result.model_dump(), model=model_label(encoder), figures=[str(path) for path in drawn]
    )
