"""What the feature network is trained to do."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.nn import functional

from napari_neurobridge.registration.feature_net import (
    FeatureMaps,
    FeatureNet,
    FeatureNetConfig,
    node_pixels,
)
from napari_neurobridge.training.feature_loss import feature_loss
from napari_neurobridge.training.feature_task import FeatureTask, make_feature_folder
from napari_neurobridge.training.image_tasks import TaskParams
from napari_neurobridge.training.loop import LoopConfig
from napari_neurobridge.training.scene_sources import SceneSource

SIDE = 12
NET = FeatureNet(FeatureNetConfig(width=4, trunk=4, blocks=1, dim=4))


def maps(descriptors: torch.Tensor, soma: torch.Tensor | None = None) -> FeatureMaps:
    nothing = torch.full((1, SIDE, SIDE), -6.0)
    return FeatureMaps(
        functional.normalize(descriptors, dim=1),
        nothing if soma is None else soma,
        torch.zeros(1, 2, SIDE, SIDE),
        torch.zeros(1, SIDE, SIDE),
    )


def pairs() -> torch.Tensor:
    """Return places that are one where the target is the source, one node lower."""
    at = node_pixels(SIDE - 1, SIDE) + 0.7
    return torch.stack([at, at + torch.tensor([4.0, 0.0])])


def shifted() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    source = torch.randn(1, 16, SIDE, SIDE)
    return source, source.roll(1, dims=2)


def test_right_descriptors_cost_less_than_others_and_least_when_distinct() -> None:
    source, target = shifted()

    def cost(first, second) -> float:
        parts = feature_loss(NET, (maps(first), maps(second)), [pairs()], [torch.zeros(0, 2)] * 2)
        return float(parts["describe"].detach())

    right = cost(source, target)
    assert right < 0.5 * cost(source, torch.randn_like(source))
    # All alike: the partner is one among as many as there are nodes.
    alike = torch.ones_like(source)
    assert cost(alike, alike) > 4 * right


def test_interpolation_tells_nothing() -> None:
    """Descriptors that differ only between nodes and places next to them find no partner."""
    checks = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2
    pattern = torch.stack([checks, 1 - checks]).float()[None] * 2 - 1
    parts = feature_loss(NET, (maps(pattern), maps(pattern)), [pairs()], [torch.zeros(0, 2)] * 2)
    assert float(parts["describe"].detach()) > 3


def test_somata_cost_where_they_are_missed_and_where_they_are_not() -> None:
    source, target = shifted()
    middle = node_pixels(SIDE, SIDE)[40][None]

    def cost(logits: torch.Tensor) -> float:
        both = (maps(source, logits), maps(target, logits))
        return float(feature_loss(NET, both, [pairs()], [middle, middle])["soma"].detach())

    right = torch.full((1, SIDE, SIDE), -6.0)
    right[0].view(-1)[40] = 6.0
    elsewhere = torch.full((1, SIDE, SIDE), -6.0)
    elsewhere[0].view(-1)[100] = 6.0
    assert cost(right) < 0.1 * cost(torch.full((1, SIDE, SIDE), -6.0)) < cost(elsewhere)


@pytest.mark.slow
def test_a_folder_is_made_by_one_command_and_training_goes_on(tmp_path, caplog) -> None:
    task = FeatureTask(
        model=FeatureNetConfig(width=4, trunk=8, blocks=1, dim=4),
        images=TaskParams(size_um=48),
        size_um=(30.0, 60.0, 60.0),
        scenes=(SceneSource(level="easy", first_seed=1, count=1),),
        tests=SceneSource(level="easy", first_seed=2, count=1),
        loop=LoopConfig(steps=4, checkpoint_every=2, report_every=1, warmup_steps=1),
        batch=1,
        test_pairs=1,
    )
    with caplog.at_level(logging.INFO):
        make_feature_folder(tmp_path / "net", task, tmp_path / "cache", command="as here")
    assert "step 4 of 4" in caplog.text
    card = (tmp_path / "net" / "card.md").read_text(encoding="utf-8")
    assert "as here" in card
    assert "two-photon: precision" in card
    # What is trained already is not trained again.
    caplog.clear()
    with caplog.at_level(logging.INFO):
        make_feature_folder(tmp_path / "again", task, tmp_path / "cache", command="as here")
    assert "step 1 of 4" not in caplog.text
