"""Making the feature network from simulated scenes alone.

``python -m napari_neurobridge.training.feature_task --help`` lists its options; the card in the
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
from scipy.spatial import cKDTree

from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.registration.feature_net import (
    FeatureMaps,
    FeatureNet,
    FeatureNetConfig,
    load_feature_net,
    node_pixels,
)
from napari_neurobridge.registration.feature_points import FeatureExtractor
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.training.command import asked_loop, command_of, run_task, task_parser
from napari_neurobridge.training.feature_card import CARD
from napari_neurobridge.training.feature_loss import RIGHT_PX, feature_loss
from napari_neurobridge.training.image_tasks import (
    TaskParams,
    blemished,
    cross_modal_task,
    draw_task,
)
from napari_neurobridge.training.loop import LoopConfig, run_through, train
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.scene_sources import SceneSource, load_each, scene_list
from napari_neurobridge.training.scene_volumes import cached_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.training.image_tasks import ImageTask
    from napari_neurobridge.training.scene_volumes import SceneVolumes
    from napari_neurobridge.types import Report, Vec3

logger = logging.getLogger(__name__)

_TRAINING, _TEST = 1, 2
# Tried as thresholds of a soma's probability, in the card.
_THRESHOLDS = (0.2, 0.3, 0.4, 0.5)


class FeatureTask(BaseModel, frozen=True, extra="forbid"):
    """Data, architecture and training."""

    model: FeatureNetConfig = FeatureNetConfig()
    images: TaskParams = TaskParams(size_um=192)
    size_um: tuple[float, float, float] = (80.0, 420.0, 420.0)
    scenes: tuple[SceneSource, ...] = (
        SceneSource(level="paper", first_seed=50_000, count=16),
        *(
            SceneSource(level=name, first_seed=51_000, count=2)
            for name in (
                "easy",
                "hard",
                "domain-A",
                "domain-B",
                "domain-C",
                "domain-E",
                "domain-F",
            )
        ),
    )
    tests: SceneSource = SceneSource(level="paper", first_seed=55_000, count=2)
    loop: LoopConfig = LoopConfig(
        steps=3000,
        learning_rate=2e-3,
        warmup_steps=100,
        weight_decay=0.01,
        checkpoint_every=100,
        report_every=50,
    )
    batch: int = Field(2, gt=0, description="Pairs of images in a step.")
    points: int = Field(384, gt=0, description="Places of a pair that are asked for.")
    test_pairs: int = Field(16, gt=0, description="Pairs of the card's figures.")


def load_scenes(
    sources: Sequence[SceneSource], size_um: Vec3, cache: Path, report: Report | None = None
) -> list[SceneVolumes]:
    """Return all scenes, simulated unless the cache holds them."""
    return load_each(sources, lambda seed, level: cached_scene(seed, level, size_um, cache), report)


def batch_loss(
    net: FeatureNet, task: FeatureTask, scenes: Sequence[SceneVolumes], step: int
) -> Tensor:
    """Return the loss of one step's pairs of images."""
    rng = np.random.default_rng([task.loop.seed, _TRAINING, step])
    images: tuple[list[Tensor], list[Tensor]] = ([], [])
    pairs: list[Tensor] = []
    cells: tuple[list[Tensor], list[Tensor]] = ([], [])
    for _ in range(task.batch):
        drawn = draw_task(scenes[int(rng.integers(len(scenes)))], task.images, rng)
        for side, (image, somata) in enumerate(
            zip((drawn.source, drawn.target), drawn.somata_px, strict=True)
        ):
            seen = PlanarImage(blemished(image, rng), 1.0).standardised()
            images[side].append(torch.from_numpy(seen))
            cells[side].append(torch.from_numpy(somata).float())
        pairs.append(_true_pairs(drawn, task.points, rng))
    maps: FeatureMaps = net(torch.stack(images[0] + images[1]))
    return torch.stack(
        list(feature_loss(net, _halves(maps, task.batch), pairs, cells[0] + cells[1]).values())
    ).sum()


def train_features(task: FeatureTask, cache: Path, *, report: Report | None = None) -> FeatureNet:
    """Train a network; resumes from the checkpoint that the cache holds.

    Parameters
    ----------
    task : FeatureTask
    cache : Path
        Folder of the scenes and the checkpoint.
    report : callable, optional
        Called as ``report(done, total, text)``; may raise to stop.
    """
    scenes = load_scenes(task.scenes, task.size_um, cache, report)
    torch.manual_seed(task.loop.seed)
    net = FeatureNet(task.model)
    steps = train(
        net,
        lambda step, generator: batch_loss(net, task, scenes, step),
        task.loop,
        checkpoint=cache / f"{task.model.name}-checkpoint.safetensors",
        identity=task.model_dump_json(exclude={"loop", "test_pairs", "tests"}),
    )
    run_through(steps, report)
    return net.eval()


def make_feature_folder(
    out: Path, task: FeatureTask, cache: Path, *, command: str, report: Report | None = None
) -> None:
    """Train, judge on test scenes, and write config, weights and card."""
    cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    net = train_features(task, cache, report=report)
    minutes = (time.monotonic() - began) / 60
    tests = load_scenes([task.tests], task.size_um, cache, report)
    with atomic_folder(out) as folder:
        written = save_network(net, task.model, folder)
        rows, dense = judge_features(load_feature_net(folder), task, tests)
        written.write_card(
            CARD.format(
                c=task.model,
                t=task,
                p=task.images,
                loop=task.loop,
                parameters=sum(p.numel() for p in net.parameters()),
                hash=written.hash,
                scenes=scene_list(task.scenes),
                command=command,
                minutes=minutes,
                **made_by(),
                count=task.test_pairs,
                rows="\n".join(rows),
                dense=dense,
            )
        )


def judge_features(
    net: FeatureNet, task: FeatureTask, scenes: Sequence[SceneVolumes]
) -> tuple[list[str], float]:
    """Return the card's rows on somata, and the share of places whose partners are found."""
    extractor = FeatureExtractor(net)
    counts = np.zeros((len(_THRESHOLDS), 2, 4))
    found, asked = 0, 0
    params = task.images.model_copy(update={"size_um": 320})
    for number in range(task.test_pairs):
        rng = np.random.default_rng([task.loop.seed, _TEST, number])
        depth = rng.uniform(12.0, task.size_um[0] - 14.0)
        drawn = cross_modal_task(scenes[number % len(scenes)], depth, params, rng)
        described = [
            extractor.describe(PlanarImage(image, 1.0)) for image in (drawn.source, drawn.target)
        ]
        for side, (image, true) in enumerate(zip(described, drawn.somata_px, strict=True)):
            for row, least in enumerate(_THRESHOLDS):
                counts[row, side] += _hits(image.somata(least).positions_um, true)
        points = described[0].keypoints(512)
        true = drawn.map_points(points.positions_um)
        known = np.isfinite(true[:, 0])
        maps = described[1].maps.descriptors[0]
        nodes = node_pixels(*maps.shape[1:]).numpy()
        best = (points.descriptors[known] @ maps.flatten(1).numpy()).argmax(axis=1)
        found += int((np.linalg.norm(nodes[best] - true[known], axis=1) < RIGHT_PX).sum())
        asked += int(known.sum())
    rows = []
    for least, sides in zip(_THRESHOLDS, counts, strict=True):
        figures = [
            f"{hit / max(said, 1):.3f}, {got / max(of, 1):.3f}" for hit, said, got, of in sides
        ]
        rows.append(f"| {least:g} | {figures[0]} | {figures[1]} |")
    return rows, found / max(asked, 1)


def _hits(found: np.ndarray, true: np.ndarray) -> tuple[int, int, int, int]:
    """Return how many are right, of how many said; how many are found, of how many there are."""
    if not len(found) or not len(true):
        return 0, len(found), 0, len(true)
    right = np.asarray(cKDTree(true).query(found)[0]) < RIGHT_PX
    met = np.asarray(cKDTree(found).query(true)[0]) < RIGHT_PX
    return int(right.sum()), len(found), int(met.sum()), len(true)


def _true_pairs(drawn: ImageTask, count: int, rng: np.random.Generator) -> Tensor:
    """Return places of both images that are one, (2, N, 2); somata count twice."""
    known = np.argwhere(np.isfinite(drawn.truth_px[..., 0]))
    chosen = known[rng.permutation(len(known))[:count]].astype(np.float64)
    source = np.concatenate([chosen, drawn.somata_px[0], drawn.somata_px[0]])
    target = drawn.map_points(source)
    both = np.isfinite(target[:, 0])
    return torch.from_numpy(np.stack([source[both], target[both]])).float()


def _halves(maps: FeatureMaps, count: int) -> tuple[FeatureMaps, FeatureMaps]:
    """Return what was said of the first images, and of the others."""
    parts = (maps.descriptors, maps.soma_logits, maps.soma_offset, maps.partner_logits)
    return (
        FeatureMaps(*(part[:count] for part in parts)),
        FeatureMaps(*(part[count:] for part in parts)),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser(
        "Train a feature network.", Path("models/features-2d"), "of the scenes and the checkpoint"
    )
    options = parser.parse_args(arguments)
    task = FeatureTask()
    task = task.model_copy(update={"loop": asked_loop(task.loop, options)})
    command = command_of("feature_task", steps=task.loop.steps, seed=options.seed)
    return run_task(lambda: make_feature_folder(options.out, task, options.cache, command=command))


if __name__ == "__main__":
    sys.exit(main())
