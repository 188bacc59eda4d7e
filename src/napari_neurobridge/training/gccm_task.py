"""Training of the geometric consistency module on drawn geometry, without any image.

``python -m napari_neurobridge.training.gccm_task --cache CACHE --dims 2`` makes the bundled one.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.registration.common_frame import common_frame, stacked
from napari_neurobridge.registration.gccm import (
    Gccm,
    GccmConfig,
    InlierResponse,
    consistency_loss,
    load_gccm,
    save_gccm,
)
from napari_neurobridge.registration.inlier_ratio import estimate_inliers
from napari_neurobridge.registration.subsets import draw_subsets
from napari_neurobridge.registration.verification import GccmVerifier
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.training.command import command_of, run_task, task_parser
from napari_neurobridge.training.gccm_card import CARD
from napari_neurobridge.training.loop import LoopConfig, train
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.match_sets import MatchSet, MatchSetParams, draw_match_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.types import Report

logger = logging.getLogger(__name__)

_TRAINING, _RESPONSES, _TEST = 1, 2, 3
# Inlier ratios at which confidences are measured after training.
_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class GccmTask(BaseModel, frozen=True, extra="forbid"):
    """Data, architecture and training."""

    model: GccmConfig = GccmConfig()
    sets: MatchSetParams = MatchSetParams()
    loop: LoopConfig = LoopConfig(
        steps=1200,
        learning_rate=3e-3,
        warmup_steps=50,
        weight_decay=1e-4,
        checkpoint_every=100,
        report_every=50,
    )
    batch: int = Field(2, gt=0, description="Sets of matches in a step.")
    matches: tuple[int, int] = Field((96, 400), description="Matches of a set.")
    subsets_per_match: int = Field(8, gt=0, description="In training, for each match.")
    response_sets: int = Field(24, gt=0, description="Sets for each ratio of the responses.")
    test_sets: int = Field(12, gt=0, description="Sets for each ratio of the card's figures.")


class GccmFigures(BaseModel, frozen=True):
    """The module on sets of one share of mistakes."""

    inlier_ratio: float
    estimated: float = Field(description="Mean of the ratios that the confidences tell.")
    off: float = Field(description="Root mean square error of these.")
    auc: float = Field(description="Area under the curve of right and wrong matches, mean.")
    fixed: tuple[float, float] = Field(description="Precision and recall at the fixed threshold.")
    adaptive: tuple[float, float] = Field(description="The same, threshold by the estimate.")


def draw_sets(
    task: GccmTask, key: Key, count: int, *, inlier_ratio: float | None = None
) -> list[MatchSet]:
    """Draw sets of matches; the same key gives the same sets.

    Parameters
    ----------
    task : GccmTask
    key : Key
    count : int
    inlier_ratio : float, optional
        Of each set, but for rounding and the localisation error; drawn unless given.
    """
    params = task.sets
    if inlier_ratio is not None:
        params = params.model_copy(update={"wrong": (1 - inlier_ratio, 1 - inlier_ratio)})
    rng = key.child("sizes").rng()
    low, high = task.matches
    return [
        draw_match_set(
            int(rng.integers(low, high + 1)), task.model.position_dim, params, key.child(number)
        )
        for number in range(count)
    ]


def batch_loss(model: Gccm, task: GccmTask, step: int, generator: torch.Generator) -> Tensor:
    """Return the loss of one step's sets; each match counts the same."""
    drawn = draw_sets(task, Key.of(task.loop.seed, _TRAINING, step), task.batch)
    config = task.model.subsets.model_copy(update={"count": 1, "per_match": task.subsets_per_match})
    sources, frames, rows, first = [], [], [], 0
    for each in drawn:
        source, target = (
            torch.from_numpy(side - side.mean(axis=0)).float()
            for side in (each.source_um, each.target_um)
        )
        frame = common_frame(source, target, generator)
        subsets = draw_subsets(source, frame.weight, config, generator)
        sources.append(source)
        frames.append(frame)
        rows.append(subsets + first)
        first += len(source)
    right = torch.from_numpy(np.concatenate([each.right for each in drawn]))
    together = torch.cat(rows)
    logits = model(torch.cat(sources), stacked(frames), together)
    return consistency_loss(logits, together, right)


def train_gccm(
    task: GccmTask, *, checkpoint: Path | None = None, report: Report | None = None
) -> Gccm:
    """Train a module and measure what its confidences mean.

    Killed at any moment, the same call goes on from the checkpoint.
    """
    torch.manual_seed(task.loop.seed)
    model = Gccm(task.model)
    identity = task.model_dump_json(exclude={"loop", "response_sets", "test_sets"})

    def loss(step: int, generator: torch.Generator) -> Tensor:
        return batch_loss(model, task, step, generator)

    for step in train(model, loss, task.loop, checkpoint=checkpoint, identity=identity):
        logger.info(
            "step %d of %d, loss %.4f, %.0f s", step.step, step.steps, step.loss, step.seconds
        )
        if report is not None:
            report(step.step, step.steps, f"training, loss {step.loss:.3f}")
    return with_responses(model.eval(), task)


def with_responses(model: Gccm, task: GccmTask) -> Gccm:
    """Return the module with its confidences measured at known inlier ratios.

    The threshold of a ratio is where a logistic regression of being right on the confidence is
    even; the fixed threshold is the same over all ratios together.
    """
    rows: list[InlierResponse] = []
    confidences, truths = [], []
    for number, ratio in enumerate(_RATIOS):
        drawn = draw_sets(
            task, Key.of(task.loop.seed, _RESPONSES, number), task.response_sets, inlier_ratio=ratio
        )
        scores = _scores(model, drawn)
        together, right = np.concatenate(scores), np.concatenate([s.right for s in drawn])
        confidences.append(together)
        truths.append(right)
        tau, width = _even_odds(together, right)
        mean = max(float(together.mean()), rows[-1].mean + 1e-4 if rows else 0.0)
        rows.append(
            InlierResponse(inlier_ratio=float(right.mean()), mean=mean, tau=tau, width=width)
        )
    tau, _ = _even_odds(np.concatenate(confidences), np.concatenate(truths))
    config = task.model.model_copy(update={"tau": tau, "responses": tuple(rows)})
    measured = Gccm(GccmConfig.model_validate(config.model_dump()))
    measured.load_state_dict(model.state_dict())
    return measured.eval()


def _scores(model: Gccm, drawn: Sequence[MatchSet]) -> list[np.ndarray]:
    verifier = GccmVerifier(model)
    return [verifier.score(each.source_um, each.target_um) for each in drawn]


def _even_odds(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return where being right is as likely as not, and for what rise the log odds gain 1."""
    spread = float(confidence.std()) or 1.0
    fitted = LogisticRegression(C=100.0).fit(confidence[:, None] / spread, right)
    slope = max(float(fitted.coef_[0, 0]), 1e-3) / spread
    return -float(fitted.intercept_[0]) / slope, 1 / slope


def judge_gccm(model: Gccm, task: GccmTask, inlier_ratio: float) -> GccmFigures:
    """Return how well a module does on sets that it was not trained on."""
    key = Key.of(task.loop.seed, _TEST, round(1000 * inlier_ratio))
    drawn = draw_sets(task, key, task.test_sets, inlier_ratio=inlier_ratio)
    scores = _scores(model, drawn)
    estimates = [estimate_inliers(score, model.config.responses) for score in scores]
    off = [e.inlier_ratio - s.right.mean() for e, s in zip(estimates, drawn, strict=True)]
    right = np.concatenate([each.right for each in drawn])
    fixed = np.concatenate([score > model.config.tau for score in scores])
    adaptive = np.concatenate([s > e.tau for s, e in zip(scores, estimates, strict=True)])
    return GccmFigures(
        inlier_ratio=float(right.mean()),
        estimated=float(np.mean([e.inlier_ratio for e in estimates])),
        off=float(np.sqrt(np.mean(np.square(off)))),
        auc=float(np.mean([roc_auc_score(s.right, c) for s, c in zip(drawn, scores, strict=True)])),
        fixed=_precision_recall(fixed, right),
        adaptive=_precision_recall(adaptive, right),
    )


def _precision_recall(kept: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    both = int((kept & right).sum())
    return both / max(int(kept.sum()), 1), both / max(int(right.sum()), 1)


def make_gccm_folder(
    out: Path, task: GccmTask, cache: Path, *, command: str, report: Report | None = None
) -> list[GccmFigures]:
    """Train, judge on test sets, and write config, weights and card.

    Parameters
    ----------
    out : Path
        Model folder to write: config.toml, weights.safetensors, card.md.
    task : GccmTask
        Data, architecture and training.
    cache : Path
        Folder for the checkpoint.
    command : str
        What the card says reproduces the model.
    report : callable, optional
        Called as ``report(done, total, text)``.

    Returns
    -------
    list of GccmFigures
        Of the weights as they were stored, on the test sets.
    """
    cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    checkpoint = cache / f"{task.model.name}-checkpoint.safetensors"
    model = train_gccm(task, checkpoint=checkpoint, report=report)
    minutes = (time.monotonic() - began) / 60
    with atomic_folder(out) as folder:
        written = save_gccm(model, folder)
        stored = load_gccm(folder)
        rows = [judge_gccm(stored, task, ratio) for ratio in (0.2, 0.4, 0.6, 0.8)]
        written.write_card(
            gccm_card(stored, task, rows, weights=written.hash, command=command, minutes=minutes)
        )
    return rows


def gccm_card(
    model: Gccm,
    task: GccmTask,
    rows: Sequence[GccmFigures],
    *,
    weights: str,
    command: str,
    minutes: float,
) -> str:
    """Return the text of card.md: what the module is, where from, how good, how far to trust."""
    figures = [
        f"| {row.inlier_ratio:.3f} | {row.estimated:.3f} ± {row.off:.3f} | {row.auc:.3f} "
        f"| {row.fixed[0]:.3f}, {row.fixed[1]:.3f} | {row.adaptive[0]:.3f}, {row.adaptive[1]:.3f} |"
        for row in rows
    ]
    return CARD.format(
        hash=weights,
        parameters=sum(p.numel() for p in model.parameters()),
        c=model.config,
        s=task.sets,
        t=task,
        loop=task.loop,
        command=command,
        minutes=minutes,
        **made_by(),
        rows="\n".join(figures),
        count=task.test_sets,
    )


def task_of(dims: int, steps: int | None = None, seed: int = 0) -> GccmTask:
    """Return the task that makes the bundled module of two or three dimensions."""
    task = GccmTask()
    changes = {"seed": seed} | ({} if steps is None else {"steps": steps})
    loop = task.loop.model_copy(update=changes)
    if dims == 2:
        return task.model_copy(update={"loop": loop})
    # A volume of the plane's width would hold too few matches to have neighbours.
    sets = task.sets.model_copy(update={"size_um": (200.0, 400.0)})
    return task.model_copy(
        update={
            "loop": loop,
            "sets": sets,
            "model": GccmConfig(name="gccm-3d", position_dim=3),
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser("Train a geometric consistency module.", None, "for the checkpoint")
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2)
    options = parser.parse_args(arguments)
    task = task_of(options.dims, options.steps, options.seed)
    command = command_of("gccm_task", dims=options.dims, steps=task.loop.steps, seed=options.seed)
    out = options.out or Path("models") / task.model.name

    def make() -> str:
        rows = make_gccm_folder(out, task, options.cache, command=command)
        return "\n".join(row.model_dump_json() for row in rows)

    return run_task(make)


if __name__ == "__main__":
    sys.exit(main())
