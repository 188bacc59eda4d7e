"""A training loop that survives being killed, and gives the same weights if it was."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_neurobridge.types import Report

logger = logging.getLogger(__name__)

BatchLoss: TypeAlias = Callable[[int, torch.Generator], Tensor]
"""Loss of the batch of one step, a pure function of the step and the generator."""


class LoopConfig(BaseModel, frozen=True, extra="forbid"):
    """How the weights are updated, whatever the objective."""

    steps: int = Field(5000, gt=0, description="Number of updates.")
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(8e-4, gt=0, description="Highest learning rate.")
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_steps: int = Field(100, ge=0, description="Steps of linear rise from zero.")
    weight_decay: float = Field(0.05, ge=0)
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    weight_average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of a running mean of the weights, per step, which is the result; 0 for "
        "the last weights.",
    )
    seed: int = 0
    checkpoint_every: int = Field(250, gt=0, description="Steps between checkpoints.")
    report_every: int = Field(25, gt=0, description="Steps between reports.")


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where training stands.

    Attributes
    ----------
    step, steps : int
        Updates done and to do.
    loss : float
        Mean loss since the last report.
    learning_rate : float
        Of the last update.
    seconds : float
        Time since this run started or resumed.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float


def train(
    model: nn.Module,
    batch_loss: BatchLoss,
    config: LoopConfig,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    memory: nn.Module | None = None,
) -> Iterator[StepReport]:
    """Train in place; a generator that yields a report now and then.

    Stop by no longer asking for reports. Every random number of a step comes from the
    seed and the step, hence a run that resumes from its checkpoint ends with the same
    weights as one that was never interrupted.

    With ``config.weight_average`` the network has the mean of its weights while a report is
    out and at the end, and its last ones while it is trained.

    Parameters
    ----------
    model : nn.Module
        Trained in place; in training mode while the generator lives.
    batch_loss : callable
        Takes the step and a seeded generator and returns the loss.
    config : LoopConfig
        Steps, optimiser, schedule.
    checkpoint : Path, optional
        File to resume from if it exists, and to write to.
    identity : str, optional
        What else decides the result, such as a digest of the data; a checkpoint made with
        another is refused.
    memory : nn.Module, optional
        What else changes from step to step; a checkpoint keeps its buffers.

    Yields
    ------
    StepReport
        Every ``report_every`` steps and at the end.

    Raises
    ------
    InputError
        If the checkpoint is damaged or belongs to other settings.
    """
    optimizer = _make_optimizer(model, config)
    average = WeightAverage(model, config.weight_average) if config.weight_average else None
    run = _Run(model, optimizer, config, identity, average, memory)
    start = _resume(run, checkpoint) if checkpoint is not None else 0
    if average is not None and start == config.steps:
        average.give_to(model)
    began = time.monotonic()
    total, count = 0.0, 0
    model.train()
    for step in range(start, config.steps):
        rate = learning_rate(step, config)
        total += _update(model, optimizer, batch_loss, config, step, rate)
        count += 1
        if average is not None:
            average.update(model)
        done = step + 1
        if checkpoint is not None and (done % config.checkpoint_every == 0 or done == config.steps):
            _save(run, checkpoint, done)
        if done % config.report_every == 0 or done == config.steps:
            seconds = time.monotonic() - began
            last = {} if average is None else _swapped(model, average)
            yield StepReport(done, config.steps, total / count, rate, seconds)
            if last and done < config.steps:
                model.load_state_dict(last)
            model.train()
            total, count = 0.0, 0


@dataclass(frozen=True, slots=True)
class _Run:
    """All that a checkpoint is made of."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    config: LoopConfig
    identity: str
    average: WeightAverage | None
    memory: nn.Module | None


def _swapped(model: nn.Module, average: WeightAverage) -> dict[str, Tensor]:
    """Put the mean weights into a network; return its own."""
    last = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    average.give_to(model)
    return last


def run_through(
    steps: Iterable[StepReport], report: Report | None = None, *, stage: str = ""
) -> None:
    """Train to the end, telling each report to the log and to who asked.

    Parameters
    ----------
    steps : iterable of StepReport
        Of `train`.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    stage : str
        What the text begins with.
    """
    for done in steps:
        text = f"{stage}loss {done.loss:.3f}, {done.seconds:.0f} s"
        logger.info("step %d of %d, %s", done.step, done.steps, text)
        if report is not None:
            report(done.step, done.steps, text)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Return the learning rate of one step (counted from 0)."""
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return config.learning_rate * rise
    progress = step / config.steps
    return config.learning_rate * rise * (1 + math.cos(math.pi * progress)) / 2


def _make_optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    # Decay shrinks matrices and kernels; biases and norms have no scale to lose.
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.learning_rate)


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch_loss: BatchLoss,
    config: LoopConfig,
    step: int,
    rate: float,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    seed = config.seed * 1_000_003 + step
    # Layers such as dropout draw from torch's global generator, so that is seeded too.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = batch_loss(step, torch.Generator().manual_seed(seed))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return float(loss.detach())


def _save(run: _Run, path: Path, step: int) -> None:
    tensors = {f"model.{k}": v.contiguous() for k, v in run.model.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v.contiguous() for k, v in state.items()}
    if run.average is not None:
        tensors |= {f"average.{k}": v.contiguous() for k, v in run.average.state().items()}
    if run.memory is not None:
        tensors |= {f"memory.{k}": v.contiguous() for k, v in run.memory.state_dict().items()}
    config = run.config.model_dump_json()
    metadata = {"step": str(step), "config": config, "identity": run.identity}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _resume(run: _Run, path: Path) -> int:
    """Load a checkpoint if there is one; return the steps already done."""
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"the checkpoint {path} is damaged; delete it to start anew") from error
    if not _same(metadata, run):
        raise InputError(
            f"the checkpoint {path} belongs to other training settings or pairs; "
            "delete it to start anew, or give those it was made with"
        )
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    try:
        run.model.load_state_dict(_named(tensors, "model."))
        if run.memory is not None:
            run.memory.load_state_dict(_named(tensors, "memory."))
        if run.average is not None:
            run.average.restore(_named(tensors, "average."))
    except (RuntimeError, KeyError) as error:
        raise InputError(
            f"the checkpoint {path} belongs to another architecture; delete it to start anew"
        ) from error
    groups = run.optimizer.state_dict()["param_groups"]
    run.optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(metadata["step"])


def _same(metadata: Mapping[str, str], run: _Run) -> bool:
    """Say whether a checkpoint was made with the same settings and pairs.

    One of an earlier version has the defaults of what that did not know.
    """
    try:
        config = LoopConfig.model_validate_json(metadata.get("config", "null"))
    except ValidationError:
        return False
    return config == run.config and metadata.get("identity", "") == run.identity


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
