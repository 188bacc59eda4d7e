"""Making the constellation matcher from simulated fields alone.

``python -m napari_neurobridge.training.matcher_task --help`` lists its options; the card
in the folder holds the command that made it.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field

from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.matching.constellation.model import (
    Constellation,
    ConstellationConfig,
    load_constellation,
    save_constellation,
)
from napari_neurobridge.matching.constellation.windows import common_spacing_um
from napari_neurobridge.registration.lightglue import decided, matching_loss
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.point_fields import (
    PointField,
    PointFieldParams,
    draw_point_field,
)
from napari_neurobridge.training.command import asked_loop, command_of, run_task, task_parser
from napari_neurobridge.training.loop import LoopConfig, train
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.matcher_card import CARD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.types import Report

logger = logging.getLogger(__name__)

_TRAINING, _VALIDATION, _TEST = 1, 2, 3
_SIZE_STEP = 16


class MatcherTask(BaseModel, frozen=True, extra="forbid"):
    """Data, architecture and training."""

    model: ConstellationConfig = ConstellationConfig()
    fields: PointFieldParams = PointFieldParams()
    loop: LoopConfig = LoopConfig(
        steps=3000,
        learning_rate=1e-3,
        warmup_steps=200,
        weight_decay=0.01,
        clip_norm=1.0,
        checkpoint_every=100,
        report_every=50,
    )
    batch: int = Field(6, gt=0, description="Fields in a step, all of one size.")
    queries: tuple[int, int] = Field((96, 176), description="Somata of the first side.")
    surplus: tuple[float, float] = Field((1.0, 1.5), description="Gallery over queries.")
    first_share: float = Field(0.15, ge=0, le=1, description="Difficulty of the first step.")
    full_at: float = Field(0.45, gt=0, le=1, description="Share of steps until it is 1.")
    embedded: float = Field(0.25, ge=0, le=1, description="Share of fields with embeddings.")
    validation_fields: int = 48
    test_fields: int = 200

    def share(self, step: int) -> float:
        """Return the difficulty of a step's fields."""
        done = step / (self.full_at * self.loop.steps)
        return min(1.0, self.first_share + (1 - self.first_share) * done)


class MatcherFigures(BaseModel, frozen=True):
    """The bare network on fields it was not trained on."""

    n_fields: int
    precision: float = Field(description="Of the pairs that both sides choose.")
    recall: float = Field(description="Of the true pairs.")
    top1: float = Field(description="Matchable queries whose likeliest soma is the right one.")
    top8: float = Field(description="The same, among the eight likeliest.")


@dataclass(frozen=True, eq=False)
class Batch:
    """Fields of one size, in units of their spacing.

    Attributes
    ----------
    positions : pair of Tensor, (B, N, 3) and (B, M, 3)
    codes : pair of Tensor, (B, N, C) and (B, M, C)
    partner : Tensor of int64, shape (B, N)
    """

    positions: tuple[Tensor, Tensor]
    codes: tuple[Tensor, Tensor]
    partner: Tensor


def make_batch(task: MatcherTask, key: Key, share: float, count: int | None = None) -> Batch:
    """Draw fields of one size; the same key gives the same batch."""
    rng = key.child("batch").rng()
    low, high = task.queries
    n_queries = int(rng.integers(low // _SIZE_STEP, high // _SIZE_STEP + 1)) * _SIZE_STEP
    n_gallery = _SIZE_STEP * round(n_queries * rng.uniform(*task.surplus) / _SIZE_STEP)
    params = task.fields.eased(share)
    fields = [
        draw_point_field(n_queries, n_gallery, params, key.child(number))
        for number in range(count or task.batch)
    ]
    scaled = [_scaled(field) for field in fields]
    codes = [_codes(field, task, rng) for field in fields]
    return Batch(
        (torch.stack([s[0] for s in scaled]), torch.stack([s[1] for s in scaled])),
        (torch.stack([c[0] for c in codes]), torch.stack([c[1] for c in codes])),
        torch.from_numpy(np.stack([field.partner for field in fields])),
    )


def _scaled(field: PointField) -> tuple[Tensor, Tensor]:
    unit = common_spacing_um(field.queries_um, field.gallery_um)
    first, second = (
        torch.from_numpy((side - side.mean(axis=0)) / unit).float()
        for side in (field.queries_um, field.gallery_um)
    )
    return first, second


def _codes(field: PointField, task: MatcherTask, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw what embeddings may say: components that partners share more or less."""
    size = task.model.code
    sides = [
        rng.standard_normal((len(side), size)) for side in (field.queries_um, field.gallery_um)
    ]
    alike = rng.uniform(0.2, 0.9)
    rows = np.flatnonzero(field.partner >= 0)
    own = np.sqrt(1 - alike**2) * sides[1][field.partner[rows]]
    sides[1][field.partner[rows]] = alike * sides[0][rows] + own
    given = float(rng.random() < task.embedded)
    first, second = (torch.from_numpy(given * side).float() for side in sides)
    return first, second


def judge(
    model: Constellation, batches: Sequence[Batch], *, embedded: bool = False
) -> MatcherFigures:
    """Return how well a network does on batches, by default without embeddings."""
    chosen = right = true = first = listed = count = 0
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            codes = batch.codes if embedded else None
            scores = model(batch.positions, codes, every_layer=False).log_assignment[-1]
            rows, columns = decided(scores)
            back = columns.gather(1, rows.clamp(min=0))
            mutual = (rows >= 0) & (back == torch.arange(rows.shape[1]))
            matchable = batch.partner >= 0
            ranked = scores[:, :-1, :-1].topk(8, dim=2).indices == batch.partner[..., None]
            count += len(rows)
            chosen += int(mutual.sum())
            right += int((mutual & (rows == batch.partner)).sum())
            true += int(matchable.sum())
            first += int(ranked[..., 0].sum())
            listed += int(ranked.any(dim=2).sum())
    model.train(was_training)
    return MatcherFigures(
        n_fields=count,
        precision=right / max(chosen, 1),
        recall=right / max(true, 1),
        top1=first / max(true, 1),
        top8=listed / max(true, 1),
    )


def held_out(task: MatcherTask, kind: int, count: int, share: float = 1.0) -> list[Batch]:
    """Draw batches of fields that training never sees."""
    return [
        make_batch(task, Key.of(task.loop.seed, kind, number), share)
        for number in range(-(-count // task.batch))
    ]


def train_matcher(
    task: MatcherTask, *, checkpoint: Path | None = None, report: Report | None = None
) -> Constellation:
    """Train a matcher; killed at any moment, the same call goes on from the checkpoint."""
    torch.manual_seed(task.loop.seed)
    model = Constellation(task.model)

    def batch_loss(step: int, _: torch.Generator) -> Tensor:
        key = Key.of(task.loop.seed, _TRAINING, step)
        batch = make_batch(task, key, task.share(step))
        return matching_loss(model(batch.positions, batch.codes), batch.partner)

    validation = held_out(task, _VALIDATION, task.validation_fields)
    identity = task.model_dump_json(exclude={"loop", "test_fields"})
    every = 10 * task.loop.report_every
    for step in train(model, batch_loss, task.loop, checkpoint=checkpoint, identity=identity):
        logger.info(
            "step %d of %d, loss %.4f, %.0f s", step.step, step.steps, step.loss, step.seconds
        )
        if step.step % every == 0:
            logger.info("validation: %s", judge(model, validation).model_dump_json())
        if report is not None:
            report(step.step, step.steps, f"training, loss {step.loss:.3f}")
    return model.eval()


def make_model_folder(
    out: Path, task: MatcherTask, cache: Path, *, command: str, report: Report | None = None
) -> MatcherFigures:
    """Train, judge on test fields, and write config, weights and card.

    Parameters
    ----------
    out : Path
        Model folder to write: config.toml, weights.safetensors, card.md.
    task : MatcherTask
        Data, architecture and training.
    cache : Path
        Folder for the checkpoint.
    command : str
        What the card says reproduces the model.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Returns
    -------
    MatcherFigures
        Of the weights as they were stored, on the test fields.
    """
    cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    checkpoint = cache / f"{task.model.name}-checkpoint.safetensors"
    model = train_matcher(task, checkpoint=checkpoint, report=report)
    minutes = (time.monotonic() - began) / 60
    with atomic_folder(out) as folder:
        return write_model_folder(folder, model, task, command=command, minutes=minutes)


def write_model_folder(
    folder: Path, model: Constellation, task: MatcherTask, *, command: str, minutes: float
) -> MatcherFigures:
    """Write a model folder; judge the weights as they were stored."""
    written = save_constellation(model, folder)
    stored = load_constellation(folder)
    test = held_out(task, _TEST, task.test_fields)
    rows = {
        "all that was drawn": judge(stored, test),
        "the same, with embeddings": judge(stored, test, embedded=True),
        "half as hard": judge(stored, held_out(task, _TEST, task.test_fields, share=0.5)),
    }
    text = matcher_card(stored, task, rows, weights=written.hash, command=command, minutes=minutes)
    written.write_card(text)
    return rows["all that was drawn"]


def matcher_card(
    model: Constellation,
    task: MatcherTask,
    rows: dict[str, MatcherFigures],
    *,
    weights: str,
    command: str,
    minutes: float,
) -> str:
    """Return the text of card.md: what the model is, where from, how good, how far to trust."""
    figures = [
        f"| {name} | {row.precision:.3f} | {row.recall:.3f} | {row.top1:.3f} | {row.top8:.3f} |"
        for name, row in rows.items()
    ]
    return CARD.format(
        hash=weights,
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        c=task.model,
        f=task.fields,
        t=task,
        loop=task.loop,
        command=command,
        minutes=minutes,
        **made_by(),
        rows="\n".join(figures),
        count=next(iter(rows.values())).n_fields,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser(
        "Train the bundled constellation matcher.",
        Path("models/constellation"),
        "for the checkpoint",
    )
    options = parser.parse_args(arguments)
    task = MatcherTask(loop=asked_loop(MatcherTask().loop, options))
    command = command_of(
        "matcher_task", out="models/constellation", steps=task.loop.steps, seed=options.seed
    )

    def make() -> str:
        figures = make_model_folder(options.out, task, options.cache, command=command)
        return figures.model_dump_json(indent=2)

    return run_task(make)


if __name__ == "__main__":
    sys.exit(main())
