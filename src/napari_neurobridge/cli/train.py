"""``train``: fine-tune a model on a project's own pairs, and adopt it if it is better."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report

if TYPE_CHECKING:
    from napari_neurobridge.training.fine_tune import FineTuneConfig
    from napari_neurobridge.workflows.train import TrainingResult

# Those of encoder.strategies, which takes torch's seconds to import; a test compares them.
STRATEGIES = (
    "frozen",
    "linear",
    "partial",
    "lora-4",
    "lora-8",
    "lora-16",
    "full",
    "dual-channel",
)
DEFAULT_STRATEGY = "dual-channel"


class Trained(CommandResult):
    """The new model, and how it compares with the one it came from."""

    model: str
    before: dict[str, Any]
    after: dict[str, Any]
    adopted: bool
    seconds: float
    strategy: str
    gain: float
    gain_interval: tuple[float, float]
    n_train: int
    n_validation: int
    n_test: int
    n_rejected: int
    n_free: int
    n_left_out: int
    n_audits: int
    separation: str
    whole_scenes: bool
    reason: str
    best_step: int
    mix: float

    def summary(self) -> str:
        """Return the main figures and what became of the model."""
        lines = [
            f"{name}: {_number(self.before[name])} before, {_number(self.after[name])} after"
            for name in ("recall", "specificity", "auc")
        ]
        from napari_neurobridge.training.splits import Separation
        from napari_neurobridge.workflows.training_card import SEPARATIONS

        fate = "adopted" if self.adopted else "kept, but not adopted"
        lines += [SEPARATIONS[Separation(self.separation)], self.reason]
        return "\n".join([*lines, f"{self.model}: {fate} ({self.seconds:.0f} s)"])


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "train")(train)


def train(
    project: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROJECT]", help="Train on its accepted pairs, or on a bundle of them (.zip)."
        ),
    ] = None,
    *,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE.npz", help="Arrays two_photon, fmost and scene."),
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help=f"What changes: {', '.join(STRATEGIES)}.")
    ] = DEFAULT_STRATEGY,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Most updates of the weights.")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="How often each pair is seen, in place of --steps."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Name of the model to start from, or path of its folder; the project's current "
            "one unless given.",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="Start from a timm model's own weights instead."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the new model; with a project, its own models unless given.",
        ),
    ] = None,
    free_labels: Annotated[
        bool,
        typer.Option(
            "--free-labels",
            help="Learn, too, what is claimed from places alone, 1 % of it expected to be wrong.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the split and of the training.")] = 0,
    report: Report,
) -> Trained:
    """Fine-tune a model on pairs, and adopt it only if it is better."""
    if (project is None) == (pairs is None):
        raise InputError("Give either a PROJECT or --pairs FILE.npz to train on.")
    if strategy not in STRATEGIES:
        raise InputError(f"There is no strategy '{strategy}'; choose {', '.join(STRATEGIES)}.")
    if steps is not None and epochs is not None:
        raise InputError("Give --steps or --epochs, not both.")
    if backbone is not None and model is not None:
        raise InputError("Give --from or --backbone, not both.")
    if pairs is not None and free_labels:
        raise InputError("--free-labels needs a PROJECT, whose somata have places.")
    if pairs is not None and out is None:
        raise InputError("--pairs needs --out DIR, to say where the new model goes.")
    from napari_neurobridge.encoder.strategies import Strategy
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.training.fine_tune import FineTuneConfig
    from napari_neurobridge.workflows import train as training

    settings: dict[str, Any] = {"strategy": Strategy(strategy), "seed": seed}
    if steps is not None:
        settings["steps"] = steps
    config = FineTuneConfig(**settings)
    given: dict[str, Any] = {"epochs": epochs, "report": report}
    start: dict[str, Any] = {"model": model, "backbone": backbone}
    if pairs is not None and out is not None:
        return _answer(training.train_file(pairs, out, config, **start, **given), strategy)
    assert project is not None
    if project.suffix == ".zip":
        return _answer(_train_bundle(project, out, config, free_labels, start, given), strategy)
    result = training.train_project(
        Project.open(project), config, out=out, free_labels=free_labels, **start, **given
    )
    return _answer(result, strategy)


def _train_bundle(
    path: Path,
    out: Path | None,
    config: "FineTuneConfig",
    free_labels: bool,
    start: dict[str, Any],
    given: dict[str, Any],
) -> "TrainingResult":
    from napari_neurobridge.workflows.bundle import train_bundle

    if free_labels or any(start.values()):
        raise InputError("A bundle says itself what is learned and from which model.")
    return train_bundle(path, out or path.with_name(f"{path.stem}-model"), config, **given)


def _answer(result: "TrainingResult", strategy: str) -> Trained:
    from napari_neurobridge.workflows.training_card import fate

    return Trained(
        model=str(result.model),
        before=result.before.model_dump(),
        after=result.after.model_dump(),
        adopted=result.adopted,
        seconds=result.seconds,
        strategy=strategy,
        gain=result.comparison.gain,
        gain_interval=result.comparison.interval,
        n_train=result.n_train,
        n_validation=result.n_validation,
        n_test=result.n_test,
        n_rejected=result.n_rejected,
        n_free=result.n_free,
        n_left_out=result.n_left_out,
        n_audits=0 if result.audits is None else result.audits.n,
        separation=str(result.separation),
        whole_scenes=result.whole_scenes,
        reason=fate(result),
        best_step=result.best_step,
        mix=result.mix,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
