"""Making the segmenter of somata from simulated scenes alone.

``python -m napari_neurobridge.training.segmenter_task --help`` lists its options; the card in the
folder holds the command that made it.
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
from torch.nn import functional

from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.training.command import asked_loop, command_of, run_task, task_parser
from napari_neurobridge.training.feature_task import FeatureTask
from napari_neurobridge.training.loop import LoopConfig, run_through, train
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.scene_sources import SceneSource, load_each, scene_list
from napari_neurobridge.training.segmented_scenes import cached_segmented_scene
from napari_neurobridge.training.segmenter_card import CARD
from napari_neurobridge.training.segmenter_draws import DrawParams, draw_example
from napari_neurobridge.training.segmenter_source import SideFigures, fixed_on_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.training.segmented_scenes import SegmentedScene
    from napari_neurobridge.types import Report

logger = logging.getLogger(__name__)

_TRAINING = 1


class SegmenterTask(BaseModel, frozen=True, extra="forbid"):
    """Data, architecture and training."""

    model: SegmenterConfig = SegmenterConfig()
    draws: DrawParams = DrawParams()
    size_um: tuple[float, float, float] = (80.0, 420.0, 420.0)
    scenes: tuple[SceneSource, ...] = FeatureTask().scenes
    validation: SceneSource = SceneSource(level="paper", first_seed=55_000, count=4)
    batch: int = Field(8, gt=0, description="Windows in a step.")
    loop: LoopConfig = LoopConfig(
        steps=1600,
        learning_rate=2e-3,
        warmup_steps=100,
        weight_decay=0.01,
        checkpoint_every=100,
        report_every=50,
    )


def load_segmented(
    sources: Sequence[SceneSource],
    task: SegmenterTask,
    cache: Path,
    report: Report | None = None,
) -> list[SegmentedScene]:
    """Return all scenes of some sources, simulated unless the cache holds them."""
    return load_each(
        sources,
        lambda seed, level: cached_segmented_scene(seed, level, task.size_um, cache),
        report,
    )


def segmentation_loss(logits: Tensor, wanted: Tensor, known: Tensor | None = None) -> Tensor:
    """Return cross-entropy and half of the soft Dice loss (Milletari et al., 3DV 2016).

    Parameters
    ----------
    logits, wanted : Tensor, shape (B, H, W)
        Log odds, and 0 or 1.
    known : Tensor of bool, shape (B, H, W), optional
        Pixels that count; all unless given. At least one does.
    """
    if known is not None:
        logits, wanted = logits[known], wanted[known]
    cross = functional.binary_cross_entropy_with_logits(logits, wanted)
    chance = logits.sigmoid()
    overlap = (2 * (chance * wanted).sum() + 1) / (chance.sum() + wanted.sum() + 1)
    return cross + 0.5 * (1 - overlap)


def batch_loss(
    net: SegmenterNet, task: SegmenterTask, scenes: Sequence[SegmentedScene], step: int
) -> Tensor:
    """Return the loss of one step's windows."""
    rng = np.random.default_rng([task.loop.seed, _TRAINING, step])
    drawn = [
        draw_example(scenes[int(rng.integers(len(scenes)))], net.config.planes, task.draws, rng)
        for _ in range(task.batch)
    ]
    images = torch.from_numpy(np.stack([images for images, _ in drawn]))
    wanted = torch.from_numpy(np.stack([somata for _, somata in drawn])).float()
    return segmentation_loss(net(images), wanted)


def train_segmenter(
    task: SegmenterTask, cache: Path, *, report: Report | None = None
) -> SegmenterNet:
    """Train a network; resumes from the checkpoint that the cache holds.

    Parameters
    ----------
    task : SegmenterTask
    cache : Path
        Folder of the scenes and the checkpoint.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    """
    scenes = load_segmented(task.scenes, task, cache, report)
    torch.manual_seed(task.loop.seed)
    net = SegmenterNet(task.model)
    steps = train(
        net,
        lambda step, generator: batch_loss(net, task, scenes, step),
        task.loop,
        checkpoint=cache / f"{task.model.name}-checkpoint.safetensors",
        identity=task.model_dump_json(
            exclude={"loop": True, "validation": True, "model": {"watershed"}}
        ),
    )
    run_through(steps, report)
    return net.eval()


def make_segmenter_folder(
    out: Path, task: SegmenterTask, cache: Path, *, command: str, report: Report | None = None
) -> None:
    """Train, fix the watershed on scenes held back, and write config, weights and card."""
    cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    net = train_segmenter(task, cache, report=report)
    minutes = (time.monotonic() - began) / 60
    watershed, figures = fixed_on_source(
        net, load_segmented([task.validation], task, cache, report)
    )
    config = task.model.model_copy(update={"watershed": watershed})
    with atomic_folder(out) as folder:
        written = save_network(net, config, folder)
        written.write_card(
            CARD.format(
                c=config,
                w=watershed,
                t=task,
                d=task.draws,
                loop=task.loop,
                parameters=sum(p.numel() for p in net.parameters()),
                hash=written.hash,
                scenes=scene_list(task.scenes),
                command=command,
                minutes=minutes,
                rows="\n".join(figure_row(name, found) for name, found in figures.items()),
                **made_by(),
            )
        )


def figure_row(name: str, found: SideFigures) -> str:
    """Return a line of the card's table."""
    return (
        f"| {name} | {found.n_true} | {found.precision:.3f} | {found.recall:.3f} "
        f"| {found.f1:.3f} | {found.split:.3f} | {found.merge:.3f} |"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser(
        "Train the segmenter of somata.",
        Path("models/somata-2d"),
        "of the scenes and the checkpoint",
    )
    options = parser.parse_args(arguments)
    task = SegmenterTask()
    task = task.model_copy(update={"loop": asked_loop(task.loop, options)})
    command = command_of("segmenter_task", steps=task.loop.steps, seed=options.seed)
    return run_task(
        lambda: make_segmenter_folder(options.out, task, options.cache, command=command)
    )


if __name__ == "__main__":
    sys.exit(main())
