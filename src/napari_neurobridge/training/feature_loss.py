"""What the feature network is trained to do, on pairs of images whose true map is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from napari_neurobridge.registration.feature_net import (
    CELL,
    FeatureMaps,
    expected_place,
    node_pixels,
    sample_maps,
)

if TYPE_CHECKING:
    from napari_neurobridge.registration.feature_net import FeatureNet

RIGHT_PX = 5.0
"""A partner found so near to the true place is right; a pixel is 1 µm."""
# Nodes so near to the true place are neither partner nor other.
_NEAR_PX = 6.0
_SOMA_SIGMA = 0.7
# A coarse match is off by so much at most, in either direction, before it is refined.
_COARSE_PX = 3.0
_WEIGHTS = {"describe": 1.0, "refine": 0.3, "partner": 0.5, "soma": 1.0, "offset": 0.5}


def feature_loss(
    net: FeatureNet, maps: tuple[FeatureMaps, FeatureMaps], pairs: list[Tensor], cells: list[Tensor]
) -> dict[str, Tensor]:
    """Return the parts of the loss, weighted.

    Parameters
    ----------
    net : FeatureNet
        Whose temperature scales the similarities.
    maps : pair of FeatureMaps
        Of B source and B target images.
    pairs : list of B Tensor, shape (2, N, 2)
        Pixels (y, x) of N true partners in source and target.
    cells : list of 2 B Tensor, shape (M, 2)
        Pixels of the somata of all source images, and then of all target images.
    """
    describe, refine, partner = [], [], []
    scale = net.log_scale.clamp(max=4.0).exp()
    height, width = maps[1].descriptors.shape[2:]
    nodes = node_pixels(height, width, scale.device)
    for row, truth in enumerate(pairs):
        if truth.shape[1] < 8:
            continue
        for one, other in ((0, 1), (1, 0)):
            similar, right = _similarities(maps[one], maps[other], row, truth[one], truth[other])
            loss, found = _found_among(
                scale * similar, scale * right, torch.cdist(truth[other], nodes)
            )
            refine.append(_refinement_loss(net.fine_scale * similar, truth[other], nodes))
            said = sample_maps(maps[one].partner_logits[row : row + 1, None], truth[one][None])
            describe.append(loss)
            partner.append(functional.binary_cross_entropy_with_logits(said[0, :, 0], found))
    heat, offset = _soma_losses(maps, cells)
    nothing = maps[0].descriptors.sum() * 0
    parts = {
        "describe": torch.stack(describe).mean() if describe else nothing,
        "refine": torch.stack(refine).mean() if refine else nothing,
        "partner": torch.stack(partner).mean() if partner else nothing,
        "soma": heat,
        "offset": offset,
    }
    return {name: _WEIGHTS[name] * value for name, value in parts.items()}


def _similarities(
    here: FeatureMaps, there: FeatureMaps, row: int, at: Tensor, goal: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the similarity with each node (N, h × w), and with the true partner (N, 1)."""
    asked = functional.normalize(
        sample_maps(here.descriptors[row : row + 1], at[None])[0], dim=1
    )
    partner = functional.normalize(
        sample_maps(there.descriptors[row : row + 1], goal[None])[0], dim=1
    )
    similar = asked @ there.descriptors[row].flatten(1)
    return similar, (asked * partner).sum(dim=1, keepdim=True)


def _found_among(similar: Tensor, right: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of finding partners among all nodes, and which are found, (N,)."""
    logits = torch.cat([right, similar.masked_fill(apart < _NEAR_PX, -1e4)], dim=1)
    loss = functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
    best = similar.detach().argmax(dim=1, keepdim=True)
    found = (apart.gather(1, best)[:, 0] < RIGHT_PX).float()
    return loss, found


def _refinement_loss(similar: Tensor, goal: Tensor, nodes: Tensor) -> Tensor:
    """Return how far off the partner is when a coarse place is refined; `refine_places`."""
    coarse = goal + (torch.rand_like(goal) * 2 - 1) * _COARSE_PX
    return functional.smooth_l1_loss(expected_place(similar, coarse, nodes), goal)


def _soma_losses(
    maps: tuple[FeatureMaps, FeatureMaps], cells: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the focal loss of the middles of somata (CenterNet, eq. 1), and of their offsets."""
    logits = torch.cat([side.soma_logits for side in maps])
    offsets = torch.cat([side.soma_offset for side in maps])
    height, width = logits.shape[1:]
    nodes = node_pixels(height, width, logits.device)
    heat, misses = [], []
    for image, middles in enumerate(cells):
        goal = torch.zeros(height * width, device=logits.device)
        if len(middles):
            apart = torch.cdist(nodes, middles) / CELL
            near, which = apart.min(dim=1)
            goal = torch.exp(-0.5 * (near / _SOMA_SIGMA).square())
            top = torch.cdist(middles, nodes).argmin(dim=1)
            goal[top] = 1.0
            said = offsets[image].flatten(1)[:, top].T
            misses.append((said - (middles - nodes[top])).abs().mean() / CELL)
        chance = logits[image].flatten()
        right = goal == 1
        yes = functional.logsigmoid(chance) * (1 - chance.sigmoid()).square()
        no = functional.logsigmoid(-chance) * chance.sigmoid().square() * (1 - goal).pow(4)
        heat.append(-(yes[right].sum() + no[~right].sum()) / right.sum().clamp(min=1))
    return torch.stack(heat).mean(), torch.stack(misses).mean() if misses else logits.sum() * 0
