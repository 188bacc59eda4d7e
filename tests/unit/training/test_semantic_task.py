"""The two stages in which the published matcher learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_neurobridge.registration.semantic_matcher import (
    DescribedPoints,
    SemanticMatcherConfig,
)
from napari_neurobridge.training.keypoint_pairs import KeypointPair
from napari_neurobridge.training.loop import LoopConfig, train
from napari_neurobridge.training.semantic_task import (
    SemanticTask,
    batch_loss,
    consistency,
    train_semantic,
    warm_start,
)

_TASK = SemanticTask(
    model=SemanticMatcherConfig(local_dim=8, semantic_dim=8, hidden=32, dim=32, layers=2),
    loop=LoopConfig(steps=4, warmup_steps=1, checkpoint_every=2, report_every=4),
    joint_loop=LoopConfig(steps=4, warmup_steps=1, checkpoint_every=2, report_every=4),
    batch=2,
)


def _pair(seed: int) -> KeypointPair:
    """Partners have one description, and lie at a shift."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 200, (48, 2))
    words = rng.standard_normal((48, 8)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    order = rng.permutation(48)[:40]
    moved = places + rng.uniform(-30, 30, 2)
    return KeypointPair(
        DescribedPoints(places, words, words),
        DescribedPoints(moved[order], words[order], words[order]),
        moved,
    )


_PAIRS = [_pair(seed) for seed in range(6)]


def test_a_stage_trains_what_it_should() -> None:
    for joint in (False, True):
        net = warm_start(_TASK)
        loss = batch_loss(net, _TASK, _PAIRS, 0, torch.Generator().manual_seed(0), joint=joint)
        loss.backward()
        given = {
            part: any(
                p.grad is not None and bool(p.grad.abs().sum() > 0)
                for p in getattr(net, part).parameters()
            )
            for part in ("fusion", "lightglue", "gccm")
        }
        assert given == {"fusion": True, "lightglue": True, "gccm": joint}


def test_what_is_consistent_is_made_likelier_and_what_is_not_is_made_rarer() -> None:
    """Most proposals are right here, and five end anywhere."""
    net, pair = warm_start(_TASK), _pair(0)
    ends = pair.partner()
    wrong, right = np.flatnonzero(ends >= 0)[:5], np.flatnonzero(ends >= 0)[5:]
    ends[wrong] = np.roll(ends[wrong], 1)
    proposed = torch.full((49, 41), -6.0)
    proposed[right, ends[right]] = proposed[wrong, ends[wrong]] = -1.0
    proposed.requires_grad_()
    loss = consistency(net, _TASK, pair, proposed, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(loss, proposed)
    assert (gradient[right, ends[right]] < 0).float().mean() > 0.9
    assert (gradient[wrong, ends[wrong]] > 0).all()


def test_too_few_proposals_teach_nothing() -> None:
    net, pair = warm_start(_TASK), _pair(0)
    proposed = torch.full((49, 41), -6.0)
    proposed[0] = 0.0  # one row that all columns choose
    loss = consistency(net, _TASK, pair, proposed, torch.Generator())
    assert float(loss) == 0.0


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train_semantic(_TASK, _PAIRS, _PAIRS, _folder(tmp_path / "whole"))

    class _Stopped(Exception):
        pass

    for stage in ("stage 1", "stage 2"):

        def stop(done: int, total: int, text: str, stage: str = stage) -> None:
            if text.startswith(stage):
                raise _Stopped

        with pytest.raises(_Stopped):
            train_semantic(_TASK, _PAIRS, _PAIRS, _folder(tmp_path / "stopped"), report=stop)
    resumed = train_semantic(_TASK, _PAIRS, _PAIRS, _folder(tmp_path / "stopped"))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_partners_that_look_alike_are_learned() -> None:
    loop = LoopConfig(steps=250, warmup_steps=10, learning_rate=3e-3, report_every=50)
    task = _TASK.model_copy(update={"loop": loop, "batch": 4})
    net = warm_start(task)
    losses = [
        step.loss
        for step in train(
            net, lambda step, g: batch_loss(net, task, _PAIRS, step, g, joint=False), loop
        )
    ]
    assert losses[-1] < 0.5 * losses[0]


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
