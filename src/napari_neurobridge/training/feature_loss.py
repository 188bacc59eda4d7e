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
)

if TYPE_CHECKING:
    from napari_neurobridge.registration.feature_net import FeatureNet

RIGHT_PX = 5.0
"""A partner found so near to the true place is right; a pixel is 1 µm."""
# A node so near to the true place is the partner; from there to here, neither partner nor other.
_PARTNER_PX = 3.2
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
            asked = torch.cdist(truth[one], nodes).argmin(dim=1)
            # The partner of the node that is asked for, not of the place next to it.
            goal = truth[other] + (nodes[asked] - truth[one])
            held = torch.cdist(goal, nodes).amin(dim=1) < _PARTNER_PX
            asked, goal = asked[held], goal[held]
            similar = maps[one].descriptors[row].flatten(1)[:, asked].T @ maps[other].descriptors[
                row
            ].flatten(1)
            loss, found = _found_among(scale * similar, torch.cdist(goal, nodes))
            refine.append(_refinement_loss(net.fine_scale * similar, goal, nodes))
            said = maps[one].partner_logits[row].flatten()[asked]
            describe.append(loss)
            partner.append(functional.binary_cross_entropy_with_logits(said, found))
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


def _found_among(similar: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of finding partners among all nodes, and which are found, (N,).

    Any node at the partner counts. What is asked for and what is found among are nodes alike: an
    interpolated partner among nodes could be told by being interpolated.
    """
    partner = similar.masked_fill(apart > _PARTNER_PX, -1e4).logsumexp(dim=1)
    others = similar.masked_fill((apart > _PARTNER_PX) & (apart < _NEAR_PX), -1e4)
    loss = (others.logsumexp(dim=1) - partner).mean()
    best = similar.detach().argmax(dim=1, keepdim=True)
    return loss, (apart.gather(1, best)[:, 0] < RIGHT_PX).float()


def _refinement_loss(similar: Tensor, goal: Tensor, nodes: Tensor) -> Tensor:
    """Return how far off the partner is when a coarse place is refined; `expected_place`."""
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
            near = apart.amin(dim=1)
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
