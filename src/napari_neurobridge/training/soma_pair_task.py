"""Making the network that judges pairs of somata, from simulated scenes alone.

``python -m napari_neurobridge.training.soma_pair_task --help`` lists its options; the card in the
folder holds the command that made it.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from napari_neurobridge.io.files import atomic_folder, atomic_write
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import FEATURE_NET
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.registration.feature_net import load_feature_net
from napari_neurobridge.registration.feature_points import FeatureExtractor
from napari_neurobridge.registration.soma_pairs import (
    SomaPairConfig,
    SomaPairNet,
    load_soma_pair_net,
)
from napari_neurobridge.training.command import asked_loop, command_of, run_task, task_parser
from napari_neurobridge.training.feature_task import FeatureTask
from napari_neurobridge.training.image_tasks import TaskParams, draw_task
from napari_neurobridge.training.loop import LoopConfig, run_through, train
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.scene_sources import SceneSource, numbered_by_scene, scene_list
from napari_neurobridge.training.scene_volumes import cached_scene
from napari_neurobridge.training.soma_pair_card import CARD
from napari_neurobridge.training.soma_pair_sets import (
    MARGIN_PX,
    SomaPairParams,
    SomaPairSet,
    draw_soma_pairs,
    joined,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from napari_neurobridge.types import Report

logger = logging.getLogger(__name__)

_TRAINING, _TEST = 1, 2
_SHIFT_PX = 1


class SomaPairTask(BaseModel, frozen=True, extra="forbid"):
    """Data, architecture and training."""

    model: SomaPairConfig = SomaPairConfig()
    images: TaskParams = TaskParams(size_um=384, shift_um=20.0, angle_deg=180.0, same_side=0.15)
    pairs: SomaPairParams = SomaPairParams()
    size_um: tuple[float, float, float] = (80.0, 420.0, 420.0)
    scenes: tuple[SceneSource, ...] = FeatureTask().scenes
    image_pairs: int = Field(480, gt=0, description="Pairs of images that are drawn.")
    tests: SceneSource = SceneSource(level="paper", first_seed=55_000, count=8)
    test_pairs: int = Field(48, gt=0, description="Pairs of images of the card's figures.")
    batch: int = Field(96, gt=1, description="Pairs of somata in a step.")
    loop: LoopConfig = LoopConfig(
        steps=2600,
        learning_rate=2e-3,
        warmup_steps=200,
        weight_decay=0.01,
        checkpoint_every=100,
        report_every=50,
    )


def drawn_sets(
    task: SomaPairTask, cache: Path, *, test: bool = False, report: Report | None = None
) -> SomaPairSet:
    """Return all pairs of the training or of the test; those of each two images are cached.

    Parameters
    ----------
    task : SomaPairTask
    cache : Path
        Folder of the scenes, and of the pairs.
    test : bool
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    """
    features = bundled_model(FEATURE_NET)
    extractor = FeatureExtractor(load_feature_net(features))
    sources = [task.tests] if test else task.scenes
    total = task.test_pairs if test else task.image_pairs
    params = task.images.model_copy(update={"same_side": 0.0}) if test else task.images
    what = task.model_dump_json(include={"model", "images", "pairs", "size_um", "scenes", "tests"})
    key = hashlib.sha256(f"{what} {test} {features.name}".encode()).hexdigest()[:12]
    sets: list[SomaPairSet] = []
    scene = lru_cache(maxsize=1)(cached_scene)
    for number, level, seed in numbered_by_scene(sources, total):
        if report is not None:
            report(len(sets), total, "drawing pairs of somata")
        file = cache / f"soma-pairs-{key}-{number:05d}.npz"
        if not file.exists():
            rng = np.random.default_rng([task.loop.seed, _TEST if test else _TRAINING, number])
            drawn = draw_task(scene(seed, level, task.size_um, cache), params, rng)
            found = draw_soma_pairs(drawn, extractor, task.model, task.pairs, rng)
            with atomic_write(file) as temporary, temporary.open("wb") as handle:
                np.savez_compressed(handle, crops=found.crops, same=found.same)
        with np.load(file) as held:
            sets.append(SomaPairSet(held["crops"], held["same"]))
    return joined(sets)


def batch_loss(net: SomaPairNet, task: SomaPairTask, pairs: SomaPairSet, step: int) -> Tensor:
    """Return the loss of one step's pairs, half of them right."""
    rng = np.random.default_rng([task.loop.seed, _TRAINING, step])
    half = task.batch // 2
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(pairs.same == kind), half) for kind in (True, False)]
    )
    seen = torch.from_numpy(augmented(pairs.crops[rows], rng))
    return functional.binary_cross_entropy_with_logits(
        net(seen), torch.from_numpy(pairs.same[rows].astype(np.float32))
    )


def augmented(crops: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return crops (B, 2, C, C) without their margins, changed at random."""
    count, side = len(crops), crops.shape[-1] - 2 * MARGIN_PX
    seen = np.empty((count, 2, side, side), dtype=np.float32)
    for row, pair in enumerate(crops):
        places = MARGIN_PX + rng.integers(-_SHIFT_PX, _SHIFT_PX + 1, (2, 2))
        cut = np.stack(
            [one[y : y + side, x : x + side] for one, (y, x) in zip(pair, places, strict=True)]
        )
        cut = np.rot90(cut, int(rng.integers(4)), axes=(1, 2))
        cut = cut[:, ::-1] if rng.random() < 0.5 else cut
        # Either microscope may be the source.
        seen[row] = cut[::-1] if rng.random() < 0.5 else cut
    each = (count, 2, 1, 1)
    seen *= rng.uniform(0.7, 1.4, each).astype(np.float32) / 255
    seen += rng.normal(0, 0.1, each).astype(np.float32)
    noise = rng.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(seen + noise * rng.uniform(0, 0.15, each).astype(np.float32))


def judged(net: SomaPairNet, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the log ratios of stored crops, (K,)."""
    inner = crops[:, :, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    with torch.inference_mode():
        parts = [
            net(torch.from_numpy(inner[first : first + 256].astype(np.float32) / 255)).numpy()
            for first in range(0, len(inner), 256)
        ]
    return np.concatenate(parts)


def make_soma_pair_folder(
    out: Path, task: SomaPairTask, cache: Path, *, command: str, report: Report | None = None
) -> None:
    """Train, judge on test scenes, and write config, weights and card."""
    cache.mkdir(parents=True, exist_ok=True)
    pairs = drawn_sets(task, cache, report=report)
    began = time.monotonic()
    net = train_soma_pairs(task, pairs, cache, report=report)
    minutes = (time.monotonic() - began) / 60
    tests = drawn_sets(task, cache, test=True, report=report)
    with atomic_folder(out) as folder:
        written = save_network(net, task.model, folder)
        ratios = judged(load_soma_pair_net(folder), tests.crops)
        written.write_card(
            CARD.format(
                c=task.model,
                t=task,
                p=task.images,
                s=task.pairs,
                loop=task.loop,
                parameters=sum(p.numel() for p in net.parameters()),
                hash=written.hash,
                scenes=scene_list(task.scenes),
                right=int(pairs.same.sum()),
                wrong=int((~pairs.same).sum()),
                command=command,
                minutes=minutes,
                n_tests=len(tests),
                auc=float(roc_auc_score(tests.same, ratios)),
                found=float((ratios[tests.same] > 0).mean()),
                taken=float((ratios[~tests.same] > 0).mean()),
                **made_by(),
            )
        )


def train_soma_pairs(
    task: SomaPairTask, pairs: SomaPairSet, cache: Path, *, report: Report | None = None
) -> SomaPairNet:
    """Train a network; resumes from the checkpoint that the cache holds."""
    torch.manual_seed(task.loop.seed)
    net = SomaPairNet(task.model)
    steps = train(
        net,
        lambda step, generator: batch_loss(net, task, pairs, step),
        task.loop,
        checkpoint=cache / f"{task.model.name}-checkpoint.safetensors",
        identity=task.model_dump_json(exclude={"loop", "test_pairs", "tests"}),
    )
    run_through(steps, report)
    return net.eval()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser(
        "Train a network that judges pairs of somata.",
        Path("models/soma-pairs-2d"),
        "of scenes, pairs and checkpoint",
    )
    parser.add_argument("--image-pairs", type=int, default=SomaPairTask().image_pairs)
    options = parser.parse_args(arguments)
    task = SomaPairTask()
    task = task.model_copy(
        update={
            "loop": asked_loop(task.loop, options),
            "image_pairs": options.image_pairs,
        }
    )
    command = command_of(
        "soma_pair_task",
        steps=task.loop.steps,
        image_pairs=task.image_pairs,
        seed=options.seed,
    )
    return run_task(
        lambda: make_soma_pair_folder(options.out, task, options.cache, command=command)
    )


if __name__ == "__main__":
    sys.exit(main())
