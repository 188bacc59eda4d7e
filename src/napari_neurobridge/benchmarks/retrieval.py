"""A model, what 190 pairs make of it, and plain measures, on held-out simulated scenes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import Field, computed_field

from napari_neurobridge.benchmarks.contract import (
    BenchmarkParameters,
    BenchmarkResult,
    Level,
    ModelParameters,
)
from napari_neurobridge.benchmarks.few_shot import (
    FULL_METHOD,
    ZERO_SHOT,
    AdapterConfiguration,
    Bench,
    Method,
    PlainConfiguration,
    chosen_configurations,
    learns,
)
from napari_neurobridge.benchmarks.few_shot_adapters import Adapter
from napari_neurobridge.benchmarks.few_shot_data import (
    TEST_SEED,
    few_shot_data,
    few_shot_split,
)
from napari_neurobridge.benchmarks.retrieval_rows import (
    MethodResult,
    SplitScore,
    markdown_table,
    method_result,
    score_split,
)
from napari_neurobridge.encoder.dual_channel import EncoderConfig, backbone_config
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.strategies import PARTIAL_BLOCKS, backbone_blocks
from napari_neurobridge.errors import InputError
from napari_neurobridge.training.left_out import (
    FEW_SHOT_DEPTH,
    left_out_source,
    left_out_task,
    shrunk,
)
from napari_neurobridge.training.plain_measures import PlainMeasure, PoseRange
from napari_neurobridge.training.simulated_data import EVALUATION_CELLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.benchmarks.few_shot import Compared
    from napari_neurobridge.benchmarks.few_shot_data import FewShotData
    from napari_neurobridge.types import Report


BAND_PASSED = (PlainMeasure.PEARSON, PlainMeasure.MSE)
"""Measures that are also taken of standardised, band-passed crops."""


class RetrievalBenchmark(BenchmarkResult):
    """Configurations of a model and plain measures on the same crops."""

    model: str = Field(description="Name and hash of the encoder.")
    level: str = Field(description="Difficulty of the simulation.")
    seeds: tuple[int, ...] = Field(description="Scenes of the test pairs, one for each split.")
    candidates: int = Field(description="Cells per scene.")
    n_queries: int
    search: PoseRange = Field(description="Poses that the plain measures may try.")
    results: tuple[MethodResult, ...] = Field(description="Configurations, then measures.")
    figures: tuple[str, ...] = Field((), description="Paths of the figures drawn.")
    notes: tuple[str, ...] = Field((), description="What to know of single rows.")
    ratio: float | None = Field(
        description="Top-1 of the model as it is over that of the best plain measure, "
        "if both ran and that is not 0."
    )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def markdown(self) -> str:
        """The results as a Markdown table."""
        return markdown_table(self.results)

    def summary(self) -> str:
        """Return the table, what to know of it, and where the figures are."""
        return "\n".join([self.markdown, *self.notes, *self.figures])


class _Comparison(BenchmarkParameters):
    """What a request and the command line have in common."""

    level: Level = "paper"
    configurations: tuple[str, ...] | None = Field(
        None,
        description="Rows that learn, such as zero-shot,linear,dual-channel. All unless given.",
        json_schema_extra={"metavar": "NAME,NAME"},
    )
    splits: int = Field(5, description="How many sets of training and test pairs.")
    steps: int | None = Field(None, ge=1, description="Most steps of fine-tuning.")
    sweep: bool = Field(
        False,
        description="Let each row that is fine-tuned try several learning rates on the first "
        "split, and learn by what does best on its validation pairs from then on.",
    )
    adapters: bool = Field(
        False,
        description="Also adapt the model without training: take normalisation statistics from "
        "the crops, whiten each side's vectors, map one side's onto the other's.",
    )


class RetrievalRequest(_Comparison):
    """What to compare, and on how many splits.

    See `few_shot.CONFIGURATIONS` for the names of configurations.
    """

    measures: tuple[PlainMeasure, ...] = Field(
        tuple(PlainMeasure), description="Plain measures to compare with."
    )
    search: PoseRange = Field(PoseRange(), description="Poses that those may try: ±15° and ±5 px.")
    generic: EncoderConfig | None = Field(
        None,
        description="Architecture of the generic initialisation: the encoder's with random "
        "weights unless given.",
    )

    def methods(self) -> dict[str, Method]:
        """Return all rows of the table by name."""
        kinds = [(m, b) for m in self.measures for b in (False, True) if m in BAND_PASSED or not b]
        plain = (
            PlainConfiguration(measure=measure, search=self.search, band_passed=band)
            for measure, band in kinds
        )
        adapters = tuple(Adapter) if self.adapters else ()
        return {
            **chosen_configurations(self.configurations),
            **{each.value: AdapterConfiguration(adapter=each) for each in adapters},
            **{each.name: each for each in plain},
        }


class RetrievalParameters(_Comparison, ModelParameters):
    """What the command line asks for."""

    measures: bool = Field(True, description="Compare with plain measures, too.")
    backbone: str | None = Field(
        None, description="Model of timm whose weights are the generic initialisation."
    )
    left_out: str | None = Field(
        None,
        description="Start from a small model that never saw this domain, and test it there; in "
        "place of another model and level.",
        json_schema_extra={"metavar": "DOMAIN"},
    )
    cache: Path | None = Field(
        None,
        description="Keep results, so as to go on from them.",
        json_schema_extra={"metavar": "DIR"},
    )
    figures: Path | None = Field(
        None, description="Draw figures into it.", json_schema_extra={"metavar": "DIR"}
    )

    def request(self) -> RetrievalRequest:
        """Return what to compare."""
        return RetrievalRequest(
            **{name: getattr(self, name) for name in _Comparison.model_fields},
            measures=tuple(PlainMeasure) if self.measures else (),
            generic=None if self.backbone is None else backbone_config(self.backbone),
        )


def benchmark_retrieval(
    encoder: Encoder,
    request: RetrievalRequest | None = None,
    *,
    cache: Path | None = None,
    figures: Path | None = None,
    report: Report | None = None,
) -> RetrievalBenchmark:
    """Fine-tune on 190 pairs, rank 53 and tell pairs from others, by all methods and splits.

    Each split has 190 training pairs, 30 validation pairs and 53 test pairs of scenes of
    its own, and the same negatives for all methods.

    Parameters
    ----------
    encoder : Encoder
        The model to test and to start fine-tuning from.
    request : RetrievalRequest, optional
        What to compare; everything on five splits by default.
    cache : Path, optional
        Folder of pairs and results. A benchmark that was stopped goes on from there.
    figures : Path, optional
        Folder to draw figures into.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to cancel.

    Raises
    ------
    InputError
        If there is no split, or a configuration is unknown.
    """
    request = request or RetrievalRequest()
    if request.splits < 1:
        raise InputError(f"The benchmark needs at least one split, not {request.splits}.")
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as temporary:
        folder = cache or Path(temporary)
        generic = request.generic or encoder.config
        bench = Bench(encoder, generic, folder / "results", request.steps, request.sweep)
        run = _RetrievalRun(bench, request, report)
        for split in range(request.splits):
            run.split(_fitting(run.pairs(split, folder / "pairs"), encoder))
    drawn: list[Path] = []
    if figures is not None:
        from napari_neurobridge.benchmarks.retrieval_figures import draw_figures

        drawn = draw_figures(figures, run.rows(), run.last_compared, run.last_data.test.scene)
    return RetrievalBenchmark(
        model=f"{encoder.name} {encoder.hash}",
        level=request.level,
        seeds=tuple(TEST_SEED + split for split in range(request.splits)),
        candidates=EVALUATION_CELLS,
        n_queries=run.n_queries,
        search=request.search,
        results=run.rows(),
        figures=tuple(str(path) for path in drawn),
        notes=_notes(request, encoder),
        ratio=_ratio(run.rows()),
    )


def run(parameters: RetrievalParameters, *, report: Report | None = None) -> RetrievalBenchmark:
    """Answer the command line."""
    request = parameters.request()
    with TemporaryDirectory(prefix="neurobridge-source-") as temporary:
        if parameters.left_out is None:
            encoder = parameters.encoder()
        else:
            folder = parameters.cache or Path(temporary)
            source = left_out_source(
                left_out_task(parameters.left_out, depth=FEW_SHOT_DEPTH),
                folder / "models",
                pairs=folder / "pairs",
                report=report,
            )
            encoder = Encoder.load(source)
            request = request.model_copy(update={"level": parameters.left_out})
    return benchmark_retrieval(
        encoder, request, cache=parameters.cache, figures=parameters.figures, report=report
    )


def _fitting(data: FewShotData, encoder: Encoder) -> FewShotData:
    """Return the data in crops of the size that the model sees."""
    factor = data.test.two_photon.shape[-1] // encoder.config.crop_pixels
    if factor <= 1:
        return data
    parts = (
        shrunk(pairs, factor) if len(pairs) else pairs
        for pairs in (data.train, data.validation, data.test)
    )
    return few_shot_split(data.split, *parts)


class _RetrievalRun:
    """Walks through splits and methods, says how far it is, and keeps the scores."""

    def __init__(self, bench: Bench, request: RetrievalRequest, report: Report | None) -> None:
        self._bench, self._methods = bench, request.methods()
        self._level, self._splits, self._report = request.level, request.splits, report
        self._doing, self._done, self._part = "", 0, 0
        self.n_queries = 0
        self.scores: dict[str, list[SplitScore]] = {name: [] for name in self._methods}
        self.last_data: FewShotData
        self.last_compared: dict[str, Compared]

    def pairs(self, split: int, folder: Path) -> FewShotData:
        """Return the pairs of a split, none to learn from where nothing learns."""
        training = any(learns(method) for method in self._methods.values())
        return few_shot_data(split, self._level, folder, training=training, report=self.tell)

    def split(self, data: FewShotData) -> None:
        """Let all methods answer on one split."""
        self.last_data, self.last_compared = data, {}
        for name, method in self._methods.items():
            self._doing = f"{name}, split {data.split + 1} of {self._splits}{self._left()}"
            self.tell(0, 0, "")
            first = self.scores[name][0].learning_rate if self.scores[name] else None
            compared = self._bench.compare(method, data, self._level, self.tell, rate=first)
            self.last_compared[name] = compared
            self.scores[name].append(score_split(compared, data))
            self._done, self._part = self._done + 1, 0
        self.n_queries += len(data.test)
        self._doing = ""
        self.tell(0, 0, "")

    def tell(self, done: int, total: int, text: str) -> None:
        """Report what is being done, as part of the whole; raises to cancel."""
        if self._report is None:
            return
        # Thousandths of a method, so that the count moves while one is trained.
        # Some count twice, such as features and then steps; what is shown only rises.
        if total and self._doing:
            self._part = max(self._part, 1000 * done // total)
        count = 1000 * self._splits * len(self._methods)
        self._report(min(1000 * self._done + self._part, count), count, self._doing or text)

    def rows(self) -> tuple[MethodResult, ...]:
        """Return one row for each method."""
        full = self.scores.get(FULL_METHOD)
        return tuple(method_result(name, own, full) for name, own in self.scores.items())

    def _left(self) -> str:
        """Say how long the rest will take, from what one split took."""
        known = {name: own[0].seconds for name, own in self.scores.items() if own}
        if len(known) < len(self._methods):
            return ""
        left = sum((self._splits - len(own)) * known[name] for name, own in self.scores.items())
        return f", about {max(1, round(left / 60))} min left"


def _notes(request: RetrievalRequest, encoder: Encoder) -> tuple[str, ...]:
    """Say where a name promises more than this model allows."""
    blocks = len(backbone_blocks(encoder.model))
    if "partial" not in request.methods() or blocks > PARTIAL_BLOCKS:
        return ()
    return (
        f"partial changes all {blocks} blocks of a trunk that has no more than {PARTIAL_BLOCKS}.",
    )


def _ratio(rows: Sequence[MethodResult]) -> float | None:
    """Return top-1 of the model as it is over that of the best plain measure."""
    top1 = {row.method: row.topk["1"] for row in rows}
    best = max((top1[n] for n in top1 if n.split(", ")[0] in list(PlainMeasure)), default=0.0)
    return top1[ZERO_SHOT] / best if ZERO_SHOT in top1 and best > 0 else None
