"""``benchmark``: the figures of docs/benchmarks.md.

A benchmark is a module of `napari_neurobridge.benchmarks` with a function ``run``, and one line
here; see `benchmarks.contract`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from napari_neurobridge.cli._output import command
from napari_neurobridge.cli._parameters import model_options, parse_options

if TYPE_CHECKING:
    from napari_neurobridge.benchmarks.contract import BenchmarkParameters, BenchmarkResult


@dataclass(frozen=True)
class Benchmark:
    """One command of the group.

    Attributes
    ----------
    name : str
        What the user types.
    module : str
        In `napari_neurobridge.benchmarks`. It is imported when its command is asked for:
        many of them load torch.
    help : str
        What it does, in a sentence.
    """

    name: str
    module: str
    help: str

    def parameters(self) -> type[BenchmarkParameters]:
        """Return the model of its parameters, from the signature of its ``run``."""
        found = self._signature().parameters["parameters"].annotation
        assert isinstance(found, type)
        return found

    def result(self) -> type[BenchmarkResult]:
        """Return the model of its answer."""
        found = self._signature().return_annotation
        assert isinstance(found, type)
        return found

    def app(self) -> typer.Typer:
        """Return an application of this command alone, with all of its options."""
        model, run = self.parameters(), import_module(self._path).run

        def function(**arguments: Any) -> BenchmarkResult:
            report = arguments.pop("report")
            what = f"benchmark {self.name}"
            found: BenchmarkResult = run(parse_options(model, arguments, what=what), report=report)
            return found

        report = inspect.Parameter("report", inspect.Parameter.KEYWORD_ONLY)
        signature = inspect.Signature([*model_options(model), report])
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__doc__ = self.help
        alone = typer.Typer(rich_markup_mode=None, add_completion=False)
        command(alone, self.name)(function)
        return alone

    @property
    def _path(self) -> str:
        return f"napari_neurobridge.benchmarks.{self.module}"

    def _signature(self) -> inspect.Signature:
        module = import_module(self._path)
        # Only these two names matter, and those of annotations alone need not be importable.
        known = {**vars(module), "Report": Any}
        return inspect.signature(module.run, globals=known, eval_str=True)


BENCHMARKS = (
    Benchmark(
        "retrieval",
        "retrieval",
        "Fine-tune on 190 pairs by every strategy, and rank 53 others; also by plain measures.",
    ),
    Benchmark(
        "adaptation-retrieval",
        "adaptation_retrieval",
        "Adapt a small model to a domain that it never saw, asking about chosen queries.",
    ),
    Benchmark(
        "silver-crops",
        "silver_crops",
        "Find partners among 53 of a real tissue, before and after fine-tuning on 100 pairs; the "
        "first volume goes through the simulated two-photon optics.",
    ),
    Benchmark(
        "robustness",
        "robustness",
        "Rank held-out cells whose two-photon crops are turned, off centre, dimmed or cut.",
    ),
    Benchmark(
        "tilt",
        "tilt",
        "Rank with a wrong orientation, then in crops re-cut in the frame of six accepted pairs.",
    ),
    Benchmark(
        "pose",
        "pose",
        "Turn held-out scenes, find the angle without labels, and rank before and after.",
    ),
    Benchmark(
        "pose-projects",
        "pose_projects",
        "Simulate projects, detect, state a wrong angle, and have the right one suggested.",
    ),
    Benchmark(
        "embedding-speed",
        "embedding_speed",
        "Measure how fast crops in memory are embedded, beside the bare network.",
    ),
    Benchmark(
        "attention",
        "attention",
        "Test whether Grad-CAM shows what the similarity of a pair rests on.",
    ),
    Benchmark(
        "matching",
        "matching_parts",
        "Measure calibration, false claims at an FDR, recall and candidate sets.",
    ),
    Benchmark(
        "constellation",
        "constellation",
        "Match held-out scenes from a rough orientation alone, without any landmark.",
    ),
    Benchmark(
        "starts",
        "starts",
        "Start planes, a plane in a volume, stacks or tables without any landmark, at any angle.",
    ),
    Benchmark(
        "points",
        "points",
        "Match two fields from a few landmarks, many times, and compare with the truth.",
    ),
    Benchmark(
        "fields",
        "fields_matching",
        "Match generated fields of many kinds from a few landmarks, beside plain baselines.",
    ),
    Benchmark(
        "localisation",
        "localisation",
        "Find planes or stacks of somata in a whole simulated volume, at any place and angle.",
    ),
    Benchmark(
        "first-clicks",
        "first_clicks",
        "Register simulated projects without any pair, and see whether partners are listed first.",
    ),
    Benchmark(
        "verification",
        "verification",
        "Tell right matches from wrong ones by geometry alone, beside RANSAC and other rivals.",
    ),
    Benchmark(
        "registration",
        "registration",
        "Register two-photon planes with fMOST slabs of held-out scenes, and refuse what is wrong.",
    ),
    Benchmark(
        "real-registration",
        "real_registration",
        "Register real images of two microscopes, or of two rounds, from their pixels alone.",
    ),
    Benchmark(
        "points-speed",
        "points_speed",
        "Measure time and memory of matching two simulated fields, and of one more pair.",
    ),
    Benchmark(
        "effort",
        "effort",
        "Count the cells that are matched rightly as a simulated annotator, who errs, answers.",
    ),
    Benchmark(
        "detection",
        "detection",
        "Detect the somata of held-out simulated scenes, on both sides.",
    ),
    Benchmark(
        "silver-pairs",
        "silver_pairs",
        "Do the whole job on two real volumes, and rank at known positions.",
    ),
    Benchmark(
        "real-pairs",
        "real_pairs_matching",
        "Match real in-vivo and ex-vivo planes by coordinates and by images, and let each check "
        "the other.",
    ),
    Benchmark(
        "domains",
        "domains",
        "Compare the simulated imaging domains with the scatter within each.",
    ),
    Benchmark(
        "adaptation",
        "adaptation",
        "Adapt segmenters to domains left out: nearest source or another, chosen labels or random.",
    ),
    Benchmark(
        "simulation",
        "simulation",
        "Measure how fast pairs are simulated, and the time and memory of a scene.",
    ),
    Benchmark(
        "ablation",
        "simulation_ablation",
        "Train small encoders without vessels, tears or window compression, and compare them.",
    ),
)


class _BenchmarkGroup(TyperGroup):
    """Makes the options of a benchmark when it is asked for, not when the program starts."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the whole command in the place of its line in the list."""
        name, known, rest = super().resolve_command(ctx, args)
        asked = next((benchmark for benchmark in BENCHMARKS if benchmark.name == name), None)
        return name, typer.main.get_command(asked.app()) if asked else known, rest


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    benchmarks = typer.Typer(
        help="Measure the figures of docs/benchmarks.md.",
        rich_markup_mode=None,
        cls=_BenchmarkGroup,
    )
    for benchmark in BENCHMARKS:
        benchmarks.command(benchmark.name, help=benchmark.help)(_only_listed)
    app.add_typer(benchmarks, name="benchmark")


def _only_listed() -> None:
    """Stand for a benchmark in the list of commands."""
