"""The part of ``benchmark`` that is about models: retrieval, robustness, attention, speed."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import LevelOption, ModelOption, SeedsOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report

StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Most steps of fine-tuning.")
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SpreadFigure(_Frozen):
    """Mean and standard deviation over the splits."""

    mean: float
    sd: float | None


class DifferenceFigure(_Frozen):
    """A method minus the full method, with a bootstrap interval over the splits."""

    mean: float
    interval: tuple[float, float] | None


class MethodRow(_Frozen):
    """One configuration or plain measure; see `benchmarks.retrieval_rows.MethodResult`."""

    method: str
    topk: dict[str, float]
    figures: dict[str, SpreadFigure]
    confusion: dict[str, int]
    own_confusion: dict[str, int]
    curve: list[float]
    against_full: dict[str, DifferenceFigure] | None
    steps: float
    seconds: float


class RetrievalFigures(CommandResult):
    """All methods on the same pairs; see `benchmarks.retrieval.RetrievalBenchmark`."""

    model: str
    level: str
    seeds: list[int]
    candidates: int
    n_queries: int
    results: list[MethodRow]
    ratio: float | None
    figures: list[str]
    markdown: str

    def summary(self) -> str:
        """Return the table."""
        return "\n".join([self.markdown, *self.figures])


class SilverScoreFigures(_Frozen):
    """Figures of one fold; see `benchmarks.silver_crops.SilverScore`."""

    topk_53: dict[str, float]
    topk: dict[str, float]
    recall: float
    specificity: float
    auc: float


class SilverFoldFigures(_Frozen):
    """One way to lay the blocks; see `benchmarks.silver_crops.SilverFold`."""

    n_train: int
    n_validation: int
    n_test: int
    before: SilverScoreFigures
    after: SilverScoreFigures
    correlation: SilverScoreFigures
    best_step: int
    seconds: float


class SilverCropsFigures(CommandResult):
    """A real tissue, optics simulated; see `benchmarks.silver_crops.SilverCropsBenchmark`."""

    model: str
    level: str
    optics: str
    strategy: str
    axis: str
    gap_um: float
    folds: list[SilverFoldFigures]
    top1_before: float
    top1_after: float

    def summary(self) -> str:
        """Return a table, and what was done to the images."""
        rows = [
            (
                number + 1,
                f"{name}, {fold.n_test} pairs",
                score.topk_53["1"],
                score.topk["1"],
                score.recall,
                score.specificity,
                score.auc,
            )
            for number, fold in enumerate(self.folds)
            for name, score in (
                ("correlation", fold.correlation),
                ("before", fold.before),
                (f"after, {fold.best_step} steps", fold.after),
            )
        ]
        header = ("fold", "what", "top-1 of 53", "top-1 of all", "recall", "specificity", "AUC")
        return f"{table(header, rows)}\n{self.optics}"


class RobustnessRow(_Frozen):
    """Retrieval under one change of the two-photon crops."""

    kind: str
    amount: float
    topk: dict[str, float]
    kept: float | None


class RobustnessFigures(CommandResult):
    """Changed crops; see `benchmarks.robustness.RobustnessBenchmark`."""

    model: str
    level: str
    seeds: list[int]
    candidates: int
    n_queries: int
    results: list[RobustnessRow]

    def summary(self) -> str:
        """Return a table."""
        rows = [
            (row.kind, row.amount, *(row.topk[k] for k in ("1", "5", "10")), row.kept)
            for row in self.results
        ]
        return table(("change", "amount", "top-1", "top-5", "top-10", "top-1 kept"), rows)


class SpeedFigures(CommandResult):
    """Rates of embedding; see `benchmarks.embedding_speed.EmbeddingSpeed`."""

    model: str
    device: str
    threads: int
    crops: int
    rounds: int
    embed_per_second: float
    forward_per_second: float
    ratio: float


class ChannelFigures(_Frozen):
    """Tests of one channel's maps; see `benchmarks.attention.ChannelSanity`."""

    random_weights: float
    other_candidate: float
    hidden_brightest: float
    hidden_random: float
    hidden_darkest: float


class AttentionFigures(CommandResult):
    """Tests of Grad-CAM; see `benchmarks.attention.AttentionBenchmark`."""

    model: str
    method: str
    n: int
    similarity: float
    local: ChannelFigures
    context: ChannelFigures

    def summary(self) -> str:
        """Return a table, a column for each channel."""
        rows = [
            (name.replace("_", " "), getattr(self.local, name), getattr(self.context, name))
            for name in ChannelFigures.model_fields
        ]
        return table(("test", "local", "global"), rows)


def register(benchmarks: typer.Typer) -> None:
    """Add these commands to the group ``benchmark``."""
    command(benchmarks, "retrieval")(retrieval)
    command(benchmarks, "silver-crops")(silver_crops)
    command(benchmarks, "robustness")(robustness)
    command(benchmarks, "embedding-speed")(embedding_speed)
    command(benchmarks, "attention")(attention)


def retrieval(
    *,
    model: ModelOption = None,
    level: LevelOption = "paper",
    configurations: Annotated[
        str | None,
        typer.Option(
            "--configurations",
            metavar="NAME,NAME",
            help="Rows that learn, such as zero-shot,linear,dual-channel. All unless given.",
        ),
    ] = None,
    measures: Annotated[
        bool, typer.Option("--measures/--no-measures", help="Compare with plain measures, too.")
    ] = True,
    splits: Annotated[
        int, typer.Option("--splits", help="How many sets of training and test pairs.")
    ] = 5,
    steps: StepsOption = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone", help="Model of timm whose weights are the generic initialisation."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep results, so as to go on from them."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Draw figures into it.")
    ] = None,
    report: Report,
) -> RetrievalFigures:
    """Fine-tune on 190 pairs by every strategy, and rank 53 others; also by plain measures."""
    from napari_neurobridge.benchmarks.retrieval import RetrievalRequest, benchmark_retrieval
    from napari_neurobridge.encoder.dual_channel import backbone_config
    from napari_neurobridge.training.plain_measures import PlainMeasure
    from napari_neurobridge.workflows.index import load_encoder

    names = None
    if configurations is not None:
        names = tuple(name.strip() for name in configurations.split(","))
    request = RetrievalRequest(
        configurations=names,
        measures=tuple(PlainMeasure) if measures else (),
        splits=splits,
        level=level,
        steps=steps,
        generic=None if backbone is None else backbone_config(backbone),
    )
    result = benchmark_retrieval(
        load_encoder(None, model), request, cache=cache, figures=figures, report=report
    )
    return RetrievalFigures.model_validate({**result.model_dump(), "markdown": result.table()})


def silver_crops(
    two_photon: Annotated[Path, typer.Argument(metavar="FIRST", help="First volume.")],
    fmost: Annotated[Path, typer.Argument(metavar="SECOND", help="Second volume, the gallery.")],
    pairs: Annotated[
        Path,
        typer.Argument(metavar="PAIRS.csv", help="Matching positions, z_um,y_um,x_um of each."),
    ],
    *,
    model: ModelOption = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help="What fine-tuning changes; see 'train'.")
    ] = "dual-channel",
    steps: StepsOption = None,
    level: LevelOption = "paper",
    seed: Annotated[int, typer.Option("--seed", help="Draws noise and training pairs.")] = 0,
    report: Report,
) -> SilverCropsFigures:
    """Find partners among 53 of a real tissue, before and after fine-tuning on 100 pairs.

    The first volume goes through the simulated two-photon optics.
    """
    from napari_neurobridge.benchmarks.silver_crops import benchmark_silver_crops
    from napari_neurobridge.encoder.strategies import Strategy
    from napari_neurobridge.training.fine_tune import FineTuneConfig
    from napari_neurobridge.workflows.index import load_encoder

    if strategy not in list(Strategy):
        raise InputError(f"There is no strategy '{strategy}'; choose {', '.join(Strategy)}.")
    config = FineTuneConfig(strategy=Strategy(strategy), seed=seed)
    result = benchmark_silver_crops(
        load_encoder(None, model),
        two_photon,
        fmost,
        pairs,
        config=config if steps is None else config.model_copy(update={"steps": steps}),
        level=level,
        report=report,
    )
    return SilverCropsFigures.model_validate(result.model_dump())


def robustness(
    *,
    model: ModelOption = None,
    level: LevelOption = "paper",
    seed: SeedsOption = None,
    report: Report,
) -> RobustnessFigures:
    """Rank held-out cells whose two-photon crops are turned, off centre, dimmed or cut."""
    from napari_neurobridge.benchmarks.robustness import TEST_SEEDS, benchmark_robustness
    from napari_neurobridge.workflows.index import load_encoder

    encoder = load_encoder(None, model)
    result = benchmark_robustness(encoder, seeds=seed or TEST_SEEDS, level=level, report=report)
    return RobustnessFigures.model_validate(result.model_dump())


def embedding_speed(
    *,
    model: ModelOption = None,
    crops: Annotated[int, typer.Option("--crops", help="Crops in a round.")] = 256,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds to take medians over.")] = 7,
    report: Report,
) -> SpeedFigures:
    """Measure how fast crops in memory are embedded, beside the bare network."""
    from napari_neurobridge.benchmarks.embedding_speed import measure_embedding_speed
    from napari_neurobridge.workflows.index import load_encoder

    encoder = load_encoder(None, model)
    result = measure_embedding_speed(encoder, crops=crops, rounds=rounds, report=report)
    return SpeedFigures.model_validate(result.model_dump())


def attention(
    *,
    model: ModelOption = None,
    level: LevelOption = "paper",
    seed: SeedsOption = None,
    examples: Annotated[int, typer.Option("--examples", min=1, help="Pairs to look at.")] = 40,
    report: Report,
) -> AttentionFigures:
    """Test whether Grad-CAM shows what the similarity of a pair rests on."""
    from napari_neurobridge.benchmarks.attention import benchmark_attention
    from napari_neurobridge.benchmarks.robustness import TEST_SEEDS
    from napari_neurobridge.training.simulated_data import held_out_pairs
    from napari_neurobridge.workflows.index import load_encoder

    pairs = held_out_pairs(seed or TEST_SEEDS, level)
    encoder = load_encoder(None, model)
    result = benchmark_attention(encoder, pairs, examples=examples, report=report)
    return AttentionFigures.model_validate(result.model_dump())
