"""``benchmark``: the figures of docs/benchmarks.md."""

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from napari_neurobridge.cli._options import ModelOption
from napari_neurobridge.cli._output import CommandResult, command, table
from napari_neurobridge.cli._progress import Report
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.zoo import DEFAULT_MODEL


class MethodRow(BaseModel):
    """How often one method ranks the partner among the first 1, 5 and 10."""

    model_config = ConfigDict(frozen=True)

    method: str
    topk: dict[str, float]
    seconds: float


class RetrievalFigures(CommandResult):
    """A model against plain measures; see `benchmarks.retrieval.RetrievalBenchmark`."""

    model: str
    level: str
    seeds: list[int]
    candidates: int
    n_queries: int
    results: list[MethodRow]
    ratio: float | None

    def summary(self) -> str:
        """Return a table."""
        rows = [
            (row.method, *(row.topk[k] for k in ("1", "5", "10")), row.seconds)
            for row in self.results
        ]
        return table(("method", "top-1", "top-5", "top-10", "seconds"), rows)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "benchmark")(benchmark)


def benchmark(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="retrieval: a model against plain measures on held-out simulated scenes.",
        ),
    ],
    *,
    model: ModelOption = DEFAULT_MODEL,
    level: Annotated[
        str, typer.Option("--level", help="Difficulty: easy, paper or hard.")
    ] = "paper",
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", help="A held-out scene; repeat it for more. Ten unless given."),
    ] = None,
    report: Report,
) -> RetrievalFigures:
    """Measure the figures of docs/benchmarks.md."""
    if name != "retrieval":
        raise InputError(f"There is no benchmark '{name}'; there is: retrieval.")
    from napari_neurobridge.benchmarks.retrieval import TEST_SEEDS, benchmark_retrieval
    from napari_neurobridge.workbench import actions

    encoder = actions.load_encoder(None, model)
    result = benchmark_retrieval(encoder, seeds=seed or TEST_SEEDS, level=level, report=report)
    return RetrievalFigures.model_validate(result.model_dump())
