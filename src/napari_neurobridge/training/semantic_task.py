"""Training the published matcher of two planes in its two stages, from simulated scenes alone.

Fusion and LightGlue learn from one volume shown twice, bent (paper on semantic matching, section
II.D.1); then both and the consistency module learn together from both microscopes (II.D.2).

``python -m napari_neurobridge.training.semantic_task --help`` lists its options; the card in the
folder holds the command that made it.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field

from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.models.current import bundled_verifier
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.registration.common_frame import common_frame
from napari_neurobridge.registration.feature_points import FeatureExtractor
from napari_neurobridge.registration.gccm import consistency_loss, load_gccm
from napari_neurobridge.registration.lightglue import matching_loss
from napari_neurobridge.registration.semantic import SemanticFeatures
from napari_neurobridge.registration.semantic_matcher import (
    SemanticMatcher,
    SemanticMatcherConfig,
    SemanticMatcherNet,
    load_semantic_matcher,
    paper_variants,
)
from napari_neurobridge.registration.subsets import draw_subsets, mean_over_subsets
from napari_neurobridge.training.command import asked_loop, command_of, run_task, task_parser
from napari_neurobridge.training.feature_task import FeatureTask
from napari_neurobridge.training.image_tasks import TaskParams, draw_task
from napari_neurobridge.training.keypoint_pairs import (
    KeypointPair,
    KeypointTaskParams,
    describe_pair,
    draw_keypoint_task,
)
from napari_neurobridge.training.loop import LoopConfig, run_through, train
from napari_neurobridge.training.made_by import made_by
from napari_neurobridge.training.match_sets import RIGHT_WITHIN_UM
from napari_neurobridge.training.scene_sources import SceneSource, numbered_by_scene, scene_list
from napari_neurobridge.training.scene_volumes import cached_scene
from napari_neurobridge.training.semantic_card import CARD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.registration.image_matches import ImageMatches
    from napari_neurobridge.types import Report

logger = logging.getLogger(__name__)

_FEWEST = 12
"""Matches that the consistency module is trained on, at least."""


class ImagePairSource(BaseModel, frozen=True, extra="forbid"):
    """Pairs of images of some scenes."""

    scenes: tuple[SceneSource, ...]
    images: TaskParams
    pairs: int = Field(gt=0, description="Pairs of images, the same number of each scene.")


class SemanticTask(BaseModel, frozen=True, extra="forbid"):
    """Data, architecture and training."""

    model: SemanticMatcherConfig = SemanticMatcherConfig()
    size_um: tuple[float, float, float] = (80.0, 420.0, 420.0)
    keypoints: int = Field(384, gt=8, description="Of either image that is kept.")
    one_side: ImagePairSource = ImagePairSource(
        scenes=FeatureTask().scenes,
        images=TaskParams(size_um=320, shift_um=60.0, same_side=1.0),
        pairs=1200,
    )
    both_sides: ImagePairSource = ImagePairSource(
        scenes=(SceneSource(level="paper", first_seed=52_000, count=12),),
        images=TaskParams(size_um=320, shift_um=40.0, same_side=0.0),
        pairs=600,
    )
    tests: ImagePairSource = ImagePairSource(
        scenes=(SceneSource(level="paper", first_seed=55_000, count=8),),
        images=TaskParams(size_um=320, shift_um=40.0, same_side=0.0),
        pairs=48,
    )
    drawn: KeypointTaskParams = KeypointTaskParams()
    batch: int = Field(4, gt=0, description="Tasks in a step.")
    no_semantic: float = Field(
        0.3, ge=0, le=1, description="Share of tasks without semantic features."
    )
    agreement: float = Field(
        0.2, ge=0, description="Weight of the confidence in what LightGlue proposes."
    )
    subsets_per_match: int = Field(8, gt=0, description="Of the consistency module in training.")
    loop: LoopConfig = LoopConfig(
        steps=5000,
        learning_rate=8e-4,
        warmup_steps=200,
        weight_decay=0.01,
        checkpoint_every=100,
        report_every=50,
    )
    joint_loop: LoopConfig = LoopConfig(
        steps=3000,
        learning_rate=4e-4,
        warmup_steps=100,
        weight_decay=0.01,
        checkpoint_every=100,
        report_every=50,
    )


def frozen_features() -> tuple[FeatureExtractor, SemanticFeatures]:
    """Return what finds and describes keypoints; neither is trained here."""
    return FeatureExtractor.bundled(), SemanticFeatures.of_encoder()


def warm_start(task: SemanticTask) -> SemanticMatcherNet:
    """Return an untrained matcher with the bundled consistency module."""
    torch.manual_seed(task.loop.seed)
    verifier = load_gccm(bundled_verifier(2))
    config = task.model.model_copy(update={"verifier": verifier.config})
    net = SemanticMatcherNet(config)
    net.gccm.load_state_dict(verifier.state_dict())
    return net


def described_pairs(
    task: SemanticTask,
    source: ImagePairSource,
    matcher: SemanticMatcher,
    cache: Path,
    report: Report | None = None,
) -> list[Path]:
    """Return the files of all pairs of a source, described unless the cache holds them."""
    what = f"{source.model_dump_json(exclude={'pairs'})} {task.size_um} {task.keypoints}"
    key = hashlib.sha256(what.encode()).hexdigest()[:12]
    scene = lru_cache(maxsize=1)(cached_scene)
    files = [cache / f"keypoint-pairs-{key}-{number:05d}.npz" for number in range(source.pairs)]
    numbered = numbered_by_scene(source.scenes, source.pairs)
    for done, (number, level, seed) in enumerate(numbered):
        if report is not None:
            report(done, source.pairs, "describing keypoints")
        if not files[number].exists():
            rng = np.random.default_rng([task.loop.seed, number])
            drawn = draw_task(scene(seed, level, task.size_um, cache), source.images, rng)
            describe_pair(drawn, matcher).save(files[number])
    return files


def pair_loss(
    net: SemanticMatcherNet,
    task: SemanticTask,
    pair: KeypointPair,
    generator: torch.Generator,
    *,
    semantic: bool,
    joint: bool,
) -> Tensor:
    """Return the loss of one task: of LightGlue, and with ``joint`` of the verification as well."""
    output = net(pair.source, pair.target, semantic=semantic)
    partner = torch.from_numpy(pair.partner())
    loss = matching_loss(output, partner[None])
    if joint:
        loss = loss + consistency(net, task, pair, output.log_assignment[-1][0], generator)
    return loss


def consistency(
    net: SemanticMatcherNet,
    task: SemanticTask,
    pair: KeypointPair,
    log_assignment: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Return the loss of the confidences, and what they say of the proposals.

    The module learns which of LightGlue's present proposals are right; LightGlue, to propose what
    the module has confidence in, as in a differentiable RANSAC (paper, section II.C).
    """
    likeliest = log_assignment[:-1, :-1]
    there = likeliest.argmax(dim=1)
    rows = (likeliest.argmax(dim=0)[there] == torch.arange(len(there))).nonzero()[:, 0]
    if len(rows) < _FEWEST:
        return log_assignment.new_zeros(())
    columns = there[rows]
    here, ends = (
        torch.from_numpy(side - side.mean(axis=0)).float()
        for side in (
            pair.source.positions_um[rows.numpy()],
            pair.target.positions_um[columns.numpy()],
        )
    )
    config = net.gccm.config.subsets.model_copy(
        update={"count": 1, "per_match": task.subsets_per_match}
    )
    frame = common_frame(here, ends, generator)
    subsets = draw_subsets(here, frame.weight, config, generator)
    logits = net.gccm(here, frame, subsets)
    off = np.linalg.norm(
        pair.true_um[rows.numpy()] - pair.target.positions_um[columns.numpy()], axis=1
    )
    right = torch.from_numpy(off <= RIGHT_WITHIN_UM)
    confidence = mean_over_subsets(logits.sigmoid(), subsets, len(rows)).detach()
    chance = likeliest[rows, columns].exp()
    agreed = (chance * (2 * confidence - 1)).mean()
    return consistency_loss(logits, subsets, right) - task.agreement * agreed


def batch_loss(
    net: SemanticMatcherNet,
    task: SemanticTask,
    pairs: Sequence[KeypointPair],
    step: int,
    generator: torch.Generator,
    *,
    joint: bool,
) -> Tensor:
    """Return the mean loss of one step's tasks."""
    rng = np.random.default_rng([task.loop.seed, int(joint), step])
    losses: list[Tensor] = []
    while len(losses) < task.batch:
        pair = draw_keypoint_task(pairs[int(rng.integers(len(pairs)))], task.drawn, rng)
        if min(len(pair.source), len(pair.target)) < _FEWEST:
            continue
        semantic = rng.random() >= task.no_semantic
        losses.append(pair_loss(net, task, pair, generator, semantic=semantic, joint=joint))
    return torch.stack(losses).mean()


def train_semantic(
    task: SemanticTask,
    one_side: Sequence[KeypointPair],
    both_sides: Sequence[KeypointPair],
    cache: Path,
    *,
    report: Report | None = None,
) -> SemanticMatcherNet:
    """Train in two stages; killed at any moment, the same call goes on from the checkpoints."""
    net = warm_start(task)
    identity = task.model_dump_json(exclude={"loop", "joint_loop", "tests"})
    stages = (
        (task.loop, partial(batch_loss, net, task, one_side, joint=False), ""),
        # What the second stage begins with, the first one's settings decide.
        (
            task.joint_loop,
            partial(batch_loss, net, task, both_sides, joint=True),
            task.loop.model_dump_json(),
        ),
    )
    for stage, (loop, loss, before) in enumerate(stages, start=1):
        checkpoint = cache / f"{task.model.name}-stage-{stage}.safetensors"
        steps = train(net, loss, loop, checkpoint=checkpoint, identity=identity + before)
        run_through(steps, report, stage=f"stage {stage}, ")
    return net.eval()


@dataclass(frozen=True)
class SemanticFigures:
    """Of matches on test pairs, means over pairs."""

    matches: float
    right: float
    precision: float
    recall: float

    def row(self) -> str:
        """Return the cells of a table."""
        return f"{self.matches:.1f} | {self.right:.1f} | {self.precision:.3f} | {self.recall:.3f}"


def judge_semantic(
    net: SemanticMatcherNet,
    pairs: Sequence[KeypointPair],
    features: tuple[FeatureExtractor, SemanticFeatures],
) -> dict[str, SemanticFigures]:
    """Return the figures of the four variants of the paper's table I."""
    return {
        name: _figures([matcher.match_described(pair.source, pair.target) for pair in pairs], pairs)
        for name, matcher in paper_variants(net, *features).items()
    }


def _figures(found: Sequence[ImageMatches], pairs: Sequence[KeypointPair]) -> SemanticFigures:
    matches = right = true = 0
    for matched, pair in zip(found, pairs, strict=True):
        kept = matched.take(matched.verified)
        ends = {tuple(place): row for row, place in enumerate(pair.source.positions_um)}
        rows = [ends[tuple(place)] for place in kept.source_um]
        off = np.linalg.norm(pair.true_um[rows] - kept.target_um, axis=1)
        matches += len(kept)
        right += int((off <= RIGHT_WITHIN_UM).sum())
        true += int((pair.partner() >= 0).sum())
    return SemanticFigures(
        matches / len(pairs), right / len(pairs), right / max(matches, 1), right / max(true, 1)
    )


def make_semantic_folder(
    out: Path, task: SemanticTask, cache: Path, *, command: str, report: Report | None = None
) -> dict[str, SemanticFigures]:
    """Describe, train, judge on test scenes, and write config, weights and card."""
    cache.mkdir(parents=True, exist_ok=True)
    features = frozen_features()
    matcher = SemanticMatcher(warm_start(task), *features, count=task.keypoints)
    one_side, both_sides, tests = (
        [KeypointPair.load(file) for file in described_pairs(task, source, matcher, cache, report)]
        for source in (task.one_side, task.both_sides, task.tests)
    )
    began = time.monotonic()
    net = train_semantic(task, one_side, both_sides, cache, report=report)
    minutes = (time.monotonic() - began) / 60
    with atomic_folder(out) as folder:
        written = save_network(net, net.config, folder)
        figures = judge_semantic(load_semantic_matcher(folder), tests, features)
        written.write_card(
            CARD.format(
                c=task.model,
                t=task,
                one=task.one_side,
                both=task.both_sides,
                tests=task.tests,
                loop=task.loop,
                joint=task.joint_loop,
                parameters=sum(p.numel() for p in net.parameters()),
                hash=written.hash,
                scenes=scene_list(task.one_side.scenes),
                tasks=task.loop.steps * task.batch,
                joint_tasks=task.joint_loop.steps * task.batch,
                command=command,
                minutes=minutes,
                rows="\n".join(f"| {name} | {row.row()} |" for name, row in figures.items()),
                **made_by(),
            )
        )
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of this module; return the exit code."""
    parser = task_parser(
        "Train the published matcher of two planes.",
        Path("models/semantic-2d"),
        "of scenes, features and checkpoints",
    )
    task = SemanticTask()
    parser.add_argument("--joint-steps", type=int, default=task.joint_loop.steps)
    parser.add_argument("--pairs", type=int, default=task.one_side.pairs)
    parser.add_argument("--joint-pairs", type=int, default=task.both_sides.pairs)
    options = parser.parse_args(arguments)
    loop = asked_loop(task.loop, options)
    joint = {"steps": options.joint_steps, "seed": options.seed}
    task = task.model_copy(
        update={
            "loop": loop,
            "joint_loop": task.joint_loop.model_copy(update=joint),
            "one_side": task.one_side.model_copy(update={"pairs": options.pairs}),
            "both_sides": task.both_sides.model_copy(update={"pairs": options.joint_pairs}),
        }
    )
    command = command_of(
        "semantic_task",
        steps=loop.steps,
        joint_steps=options.joint_steps,
        pairs=options.pairs,
        joint_pairs=options.joint_pairs,
        seed=options.seed,
    )

    def make() -> str:
        figures = make_semantic_folder(options.out, task, options.cache, command=command)
        return "\n".join(f"{name}: {row.row()}" for name, row in figures.items())

    return run_task(make)


if __name__ == "__main__":
    sys.exit(main())
